/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/supervisor_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/ipc/messages.h"
#include "common/worker/worker_loop.h"
#include "daemon/master.h"

/* The one supervisor under test; inherited by master and workers. */
static struct supervisor *current;

/* --- a configuration without files --- */

static struct config *make_config(void)
{
    struct config *config = calloc(1, sizeof(*config));
    if (config == NULL)
        abort();
    arena_init(&config->arena, 65536);
    config->path = "test";
    config->system_user = "";
    config->command_cgroup = "none";
    config->system_id = "host";
    config->state_dir = current->folder;
    config->runtime_dir = current->folder;
    config->log_dir = current->folder;
    config->sync_sqlite_path = "";
    config->control_mode = 0600;
    config->shutdown_timeout_ms = 1500;
    config->hello_timeout_ms = 1500;
    config->heartbeat_timeout_ms = 2500;
    config->kill_grace_ms = 100;
    config->crash_limit = 3;
    config->crash_window_ms = 3000;
    config->generation_enabled = true;
    config->generation_max_workers =
        atomic_load(&current->plan->generation_workers);
    config->generation_min_workers = config->generation_max_workers;
    config->sync_enabled = true;
    config->sync_min_workers = 1;
    config->sync_max_workers = 1;
    config->monitoring_enabled = true;
    config->log_level = 4;
    config->log_format = 1;
    return config;
}

struct config *config_load(const struct config_request *request,
                           struct buffer *errors)
{
    (void)request;
    if (atomic_load(&current->plan->reload_bad)) {
        buffer_append_text(errors, "test:1:1: bad; mend it\n");
        return NULL;
    }
    return make_config();
}

void config_free(struct config **config)
{
    if (*config != NULL)
        arena_deinit(&(*config)->arena);
    free(*config);
    *config = NULL;
}

unsigned config_diff(const struct config *before, const struct config *after,
                     struct buffer *pending)
{
    (void)before;
    (void)after;
    (void)pending;
    return atomic_load(&current->plan->reload_cost);
}

void config_hide_secrets(const struct config *config)
{
    (void)config;
}

char *config_runtime_path(const struct config *config, const char *name,
                          char *text, size_t room)
{
    snprintf(text, room, "%s/%s", config->runtime_dir, name);
    return text;
}

char *config_log_path(const struct config *config, const char *name, char *text,
                      size_t room)
{
    snprintf(text, room, "%s/%s", config->log_dir, name);
    return text;
}

/* --- a role that behaves as the plan says --- */

struct actor {
    const struct worker *worker;
    struct worker_loop *loop;
    enum behaviour behaviour;
};

static void note(struct actor *actor)
{
    atomic_fetch_add(&current->plan->messages[actor->worker->role], 1);
}

static void on_drain(void *self, uint64_t bound_ms)
{
    struct actor *actor = self;
    (void)bound_ms;
    note(actor);
    if (actor->behaviour != KEEPS_ON)
        worker_loop_leave(actor->loop, WORKER_EXIT_DRAINED);
}

static void on_pause(void *self)
{
    note(self);
}

static void on_sync_now(void *self, uint64_t ticket)
{
    note(self);
    atomic_store(&current->plan->last_ticket, ticket);
}

static _Noreturn void spin(void)
{
    for (volatile unsigned i = 0;; i++)
        if (i % 1000000 == 0)
            sched_yield();
}

static void flood(const struct actor *actor)
{
    struct message message = {
        .kind = MESSAGE_IDLE, .pid = getpid(), .spawn = actor->worker->spawn};
    struct error error;
    for (;;)
        if (message_send(actor->worker->up_fd, &message, &error) != 0)
            sched_yield();
}

static _Noreturn void sleep_for_good(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (;;)
        pause();
}

static _Noreturn void read_nothing(const struct actor *actor)
{
    struct slot_entry *entry =
        &actor->worker->mapping->scoreboard.slots[actor->worker->board_index];
    for (;; usleep(10000))
        atomic_store(&entry->heartbeat_ms, clock_monotonic_ms());
}

/* The child ends when nobody reads the pipe any more. */
static void fork_flood(const struct actor *actor)
{
    struct message message = {
        .kind = MESSAGE_IDLE, .pid = getpid(), .spawn = actor->worker->spawn};
    struct error error;
    if (fork() != 0)
        return;
    close(actor->worker->down_fd);
    while (message_send(actor->worker->up_fd, &message, &error) == 0 ||
           error.code == ERROR_TRY_AGAIN)
        sched_yield();
    _exit(0);
}

static void write_garbage(const struct actor *actor)
{
    static const char garbage[] = "this is no message at all, whatever it is";
    ssize_t wrote = write(actor->worker->up_fd, garbage, sizeof(garbage));
    (void)wrote;
}

static void work_quickly(const struct actor *actor)
{
    for (unsigned i = 1; i <= 20000; i++) {
        worker_loop_busy(actor->loop, i, clock_monotonic_ms() + 200, "job");
        worker_loop_finished(actor->loop);
        worker_loop_idle(actor->loop);
    }
}

static void misbehave(struct actor *actor)
{
    struct error error;
    switch (actor->behaviour) {
    case SPINS:
        spin();
    case FLOODS:
        flood(actor);
        break;
    case SLEEPS:
        sleep_for_good();
    case READS_NOTHING:
        read_nothing(actor);
    case FORKS:
        fork_flood(actor);
        break;
    case WRITES_GARBAGE:
        write_garbage(actor);
        break;
    case WORKS_FOR_EVER:
        worker_loop_busy(actor->loop, 4711, clock_monotonic_ms() + 100,
                         "job 4711");
        break;
    case WORKS_QUICKLY:
        work_quickly(actor);
        break;
    case FALSE_REQUEST:
        worker_loop_request(actor->loop, REQUEST_STOP, "", &error);
        break;
    case ASKS_RELOAD:
        if (atomic_fetch_add(&current->plan->asked, 1) == 0)
            worker_loop_request(actor->loop, REQUEST_RELOAD, "", &error);
        break;
    case CALM:
    case CRASHES:
    case REFUSES:
    case MUTE:
    case STAYS_MUTE:
    case KEEPS_ON:
    default:
        break;
    }
}

static enum worker_exit actor_main(const struct worker *worker)
{
    static const struct worker_hooks hooks = {
        .drain = on_drain, .pause = on_pause, .sync_now = on_sync_now};
    struct actor actor = {.worker = worker,
                          .behaviour = (enum behaviour)atomic_load(
                              &current->plan->behaviour[worker->role])};
    struct error error;
    if (actor.behaviour == CRASHES)
        _exit(42);
    actor.loop = worker_loop_new(worker, &hooks, &actor, &error);
    if (actor.loop == NULL)
        return WORKER_EXIT_FAILED;
    if (actor.behaviour == REFUSES) {
        error_set(&error, ERROR_CONFIG, "the store is newer than this binary");
        worker_loop_fail(actor.loop, WORKER_EXIT_STORE_REFUSED, &error);
    } else if (actor.behaviour == STAYS_MUTE) {
        sleep_for_good();
    } else if (actor.behaviour != MUTE) {
        worker_loop_ready(actor.loop);
        misbehave(&actor);
    }
    enum worker_exit code = worker_loop_run(actor.loop);
    worker_loop_free(&actor.loop);
    return code;
}

static const struct role_row test_roles[ROLE_COUNT] = {
    [ROLE_STORE] = {.main = actor_main,
                    .handover = HANDOVER_LEAVE_FIRST,
                    .stop_rank = STOP_RANK_LAST,
                    .has_store_listener = true},
    [ROLE_GATEWAY] = {.main = actor_main, .has_control_listener = true},
    [ROLE_MONITOR] = {.main = actor_main},
    [ROLE_GENERATION] = {.main = actor_main, .handover = HANDOVER_LEAVE_FIRST},
    [ROLE_SYNC] = {.main = actor_main, .handover = HANDOVER_LEAVE_FIRST},
};

/* --- the supervisor --- */

void supervisor_init(struct supervisor *supervisor)
{
    struct error error;
    *supervisor = (struct supervisor){.folder = "/tmp/tm-supervisor-XXXXXX"};
    assert_non_null(mkdtemp(supervisor->folder));
    supervisor->mapping = mapping_new(&error);
    assert_non_null(supervisor->mapping);
    supervisor->plan =
        mmap(NULL, sizeof(*supervisor->plan), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(supervisor->plan, MAP_FAILED);
    atomic_store(&supervisor->plan->generation_workers, 2);
    current = supervisor;
}

void supervisor_deinit(struct supervisor *supervisor)
{
    char command[128];
    if (supervisor->pid != 0) {
        kill(supervisor->pid, SIGKILL);
        waitpid(supervisor->pid, NULL, 0);
    }
    munmap(supervisor->plan, sizeof(*supervisor->plan));
    mapping_free(&supervisor->mapping);
    snprintf(command, sizeof(command), "rm -rf %s", supervisor->folder);
    assert_int_equal(system(command), 0);
}

static _Noreturn void run_master(struct supervisor *supervisor)
{
    struct master_options options = {.roles = test_roles,
                                     .mapping = supervisor->mapping};
    /* cmocka's handlers jump back into the row of tests: a master that crashes
     * would go on as one more test program, and so would its own masters */
    static const int crashes[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
    struct starter starter;
    struct error error;
    for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
        signal(crashes[i], SIG_DFL);
    starter_init(&starter);
    struct master *master =
        master_new(&options, make_config(), &starter, &error);
    int result = master == NULL ? -1 : master_run(master, &error);
    master_free(&master);
    if (result != 0)
        fprintf(stderr, "master: %s\n", error.text);
    _exit(result == 0 ? 0 : error_exit_status(error.code));
}

void supervisor_start(struct supervisor *supervisor)
{
    fflush(NULL);
    supervisor->pid = fork();
    assert_true(supervisor->pid >= 0);
    if (supervisor->pid == 0)
        run_master(supervisor);
}

static bool is_idle(struct supervisor *supervisor, enum role role,
                    unsigned number)
{
    struct slot_entry *entry = supervisor_entry(supervisor, role, number);
    return entry != NULL && atomic_load(&entry->state) == SLOT_IDLE &&
           atomic_load(&entry->pid) != 0;
}

/* The master's own word: what the workers say of themselves in the
 * scoreboard may still wait for it in the pipes. */
static bool says_ready(const struct supervisor *supervisor)
{
    char command[128];
    snprintf(command, sizeof(command),
             "grep -q 'tidemilld is ready' %s/tidemill.log 2>/dev/null",
             supervisor->folder);
    return system(command) == 0;
}

void supervisor_wait_ready(struct supervisor *supervisor)
{
    wait_until(says_ready(supervisor));
    unsigned workers = atomic_load(&supervisor->plan->generation_workers);
    wait_until(is_idle(supervisor, ROLE_STORE, 0));
    wait_until(is_idle(supervisor, ROLE_GATEWAY, 0));
    wait_until(is_idle(supervisor, ROLE_MONITOR, 0));
    wait_until(is_idle(supervisor, ROLE_SYNC, 0));
    for (unsigned i = 0; i < workers; i++)
        wait_until(is_idle(supervisor, ROLE_GENERATION, i));
}

int supervisor_wait_end(struct supervisor *supervisor, unsigned most_ms)
{
    uint64_t end_ms = clock_monotonic_ms() + most_ms;
    int status;
    while (waitpid(supervisor->pid, &status, WNOHANG) == 0) {
        if (clock_monotonic_ms() > end_ms)
            fail_msg("the master did not end within %u ms", most_ms);
        usleep(500);
    }
    supervisor->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct slot_entry *supervisor_entry(struct supervisor *supervisor,
                                    enum role role, unsigned number)
{
    struct slot_entry *found = NULL;
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot_entry *entry = &supervisor->mapping->scoreboard.slots[i];
        if (atomic_load(&entry->in_use) && atomic_load(&entry->role) == role &&
            atomic_load(&entry->number) == number &&
            (found == NULL ||
             atomic_load(&entry->spawn) > atomic_load(&found->spawn)))
            found = entry;
    }
    return found;
}
