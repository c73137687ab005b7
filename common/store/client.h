/* SPDX-License-Identifier: Apache-2.0
 *
 * Asking the store, two ways:
 *
 * - struct store_session, blocking: for commands.  Through store.sock while
 *   the daemon runs; while it does not, by taking the store's lock and
 *   running the same statements with the writer.
 * - struct store_link, on an event base: for workers.  Many requests may be
 *   under way; answers come in order; a lost connection is made again and
 *   requests that were not answered are reported as ERROR_TRY_AGAIN.
 */
#ifndef TIDEMILL_STORE_CLIENT_H
#define TIDEMILL_STORE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/store/wire.h"

struct config;
struct event_base;

/* --- blocking --- */

struct store_session;

/* Waits up to timeout_ms while the daemon is starting or another command
 * holds the lock; ERROR_TRY_AGAIN then. */
int store_session_open(struct store_session **session,
                       const struct config *config, unsigned timeout_ms,
                       struct error *error);
void store_session_close(struct store_session **session);

/* The same for one request that may go to the spool (spool.h) while no
 * daemon runs: its results are not to be asked for, and there may be none.
 * Ends with store_session_close as well. */
int store_session_open_spooling(struct store_session **session,
                                const struct config *config,
                                unsigned timeout_ms, struct error *error);

/* For commands that read the store: when the spool holds something and no
 * daemon runs, has the store take it over.  Where that cannot be done now
 * the store is read without it, and the log says why. */
void store_spool_settle(const struct config *config);

/* True when there is no daemon and this process is the writer. */
bool store_session_is_direct(const struct store_session *session);

/* Runs one request.  0 when it was committed; -1 with the store's error
 * otherwise.  When the connection is lost before the answer the session
 * connects (or takes the lock) again and repeats the request when it
 * consists of statements that are safe to repeat (OUTBOX_APPEND and
 * JOB_SUBMIT with a token, HOOK_RECORD, DETAILS_FOLD); else ERROR_TRY_AGAIN "not known whether". */
int store_session_call(struct store_session *session,
                       const struct store_request *request,
                       struct arena *arena, struct store_answer *answer,
                       struct error *error);

/* Waits for a notification of these topics; subscribes when needed.
 * 0, or -1: ERROR_TRY_AGAIN after timeout_ms; not for a direct session. */
int store_session_wait(struct store_session *session, uint32_t topics,
                       unsigned timeout_ms, struct error *error);

/* A random number that is not 0, for OUTBOX_APPEND and JOB_SUBMIT. */
int64_t store_token(void);

/* --- on an event base --- */

struct store_link;

/* The answer is valid during the call only.  code is ERROR_TRY_AGAIN when
 * the connection was lost before an answer came. */
typedef void (*store_link_answer)(void *self,
                                  const struct store_answer *answer);

struct store_link_hooks {
    void (*connected)(void *self);             /* also after a reconnection */
    void (*notified)(void *self, uint32_t topics);
    void (*lost)(void *self);                  /* after the answers' calls */
};

/* Connects to socket_path and subscribes; tries again every 20 ms to 1 s
 * for ever while the store is away. */
struct store_link *store_link_new(struct event_base *base,
                                  const char *socket_path, uint32_t topics,
                                  const struct store_link_hooks *hooks,
                                  void *self, struct error *error);
void store_link_free(struct store_link **link);

bool store_link_connected(const struct store_link *link);

/* Sends a request; `answer` is called exactly once, never from within this
 * call.  -1 when it does not fit a frame or too much is under way. */
int store_link_call(struct store_link *link,
                    const struct store_request *request,
                    store_link_answer answer, void *self,
                    struct error *error);

#endif
