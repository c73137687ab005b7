/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/retention.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/shm/metrics.h"
#include "common/store/writer.h"

#define ARENA_BYTES   (1u << 20)
#define BUSY_ROWS     16 /* and as many again as are added */
#define FIRST_MS      2000
#define STEP_PAUSE_MS 10 /* between the steps of an idle store */
#define PASS_MIN_MS   100
#define PASS_MAX_MS   60000
/* After a failure, which the log tells. */
#define FAILED_MS 60000

struct retention {
    struct retention_setup setup;
    struct event *timer;
    struct arena arena;
    int64_t keep_ms[EXPIRY_COUNT];
    bool due;  /* a step is wanted */
    bool idle; /* the last one was alone in its group */
    bool failed;
    unsigned expiry;  /* of the pass; EXPIRY_COUNT: between passes */
    int64_t from;     /* where its next step goes on */
    int64_t begun_ms; /* of the pass: one cutoff for all its steps */
};

unsigned retention_step_rows(unsigned requests, unsigned added)
{
    if (requests == 0)
        return EXPIRY_ROWS_MAX;
    unsigned rows = BUSY_ROWS + 2 * added;
    return rows < EXPIRY_ROWS_MAX ? rows : EXPIRY_ROWS_MAX;
}

int64_t retention_pause_ms(const int64_t keep_ms[EXPIRY_COUNT])
{
    int64_t shortest = 0;
    for (unsigned i = 0; i < EXPIRY_COUNT; i++)
        if (keep_ms[i] > 0 && (shortest == 0 || keep_ms[i] < shortest))
            shortest = keep_ms[i];
    int64_t pause = shortest / 10;
    return shortest == 0         ? 0
           : pause < PASS_MIN_MS ? PASS_MIN_MS
           : pause > PASS_MAX_MS ? PASS_MAX_MS
                                 : pause;
}

static void set_timer(struct retention *retention, int64_t ms)
{
    const struct timeval time = clock_span(ms);
    event_add(retention->timer, &time);
}

/* On to the next that is not kept for ever. */
static void next_expiry(struct retention *retention)
{
    retention->from = 0;
    do
        retention->expiry++;
    while (retention->expiry < EXPIRY_COUNT &&
           retention->keep_ms[retention->expiry] == 0);
}

static void on_time(evutil_socket_t fd, short what, void *self)
{
    struct retention *retention = self;
    (void)fd;
    (void)what;
    if (retention->expiry == EXPIRY_COUNT) {
        retention->begun_ms = clock_wall_ms();
        retention->expiry = (unsigned)-1;
        next_expiry(retention);
    }
    retention->due = true;
    retention->setup.wake(retention->setup.self);
}

static bool retention_wants(void *self)
{
    const struct retention *retention = self;
    return retention->due;
}

/* As a request of its own: when it fails it leaves no trace in the group. */
static int retention_contribute(void *self, struct store_writer *writer,
                                struct error *error)
{
    struct retention *retention = self;
    unsigned requests, added;
    (void)error;
    retention->setup.load(retention->setup.self, &requests, &added);
    int64_t cutoff_ms =
        retention->begun_ms - retention->keep_ms[retention->expiry];
    struct store_call call = {
        .statement = STATEMENT_EXPIRE,
        .argument_count = 4,
        .arguments = {value_integer(retention->expiry),
                      value_integer(cutoff_ms), value_integer(retention->from),
                      value_integer(retention_step_rows(requests, added))}};
    const struct store_request request = {&call, 1};
    struct store_answer answer;
    arena_reset(&retention->arena);
    store_writer_run(writer, CALLER_STORE, &request, &retention->arena,
                     &answer);
    retention->idle = requests == 0;
    retention->failed = answer.code != ERROR_NONE;
    if (retention->failed) {
        log_error("what is older than retention allows was not deleted; it is "
                  "tried again: %s",
                  answer.text);
        return 0;
    }
    retention->from = answer.results[0].values[0].integer;
    metric_add(METRIC_RETENTION_DELETED, (uint64_t)answer.results[0].changed);
    if (retention->from == 0)
        next_expiry(retention);
    return 0;
}

/* While requests come the next one rides with the next group. */
static void retention_settled(void *self, bool committed)
{
    struct retention *retention = self;
    if (!committed || retention->failed) {
        /* The pass begins anew: what it did may not be there. */
        retention->expiry = EXPIRY_COUNT;
        retention->due = false;
        set_timer(retention, FAILED_MS);
    } else if (retention->expiry == EXPIRY_COUNT) {
        retention->due = false;
        set_timer(retention, retention_pause_ms(retention->keep_ms));
    } else if (retention->idle) {
        retention->due = false;
        set_timer(retention, STEP_PAUSE_MS);
    }
}

struct group_member retention_member(struct retention *retention)
{
    return (struct group_member){.wants = retention_wants,
                                 .contribute = retention_contribute,
                                 .settled = retention_settled,
                                 .self = retention};
}

struct retention *retention_new(const struct retention_setup *setup,
                                struct error *error)
{
    struct retention *retention = calloc(1, sizeof(*retention));
    if (retention != NULL)
        retention->timer = event_new(setup->base, -1, 0, on_time, retention);
    if (retention == NULL || retention->timer == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for retention");
        retention_free(&retention);
        return NULL;
    }
    const int64_t keep_ms[EXPIRY_COUNT] = {
#define X(name, member) [EXPIRY_##name] = setup->config->member,
        EXPIRY_LIST(X)
#undef X
    };
    arena_init(&retention->arena, ARENA_BYTES);
    retention->setup = *setup;
    retention->expiry = EXPIRY_COUNT;
    for (unsigned i = 0; i < EXPIRY_COUNT; i++)
        retention->keep_ms[i] = keep_ms[i];
    int64_t pause_ms = retention_pause_ms(keep_ms);
    if (pause_ms > 0)
        set_timer(retention, pause_ms < FIRST_MS ? pause_ms : FIRST_MS);
    return retention;
}

void retention_free(struct retention **retention)
{
    struct retention *old = *retention;
    if (old == NULL)
        return;
    *retention = NULL;
    if (old->timer != NULL)
        event_free(old->timer);
    arena_deinit(&old->arena);
    free(old);
}
