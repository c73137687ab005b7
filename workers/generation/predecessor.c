/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/predecessor.h"

#include <event2/event.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/shm/mapping.h"
#include "workers/generation/command_lock.h"

struct predecessor {
    struct event_base *base;
    const struct worker *worker;
    int lock_fd;
    struct event *event; /* of a pidfd; NULL: nobody is waited for */
    bool over;           /* nothing of it runs */
    void (*gone)(void *self);
    void *self;
};

static void forget(struct predecessor *predecessor)
{
    if (predecessor->event == NULL)
        return;
    close(event_get_fd(predecessor->event));
    event_free(predecessor->event);
    predecessor->event = NULL;
}

static void on_gone(evutil_socket_t fd, short what, void *self)
{
    struct predecessor *predecessor = self;
    (void)fd;
    forget(predecessor);
    if ((what & EV_TIMEOUT) != 0) {
        predecessor->over = true;
        log_warning("the guardian of a command of an earlier worker does not "
                    "end; not waiting for it any longer");
    }
    predecessor->gone(predecessor->self);
}

static int find(const struct predecessor *predecessor)
{
    const struct worker *worker = predecessor->worker;
    int holder = command_lock_holder(predecessor->lock_fd, worker->slot, 1);
    if (holder >= 0 || worker->slot != 0)
        return holder;
    return command_lock_holder(
        predecessor->lock_fd,
        scoreboard_pool_size(&worker->mapping->scoreboard, ROLE_GENERATION,
                             GENERATION_SLOTS_MAX),
        0);
}

bool predecessor_lives(struct predecessor *predecessor)
{
    const struct timeval most =
        clock_span(predecessor->worker->config->kill_grace_ms);
    if (predecessor->event != NULL)
        return true;
    int holder = predecessor->over ? -1 : find(predecessor);
    if (holder < 0) {
        predecessor->over = true; /* from now on it is our own guardian */
        return false;
    }
    predecessor->event =
        event_new(predecessor->base, holder, EV_READ, on_gone, predecessor);
    if (predecessor->event == NULL || event_add(predecessor->event, &most) != 0)
        log_warning("no memory to wait for a command of an earlier worker");
    else
        return true;
    if (predecessor->event == NULL)
        close(holder);
    forget(predecessor);
    return false;
}

struct predecessor *predecessor_new(struct event_base *base,
                                    const struct worker *worker, int lock_fd,
                                    void (*gone)(void *self), void *self)
{
    struct predecessor *predecessor = calloc(1, sizeof(*predecessor));
    if (predecessor != NULL)
        *predecessor = (struct predecessor){.base = base,
                                            .worker = worker,
                                            .lock_fd = lock_fd,
                                            .gone = gone,
                                            .self = self};
    return predecessor;
}

void predecessor_free(struct predecessor **predecessor)
{
    struct predecessor *old = *predecessor;
    *predecessor = NULL;
    if (old == NULL)
        return;
    forget(old);
    free(old);
}
