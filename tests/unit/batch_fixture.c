/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/batch_fixture.h"

#include <sqlite3.h>
#include <unistd.h>

#include "common/base/clock.h"

/* --- a store in this process --- */

struct pending_answer {
    struct fixture *fixture;
    store_link_answer answer;
    void *self;
    struct arena arena;
    struct store_answer result;
};

static void store_run(struct fixture *fixture,
                      const struct store_request *request, struct arena *arena,
                      struct store_answer *answer)
{
    struct error error;
    assert_int_equal(store_writer_begin(fixture->writer, &error), 0);
    store_writer_run(fixture->writer, CALLER_SYNC | CALLER_CLI, request, arena,
                     answer);
    assert_int_equal(store_writer_commit(fixture->writer, &error), 0);
}

static void give_answer(evutil_socket_t fd, short what, void *self)
{
    struct pending_answer *pending = self;
    (void)fd;
    (void)what;
    bool lost = pending->result.code == ERROR_TRY_AGAIN;
    if (pending->fixture->pipeline != NULL) {
        pending->answer(pending->self, &pending->result);
        if (lost) {
            pipeline_lost(pending->fixture->pipeline);
            pipeline_connected(pending->fixture->pipeline, 1);
        }
    }
    arena_deinit(&pending->arena);
    free(pending);
}

static bool strikes(const struct fixture *fixture,
                    const struct store_request *request)
{
    for (size_t i = 0; i < request->call_count; i++)
        if (request->calls[i].statement == fixture->mood_statement)
            return fixture->store_mood != STORE_GOOD;
    return false;
}

static int store_call(void *store, const struct store_request *request,
                      store_link_answer answer, void *self, struct error *error)
{
    struct fixture *fixture = store;
    struct pending_answer *pending = calloc(1, sizeof(*pending));
    struct timeval now = {0, 0};
    (void)error;
    pending->fixture = fixture;
    pending->answer = answer;
    pending->self = self;
    arena_init(&pending->arena, 64 << 20);
    enum store_mood mood =
        strikes(fixture, request) ? fixture->store_mood : STORE_GOOD;
    if (mood == STORE_GOOD || mood == STORE_LOSES_ANSWER)
        store_run(fixture, request, &pending->arena, &pending->result);
    if (mood == STORE_FULL)
        pending->result =
            (struct store_answer){.code = ERROR_FULL, .text = "disk full"};
    else if (mood != STORE_GOOD)
        pending->result =
            (struct store_answer){.code = ERROR_TRY_AGAIN, .text = "lost"};
    if (mood != STORE_GOOD)
        fixture->store_mood = STORE_GOOD;
    event_base_once(fixture->base, -1, EV_TIMEOUT, give_answer, pending, &now);
    return 0;
}

/* --- hooks --- */

static size_t claim_size(void *self, bool ahead, size_t asked,
                         unsigned *least_important)
{
    struct fixture *fixture = self;
    (void)ahead;
    *least_important = 3;
    size_t left = fixture->budget > asked ? fixture->budget - asked : 0;
    return left < fixture->claim ? left : fixture->claim;
}

static void claimed(void *self, size_t got)
{
    struct fixture *fixture = self;
    fixture->budget =
        got == 0 || got > fixture->budget ? 0 : fixture->budget - got;
}

static void sending(void *self, const struct batch *batch)
{
    (void)self;
    assert_int_equal(batch->state, BATCH_READ);
}

static void too_large(void *self, int64_t bytes, int64_t operations)
{
    struct fixture *fixture = self;
    assert_true(bytes > 0 && operations > 1);
    fixture->too_large++;
    fixture->claim = 6;
}

static void applied(void *self, const struct batch *batch)
{
    (void)self;
    assert_int_equal(batch->state, BATCH_APPLIED);
}

static void settled(void *self, const struct batch *batch)
{
    (void)batch;
    ((struct fixture *)self)->settles++;
}

static void failed(void *self, const struct batch *batch,
                   const struct sink_result *result)
{
    struct fixture *fixture = self;
    (void)batch;
    assert_true(result->outcome == SINK_DOWN ||
                result->outcome == SINK_TRANSIENT);
    fixture->failures++;
    fixture->why = result->outcome;
    fixture->over = true;
    event_base_loopbreak(fixture->base);
}

static bool report(void *self, struct store_call *call)
{
    struct fixture *fixture = self;
    fixture->reports++;
    *call = (struct store_call){
        .statement = STATEMENT_SYNC_METRIC,
        .argument_count = 10,
        .arguments = {value_integer(clock_wall_ms()), value_integer(1),
                      value_integer(1), value_text("request"), value_integer(1),
                      value_null(), value_integer(1), value_integer(1),
                      value_integer(0), value_null()}};
    return true;
}

static void rested(void *self)
{
    struct fixture *fixture = self;
    fixture->rests++;
    fixture->over = true;
    event_base_loopbreak(fixture->base);
}

static struct store_reader *ready(void *self, size_t adopted_count,
                                  struct error *error)
{
    struct fixture *fixture = self;
    (void)error;
    fixture->adopted += (unsigned)adopted_count;
    return fixture->reader;
}

static void trouble(void *self, const struct error *error)
{
    (void)error;
    ((struct fixture *)self)->troubles++;
}

static void broken(void *self, const struct error *error)
{
    struct fixture *fixture = self;
    print_message("broken: %s\n", error->text);
    fixture->broken = true;
    fixture->over = true;
    event_base_loopbreak(fixture->base);
}

static const struct pipeline_hooks hooks = {.claim_size = claim_size,
                                            .claimed = claimed,
                                            .sending = sending,
                                            .too_large = too_large,
                                            .applied = applied,
                                            .failed = failed,
                                            .settled = settled,
                                            .report = report,
                                            .rested = rested,
                                            .ready = ready,
                                            .trouble = trouble,
                                            .broken = broken};

/* --- helpers --- */

void start_pipeline(struct fixture *fixture, uint32_t spawn)
{
    struct error error;
    fixture->terms = (struct batch_terms){.slot = 0,
                                          .spawn = spawn,
                                          .trigger = TRIGGER_REQUEST,
                                          .max_retries = 1,
                                          .retry_base_ms = 1,
                                          .retry_max_ms = 1,
                                          .random = &fixture->random};
    struct pipeline_setup setup = {.base = fixture->base,
                                   .hooks = &hooks,
                                   .self = fixture,
                                   .call = store_call,
                                   .store = fixture,
                                   .sink_methods = &memory_sink,
                                   .sink = fixture->sink,
                                   .terms = &fixture->terms,
                                   .memory_max = fixture->memory_max};
    fixture->pipeline = pipeline_new(&setup, &error);
    assert_non_null(fixture->pipeline);
    pipeline_connected(fixture->pipeline, 1);
}

static void no_more_waiting(evutil_socket_t fd, short what, void *self)
{
    (void)fd;
    (void)what;
    (void)self;
    fail_msg("nothing happened for 10 s");
}

/* Turns the loop until the pipeline rests, fails or breaks. */
void turn(struct fixture *fixture)
{
    struct timeval bound = {10, 0};
    struct event *watch = evtimer_new(fixture->base, no_more_waiting, fixture);
    event_add(watch, &bound);
    if (!fixture->over)
        event_base_dispatch(fixture->base);
    fixture->over = false;
    event_free(watch);
}

void carry(struct fixture *fixture, size_t claim, size_t budget)
{
    fixture->claim = claim;
    fixture->budget = budget;
    pipeline_start(fixture->pipeline);
    turn(fixture);
}

void append(struct fixture *fixture, const char *record_id, int64_t priority,
            const char *data)
{
    struct arena arena;
    struct store_answer answer;
    struct store_call call = {
        .statement = STATEMENT_OUTBOX_APPEND,
        .argument_count = 7,
        .arguments = {value_text("UPDATE"), value_text("things"),
                      value_text(record_id), value_text(data),
                      value_integer(priority), value_null(), value_integer(0)}};
    struct store_request request = {.calls = &call, .call_count = 1};
    arena_init(&arena, 64 << 20);
    store_run(fixture, &request, &arena, &answer);
    if (answer.code != ERROR_NONE)
        fail_msg("append: %s", answer.text);
    arena_deinit(&arena);
}

void append_many(struct fixture *fixture, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char record[32], data[64];
        snprintf(record, sizeof(record), "r%zu", i % 100);
        snprintf(data, sizeof(data), "{\"n\": %zu}", i);
        append(fixture, record, (int64_t)(i % 4), data);
    }
}

int64_t count_of(struct fixture *fixture, const char *sql)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(store_reader_db(fixture->reader), sql,
                                        -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return count;
}

int64_t pending_of(struct fixture *fixture)
{
    struct outbox_pending pending;
    struct error error;
    assert_int_equal(outbox_pending_read(fixture->reader, &pending, &error), 0);
    return pending.total;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

void assert_each_once(struct fixture *fixture, size_t count)
{
    struct sink *sink = fixture->sink;
    assert_int_equal(sink->applied_count, count);
    int64_t *sorted = malloc(count * sizeof(*sorted));
    memcpy(sorted, sink->applied, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), compare_ids);
    for (size_t i = 1; i < count; i++)
        assert_int_not_equal(sorted[i - 1], sorted[i]);
    free(sorted);
    assert_int_equal(pending_of(fixture), 0);
    assert_int_equal(count_of(fixture, "SELECT count(*) FROM sync_batches "
                                       "WHERE finished_ms IS NULL"),
                     0);
}

/* append_many gave the operation `id` to record (id - 1) % records. */
void assert_in_order(struct fixture *fixture, int64_t records)
{
    struct sink *sink = fixture->sink;
    int64_t last[100] = {0};
    for (size_t i = 0; i < sink->applied_count; i++) {
        int64_t record = (sink->applied[i] - 1) % records;
        assert_true(sink->applied[i] > last[record]);
        last[record] = sink->applied[i];
    }
}

int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct error error;
    fixture->memory_max = BATCH_MEMORY_MAX;
    strcpy(fixture->folder, "/tmp/tidemill-batch-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    if (store_writer_open(&fixture->writer, fixture->folder, "test", &error) !=
        0)
        fail_msg("%s", error.text);
    if (store_reader_open(&fixture->reader, fixture->folder, &error) != 0)
        fail_msg("%s", error.text);
    fixture->base = event_base_new();
    fixture->sink = memory_sink_new(fixture->base);
    *state = fixture;
    return 0;
}

int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    pipeline_free(&fixture->pipeline);
    memory_sink_free(&fixture->sink);
    /* Answers under way find no pipeline. */
    event_base_loop(fixture->base, EVLOOP_NONBLOCK);
    event_base_free(fixture->base);
    store_reader_close(&fixture->reader);
    store_writer_close(&fixture->writer);
    snprintf(command, sizeof(command), "rm -rf '%s'", fixture->folder);
    if (system(command) != 0)
        print_message("cannot remove %s\n", fixture->folder);
    free(fixture);
    return 0;
}
