/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/job_watch.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/shm/pool_board.h"

#define TELL_FIRST_MS 20
#define TELL_AGAIN_MS 100 /* a word may be lost, or not be wanted yet */

struct job_watch {
    struct event *event;
    struct pool_board *board;
    void (*tell)(void *self);
    void *self;
};

static void look_after(struct job_watch *watch, int ms)
{
    const struct timeval delay = {.tv_usec = ms * 1000};
    event_add(watch->event, &delay);
}

static void on_event(evutil_socket_t fd, short what, void *self)
{
    struct job_watch *watch = self;
    (void)fd, (void)what;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t since_ms = atomic_load(&watch->board->waiting_since_ms);
    if (since_ms == 0)
        return;
    if (now_ms < since_ms + TELL_FIRST_MS) {
        look_after(watch, (int)(since_ms + TELL_FIRST_MS - now_ms));
        return;
    }
    watch->tell(watch->self);
    look_after(watch, TELL_AGAIN_MS);
}

void job_watch_note(struct job_watch *watch, bool jobs_wait)
{
    if (!jobs_wait)
        pool_board_rest(watch->board);
    else if (pool_board_wait(watch->board, clock_monotonic_ms()) &&
             event_pending(watch->event, EV_TIMEOUT, NULL) == 0)
        look_after(watch, TELL_FIRST_MS);
}

struct job_watch *job_watch_new(struct event_base *base,
                                struct pool_board *board,
                                void (*tell)(void *self), void *self,
                                struct error *error)
{
    struct job_watch *watch = calloc(1, sizeof(*watch));
    if (watch != NULL) {
        watch->event = event_new(base, -1, 0, on_event, watch);
        watch->board = board;
        watch->tell = tell;
        watch->self = self;
    }
    if (watch == NULL || watch->event == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory to watch the queue of jobs");
        job_watch_free(&watch);
    }
    return watch;
}

void job_watch_free(struct job_watch **watch)
{
    struct job_watch *old = *watch;
    *watch = NULL;
    if (old == NULL)
        return;
    if (old->event != NULL)
        event_free(old->event);
    free(old);
}
