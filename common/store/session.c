/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/store/client.h"
#include "common/store/spool.h"
#include "common/store/writer.h"

#define PAUSE_FIRST_MS       1
#define PAUSE_MOST_MS        50
#define READ_STEP_BYTES      16384
#define WAL_CHECKPOINT_BYTES (4 << 20)

struct store_session {
    const struct config *config;
    unsigned timeout_ms;
    struct store_writer *writer; /* NULL unless direct */
    struct store_lock spool;     /* held while a request may go there */
    bool may_spool;
    int fd;              /* -1 unless connected */
    uint64_t number;     /* of the last request */
    uint32_t subscribed; /* topics, on this connection */
    uint32_t notified;   /* topics told and not yet waited for */
    struct buffer out;
    struct buffer in;
    size_t used; /* bytes of `in` that the last answer was in */
};

int64_t store_token(void)
{
    int64_t token = 0;
    while (token == 0)
        if (getrandom(&token, sizeof(token), 0) != sizeof(token))
            token =
                (int64_t)(clock_monotonic_ns() ^ ((uint64_t)getpid() << 40));
    return token;
}

bool store_session_is_direct(const struct store_session *session)
{
    return session->writer != NULL;
}

/* --- finding the store --- */

static void disconnect(struct store_session *session)
{
    if (session->fd >= 0)
        close(session->fd);
    session->fd = -1;
    session->used = 0;
    session->subscribed = 0;
    buffer_reset(&session->in);
    buffer_reset(&session->out);
}

enum attempt {
    ATTEMPT_FAILED = -1,
    ATTEMPT_DONE,
    ATTEMPT_NOBODY,
    ATTEMPT_BUSY
};

static enum attempt connect_once(struct store_session *session,
                                 struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = snprintf(address.sun_path, sizeof(address.sun_path),
                        "%s/store.sock", session->config->runtime_dir);
    if (size < 0 || (size_t)size >= sizeof(address.sun_path))
        return (enum attempt)error_set(
            error, ERROR_CONFIG,
            "paths.runtime_dir %s is too long for a socket",
            session->config->runtime_dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return (enum attempt)error_set_errno(error, ERROR_SYSTEM,
                                             "cannot make a socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        session->fd = fd;
        return ATTEMPT_DONE;
    }
    int why = errno;
    close(fd);
    errno = why;
    if (why == ENOENT || why == ECONNREFUSED)
        return ATTEMPT_NOBODY;
    error_set_errno(error, why == EACCES ? ERROR_NOT_ALLOWED : ERROR_SYSTEM,
                    "cannot connect to the store at %s", address.sun_path);
    return why == EAGAIN || why == EINTR ? ATTEMPT_BUSY : ATTEMPT_FAILED;
}

/* NOBODY: the store must be opened.  What was asked for before may be in
 * the store already, which the spool cannot know. */
static enum attempt spool_once(struct store_session *session,
                               struct error *error)
{
    const struct config *config = session->config;
    if (!session->may_spool || session->number > 0)
        return ATTEMPT_NOBODY;
    if (store_lock_take(&session->spool, config->state_dir, error) != 0)
        return error->code == ERROR_TRY_AGAIN ? ATTEMPT_BUSY : ATTEMPT_FAILED;
    if (spool_is_usable(&session->spool, config->state_dir, config->system_id))
        return ATTEMPT_DONE;
    store_lock_leave(&session->spool);
    return ATTEMPT_NOBODY;
}

static enum attempt lock_once(struct store_session *session,
                              struct error *error)
{
    const struct config *config = session->config;
    if (store_writer_open(&session->writer, config->state_dir,
                          config->system_id, error) == 0) {
        store_writer_private(session->writer, session->number > 0);
        return store_writer_aggregates(
                   session->writer, config->aggregates, config->aggregate_count,
                   config->sync_aggregate_interval_ms,
                   config->sync_aggregate_events, error) == 0
                   ? ATTEMPT_DONE
                   : ATTEMPT_FAILED;
    }
    return error->code == ERROR_TRY_AGAIN ? ATTEMPT_BUSY : ATTEMPT_FAILED;
}

/* The daemon's socket first; without a daemon the lock; while somebody else
 * holds that (a daemon that starts, another command) both by turns. */
static int find_store(struct store_session *session, uint64_t deadline_ms,
                      struct error *error)
{
    unsigned pause_ms = PAUSE_FIRST_MS;
    for (;;) {
        enum attempt attempt = connect_once(session, error);
        if (attempt == ATTEMPT_NOBODY)
            attempt = spool_once(session, error);
        if (attempt == ATTEMPT_NOBODY)
            attempt = lock_once(session, error);
        if (attempt == ATTEMPT_DONE)
            return 0;
        if (attempt == ATTEMPT_FAILED)
            return -1;
        if (clock_monotonic_ms() >= deadline_ms) {
            error->code = ERROR_TRY_AGAIN;
            return error_prefix(error, "the store was not free within %u ms",
                                session->timeout_ms);
        }
        struct timespec pause = {.tv_nsec = pause_ms * 1000000L};
        nanosleep(&pause, NULL);
        pause_ms = pause_ms * 2 > PAUSE_MOST_MS ? PAUSE_MOST_MS : pause_ms * 2;
    }
}

static int session_open(struct store_session **session,
                        const struct config *config, unsigned timeout_ms,
                        bool may_spool, struct error *error)
{
    struct error unwanted;
    if (error == NULL)
        error = &unwanted;
    struct store_session *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for a session");
    made->config = config;
    made->timeout_ms = timeout_ms;
    made->fd = -1;
    made->spool.fd = -1;
    made->may_spool = may_spool;
    buffer_init(&made->out, WIRE_FRAME_MAX);
    buffer_init(&made->in, 2u * WIRE_FRAME_MAX);
    if (find_store(made, clock_monotonic_ms() + timeout_ms, error) != 0) {
        store_session_close(&made);
        return -1;
    }
    *session = made;
    return 0;
}

int store_session_open(struct store_session **session,
                       const struct config *config, unsigned timeout_ms,
                       struct error *error)
{
    return session_open(session, config, timeout_ms, false, error);
}

int store_session_open_spooling(struct store_session **session,
                                const struct config *config,
                                unsigned timeout_ms, struct error *error)
{
    return session_open(session, config, timeout_ms, true, error);
}

void store_spool_settle(const struct config *config)
{
    struct store_writer *writer = NULL;
    struct error error;
    if (!spool_is_filled(config->state_dir))
        return;
    if (store_writer_open(&writer, config->state_dir, config->system_id,
                          &error) == 0) {
        store_writer_private(writer, false);
        store_writer_close(&writer);
    } else if (error.code != ERROR_TRY_AGAIN) {
        log_warning("events that were recorded while no daemon ran cannot be "
                    "taken over now: %s",
                    error.text);
    }
}

void store_session_close(struct store_session **session)
{
    if (*session == NULL)
        return;
    disconnect(*session);
    store_lock_leave(&(*session)->spool);
    store_writer_close(&(*session)->writer);
    buffer_deinit(&(*session)->out);
    buffer_deinit(&(*session)->in);
    free(*session);
    *session = NULL;
}

/* --- talking over the socket --- */

enum talk { TALK_LOST = -1, TALK_DONE, TALK_TIMEOUT };

static enum talk wait_for(int fd, short events, uint64_t deadline_ms)
{
    for (;;) {
        uint64_t now = clock_monotonic_ms();
        uint64_t left = now < deadline_ms ? deadline_ms - now : 0;
        struct pollfd entry = {.fd = fd, .events = events};
        int ready = poll(&entry, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (ready > 0)
            return TALK_DONE;
        if (ready == 0)
            return TALK_TIMEOUT;
        if (errno != EINTR)
            return TALK_LOST;
    }
}

static enum talk send_out(struct store_session *session, uint64_t deadline_ms)
{
    size_t at = 0;
    while (at < session->out.size) {
        ssize_t sent = send(session->fd, session->out.bytes + at,
                            session->out.size - at, MSG_NOSIGNAL);
        if (sent > 0) {
            at += (size_t)sent;
            continue;
        }
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent == 0 || errno != EAGAIN)
            return TALK_LOST;
        enum talk talk = wait_for(session->fd, POLLOUT, deadline_ms);
        if (talk != TALK_DONE)
            return talk;
    }
    return TALK_DONE;
}

static enum talk receive_some(struct store_session *session,
                              uint64_t deadline_ms)
{
    enum talk talk = wait_for(session->fd, POLLIN, deadline_ms);
    if (talk != TALK_DONE)
        return talk;
    char *at = buffer_reserve(&session->in, READ_STEP_BYTES);
    if (at == NULL)
        return TALK_LOST;
    ssize_t got = recv(session->fd, at, READ_STEP_BYTES, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return TALK_DONE;
    if (got <= 0)
        return TALK_LOST;
    session->in.size += (size_t)got;
    return TALK_DONE;
}

/* Drops the bytes of the frame that was used last. */
static void forget_used(struct store_session *session)
{
    session->in.size -= session->used;
    memmove(session->in.bytes, session->in.bytes + session->used,
            session->in.size);
    session->used = 0;
}

/* One whole frame; it stays valid until the next call. */
static enum talk receive_frame(struct store_session *session,
                               struct arena *arena, struct wire_frame *frame,
                               uint64_t deadline_ms)
{
    if (session->used > 0)
        forget_used(session);
    for (;;) {
        int64_t size = wire_frame_size(session->in.bytes, session->in.size);
        if (size < 0)
            return TALK_LOST;
        if (size > 0) {
            session->used = (size_t)size;
            return wire_parse(session->in.bytes, session->used, arena, frame,
                              NULL) == 0
                       ? TALK_DONE
                       : TALK_LOST;
        }
        enum talk talk = receive_some(session, deadline_ms);
        if (talk != TALK_DONE)
            return talk;
    }
}

static enum talk talk_once(struct store_session *session,
                           const struct store_request *request,
                           struct arena *arena, struct store_answer *answer,
                           uint64_t deadline_ms)
{
    buffer_reset(&session->out);
    wire_put_request(&session->out, ++session->number, request);
    enum talk talk = send_out(session, deadline_ms);
    while (talk == TALK_DONE) {
        struct wire_frame frame;
        talk = receive_frame(session, arena, &frame, deadline_ms);
        if (talk != TALK_DONE)
            break;
        if (frame.kind == WIRE_NOTIFY) {
            session->notified |= frame.topics;
        } else if (frame.kind == WIRE_ANSWER &&
                   frame.number == session->number) {
            *answer = frame.answer;
            return TALK_DONE;
        }
    }
    return talk;
}

/* --- calls --- */

/* Where a statement has its token; 0: it has none. */
static size_t token_argument(unsigned statement)
{
    return statement == STATEMENT_OUTBOX_APPEND ? 6
           : statement == STATEMENT_JOB_SUBMIT  ? 5
                                                : 0;
}

static bool is_repeatable(const struct store_request *request)
{
    for (size_t i = 0; i < request->call_count; i++) {
        const struct store_call *call = &request->calls[i];
        size_t token = token_argument(call->statement);
        bool has_token = token != 0 && call->argument_count > token &&
                         call->arguments[token].integer != 0;
        if (!has_token && call->statement != STATEMENT_HOOK_RECORD &&
            call->statement != STATEMENT_DETAILS_FOLD)
            return false;
    }
    return true;
}

static int refuse(const struct store_answer *answer, struct error *error)
{
    return error_set(error, answer->code, "%s", answer->text);
}

static int call_directly(struct store_session *session,
                         const struct store_request *request,
                         struct arena *arena, struct store_answer *answer,
                         struct error *error)
{
    struct store_writer *writer = session->writer;
    if (store_writer_begin(writer, error) != 0)
        return -1;
    store_writer_run(writer, CALLER_CLI, request, arena, answer);
    if (answer->code != ERROR_NONE) {
        store_writer_rollback(writer);
        return refuse(answer, error);
    }
    if (store_writer_commit(writer, error) != 0)
        return -1;
    /* The row is durable: a checkpoint that fails is the next one's. */
    if (store_writer_wal_bytes(writer) > WAL_CHECKPOINT_BYTES)
        store_writer_checkpoint(writer, NULL);
    return 0;
}

/* 0, -1, or 1 when the store must be opened for it. */
static int call_spool(struct store_session *session,
                      const struct store_request *request,
                      struct store_answer *answer, struct error *error)
{
    int result = spool_append(session->config->state_dir, request, error);
    *answer = (struct store_answer){.text = ""};
    if (result > 0) {
        session->may_spool = false;
        store_lock_leave(&session->spool);
    }
    return result;
}

static int check_fits(struct store_session *session,
                      const struct store_request *request, struct error *error)
{
    if (session->writer != NULL || session->spool.fd >= 0)
        return 0;
    buffer_reset(&session->out);
    wire_put_request(&session->out, session->number, request);
    if (!session->out.failed)
        return 0;
    return error_set(error, ERROR_DATA,
                     "a request of %zu operations is too large: at most %u "
                     "MiB and %u operations travel together; send fewer",
                     request->call_count, WIRE_FRAME_MAX >> 20, WIRE_CALLS_MAX);
}

static int no_answer(const struct store_session *session, enum talk talk,
                     struct error *error)
{
    if (talk == TALK_TIMEOUT)
        return error_set(error, ERROR_TRY_AGAIN,
                         "the store did not answer within %u ms; it is not "
                         "known whether the request was carried out; see "
                         "`tidemill status`",
                         session->timeout_ms);
    return error_set(error, ERROR_TRY_AGAIN,
                     "the connection to the store was lost before its "
                     "answer; it is not known whether the request was "
                     "carried out");
}

int store_session_call(struct store_session *session,
                       const struct store_request *request, struct arena *arena,
                       struct store_answer *answer, struct error *error)
{
    struct error unwanted;
    if (error == NULL)
        error = &unwanted;
    uint64_t deadline_ms = clock_monotonic_ms() + session->timeout_ms;
    if (check_fits(session, request, error) != 0)
        return -1;
    for (;;) {
        if (session->writer != NULL)
            return call_directly(session, request, arena, answer, error);
        if (session->spool.fd >= 0) {
            int result = call_spool(session, request, answer, error);
            if (result <= 0)
                return result;
        }
        enum talk talk = TALK_LOST;
        if (session->fd >= 0)
            talk = talk_once(session, request, arena, answer, deadline_ms);
        if (talk == TALK_DONE)
            return answer->code == ERROR_NONE ? 0 : refuse(answer, error);
        bool sent = session->fd >= 0;
        disconnect(session);
        if ((sent && !is_repeatable(request)) ||
            clock_monotonic_ms() >= deadline_ms)
            return no_answer(session, talk, error);
        if (find_store(session, deadline_ms, error) != 0)
            return -1;
    }
}

static int subscribe(struct store_session *session, uint32_t topics,
                     uint64_t deadline_ms, struct error *error)
{
    if ((session->subscribed & topics) == topics)
        return 0;
    buffer_reset(&session->out);
    wire_put_subscribe(&session->out, session->subscribed | topics);
    if (send_out(session, deadline_ms) != TALK_DONE) {
        disconnect(session);
        return error_set(error, ERROR_TRY_AGAIN,
                         "the connection to the store was lost");
    }
    session->subscribed |= topics;
    return 0;
}

int store_session_wait(struct store_session *session, uint32_t topics,
                       unsigned timeout_ms, struct error *error)
{
    if (session->writer != NULL)
        return error_set(error, ERROR_NOT_RUNNING,
                         "no daemon runs, so there is nothing to wait for");
    uint64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    if (session->fd < 0 && find_store(session, deadline_ms, error) != 0)
        return -1;
    if (session->writer != NULL)
        return store_session_wait(session, topics, timeout_ms, error);
    if (subscribe(session, topics, deadline_ms, error) != 0)
        return -1;
    struct arena arena;
    arena_init(&arena, 4u * WIRE_FRAME_MAX);
    enum talk talk = TALK_DONE;
    while (talk == TALK_DONE && (session->notified & topics) == 0) {
        struct wire_frame frame;
        talk = receive_frame(session, &arena, &frame, deadline_ms);
        if (talk == TALK_DONE && frame.kind == WIRE_NOTIFY)
            session->notified |= frame.topics;
        arena_reset(&arena);
    }
    arena_deinit(&arena);
    if (talk == TALK_DONE) {
        session->notified &= ~topics;
        return 0;
    }
    if (talk == TALK_LOST)
        disconnect(session);
    return error_set(error, ERROR_TRY_AGAIN,
                     talk == TALK_LOST ? "the connection to the store was lost"
                                       : "nothing was notified within %u ms",
                     timeout_ms);
}
