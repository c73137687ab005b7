/* SPDX-License-Identifier: Apache-2.0
 *
 * The operations of `tidemill test offline`: what the command puts into the
 * outbox, and what must be at the centre when all of it arrived once and in
 * order.
 *
 * Operation n of a run belongs to record n / EXERCISE_STEPS, is its step
 * n % EXERCISE_STEPS, and adds a field of its own:
 *
 *     0 INSERT {run, step: 0, s0}   4 INSERT {run, step: 4, s4}
 *     1 UPDATE {step: 1, s1}        5 UPDATE {step: 5, s5}
 *     2 UPDATE {step: 2, s2}        6 UPDATE {step: 6, s6}
 *     3 DELETE                      7 UPDATE {step: 7, s7}
 *
 * Therefore a whole record is {run, step: 7, s4, s5, s6, s7}: a lost
 * operation lacks its field, one that came late or once more after its
 * successors brings back a smaller step or a field from before the DELETE.
 */
#ifndef TIDEMILL_IPC_EXERCISE_H
#define TIDEMILL_IPC_EXERCISE_H

#include <stdint.h>

#define EXERCISE_TABLE "tidemill_probe"
#define EXERCISE_STEPS 8

#define EXERCISE_ID_SIZE   48
#define EXERCISE_DATA_SIZE 96

struct exercise_operation {
    const char *operation; /* INSERT, UPDATE or DELETE */
    char record_id[EXERCISE_ID_SIZE];
    char data[EXERCISE_DATA_SIZE]; /* "" of a DELETE */
};

void exercise_operation(int64_t run, int64_t number,
                        struct exercise_operation *operation);

/* One record that is whole by a single INSERT, for urgent operations; its
 * id is none of the others'. */
void exercise_whole(int64_t run, int64_t number,
                    struct exercise_operation *operation);

/* The ids of a run's records lie between these two. */
void exercise_bounds(int64_t run, char from[EXERCISE_ID_SIZE],
                     char to[EXERCISE_ID_SIZE]);

/* The data of a whole record. */
void exercise_whole_data(int64_t run, char data[EXERCISE_DATA_SIZE]);

#endif
