/* SPDX-License-Identifier: Apache-2.0
 *
 * What all workers share of their lives: the event loop, the pipes, the
 * heartbeat, the scoreboard entry, the title.  A role's main file is
 *
 *     struct worker_loop *loop = worker_loop_new(worker, &hooks, self, &e);
 *     ... open what the role needs, add events to worker_loop_base(loop) ...
 *     worker_loop_ready(loop);
 *     enum worker_exit code = worker_loop_run(loop);
 *     ... close ...
 *     worker_loop_free(&loop);
 *     return code;
 */
#ifndef TIDEMILL_IPC_WORKER_LOOP_H
#define TIDEMILL_IPC_WORKER_LOOP_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/ipc/worker_contract.h"

struct event_base;
struct worker_loop;

/* What a role does on a message; any may be NULL.  Without a drain hook
 * DRAIN leaves as soon as the loop turns. */
struct worker_hooks {
    /* Finish what is under way within bound_ms, then worker_loop_leave. */
    void (*drain)(void *self, uint64_t bound_ms);
    void (*wake)(void *self);
    void (*pause)(void *self);
    void (*resume)(void *self);
    void (*sync_now)(void *self, uint64_t ticket);
};

/* Closes every descriptor that is not the worker's, sets signals (TERM from
 * the master leaves at once, TERM from others and INT, HUP, PIPE, USR1, USR2
 * have no effect; all are handled, not ignored, so that a program that the
 * worker runs starts with the defaults), asks for SIGKILL when the master
 * dies, sets no_new_privs, is not dumpable, makes the event base, takes its
 * scoreboard entry, metrics and log identity. */
struct worker_loop *worker_loop_new(const struct worker *worker,
                                    const struct worker_hooks *hooks,
                                    void *self, struct error *error);
void worker_loop_free(struct worker_loop **loop);

struct event_base *worker_loop_base(struct worker_loop *loop);

/* Sends READY; the state becomes idle. */
void worker_loop_ready(struct worker_loop *loop);

/* Says what the worker works on, in the scoreboard and the title.  The
 * master reads the scoreboard when its next check is due, and hears BUSY
 * (and IDLE after it) only when the deadline comes before that: calling
 * these for each of thousands of jobs a second is cheap.  deadline_ms is
 * on the monotonic clock, 0 for none.  `what` is a short word for the
 * title ("job 17"). */
void worker_loop_busy(struct worker_loop *loop, uint64_t work_id,
                      uint64_t deadline_ms, const char *what);
void worker_loop_idle(struct worker_loop *loop);

/* Tells the master that work waits for the pool of that role since the time
 * on its board.  Only who puts it there may; a word that is lost is to be
 * said again while it waits. */
void worker_loop_wait(struct worker_loop *loop, enum role pool);

/* One piece of work was finished (resets crash back-off). */
void worker_loop_finished(struct worker_loop *loop);

/* Relays an operator's request to the master (the gateway's). */
int worker_loop_request(struct worker_loop *loop, unsigned request,
                        const char *argument, struct error *error);

/* Ends worker_loop_run with this code, once. */
void worker_loop_leave(struct worker_loop *loop, enum worker_exit code);

/* Says FAILED with the words, logs them, and leaves with the code. */
void worker_loop_fail(struct worker_loop *loop, enum worker_exit code,
                      const struct error *error);

enum worker_exit worker_loop_run(struct worker_loop *loop);

#endif
