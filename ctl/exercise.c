/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/exercise.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ipc/exercise.h"
#include "ctl/control.h"
#include "ctl/outbox.h"
#include "ctl/report.h"

#define ARENA_MAX          ((size_t)64 << 20)
#define APPEND_MOST        500 /* in one request */
#define ASK_TIMEOUT_MS     10000
#define INSPECT_TIMEOUT_MS 60000

int exercise_open(struct exercise *exercise, struct error *error)
{
    arena_init(&exercise->arena, ARENA_MAX);
    exercise->run = clock_wall_ms();
    if (store_session_open(&exercise->session, exercise->context->config,
                           SESSION_TIMEOUT_MS, error) != 0)
        return -1;
    if (store_session_is_direct(exercise->session))
        return error_set(error, ERROR_NOT_RUNNING,
                         "the daemon is not running; the exercise is its");
    return report_open(&exercise->reader, exercise->context->config, error);
}

void exercise_close(struct exercise *exercise)
{
    store_session_close(&exercise->session);
    store_reader_close(&exercise->reader);
    arena_deinit(&exercise->arena);
}

static int call_fill(struct exercise *exercise,
                     const struct exercise_operation *operation,
                     const char *priority, struct store_call *call,
                     struct error *error)
{
    struct exercise_operation *copy =
        arena_calloc(&exercise->arena, 1, sizeof(*copy));
    if (copy == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for operations");
    *copy = *operation;
    struct new_operation fields = {.operation = copy->operation,
                                   .operation_size = strlen(copy->operation),
                                   .table_name = EXERCISE_TABLE,
                                   .table_name_size = strlen(EXERCISE_TABLE),
                                   .record_id = copy->record_id,
                                   .record_id_size = strlen(copy->record_id),
                                   .data = copy->data[0] != '\0' ? copy->data
                                                                 : NULL,
                                   .data_size = strlen(copy->data),
                                   .priority = priority,
                                   .priority_size = strlen(priority)};
    return outbox_call(&fields, clock_wall_ms(), call, error);
}

static int calls_send(struct exercise *exercise, struct store_call *calls,
                      size_t count, struct error *error)
{
    const struct store_request request = {calls, count};
    struct store_answer answer;
    return store_session_call(exercise->session, &request, &exercise->arena,
                              &answer, error);
}

int exercise_append(struct exercise *exercise, int64_t target,
                    struct error *error)
{
    struct store_call calls[APPEND_MOST];
    struct exercise_operation operation;
    while (exercise->accepted < target) {
        size_t count = 0;
        arena_reset(&exercise->arena);
        while (count < APPEND_MOST &&
               exercise->accepted + (int64_t)count < target) {
            exercise_operation(exercise->run,
                               exercise->accepted + (int64_t)count, &operation);
            if (call_fill(exercise, &operation, "normal", &calls[count++],
                          error) != 0)
                return -1;
        }
        if (calls_send(exercise, calls, count, error) != 0)
            return -1;
        exercise->accepted += (int64_t)count;
    }
    return 0;
}

int exercise_append_urgent(struct exercise *exercise, struct error *error)
{
    struct exercise_operation operation;
    struct store_call call;
    arena_reset(&exercise->arena);
    exercise_whole(exercise->run, exercise->urgent, &operation);
    if (call_fill(exercise, &operation, "urgent", &call, error) != 0 ||
        calls_send(exercise, &call, 1, error) != 0)
        return -1;
    exercise->urgent++;
    exercise->urgent_sent_ms = clock_monotonic_ms();
    return 0;
}

int64_t exercise_expected(const struct exercise *exercise)
{
    return exercise->accepted / EXERCISE_STEPS + exercise->urgent;
}

int exercise_delete(struct exercise *exercise, struct error *error)
{
    struct exercise_operation operation;
    int64_t normal = exercise->accepted / EXERCISE_STEPS;
    for (int64_t i = 0; i < normal + exercise->urgent;) {
        struct store_call calls[APPEND_MOST];
        size_t count = 0;
        arena_reset(&exercise->arena);
        for (; count < APPEND_MOST && i < normal + exercise->urgent; i++) {
            if (i < normal)
                exercise_operation(exercise->run, i * EXERCISE_STEPS,
                                   &operation);
            else
                exercise_whole(exercise->run, i - normal, &operation);
            operation.operation = "DELETE";
            operation.data[0] = '\0';
            if (call_fill(exercise, &operation, "low", &calls[count++],
                          error) != 0)
                return -1;
        }
        if (calls_send(exercise, calls, count, error) != 0)
            return -1;
    }
    return 0;
}

int exercise_pending(struct exercise *exercise, int64_t *all, int64_t *urgent,
                     struct error *error)
{
    json_t *rows = report_rows(
        exercise->reader,
        "SELECT sum(pending) AS pending, sum(CASE priority WHEN 0 THEN "
        "pending ELSE 0 END) AS urgent FROM outbox_counts "
        "WHERE table_name = '" EXERCISE_TABLE "'",
        NULL, 0, error);
    if (rows == NULL)
        return -1;
    const json_t *row = json_array_get(rows, 0);
    *all = json_integer_value(json_object_get(row, "pending"));
    *urgent = json_integer_value(json_object_get(row, "urgent"));
    json_decref(rows);
    return 0;
}

static int ask_cut(struct exercise *exercise, int seconds, struct error *error)
{
    json_t *data = control_ask(exercise->context->config, CONTROL_SYNC_CUT,
                               json_pack("{s:i}", "seconds", seconds),
                               ASK_TIMEOUT_MS, error);
    json_decref(data);
    return data != NULL ? 0 : -1;
}

int exercise_cut(struct exercise *exercise, struct error *error)
{
    uint64_t now_ms = clock_monotonic_ms();
    if (exercise->cut && now_ms < exercise->renewed_ms + EXERCISE_RENEW_MS)
        return 0;
    exercise->cut = true; /* it may be, whatever the answer */
    exercise->renewed_ms = now_ms;
    return ask_cut(exercise, EXERCISE_LEASE_SECONDS, error);
}

int exercise_return(struct exercise *exercise, struct error *error)
{
    if (!exercise->cut)
        return 0;
    if (ask_cut(exercise, 0, error) != 0)
        return -1;
    exercise->cut = false;
    return 0;
}

int exercise_inspect(struct exercise *exercise, struct error *error)
{
    json_t *data =
        control_ask(exercise->context->config, CONTROL_SYNC_INSPECT,
                    json_pack("{s:I}", "run", (json_int_t)exercise->run),
                    INSPECT_TIMEOUT_MS, error);
    if (data == NULL)
        return -1;
    const json_t *records = json_object_get(data, "records");
    exercise->inspects = records != NULL;
    exercise->records = json_integer_value(records);
    exercise->complete = json_integer_value(json_object_get(data, "complete"));
    json_decref(data);
    return 0;
}
