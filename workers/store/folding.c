/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/folding.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/shm/metrics.h"
#include "common/store/writer.h"

#define ARENA_BYTES (1u << 20)
/* After a failure, which the log tells. */
#define PAUSE_MS 5000

struct folding {
    struct store_writer *writer;
    struct event *timer;
    struct arena arena;
    int64_t due_ms; /* wall clock; 0: nothing waits */
    int64_t not_before_ms;
    void (*wake)(void *self);
    void *self;
};

static bool is_due(const struct folding *folding)
{
    int64_t now = clock_wall_ms();
    return folding->due_ms != 0 && folding->due_ms <= now &&
           folding->not_before_ms <= now;
}

static void set_timer(struct folding *folding)
{
    int64_t due_ms = folding->due_ms > folding->not_before_ms
                         ? folding->due_ms
                         : folding->not_before_ms;
    int64_t left = due_ms - clock_wall_ms();
    /* A clock that jumps back makes it late by no more than this. */
    if (left > PAUSE_MS)
        left = PAUSE_MS;
    const struct timeval time = clock_span(left);
    event_add(folding->timer, &time);
}

void folding_look(struct folding *folding)
{
    folding->due_ms = store_writer_fold_due_ms(folding->writer);
    if (folding->due_ms == 0)
        event_del(folding->timer);
    else if (is_due(folding))
        folding->wake(folding->self);
    else
        set_timer(folding);
}

static void on_time(evutil_socket_t fd, short what, void *self)
{
    (void)fd;
    (void)what;
    folding_look(self);
}

static bool folding_wants(void *self)
{
    return is_due(self);
}

/* As a request of its own: when it fails it leaves no trace in the group. */
static int folding_contribute(void *self, struct store_writer *writer,
                              struct error *error)
{
    struct folding *folding = self;
    struct store_call call = {.statement = STATEMENT_DETAILS_FOLD,
                              .argument_count = 1,
                              .arguments = {value_integer(0)}};
    const struct store_request request = {&call, 1};
    struct store_answer answer;
    (void)error;
    arena_reset(&folding->arena);
    store_writer_run(writer, CALLER_STORE, &request, &folding->arena, &answer);
    if (answer.code == ERROR_NONE) {
        metric_add(METRIC_SUMMARIES_REPORTED,
                   (uint64_t)answer.results[0].changed);
        return 0;
    }
    log_error("detail was not folded into summaries; it is tried again: %s",
              answer.text);
    folding->not_before_ms = clock_wall_ms() + PAUSE_MS;
    return 0;
}

static void folding_settled(void *self, bool committed)
{
    (void)committed; /* the next look tells what is left */
    folding_look(self);
}

struct group_member folding_member(struct folding *folding)
{
    return (struct group_member){.wants = folding_wants,
                                 .contribute = folding_contribute,
                                 .settled = folding_settled,
                                 .self = folding};
}

struct folding *folding_new(struct event_base *base,
                            struct store_writer *writer,
                            void (*wake)(void *self), void *self,
                            struct error *error)
{
    struct folding *folding = calloc(1, sizeof(*folding));
    if (folding != NULL)
        folding->timer = event_new(base, -1, 0, on_time, folding);
    if (folding == NULL || folding->timer == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for folding");
        folding_free(&folding);
        return NULL;
    }
    arena_init(&folding->arena, ARENA_BYTES);
    folding->writer = writer;
    folding->wake = wake;
    folding->self = self;
    return folding;
}

void folding_free(struct folding **folding)
{
    struct folding *old = *folding;
    if (old == NULL)
        return;
    *folding = NULL;
    if (old->timer != NULL)
        event_free(old->timer);
    arena_deinit(&old->arena);
    free(old);
}
