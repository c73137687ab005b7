/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/rotation.h"

#include <event2/event.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/log_backups.h"
#include "common/base/process_title.h"
#include "daemon/channel.h"
#include "daemon/master.h"

#define HELPER_LOOK_US 50000u
#define HELPER_LOOKS   400u /* 20 s; then the next rotation's helper */

_Static_assert(COMPONENT_COUNT <= LOG_COMPONENTS_MAX,
               "the log's board has a place for each role and the master");

static void on_rotated(void *self)
{
    rotation_follow(self);
}

void rotation_init(struct master *master)
{
    const struct log_hooks hooks = {
        .count = metric_count_log, .rotated = on_rotated, .self = master};
    log_share(&master->mapping->log, COMPONENT_MASTER, &hooks);
}

static enum log_level level_of(int64_t choice)
{
    static const enum log_level levels[] = {LOG_ERROR_LEVEL, LOG_WARNING_LEVEL,
                                            LOG_NOTICE_LEVEL, LOG_INFO_LEVEL,
                                            LOG_DEBUG_LEVEL};
    return levels[choice];
}

static void set_level(struct master *master, unsigned component, int64_t choice)
{
    enum log_level level = level_of(choice == 0 ? master->config->log_level
                                                : choice - 1 /* default */);
    atomic_store(&master->mapping->log.configured_levels[component], level);
    atomic_store(&master->mapping->log.levels[component], level);
}

void rotation_configure(struct master *master)
{
    const struct config *config = master->config;
    set_level(master, ROLE_STORE, config->log_level_store);
    set_level(master, ROLE_GATEWAY, config->log_level_gateway);
    set_level(master, ROLE_MONITOR, config->log_level_monitor);
    set_level(master, ROLE_GENERATION, config->log_level_generation);
    set_level(master, ROLE_SYNC, config->log_level_sync);
    set_level(master, COMPONENT_MASTER, config->log_level_master);
    log_board_bound(&master->mapping->log, (uint64_t)config->log_max_bytes,
                    config->log_interval_ms);
}

/* --- the helper --- */

static void become_helper(struct master *master)
{
    sigset_t none;
    log_identify("log helper", -1);
    process_title_set("tidemilld: log helper");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close_range(STDERR_FILENO + 1, (unsigned)log_descriptor() - 1, 0);
    close_range((unsigned)log_descriptor() + 1, ~0u, 0);
    setpriority(PRIO_PROCESS, 0, 19);
    syscall(SYS_ioprio_set, 1 /* process */, 0, 3 << 13 /* idle */);
    signal(SIGIO, SIG_IGN); /* a lease that is broken */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const struct log_hooks hooks = {.count = metric_count_log};
    log_share(&master->mapping->log, COMPONENT_MASTER, &hooks);
}

static char *log_path(const struct master *master, char path[CONFIG_PATH_MAX])
{
    return config_log_path(master->config, "tidemill.log", path,
                           CONFIG_PATH_MAX);
}

static _Noreturn void run_helper(struct master *master)
{
    char path[CONFIG_PATH_MAX];
    const struct config *config = master->config;
    struct error error;
    bool waiting = true;
    become_helper(master);
    const struct log_backups backups = {
        .path = log_path(master, path),
        .count = (uint64_t)config->log_backup_count,
        .total_bytes_max = (uint64_t)config->log_total_bytes,
        .compress = config->log_compression};
    for (unsigned looks = 0; waiting && looks < HELPER_LOOKS; looks++) {
        if (looks > 0)
            usleep(HELPER_LOOK_US);
        log_refresh(&error); /* or we ourselves would hold a file */
        if (log_backups_tidy(&backups, &waiting, &error) != 0) {
            log_warning("%s; it stays until the next rotation", error.text);
            _exit(1);
        }
    }
    _exit(0);
}

int rotation_help_again(struct master *master, struct error *error)
{
    if (master->options->foreground || master->stopping ||
        !master_is_alone(master))
        return 0;
    master->log_helper_wanted = master->log_helper != 0;
    if (master->log_helper != 0)
        return 0;
    pid_t pid = fork();
    if (pid == 0)
        run_helper(master);
    if (pid < 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot fork");
    master->log_helper = pid;
    return 0;
}

static void start_helper(struct master *master)
{
    struct error error;
    if (rotation_help_again(master, &error) != 0)
        trouble_note(master, TROUBLE_LOG_HELPER, &error);
}

void rotation_tidy(struct master *master)
{
    char path[CONFIG_PATH_MAX];
    if (!master->options->foreground &&
        log_backups_exist(log_path(master, path)))
        start_helper(master);
}

bool rotation_reap(struct master *master, pid_t pid, int status)
{
    if (pid != master->log_helper)
        return false;
    master->log_helper = 0;
    if (WIFSIGNALED(status))
        log_warning("the helper for old logs was killed by signal %d; the "
                    "next rotation takes up what it left",
                    WTERMSIG(status));
    else if (master->log_helper_wanted)
        start_helper(master);
    return true;
}

void rotation_follow(struct master *master)
{
    struct error error;
    /* before the message goes: a rotation from now on is told again */
    atomic_store(&master->mapping->log.told, 0);
    if (log_refresh(&error) != 0)
        log_error("%s; going on with the old one", error.text);
    channel_send_roles(master, (1u << ROLE_COUNT) - 1, MESSAGE_REOPEN_LOGS, 0);
    start_helper(master);
}

int rotation_open_again(struct master *master, struct error *error)
{
    if (master_open_log(master, error) != 0)
        return -1;
    channel_send_roles(master, (1u << ROLE_COUNT) - 1, MESSAGE_REOPEN_LOGS, 0);
    rotation_tidy(master);
    return 0;
}

void rotation_mend(struct master *master)
{
    log_mend();
    /* it may have rotated the log and died before it could say so */
    if (atomic_load(&master->mapping->log.told) != 0)
        rotation_follow(master);
}
