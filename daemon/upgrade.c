/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/upgrade.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/process_title.h"
#include "daemon/deadlines.h"
#include "daemon/master.h"
#include "daemon/reload.h"

#define WORDS_SIZE      (1 + ERROR_TEXT_MAX)
#define START_MARGIN_MS 2000

static void change_state(struct master *master, enum upgrade_state state,
                         int64_t bound_ms)
{
    struct upgrade *upgrade = &master->upgrade;
    upgrade->state = state;
    upgrade->deadline_ms =
        bound_ms == 0 ? 0 : clock_monotonic_ms() + (uint64_t)bound_ms;
    atomic_store(&master->mapping->daemon.upgrade_phase,
                 state == UPGRADE_NONE        ? UPGRADE_PHASE_NONE
                 : state == UPGRADE_PREPARING ? UPGRADE_PHASE_PREPARING
                                              : UPGRADE_PHASE_HANDING_OVER);
    deadlines_arm(master);
}

/* --- how it fails --- */

static void note_failure(struct master *master, enum error_code code,
                         const char *words)
{
    struct daemon_board *board = &master->mapping->daemon;
    log_event(LOG_ERROR_LEVEL,
              "the upgrade has failed; this daemon goes on serving",
              LOG_TEXT("error", words));
    daemon_board_set_upgrade_error(board, words);
    atomic_store(&board->upgrade_error_code, code);
    atomic_store(&board->upgrade_wall_ms, clock_wall_ms());
    atomic_fetch_add(&board->upgrade_failures, 1);
}

static void close_channel(struct upgrade *upgrade)
{
    if (upgrade->event != NULL)
        event_free(upgrade->event);
    if (upgrade->fd >= 0)
        close(upgrade->fd);
    upgrade->event = NULL;
    upgrade->fd = -1;
}

static void serve_again(struct master *master)
{
    struct upgrade *upgrade = &master->upgrade;
    struct error error;
    close_channel(upgrade);
    upgrade->pid = 0;
    change_state(master, UPGRADE_NONE, 0);
    if (master->stopping)
        return;
    if (pidfile_write(&master->pidfile, &error) != 0)
        trouble_note(master, TROUBLE_PIDFILE, &error);
    slots_fit_pools(master);
    master_say_status(master);
    if (upgrade->reload_waits) {
        upgrade->reload_waits = false;
        reload(master);
    }
}

/* The rest follows when the new master is reaped. */
static void give_up(struct master *master, enum error_code code,
                    const char *words)
{
    note_failure(master, code, words);
    change_state(master, UPGRADE_UNDOING, 0);
    kill(master->upgrade.pid, SIGKILL);
}

/* --- the channel --- */

static void begin_leaving(struct master *master);

static void hand_over(struct master *master)
{
    struct upgrade *upgrade = &master->upgrade;
    log_event(LOG_NOTICE_LEVEL, "handed over to the new master",
              LOG_INT("new_pid", upgrade->pid));
    master_tell(master, "MAINPID=%ld", (long)upgrade->pid);
    if (upgrade->reload_waits)
        kill(upgrade->pid, SIGHUP);
    upgrade->handed_over = true;
    master_end(master);
}

static void take_word(struct master *master, int status, const char *words)
{
    enum upgrade_state state = master->upgrade.state;
    if (status == STARTER_PREPARED && state == UPGRADE_PREPARING)
        begin_leaving(master);
    else if (status == 0 && state == UPGRADE_STARTING)
        hand_over(master);
    else if (status != 0 && status != STARTER_PREPARED)
        give_up(master, error_code_of_status(status), words);
    else
        give_up(master, ERROR_PROTOCOL,
                "the new master said what it may not say now");
}

/* One packet of the new master, words with a NUL.  1: there is one; 0: none
 * for now; -1: the end. */
static int receive(const struct upgrade *upgrade, char text[WORDS_SIZE + 1])
{
    ssize_t got = recv(upgrade->fd, text, WORDS_SIZE, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0)
        return -1;
    text[got] = '\0';
    return 1;
}

static void on_channel(evutil_socket_t fd, short what, void *self)
{
    struct master *master = self;
    struct upgrade *upgrade = &master->upgrade;
    char text[WORDS_SIZE + 1];
    (void)fd;
    (void)what;
    int result = receive(upgrade, text);
    if (result > 0 && upgrade->state != UPGRADE_UNDOING)
        take_word(master, (unsigned char)text[0], text + 1);
    if (result >= 0)
        return;
    /* SIGCHLD says how it ended; one that closed its end and lives is none
     * that we can talk to */
    event_del(upgrade->event);
    if (upgrade->state != UPGRADE_UNDOING)
        upgrade->deadline_ms =
            clock_monotonic_ms() + (uint64_t)master->config->kill_grace_ms;
    deadlines_arm(master);
}

/* --- starting it --- */

static char **environment_for(const struct master *master, char *upgrade_text,
                              char *notify_text, char *watchdog_text)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **copy = calloc(count + 4, sizeof(*copy));
    if (copy == NULL)
        return NULL;
    memcpy(copy, environ, count * sizeof(*copy));
    copy[count++] = upgrade_text;
    if (master->notify.fd >= 0)
        copy[count++] = notify_text;
    if (watchdog_text[0] != '\0')
        copy[count] = watchdog_text;
    return copy;
}

static _Noreturn void become(const struct program *program,
                             char *const *environment, const int fds[4])
{
    struct starter starter = {.fd = fds[0]};
    struct error error;
    for (int i = 0; i < 4; i++)
        fcntl(fds[i], F_SETFD, 0);
    execve(program->path, program->argv, environment);
    error_set_errno(&error, ERROR_SYSTEM, "cannot execute %s", program->path);
    starter_fail(&starter, &error);
    _exit(error_exit_status(ERROR_SYSTEM));
}

/* The signals that we block stay blocked, and pending, until the new
 * master reads them. */
static int start(struct master *master, int channel_fd, struct error *error)
{
    char upgrade_text[80];
    char notify_text[sizeof("NOTIFY_SOCKET=") + sizeof(struct sockaddr_un)];
    char watchdog_text[48];
    const int fds[4] = {channel_fd, master->listeners.store_fd,
                        master->listeners.control_fd, master->pidfile.fd};
    snprintf(upgrade_text, sizeof(upgrade_text),
             UPGRADE_VARIABLE "=%d %d %d %d %d", UPGRADE_PROTOCOL, fds[0],
             fds[1], fds[2], fds[3]);
    notify_variable(&master->notify, notify_text, sizeof(notify_text));
    notify_watchdog_variable(&master->notify, watchdog_text,
                             sizeof(watchdog_text));
    char **environment =
        environment_for(master, upgrade_text, notify_text, watchdog_text);
    if (environment == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for an environment");
    pid_t pid = fork();
    if (pid == 0)
        become(master->options->program, environment, fds);
    free(environment);
    if (pid < 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot fork");
    master->upgrade.pid = pid;
    return 0;
}

static int open_channel(struct master *master, struct error *error)
{
    struct upgrade *upgrade = &master->upgrade;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return error_set_errno(error, ERROR_SYSTEM,
                               "cannot make a pair of sockets");
    upgrade->fd = ends[0];
    upgrade->event = event_new(master->base, ends[0], EV_READ | EV_PERSIST,
                               on_channel, master);
    int result = 0;
    if (upgrade->event == NULL || event_add(upgrade->event, NULL) != 0)
        result = error_set(error, ERROR_SYSTEM, "no memory for an event");
    else
        result = start(master, ends[1], error);
    close(ends[1]);
    if (result != 0)
        close_channel(upgrade);
    return result;
}

void upgrade_begin(struct master *master)
{
    struct error error;
    if (master->stopping || master->upgrade.state != UPGRADE_NONE) {
        log_notice("not upgrading: the daemon is %s already",
                   master->stopping ? "stopping" : "being upgraded");
        return;
    }
    if (!master->ready) {
        note_failure(master, ERROR_TRY_AGAIN,
                     "the daemon is still starting; try again");
        return;
    }
    if (master->options->program == NULL) {
        note_failure(master, ERROR_SOFTWARE,
                     "this daemon does not know its own program");
        return;
    }
    if (open_channel(master, &error) != 0) {
        note_failure(master, error.code, error.text);
        return;
    }
    log_event(LOG_NOTICE_LEVEL, "upgrading: the new master is started",
              LOG_TEXT("program", master->options->program->path),
              LOG_INT("new_pid", master->upgrade.pid));
    process_title_set("tidemilld: master upgrading");
    master_tell(master, "STATUS=upgrading");
    change_state(master, UPGRADE_PREPARING, master->config->hello_timeout_ms);
}

/* --- handing over --- */

/* The store and the gateway serve until nobody else is left. */
static bool serves_others(const struct slot *slot)
{
    return slot->role == ROLE_STORE || slot->role == ROLE_GATEWAY;
}

static void drain(struct master *master, bool last)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &master->slots[i];
        if (serves_others(slot) != last)
            continue;
        slot->wanted = false;
        slot->outdated = false;
        slot->predecessor = NULL;
        slot_event(master, slot, SLOT_EVENT_DRAIN);
    }
}

static unsigned count_workers(const struct master *master, bool last)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        count += slot_has_worker(&master->slots[i]) &&
                 serves_others(&master->slots[i]) == last;
    return count;
}

static void begin_leaving(struct master *master)
{
    log_notice("the new master is prepared; the workers leave");
    change_state(master, UPGRADE_LEAVING, 0);
    drain(master, false);
    upgrade_advance(master);
}

static void say_begin(struct master *master)
{
    struct upgrade_word word = {
        .begin = 'B',
        .paused = atomic_load(&master->mapping->sync.paused) != 0};
    log_notice("the workers have left; the new master starts its own");
    /* it has its own deadline for its workers, and says why one failed */
    change_state(master, UPGRADE_STARTING,
                 master->config->hello_timeout_ms + START_MARGIN_MS);
    if (send(master->upgrade.fd, &word, sizeof(word),
             MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof(word))
        give_up(master, ERROR_IO, "the new master does not listen");
}

void upgrade_advance(struct master *master)
{
    if (count_workers(master, false) > 0)
        return;
    drain(master, true);
    if (count_workers(master, true) == 0)
        say_begin(master);
}

bool upgrade_is_leaving(const struct master *master)
{
    return master->upgrade.state == UPGRADE_LEAVING;
}

/* --- what else happens --- */

/* In its own last words, where it had some; that it was ready does not
 * count any more. */
static void note_death(struct master *master, int wait_status)
{
    char text[WORDS_SIZE + 1];
    while (receive(&master->upgrade, text) > 0) {
        int status = (unsigned char)text[0];
        if (status == 0 || status == STARTER_PREPARED)
            continue;
        note_failure(master, error_code_of_status(status), text + 1);
        return;
    }
    bool killed = WIFSIGNALED(wait_status);
    snprintf(text, sizeof(text), "the new master %s %d",
             killed ? "was killed by signal" : "exited with",
             killed ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
    note_failure(master, ERROR_SOFTWARE, text);
}

bool upgrade_reaped(struct master *master, pid_t pid, int wait_status)
{
    if (pid == 0 || pid != master->upgrade.pid)
        return false;
    if (master->upgrade.state != UPGRADE_UNDOING)
        note_death(master, wait_status);
    serve_again(master);
    return true;
}

void upgrade_check(struct master *master)
{
    struct upgrade *upgrade = &master->upgrade;
    if (upgrade->deadline_ms == 0 ||
        clock_monotonic_ms() < upgrade->deadline_ms)
        return;
    upgrade->deadline_ms = 0;
    give_up(master, ERROR_SOFTWARE,
            upgrade->state == UPGRADE_PREPARING
                ? "the new master was not prepared in time "
                  "(supervisor.hello_timeout)"
                : "the new master's workers were not ready in time "
                  "(supervisor.hello_timeout)");
}

bool upgrade_defers_reload(struct master *master)
{
    if (master->upgrade.state == UPGRADE_NONE)
        return false;
    log_notice("the configuration is read again after the upgrade");
    master->upgrade.reload_waits = true;
    return true;
}

/* The signal is blocked, and so kept, until the new master reads it. */
void upgrade_reopen_logs(const struct master *master)
{
    if (master->upgrade.pid != 0)
        kill(master->upgrade.pid, SIGUSR1);
}

void upgrade_abandon(struct master *master)
{
    enum upgrade_state state = master->upgrade.state;
    if (state == UPGRADE_NONE || state == UPGRADE_UNDOING)
        return;
    log_notice("the upgrade is given up");
    change_state(master, UPGRADE_UNDOING, 0);
    kill(master->upgrade.pid, SIGKILL);
}

void upgrade_deinit(struct master *master)
{
    close_channel(&master->upgrade);
}
