/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/group_commit.h"

#include <event2/event.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/crash_point.h"
#include "common/base/log.h"
#include "common/shm/metrics.h"
#include "common/store/wire.h"
#include "common/store/writer.h"
#include "workers/store/connection.h"
#include "workers/store/gathering.h"
#include "workers/store/space.h"

#define ARENA_BYTES                                                            \
    (96u << 20) /* a request of 60,000 calls, and its answer                   \
                 */
#define IDLE_CHECK_MS  200
#define WAL_IDLE_BYTES (4 << 20)   /* a checkpoint when idle */
#define WAL_BUSY_BYTES (64 << 20)  /* begun anew in any case */
#define WAL_BUSY_LEAST (256 << 10) /* on a small or nearly full disk */
/* Readers, which are short, are waited for: the log must begin anew. */
#define WAL_LONG_BYTES (256 << 20)
#define WAL_WAIT_MS    100
#define DRAIN_TURN_MS  20

struct group_request {
    struct connection *connection;
    uint64_t number;
    unsigned operations; /* appended */
    bool refused;
};

struct group_commit {
    struct group_options options;
    struct connections *connections;
    struct event *finish_event; /* made active by the first request */
    struct event *again_event;  /* when a member wants more */
    struct event *idle_event;
    struct event *drained_event;
    struct arena arena;
    bool open;      /* begun at the writer */
    unsigned turns; /* bits of the members that had theirs in it */
    size_t bytes;
    unsigned count;
    unsigned callers; /* connections among the requests */
    struct gathering gathering;
    struct space *space;
    int64_t wal_stuck_bytes; /* length that readers kept it at; 0 none */
    uint64_t groups;         /* finished, and as of the last idle check */
    uint64_t groups_checked;
    void (*drained)(void *self);
    void *drained_self;
    struct group_request requests[GROUP_REQUESTS_MAX];
};

static const struct timeval no_time = {0};
static const struct timeval idle_time = {.tv_usec = IDLE_CHECK_MS * 1000};

/* --- requests --- */

/* Statements that change what others put there, not only add. */
static bool changes_others(enum statement statement)
{
    return statement == STATEMENT_SYNC_PAUSED ||
           statement == STATEMENT_DEAD_RETRY ||
           statement == STATEMENT_DEAD_DROP ||
           statement == STATEMENT_CONFLICT_RESOLVE;
}

static bool is_allowed(const struct connection *connection,
                       const struct store_request *request)
{
    if (connection->caller != CALLER_CLI || connection->uid == 0 ||
        connection->uid == geteuid())
        return true;
    for (size_t i = 0; i < request->call_count; i++)
        if (changes_others(request->calls[i].statement))
            return false;
    return true;
}

static bool appends(const struct store_call *call)
{
    const struct value *outcome = &call->arguments[3];
    return call->statement == STATEMENT_OUTBOX_APPEND ||
           call->statement == STATEMENT_HOOK_RECORD ||
           (call->statement == STATEMENT_JOB_FINISH &&
            (outcome->size != 5 || memcmp(outcome->bytes, "retry", 5) != 0));
}

static unsigned appended(const struct store_request *request)
{
    unsigned count = 0;
    for (size_t i = 0; i < request->call_count; i++)
        count += appends(&request->calls[i]);
    return count;
}

static int open_group(struct group_commit *group, struct error *error)
{
    if (!group->open) {
        if (store_writer_begin(group->options.writer, error) != 0)
            return -1;
        group->open = true;
    }
    return 0;
}

static void run_request(struct group_commit *group,
                        struct connection *connection,
                        const struct store_request *request,
                        struct store_answer *answer)
{
    static const char forbidden[] =
        "only root and the service's user may pause syncing or act on dead "
        "operations and conflicts: run the command as one of them, for "
        "example with sudo";
    struct error error;
    *answer =
        (struct store_answer){.code = ERROR_NOT_ALLOWED, .text = forbidden};
    if (!is_allowed(connection, request))
        return;
    if (space_admit(group->space, connection->caller, request, &error) != 0 ||
        open_group(group, &error) != 0) {
        const char *text = arena_strdup(&group->arena, error.text);
        *answer = (struct store_answer){.code = error.code,
                                        .text = text != NULL ? text : ""};
        if (error.code == ERROR_FULL && !space_is_short(group->space))
            space_met_full(group->space);
        return;
    }
    store_writer_run(group->options.writer, connection->caller, request,
                     &group->arena, answer);
}

static void put_answer(struct connection *connection, uint64_t number,
                       const struct store_answer *answer)
{
    static const struct store_answer too_large = {
        .code = ERROR_SOFTWARE,
        .text = "the answer is too large to be sent; the request was carried "
                "out"};
    wire_put_answer(&connection->out, number, answer);
    if (connection->out.failed) {
        connection->out.failed = false;
        wire_put_answer(&connection->out, number, &too_large);
    }
    if (connection->out.failed)
        connection_close(connection, "it does not read its answers");
}

static void finish_group(struct group_commit *group);

static void take_request(struct group_commit *group,
                         struct connection *connection,
                         const struct wire_frame *frame, size_t size)
{
    struct store_answer answer;
    if (group->count == 0)
        event_active(group->finish_event, EV_TIMEOUT, 0);
    group->callers += !connection->held;
    connection_hold(connection);
    run_request(group, connection, &frame->request, &answer);
    group->requests[group->count++] = (struct group_request){
        .connection = connection,
        .number = frame->number,
        .refused = answer.code != ERROR_NONE,
        .operations = answer.code == ERROR_NONE ? appended(&frame->request) : 0,
    };
    group->bytes += size;
    put_answer(connection, frame->number, &answer);
    if (group->count == GROUP_REQUESTS_MAX || group->bytes >= GROUP_BYTES_MAX)
        finish_group(group);
}

static void take_frame(struct group_commit *group,
                       struct connection *connection, const char *bytes,
                       size_t size)
{
    struct wire_frame frame;
    struct error error;
    arena_reset(&group->arena);
    if (wire_parse(bytes, size, &group->arena, &frame, &error) != 0)
        connection_close(connection, error.text);
    else if (frame.kind == WIRE_REQUEST)
        take_request(group, connection, &frame, size);
    else if (frame.kind == WIRE_SUBSCRIBE)
        connection_subscribe(connection, frame.topics);
    else
        connection_close(connection, "it sent an answer to the store");
}

/* More answers than it reads: it gets no more until it does. */
static bool is_behind(const struct connection *connection)
{
    return connection->stalled ||
           connection->out.size - connection->sent > CONNECTION_OUT_BYTES;
}

static void on_input(void *self, struct connection *connection)
{
    struct group_commit *group = self;
    const struct buffer *in = &connection->in;
    size_t at = 0;
    while (connection->fd >= 0) {
        if (is_behind(connection) && !connection->held)
            break;
        if (is_behind(connection)) {
            finish_group(group);
            continue;
        }
        int64_t size = wire_frame_size(in->bytes + at, in->size - at);
        if (size < 0)
            connection_close(connection, "a frame is too long or too short");
        if (size <= 0)
            break;
        take_frame(group, connection, in->bytes + at, (size_t)size);
        at += (size_t)size;
    }
    connection_used(connection, at);
}

/* --- commit --- */

static void warn_of_checkpoint(const struct error *error)
{
    log_warning("checkpoint of the local store: %s", error->text);
}

/* Under load, only when the log has grown far: it holds up the next group. */
static void restart_wal(struct group_commit *group, int64_t bytes)
{
    struct store_writer *writer = group->options.writer;
    struct error error;
    unsigned wait_ms = bytes > WAL_LONG_BYTES ? WAL_WAIT_MS : 0;
    if (store_writer_restart_wal(writer, wait_ms, &error) != 0)
        warn_of_checkpoint(&error);
    group->wal_stuck_bytes = store_writer_wal_length(writer);
    if (wait_ms > 0 && group->wal_stuck_bytes > 0)
        log_warning("the local store's log has %lld MB: a program that reads "
                    "the store keeps it from beginning anew; end that "
                    "program's transaction",
                    (long long)(group->wal_stuck_bytes >> 20));
}

/* The log takes no more than a quarter of what is left on the disk. */
static int64_t wal_bound(const struct group_commit *group, int64_t bytes)
{
    if (bytes <= WAL_BUSY_LEAST)
        return WAL_BUSY_LEAST;
    int64_t most = (space_free_bytes(group->space) + bytes) / 4;
    return most > WAL_BUSY_BYTES   ? WAL_BUSY_BYTES
           : most < WAL_BUSY_LEAST ? WAL_BUSY_LEAST
                                   : most;
}

static void look_after_wal(struct group_commit *group)
{
    struct store_writer *writer = group->options.writer;
    int64_t bytes = store_writer_wal_length(writer);
    int64_t most = wal_bound(group, bytes);
    if (bytes < group->wal_stuck_bytes)
        group->wal_stuck_bytes = 0;
    /* After one that readers kept, only when it has grown a good deal. */
    if (bytes > most && bytes > group->wal_stuck_bytes + most / 4)
        restart_wal(group, bytes);
    if (store_writer_wal_bytes(writer) > WAL_IDLE_BYTES &&
        event_pending(group->idle_event, EV_TIMEOUT, NULL) == 0) {
        group->groups_checked = group->groups;
        event_add(group->idle_event, &idle_time);
    }
}

static void checkpoint(struct group_commit *group)
{
    struct error error;
    if (store_writer_checkpoint(group->options.writer, &error) != 0)
        warn_of_checkpoint(&error);
}

static void on_idle(evutil_socket_t fd, short what, void *self)
{
    struct group_commit *group = self;
    (void)fd;
    (void)what;
    if (group->open)
        return; /* look_after_wal comes again */
    if (group->groups_checked != group->groups) {
        group->groups_checked = group->groups;
        event_add(group->idle_event, &idle_time);
        return;
    }
    if (store_writer_wal_bytes(group->options.writer) > WAL_IDLE_BYTES)
        checkpoint(group);
}

/* Nothing of the group is stored: its answers, which wait in the outputs,
 * become this error. */
static void answer_failure(struct group_commit *group,
                           const struct error *error)
{
    const struct store_answer answer = {.code = error->code,
                                        .text = error->text};
    for (unsigned i = 0; i < group->count; i++) {
        struct connection *connection = group->requests[i].connection;
        if (connection->fd >= 0)
            connection->out.size = connection->hold_at;
        group->requests[i].refused = true;
        group->requests[i].operations = 0;
    }
    for (unsigned i = 0; i < group->count; i++)
        if (group->requests[i].connection->fd >= 0)
            put_answer(group->requests[i].connection, group->requests[i].number,
                       &answer);
}

static void fail_group(struct group_commit *group, const struct error *error)
{
    store_writer_rollback(group->options.writer);
    log_error("a group of %u requests was not committed: %s", group->count,
              error->text);
    answer_failure(group, error);
    if (error->code == ERROR_FULL)
        space_met_full(group->space);
}

static int commit(struct group_commit *group)
{
    struct error error;
    uint64_t start_ns = clock_monotonic_ns();
    group->open = false;
    if (store_writer_commit(group->options.writer, &error) != 0) {
        fail_group(group, &error);
        return -1;
    }
    uint64_t took_ns = clock_monotonic_ns() - start_ns;
    CRASH_POINT(GROUP_COMMITTED);
    metric_add(METRIC_STORE_COMMITS, 1);
    metric_record_us(METRIC_STORE_COMMIT_SECONDS, took_ns / 1000);
    gathering_ended(&group->gathering, group->callers, took_ns);
    return 0;
}

static void count_group(struct group_commit *group)
{
    unsigned refused = 0;
    uint64_t operations = 0;
    for (unsigned i = 0; i < group->count; i++) {
        refused += group->requests[i].refused;
        operations += group->requests[i].operations;
    }
    metric_add(METRIC_STORE_REQUESTS, group->count);
    if (refused > 0)
        metric_add(METRIC_STORE_REFUSED, refused);
    if (operations > 0)
        metric_add(METRIC_OUTBOX_ACCEPTED, operations);
    struct store_totals totals = store_writer_totals(group->options.writer);
    metric_set(METRIC_OUTBOX_PENDING, totals.pending);
    metric_set(METRIC_OUTBOX_DEAD, totals.dead);
    metric_set(METRIC_OUTBOX_PARKED, totals.parked);
}

static void send_answers(struct group_commit *group, uint32_t topics)
{
    for (unsigned i = 0; i < group->count; i++)
        connection_release(group->requests[i].connection);
    if (topics != 0)
        connections_notify(group->connections, topics);
    for (unsigned i = 0; i < group->count; i++) {
        struct connection *connection = group->requests[i].connection;
        if (connection->fd >= 0 && connection->out.size > connection->sent)
            connection_flush(connection);
    }
    group->count = 0;
    group->callers = 0;
    group->bytes = 0;
}

static bool wants(const struct group_commit *group, unsigned i)
{
    const struct group_member *member = &group->options.members[i];
    bool had_turn = (group->turns >> i & 1) != 0;
    return group->drained == NULL && !space_is_short(group->space) &&
           (!had_turn || (member->goes_on && group->count == 0)) &&
           member->wants(member->self);
}

static bool members_want(const struct group_commit *group)
{
    for (unsigned i = 0; i < group->options.member_count; i++)
        if (wants(group, i))
            return true;
    return false;
}

static void let_members_add(struct group_commit *group)
{
    struct error error;
    for (unsigned i = 0; i < group->options.member_count; i++) {
        const struct group_member *member = &group->options.members[i];
        if (!wants(group, i))
            continue;
        if (open_group(group, &error) != 0) {
            log_error("no group for the store's own work: %s", error.text);
            break;
        }
        group->turns |= 1u << i;
        if (member->contribute(member->self, group->options.writer, &error) !=
            0) {
            group->open = false;
            fail_group(group, &error);
            break;
        }
    }
}

static void tell_members(struct group_commit *group, bool committed)
{
    unsigned turns = group->turns;
    group->turns = 0;
    for (unsigned i = 0; i < group->options.member_count; i++)
        if ((turns >> i & 1) != 0)
            group->options.members[i].settled(group->options.members[i].self,
                                              committed);
}

static void finish_group(struct group_commit *group)
{
    let_members_add(group);
    if (group->open && group->count == 0 && members_want(group)) {
        group_commit_wake(group);
        return; /* nobody waits: it grows */
    }
    bool committed = group->open && commit(group) == 0;
    count_group(group);
    send_answers(group,
                 committed ? store_writer_topics(group->options.writer) : 0);
    group->groups++;
    tell_members(group, committed);
    if (committed && group->options.committed != NULL)
        group->options.committed(group->options.self);
    look_after_wal(group);
    /* By a timer, so that the sockets have their turn between. */
    if (members_want(group))
        event_add(group->again_event, &no_time);
}

/* Those who are about to ask may need this processor for it; the timer gives
 * the sockets their turn. */
static bool waits_for_more(struct group_commit *group)
{
    if (group->count == 0 || group->drained != NULL ||
        !gathering_waits(&group->gathering, group->callers,
                         clock_monotonic_ns()))
        return false;
    sched_yield();
    event_add(group->finish_event, &no_time);
    return true;
}

static void on_finish(evutil_socket_t fd, short what, void *self)
{
    struct group_commit *group = self;
    (void)fd;
    (void)what;
    if (waits_for_more(group))
        return;
    if (group->count > 0 || group->open || members_want(group))
        finish_group(group);
}

void group_commit_wake(struct group_commit *group)
{
    if (event_pending(group->again_event, EV_TIMEOUT, NULL) == 0)
        event_add(group->again_event, &no_time);
}

void group_commit_load(const struct group_commit *group, unsigned *requests,
                       unsigned *added)
{
    *requests = group->count;
    *added = 0;
    for (unsigned i = 0; i < group->count; i++)
        *added += group->requests[i].operations;
}

static void on_space(void *self)
{
    group_commit_wake(self);
}

/* --- life --- */

static void on_drained(evutil_socket_t fd, short what, void *self)
{
    struct group_commit *group = self;
    (void)fd;
    (void)what;
    if (group->count > 0 || group->open)
        finish_group(group);
    if (store_writer_wal_bytes(group->options.writer) > 0)
        checkpoint(group);
    store_writer_told(group->options.writer,
                      connections_untold_ms(group->connections));
    group->drained(group->drained_self);
}

void group_commit_drain(struct group_commit *group, void (*drained)(void *self),
                        void *self)
{
    /* A moment for requests that stand in the sockets already: they are
     * answered before the store leaves. */
    static const struct timeval moment = {.tv_usec = DRAIN_TURN_MS * 1000};
    if (group->drained != NULL)
        return;
    group->drained = drained;
    group->drained_self = self;
    connections_stop_accepting(group->connections);
    event_add(group->drained_event, &moment);
}

struct group_commit *group_commit_new(const struct group_options *options,
                                      struct error *error)
{
    struct group_commit *group = calloc(1, sizeof(*group));
    if (group == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for group commit");
        return NULL;
    }
    group->options = *options;
    arena_init(&group->arena, ARENA_BYTES);
    group->finish_event = event_new(options->base, -1, 0, on_finish, group);
    group->again_event = event_new(options->base, -1, 0, on_finish, group);
    group->idle_event = event_new(options->base, -1, 0, on_idle, group);
    group->drained_event = event_new(options->base, -1, 0, on_drained, group);
    if (group->finish_event == NULL || group->again_event == NULL ||
        group->idle_event == NULL || group->drained_event == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for group commit");
        group_commit_free(&group);
        return NULL;
    }
    const struct space_options space = {.base = options->base,
                                        .writer = options->writer,
                                        .state_dir = options->state_dir,
                                        .recovered = on_space,
                                        .self = group};
    group->space = space_new(&space, error);
    if (group->space == NULL) {
        group_commit_free(&group);
        return NULL;
    }
    group->connections =
        connections_new(options->base, options->listener, options->scoreboard,
                        on_input, group, error);
    if (group->connections == NULL) {
        group_commit_free(&group);
        return NULL;
    }
    struct store_totals totals = store_writer_totals(options->writer);
    metric_set(METRIC_OUTBOX_PENDING, totals.pending);
    metric_set(METRIC_OUTBOX_DEAD, totals.dead);
    metric_set(METRIC_OUTBOX_PARKED, totals.parked);
    return group;
}

static void free_event(struct event *event)
{
    if (event != NULL)
        event_free(event);
}

void group_commit_free(struct group_commit **group)
{
    struct group_commit *gone = *group;
    if (gone == NULL)
        return;
    if (gone->open)
        store_writer_rollback(gone->options.writer);
    connections_free(&gone->connections);
    space_free(&gone->space);
    free_event(gone->finish_event);
    free_event(gone->again_event);
    free_event(gone->idle_event);
    free_event(gone->drained_event);
    arena_deinit(&gone->arena);
    free(gone);
    *group = NULL;
}
