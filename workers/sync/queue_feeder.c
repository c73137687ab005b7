/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/queue_feeder.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/shm/mapping.h"
#include "common/shm/metrics.h"
#include "common/store/client.h"
#include "common/store/reader.h"
#include "workers/sync/backoff.h"
#include "workers/sync/queue_feeder_internal.h"

#define STORE_AGAIN_MS 500 /* after a refusal of the store */
#define BUSY_AGAIN_MS  100 /* for a connection of the budget */
#define CUT_LOOK_MS    250
#define ARENA_MAX      ((size_t)64 << 20)

/* --- when --- */

void queue_feeder_soon(struct queue_feeder *feeder, int64_t wait_ms)
{
    struct timeval wait = clock_span(wait_ms);
    event_add(feeder->timer, &wait);
}

int64_t queue_feeder_now_ms(void)
{
    return (int64_t)clock_monotonic_ms();
}

/* --- the line --- */

void queue_feeder_failed(struct queue_feeder *feeder,
                         const struct pg_answer *answer)
{
    if (!feeder->failed)
        feeder->why = answer->error;
    feeder->failed = true;
}

/* One answer, of the centre or of the store. */
void queue_feeder_settle(struct queue_feeder *feeder, unsigned *under_way)
{
    if (--*under_way == 0 && feeder->asks == 0 && feeder->calls == 0)
        queue_feeder_soon(feeder, 0);
}

/* Nothing is under way; tells of it once, and waits. */
static void line_failed(struct queue_feeder *feeder)
{
    const struct config *config = feeder->config;
    queue_line_close(feeder->line);
    feeder->failed = false;
    if (feeder->failures++ == 0)
        log_event(LOG_WARNING_LEVEL,
                  "the central queue cannot be reached; jobs that are held "
                  "go on",
                  LOG_TEXT("why", feeder->why.text));
    feeder->retry_at_ms =
        queue_feeder_now_ms() +
        backoff_delay_ms(config->sync_retry_base_ms,
                         queue_retry_most_ms(config->sync_retry_max_ms,
                                             config->central_lease_ms),
                         feeder->failures, jitter_next(&feeder->random));
}

static void on_opened(void *self, const struct pg_answer *answer)
{
    struct queue_feeder *feeder = self;
    if (answer->ok) {
        feeder->facts.reconciled = false;
        if (feeder->failures > 0)
            log_notice("the central queue is there again");
        feeder->failures = 0;
    } else {
        queue_feeder_failed(feeder, answer);
    }
    queue_feeder_settle(feeder, &feeder->asks);
}

static void line_open(struct queue_feeder *feeder)
{
    int64_t wait_ms = feeder->retry_at_ms - queue_feeder_now_ms();
    if (feeder->failures > 0 && wait_ms > 0) {
        queue_feeder_soon(feeder, wait_ms);
    } else if (queue_line_open(feeder->line, on_opened, feeder) != 0) {
        queue_feeder_soon(feeder, BUSY_AGAIN_MS);
    } else {
        feeder->asks++;
    }
}

/* --- what next --- */

static void rest(struct queue_feeder *feeder, int64_t wait_ms)
{
    queue_line_rest(feeder->line);
    queue_feeder_soon(feeder, wait_ms);
}

static bool workers_are_gone(const struct worker *worker)
{
    const struct scoreboard *board = &worker->mapping->scoreboard;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (atomic_load(&board->slots[i].role) == ROLE_GENERATION &&
            atomic_load(&board->slots[i].pid) != 0)
            return false;
    return true;
}

/* Whether the workers are gone is asked before what they left is read. */
static int gather_facts(struct queue_feeder *feeder, struct error *error)
{
    struct queue_facts *facts = &feeder->facts;
    facts->now_ms = queue_feeder_now_ms();
    facts->workers_gone = facts->leaving && workers_are_gone(feeder->worker);
    if (queue_leases_count(feeder->reader, &facts->held, &facts->over, error) !=
        0)
        return -1;
    return facts->leaving ? queue_leases_left(feeder->reader, &facts->unbegun,
                                              &facts->begun, error)
                          : 0;
}

/* What was not handed back by now is when its lease runs out. */
static void leave(struct queue_feeder *feeder)
{
    feeder->leaving = true;
    event_del(feeder->timer);
    feeder->over(feeder->over_self);
}

static void do_next(struct queue_feeder *feeder)
{
    struct error error;
    struct queue_plan plan;
    int status = gather_facts(feeder, &error);
    queue_plan_make(&feeder->facts, &plan);
    arena_reset(&feeder->arena);
    if (status == 0 && plan.step == QUEUE_GIVE_BACK)
        status = queue_ask_give_back(feeder, &error);
    else if (status == 0 && plan.step == QUEUE_HAND_BACK)
        status = queue_ask_hand_back(feeder, &error);
    else if (status == 0 && plan.step == QUEUE_LEAVE)
        leave(feeder);
    else if (status == 0 && plan.step == QUEUE_RENEW)
        status = queue_ask_renew(feeder, &error);
    else if (status == 0 && plan.step == QUEUE_REPORT)
        status = queue_ask_report(feeder, &error);
    else if (status == 0 && plan.step == QUEUE_LEASE)
        queue_ask_lease(feeder, plan.count);
    else if (status == 0)
        rest(feeder, plan.wait_ms);
    if (status != 0) {
        log_error("the central queue waits: %s", error.text);
        rest(feeder, STORE_AGAIN_MS);
    }
}

/* The store is opened anew for each of its lives. */
static bool reader_ready(struct queue_feeder *feeder)
{
    struct error error;
    if (feeder->reader != NULL || !store_link_connected(feeder->link))
        return feeder->reader != NULL;
    if (store_reader_open(&feeder->reader, feeder->config->state_dir, &error) ==
        0)
        return true;
    log_error("the central queue waits: %s", error.text);
    queue_feeder_soon(feeder, STORE_AGAIN_MS);
    return false;
}

/* Is there nothing left that a daemon which stops could do?  For a line that
 * is down nobody waits. */
static bool is_over(struct queue_feeder *feeder)
{
    struct error error;
    struct queue_facts *facts = &feeder->facts;
    if (!facts->leaving)
        return false;
    if (feeder->failures > 0 || queue_line_is_cut(feeder->line))
        return true;
    return !queue_line_is_open(feeder->line) && !facts->handed_back &&
           gather_facts(feeder, &error) == 0 && facts->held == 0;
}

static void turn(evutil_socket_t fd, short what, void *self)
{
    struct queue_feeder *feeder = self;
    (void)fd, (void)what;
    if (feeder->asks > 0 || feeder->calls > 0 || feeder->leaving ||
        !reader_ready(feeder))
        return;
    if (feeder->failed)
        line_failed(feeder);
    if (is_over(feeder)) {
        leave(feeder);
    } else if (queue_line_is_cut(feeder->line)) {
        queue_line_close(feeder->line);
        queue_feeder_soon(feeder, CUT_LOOK_MS);
    } else if (feeder->store_again_ms > queue_feeder_now_ms()) {
        rest(feeder, feeder->store_again_ms - queue_feeder_now_ms());
    } else if (!queue_line_is_open(feeder->line)) {
        line_open(feeder);
    } else {
        do_next(feeder);
    }
}

/* --- the store --- */

int queue_feeder_call(struct queue_feeder *feeder, struct store_call *calls,
                      size_t count, store_link_answer answer, void *self)
{
    struct error error;
    const struct store_request request = {calls, count};
    if (store_link_call(feeder->link, &request, answer, self, &error) == 0) {
        feeder->calls++;
        return 0;
    }
    log_event(LOG_WARNING_LEVEL, "the store takes no word of central jobs",
              LOG_TEXT("why", error.text));
    feeder->store_again_ms = queue_feeder_now_ms() + STORE_AGAIN_MS;
    return -1;
}

void queue_feeder_refused(struct queue_feeder *feeder,
                          const struct store_answer *answer)
{
    if (answer->code != ERROR_TRY_AGAIN)
        log_event(LOG_WARNING_LEVEL, "the store refused a central job",
                  LOG_TEXT("why", answer->text));
    feeder->store_again_ms = queue_feeder_now_ms() + STORE_AGAIN_MS;
}

/* --- from outside --- */

void queue_feeder_connected(struct queue_feeder *feeder)
{
    store_reader_close(&feeder->reader);
    /* It may be another store. */
    feeder->facts.reconciled = false;
    queue_feeder_soon(feeder, 0);
}

void queue_feeder_lost(struct queue_feeder *feeder)
{
    store_reader_close(&feeder->reader);
}

void queue_feeder_job_over(struct queue_feeder *feeder)
{
    if (feeder->asks == 0 && feeder->calls == 0)
        queue_feeder_soon(feeder, 0);
}

void queue_feeder_line_changed(struct queue_feeder *feeder)
{
    if (queue_line_is_cut(feeder->line)) {
        queue_line_close(feeder->line);
        feeder->asks = 0;
    }
    queue_feeder_soon(feeder, 0);
}

void queue_feeder_drain(struct queue_feeder *feeder, bool leaves,
                        void (*over)(void *self), void *self)
{
    feeder->over = over;
    feeder->over_self = self;
    feeder->facts.leaving = leaves;
    if (!leaves)
        leave(feeder);
    else if (feeder->asks == 0 && feeder->calls == 0)
        queue_feeder_soon(feeder, 0);
}

struct queue_feeder *queue_feeder_new(const struct worker *worker,
                                      struct event_base *base,
                                      struct store_link *link,
                                      struct error *error)
{
    struct queue_feeder *feeder = calloc(1, sizeof(*feeder));
    if (feeder == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for the central queue");
        return NULL;
    }
    feeder->worker = worker;
    feeder->config = worker->config;
    feeder->link = link;
    feeder->random = clock_monotonic_ns() ^ ((uint64_t)worker->spawn << 40);
    feeder->facts.most = worker->config->central_max_jobs;
    arena_init(&feeder->arena, ARENA_MAX);
    pg_array_init(&feeder->ids, PG_OID_INT8);
    pg_array_init(&feeder->tokens, PG_OID_INT8);
    feeder->timer = evtimer_new(base, turn, feeder);
    if (feeder->timer == NULL)
        error_set(error, ERROR_SYSTEM, "no memory for timers");
    else
        feeder->line = queue_line_new(worker, base, error);
    if (feeder->line == NULL)
        queue_feeder_free(&feeder);
    return feeder;
}

void queue_feeder_free(struct queue_feeder **feeder)
{
    if (*feeder == NULL)
        return;
    queue_line_free(&(*feeder)->line);
    store_reader_close(&(*feeder)->reader);
    if ((*feeder)->timer != NULL)
        event_free((*feeder)->timer);
    pg_array_deinit(&(*feeder)->ids);
    pg_array_deinit(&(*feeder)->tokens);
    arena_deinit(&(*feeder)->arena);
    free(*feeder);
    *feeder = NULL;
}
