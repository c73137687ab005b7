/* SPDX-License-Identifier: Apache-2.0 */
#include "common/worker/worker_loop.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/process_title.h"
#include "common/config/config.h"
#include "common/ipc/messages.h"
#include "common/shm/mapping.h"

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif

#define DOWN_BYTES_MAX   4096
#define HEARTBEAT_MIN_MS 100

struct worker_loop {
    const struct worker *worker;
    struct worker_hooks hooks;
    void *self;
    struct event_base *base;
    struct event *down_event;
    struct event *term_event;
    struct event *heartbeat_event;
    struct slot_entry *entry;
    bool draining;
    bool left;
    bool busy_sent;
    enum worker_exit code;
    size_t down_size;
    unsigned char down_bytes[DOWN_BYTES_MAX];
};

/* --- signals --- */

/* A handler has no argument of ours: where TERM is reported, and by whom it
 * counts. */
static struct {
    int fd;
    pid_t master;
} term = {.fd = -1};

static void on_term(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    int saved = errno;
    if (term.fd >= 0 && (term.master == 0 || info->si_pid == term.master)) {
        uint64_t one = 1;
        ssize_t wrote = write(term.fd, &one, sizeof(one));
        (void)wrote; /* a counter that is full says the same */
    }
    errno = saved;
}

static void on_nothing(int number)
{
    (void)number;
}

static void set_signals(void)
{
    static const int without_effect[] = {SIGINT, SIGHUP, SIGPIPE, SIGUSR1,
                                         SIGUSR2};
    struct sigaction action = {.sa_handler = on_nothing,
                               .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(without_effect) / sizeof(int); i++)
        sigaction(without_effect[i], &action, NULL);
    action.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &action, NULL);
    action.sa_sigaction = on_term;
    action.sa_flags = SA_RESTART | SA_SIGINFO;
    sigaction(SIGTERM, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* --- beginning --- */

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void close_others(const struct worker *worker)
{
    int keep[] = {STDIN_FILENO,
                  STDOUT_FILENO,
                  STDERR_FILENO,
                  worker->down_fd,
                  worker->up_fd,
                  worker->store_listener,
                  worker->control_listener,
                  log_descriptor()};
    size_t count = sizeof(keep) / sizeof(keep[0]);
    qsort(keep, count, sizeof(keep[0]), compare_ints);
    int next = STDERR_FILENO + 1;
    for (size_t i = 0; i < count; i++) {
        if (keep[i] < next)
            continue;
        if (keep[i] > next)
            close_range((unsigned)next, (unsigned)keep[i] - 1, 0);
        next = keep[i] + 1;
    }
    close_range((unsigned)next, ~0u, 0);
}

/* The master may have died before we asked to be told. */
static int tie_to_master(pid_t master, struct error *error)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return error_set_errno(error, ERROR_SYSTEM,
                               "cannot ask for a signal when the master dies");
    if (master != 0 && getppid() != master)
        return error_set(error, ERROR_NOT_RUNNING, "the master is gone");
    return 0;
}

static int drop_rights(struct error *error)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return error_set_errno(error, ERROR_SYSTEM,
                               "cannot give up gaining privileges");
#ifndef UNDER_SANITIZER /* the leak checker must trace itself */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot become undumpable");
#endif
    return 0;
}

static void set_title(const struct worker_loop *loop, const char *state,
                      const char *what)
{
    const struct worker *worker = loop->worker;
    char slot[16] = "";
    if (role_has_pool(worker->role))
        snprintf(slot, sizeof(slot), "[%u]", worker->slot);
    process_title_set("tidemilld: %s%s %s%s%s", role_name(worker->role), slot,
                      state, what[0] == '\0' ? "" : " ", what);
}

static void set_state(struct worker_loop *loop, enum slot_state state)
{
    if (loop->draining)
        state = SLOT_DRAINING;
    atomic_store_explicit(&loop->entry->state_since_ms, clock_monotonic_ms(),
                          memory_order_relaxed);
    atomic_store_explicit(&loop->entry->state, state, memory_order_release);
}

/* A pool is full from when its last idle worker takes up work until one is
 * idle again. */
static void note_full(struct worker_loop *loop)
{
    const struct worker *worker = loop->worker;
    struct mapping *mapping = worker->mapping;
    if (role_has_pool(worker->role))
        pool_board_note_full(&mapping->pools[worker->role],
                             &mapping->scoreboard, worker->role,
                             clock_monotonic_ms());
}

static void beat(struct worker_loop *loop)
{
    atomic_store_explicit(&loop->entry->heartbeat_ms, clock_monotonic_ms(),
                          memory_order_relaxed);
}

static void on_heartbeat(evutil_socket_t fd, short what, void *self)
{
    struct worker_loop *loop = self;
    (void)fd;
    (void)what;
    beat(loop);
    log_tell_repeats(false);
}

static int send_up(struct worker_loop *loop, enum message_kind kind,
                   uint64_t number, const char *text, struct error *error)
{
    struct message message = {.kind = kind,
                              .pid = getpid(),
                              .spawn = loop->worker->spawn,
                              .number = number};
    snprintf(message.text, sizeof(message.text), "%s", text);
    return message_send(loop->worker->up_fd, &message, error);
}

/* The old file is compressed when everybody has let go of it. */
static void on_rotated(void *self)
{
    struct worker_loop *loop = self;
    struct error error;
    /* a message that is lost is made up for by the next rotation */
    if (send_up(loop, MESSAGE_LOG_ROTATED, 0, "", &error) != 0)
        atomic_store(&loop->worker->mapping->log.told, 0);
}

static void on_term_event(evutil_socket_t fd, short what, void *self)
{
    (void)fd;
    (void)what;
    worker_loop_leave(self, WORKER_EXIT_DRAINED);
}

static void on_down(evutil_socket_t fd, short what, void *self);

static int add_events(struct worker_loop *loop, struct error *error)
{
    const struct worker *worker = loop->worker;
    int64_t beat_ms = worker->config->heartbeat_timeout_ms / 3;
    if (beat_ms < HEARTBEAT_MIN_MS)
        beat_ms = HEARTBEAT_MIN_MS;
    struct timeval period = clock_span(beat_ms);
    struct event_config *options = event_config_new();
    if (options != NULL)
        event_config_set_flag(options, EVENT_BASE_FLAG_NOLOCK);
    loop->base = options == NULL ? NULL : event_base_new_with_config(options);
    if (options != NULL)
        event_config_free(options);
    if (loop->base == NULL)
        return error_set(error, ERROR_SYSTEM, "cannot make an event loop");
    loop->down_event = event_new(loop->base, worker->down_fd,
                                 EV_READ | EV_PERSIST, on_down, loop);
    loop->term_event = event_new(loop->base, term.fd, EV_READ | EV_PERSIST,
                                 on_term_event, loop);
    loop->heartbeat_event =
        event_new(loop->base, -1, EV_PERSIST, on_heartbeat, loop);
    if (loop->down_event == NULL || loop->term_event == NULL ||
        loop->heartbeat_event == NULL ||
        event_add(loop->down_event, NULL) != 0 ||
        event_add(loop->term_event, NULL) != 0 ||
        event_add(loop->heartbeat_event, &period) != 0)
        return error_set(error, ERROR_SYSTEM, "cannot add events to the loop");
    return 0;
}

static int begin(struct worker_loop *loop, struct error *error)
{
    const struct worker *worker = loop->worker;
    const struct log_hooks hooks = {
        .count = metric_count_log, .rotated = on_rotated, .self = loop};
    log_identify(role_name(worker->role),
                 role_has_pool(worker->role) ? (int)worker->slot : -1);
    log_share(&worker->mapping->log, worker->role, &hooks);
    metrics_use(&worker->mapping->metrics, worker->board_index);
    close_others(worker);
    term.master = atomic_load(&worker->mapping->daemon.master_pid);
    term.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (term.fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot make an eventfd");
    set_signals();
    if (tie_to_master(term.master, error) != 0 || drop_rights(error) != 0)
        return -1;
    fcntl(worker->down_fd, F_SETFL, O_NONBLOCK);
    fcntl(worker->up_fd, F_SETFL, O_NONBLOCK);
    set_title(loop, "starting", "");
    beat(loop);
    return add_events(loop, error);
}

struct worker_loop *worker_loop_new(const struct worker *worker,
                                    const struct worker_hooks *hooks,
                                    void *self, struct error *error)
{
    struct worker_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for the event loop");
        return NULL;
    }
    loop->worker = worker;
    loop->hooks = *hooks;
    loop->self = self;
    loop->code = WORKER_EXIT_FAILED;
    loop->entry = &worker->mapping->scoreboard.slots[worker->board_index];
    if (begin(loop, error) != 0)
        worker_loop_free(&loop);
    return loop;
}

void worker_loop_free(struct worker_loop **loop)
{
    struct worker_loop *old = *loop;
    *loop = NULL;
    if (old == NULL)
        return;
    if (old->down_event != NULL)
        event_free(old->down_event);
    if (old->term_event != NULL)
        event_free(old->term_event);
    if (old->heartbeat_event != NULL)
        event_free(old->heartbeat_event);
    if (old->base != NULL)
        event_base_free(old->base);
    if (term.fd >= 0)
        close(term.fd);
    term.fd = -1;
    log_share(&old->worker->mapping->log, old->worker->role, NULL);
    free(old);
}

struct event_base *worker_loop_base(struct worker_loop *loop)
{
    return loop->base;
}

/* --- up --- */

void worker_loop_ready(struct worker_loop *loop)
{
    struct error error;
    beat(loop);
    set_state(loop, SLOT_IDLE);
    set_title(loop, "idle", "");
    /* the pipe is empty at this point, or the master is gone */
    if (send_up(loop, MESSAGE_READY, 0, "", &error) != 0)
        worker_loop_leave(loop, WORKER_EXIT_MASTER_GONE);
}

/* The master looks at its next check by itself.  It is told of work only
 * when it must act before; what it was told of counts as its next check at
 * once, so that it is told once and not with each job until it has heard. */
static void tell_busy(struct worker_loop *loop, uint64_t work_id,
                      uint64_t deadline_ms)
{
    _Atomic uint64_t *next_ms = &loop->worker->mapping->daemon.next_check_ms;
    struct error error;
    if (deadline_ms == 0)
        return;
    uint64_t due_ms =
        deadline_ms + (uint64_t)loop->worker->config->kill_grace_ms;
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t known_ms = atomic_load(next_ms);
    if (due_ms >= known_ms ||
        send_up(loop, MESSAGE_BUSY, work_id, "", &error) != 0)
        return;
    loop->busy_sent = true;
    while (due_ms < known_ms &&
           !atomic_compare_exchange_weak(next_ms, &known_ms, due_ms))
        ;
}

void worker_loop_busy(struct worker_loop *loop, uint64_t work_id,
                      uint64_t deadline_ms, const char *what)
{
    struct slot_entry *entry = loop->entry;
    beat(loop);
    atomic_store(&entry->work_id, work_id);
    atomic_store(&entry->work_started_ms, clock_monotonic_ms());
    atomic_store(&entry->work_deadline_ms, deadline_ms);
    bool was_idle = atomic_load(&entry->state) == SLOT_IDLE;
    set_state(loop, SLOT_BUSY);
    if (was_idle)
        note_full(loop);
    set_title(loop, "busy", what);
    tell_busy(loop, work_id, deadline_ms);
}

void worker_loop_idle(struct worker_loop *loop)
{
    struct slot_entry *entry = loop->entry;
    struct error error;
    beat(loop);
    atomic_store(&entry->work_deadline_ms, 0);
    atomic_store(&entry->work_id, 0);
    if (atomic_load(&entry->state) == SLOT_BUSY)
        note_full(loop);
    set_state(loop, SLOT_IDLE);
    set_title(loop, "idle", "");
    if (loop->busy_sent && send_up(loop, MESSAGE_IDLE, 0, "", &error) == 0)
        loop->busy_sent = false;
}

void worker_loop_wait(struct worker_loop *loop, enum role pool)
{
    struct pool_board *board = &loop->worker->mapping->pools[pool];
    struct error error;
    if (atomic_exchange(&board->watched, 0) != 0 &&
        send_up(loop, MESSAGE_WAITING, pool, "", &error) != 0)
        atomic_store(&board->watched, 1);
}

void worker_loop_finished(struct worker_loop *loop)
{
    atomic_fetch_add_explicit(&loop->entry->finished, 1, memory_order_relaxed);
}

int worker_loop_request(struct worker_loop *loop, unsigned request,
                        const char *argument, struct error *error)
{
    if (request == REQUEST_NONE || request >= REQUEST_COUNT)
        return error_set(error, ERROR_USAGE, "no such request: %u", request);
    char text[MESSAGE_TEXT_MAX];
    const char *correlation = log_correlation();
    int size = snprintf(text, sizeof(text), "%s%s%s", argument,
                        correlation[0] != '\0' ? "\t" : "", correlation);
    if (size >= MESSAGE_TEXT_MAX)
        return error_set(error, ERROR_USAGE,
                         "the argument of the request is too long");
    return send_up(loop, MESSAGE_REQUEST, request, text, error);
}

void worker_loop_leave(struct worker_loop *loop, enum worker_exit code)
{
    if (loop->left)
        return;
    loop->left = true;
    loop->code = code;
    event_base_loopbreak(loop->base);
}

void worker_loop_fail(struct worker_loop *loop, enum worker_exit code,
                      const struct error *error)
{
    struct error ignored;
    log_error("%s", error->text);
    send_up(loop, MESSAGE_FAILED, error->code, error->text, &ignored);
    worker_loop_leave(loop, code);
}

/* --- down --- */

static void do_drain(struct worker_loop *loop, const struct message *message)
{
    loop->draining = true;
    set_state(loop, SLOT_DRAINING);
    set_title(loop, "draining", "");
    if (loop->hooks.drain != NULL)
        loop->hooks.drain(loop->self, message->number);
    else
        worker_loop_leave(loop, WORKER_EXIT_DRAINED);
}

static void do_stop(struct worker_loop *loop, const struct message *message)
{
    (void)message;
    worker_loop_leave(loop, WORKER_EXIT_DRAINED);
}

static void do_reopen_logs(struct worker_loop *loop,
                           const struct message *message)
{
    struct error error;
    (void)loop;
    (void)message;
    if (log_refresh(&error) != 0)
        log_error("%s; going on with the old one", error.text);
}

static void do_wake(struct worker_loop *loop, const struct message *message)
{
    (void)message;
    if (loop->hooks.wake != NULL)
        loop->hooks.wake(loop->self);
}

static void do_pause(struct worker_loop *loop, const struct message *message)
{
    (void)message;
    if (loop->hooks.pause != NULL)
        loop->hooks.pause(loop->self);
}

static void do_resume(struct worker_loop *loop, const struct message *message)
{
    (void)message;
    if (loop->hooks.resume != NULL)
        loop->hooks.resume(loop->self);
}

static void do_sync_now(struct worker_loop *loop, const struct message *message)
{
    if (loop->hooks.sync_now != NULL)
        loop->hooks.sync_now(loop->self, message->number);
}

typedef void (*down_action)(struct worker_loop *loop,
                            const struct message *message);

static const down_action down_actions[MESSAGE_KIND_COUNT] = {
    [MESSAGE_DRAIN] = do_drain,
    [MESSAGE_STOP] = do_stop,
    [MESSAGE_REOPEN_LOGS] = do_reopen_logs,
    [MESSAGE_WAKE] = do_wake,
    [MESSAGE_PAUSE] = do_pause,
    [MESSAGE_RESUME] = do_resume,
    [MESSAGE_SYNC_NOW] = do_sync_now,
};

static void dispatch(struct worker_loop *loop, const struct message *message)
{
    if (message->pid != getpid() || message->spawn != loop->worker->spawn)
        return; /* meant for a predecessor */
    down_actions[message->kind](loop, message);
}

/* Everything whole in down_bytes; -1 when it cannot be understood. */
static int take_messages(struct worker_loop *loop, struct error *error)
{
    struct message message;
    size_t used = 0;
    while (!loop->left) {
        int size =
            message_parse(loop->down_bytes + used, loop->down_size - used,
                          MESSAGE_DOWN, &message, error);
        if (size < 0)
            return -1;
        if (size == 0)
            break;
        used += (size_t)size;
        dispatch(loop, &message);
    }
    memmove(loop->down_bytes, loop->down_bytes + used, loop->down_size - used);
    loop->down_size -= used;
    return 0;
}

static void on_down(evutil_socket_t fd, short what, void *self)
{
    struct worker_loop *loop = self;
    struct error error;
    (void)what;
    beat(loop);
    ssize_t got = read(fd, loop->down_bytes + loop->down_size,
                       sizeof(loop->down_bytes) - loop->down_size);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        log_notice("the master is gone, leaving");
        worker_loop_leave(loop, WORKER_EXIT_MASTER_GONE);
        return;
    }
    loop->down_size += (size_t)got;
    if (take_messages(loop, &error) != 0)
        worker_loop_fail(loop, WORKER_EXIT_PROTOCOL, &error);
}

enum worker_exit worker_loop_run(struct worker_loop *loop)
{
    if (!loop->left && event_base_dispatch(loop->base) != 0 && !loop->left)
        loop->code = WORKER_EXIT_FAILED;
    set_title(loop, "leaving", "");
    log_tell_repeats(true);
    return loop->code;
}
