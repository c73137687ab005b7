/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ipc/exercise.h"

#include <inttypes.h>
#include <stdio.h>

void exercise_operation(int64_t run, int64_t number,
                        struct exercise_operation *operation)
{
    int step = (int)(number % EXERCISE_STEPS);
    snprintf(operation->record_id, sizeof(operation->record_id),
             "%" PRId64 "-%" PRId64, run, number / EXERCISE_STEPS);
    operation->data[0] = '\0';
    if (step == 3) {
        operation->operation = "DELETE";
    } else if (step % 4 == 0) {
        operation->operation = "INSERT";
        snprintf(operation->data, sizeof(operation->data),
                 "{\"run\":%" PRId64 ",\"step\":%d,\"s%d\":true}", run, step,
                 step);
    } else {
        operation->operation = "UPDATE";
        snprintf(operation->data, sizeof(operation->data),
                 "{\"step\":%d,\"s%d\":true}", step, step);
    }
}

void exercise_whole_data(int64_t run, char data[EXERCISE_DATA_SIZE])
{
    snprintf(data, EXERCISE_DATA_SIZE,
             "{\"run\":%" PRId64 ",\"step\":7,\"s4\":true,\"s5\":true,"
             "\"s6\":true,\"s7\":true}",
             run);
}

void exercise_whole(int64_t run, int64_t number,
                    struct exercise_operation *operation)
{
    operation->operation = "INSERT";
    snprintf(operation->record_id, sizeof(operation->record_id),
             "%" PRId64 "-urgent-%" PRId64, run, number);
    exercise_whole_data(run, operation->data);
}

void exercise_bounds(int64_t run, char from[EXERCISE_ID_SIZE],
                     char to[EXERCISE_ID_SIZE])
{
    snprintf(from, EXERCISE_ID_SIZE, "%" PRId64 "-", run);
    snprintf(to, EXERCISE_ID_SIZE, "%" PRId64 ".", run); /* '-' + 1 */
}
