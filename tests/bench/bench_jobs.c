/* SPDX-License-Identifier: Apache-2.0
 *
 * Submits jobs that are all the same, no-op ones by default, to a running
 * daemon and waits until all are done:
 *
 *     bench_jobs CONFIG COUNT [KIND SPEC]
 *
 * Prints jobs a second, from the first submission to the last job's end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/store/client.h"
#include "common/store/reader.h"

#define JOBS_PER_CALL 500

struct work {
    const char *kind, *spec;
};

static int submit(struct store_session *session, const struct work *work,
                  int count, struct error *error)
{
    static struct store_call calls[JOBS_PER_CALL];
    const struct store_request request = {calls, (size_t)count};
    struct store_answer answer;
    struct arena arena;
    for (int i = 0; i < count; i++)
        calls[i] = (struct store_call){
            .statement = STATEMENT_JOB_SUBMIT,
            .argument_count = 8,
            .arguments = {value_text(work->kind), value_integer(2),
                          value_text(work->spec), value_integer(0),
                          value_integer(clock_wall_ms()),
                          value_integer(store_token()), value_null(),
                          value_null()}};
    arena_init(&arena, 16u << 20);
    int result = store_session_call(session, &request, &arena, &answer, error);
    arena_deinit(&arena);
    return result;
}

/* Jobs that are not over, at most one: the partial indexes answer. */
static int left(struct store_reader *reader)
{
    sqlite3_stmt *row = NULL;
    int found = -1;
    if (sqlite3_prepare_v2(store_reader_db(reader),
                           "SELECT EXISTS (SELECT 1 FROM generation_jobs "
                           "WHERE state = 'queued') OR EXISTS (SELECT 1 FROM "
                           "generation_jobs WHERE state = 'claimed')",
                           -1, &row, NULL) == SQLITE_OK &&
        sqlite3_step(row) == SQLITE_ROW)
        found = sqlite3_column_int(row, 0);
    sqlite3_finalize(row);
    return found;
}

static int run(const struct config *config, const struct work *work, int count,
               struct error *error)
{
    struct store_session *session = NULL;
    struct store_reader *reader = NULL;
    if (store_session_open(&session, config, 10000, error) != 0 ||
        store_reader_open(&reader, config->state_dir, error) != 0)
        return -1;
    uint64_t start_ns = clock_monotonic_ns();
    for (int sent = 0; sent < count; sent += JOBS_PER_CALL)
        if (submit(session, work,
                   count - sent < JOBS_PER_CALL ? count - sent : JOBS_PER_CALL,
                   error) != 0)
            return -1;
    int more;
    while ((more = left(reader)) == 1)
        if (store_session_wait(session, TOPIC_JOB_OVER, 1000, error) != 0 &&
            error->code != ERROR_TRY_AGAIN)
            return -1;
    if (more != 0)
        return error_set(error, ERROR_IO, "cannot read the jobs");
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    printf("%.1f\n", count / seconds);
    store_reader_close(&reader);
    store_session_close(&session);
    return 0;
}

int main(int argc, char **argv)
{
    struct error error;
    struct buffer errors;
    if (argc != 3 && argc != 5) {
        fprintf(stderr, "usage: bench_jobs CONFIG COUNT [KIND SPEC]\n");
        return 64;
    }
    const struct work work = {.kind = argc == 5 ? argv[3] : "noop",
                              .spec = argc == 5 ? argv[4] : "{}"};
    buffer_init(&errors, 65536);
    const struct config_request request = {.path = argv[1]};
    struct config *config = config_load(&request, &errors);
    if (config == NULL) {
        fputs(errors.bytes, stderr);
        return 78;
    }
    int result = run(config, &work, atoi(argv[2]), &error);
    if (result != 0)
        fprintf(stderr, "bench_jobs: %s\n", error.text);
    config_free(&config);
    buffer_deinit(&errors);
    return result == 0 ? 0 : 1;
}
