/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "daemon/master.h"

#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/process_title.h"
#include "daemon/deadlines.h"
#include "daemon/directories.h"
#include "daemon/limits.h"
#include "daemon/privileges.h"
#include "daemon/rotation.h"
#include "daemon/shutdown.h"
#include "daemon/signals.h"

/* Is standard error the journal's, as $JOURNAL_STREAM ("device:inode")
 * says? */
static bool is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    struct stat status;
    uintmax_t device;
    uintmax_t inode;
    return text != NULL && fstat(STDERR_FILENO, &status) == 0 &&
           sscanf(text, "%ju:%ju", &device, &inode) == 2 &&
           device == status.st_dev && inode == status.st_ino;
}

int master_open_log(struct master *master, struct error *error)
{
    char path[CONFIG_PATH_MAX];
    bool foreground = master->options->foreground;
    config_hide_secrets(master->config);
    config_log_path(master->config, "tidemill.log", path, sizeof(path));
    struct log_options options = {
        .path = foreground ? NULL : path,
        .format =
            master->config->log_format == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT,
        .level = LOG_INFO_LEVEL,
        .journal_prefix = foreground && is_journal(),
    };
    if (log_open(&options, error) != 0)
        return -1;
    rotation_configure(master);
    return 0;
}

static bool takes_over(const struct master *master)
{
    return master->options->takeover != NULL &&
           master->options->takeover->wanted;
}

bool master_is_alone(const struct master *master)
{
    return !takes_over(master) || master->options->takeover->alone;
}

static int take_pidfile(struct master *master, struct error *error)
{
    char text[CONFIG_PATH_MAX];
    const char *path = master->options->pidfile;
    if (path == NULL)
        path = config_runtime_path(master->config, "tidemilld.pid", text,
                                   sizeof(text));
    if (!takes_over(master))
        return pidfile_take(&master->pidfile, path, error);
    return pidfile_adopt(&master->pidfile, path,
                         master->options->takeover->pidfile_fd, error);
}

static int take_listeners(struct master *master, struct error *error)
{
    const struct takeover *takeover = master->options->takeover;
    if (takes_over(master) || (takeover != NULL && takeover->store_fd >= 0 &&
                               takeover->control_fd >= 0)) {
        if (listeners_adopt(&master->listeners, master->config,
                            takeover->store_fd, takeover->control_fd,
                            error) == 0)
            return 0;
        if (takes_over(master))
            return -1;
        /* Kept by the service manager, but of no use: moved or removed. */
        close(takeover->store_fd);
        close(takeover->control_fd);
    }
    return listeners_open(&master->listeners, master->config, error);
}

/* So that whoever connects while the service is restarted waits.  What an
 * upgrade passes on is kept already. */
static void give_listeners(struct master *master)
{
    struct error error;
    /* systemd says so since version 254; for older ones our unit does */
    master->given = master->notify.fd >= 0 && getenv("FDSTORE") != NULL;
    if (takes_over(master) || !master->given)
        return;
    if (notify_give(&master->notify, master->listeners.store_fd, LISTENER_STORE,
                    &error) != 0 ||
        notify_give(&master->notify, master->listeners.control_fd,
                    LISTENER_CONTROL, &error) != 0) {
        log_warning("%s: clients are refused while the service is restarted",
                    error.text);
        master->given = false;
    }
}

static void on_watchdog(evutil_socket_t fd, short what, void *self)
{
    struct master *master = self;
    (void)fd, (void)what;
    if (master_is_alone(master)) /* it listens to the old master before */
        master_tell(master, "WATCHDOG=1");
}

/* Twice within the time that the service manager allows. */
static int watch_ourselves(struct master *master, struct error *error)
{
    uint64_t period_ms = master->notify.watchdog_ms / 2;
    struct timeval period = clock_span((int64_t)period_ms);
    if (period_ms == 0 || master->notify.fd < 0)
        return 0;
    master->watchdog_event =
        event_new(master->base, -1, EV_PERSIST, on_watchdog, master);
    if (master->watchdog_event == NULL ||
        event_add(master->watchdog_event, &period) != 0)
        return error_set(error, ERROR_SYSTEM, "no memory for a timer");
    return 0;
}

/* What root may have to do, and its end. */
static int take_places(struct master *master, struct error *error)
{
    struct identity identity;
    if (privileges_find(master->config->system_user, &identity, error) != 0 ||
        directories_prepare(master->config, &identity, error) != 0 ||
        take_pidfile(master, error) != 0 ||
        privileges_give(&identity, master->pidfile.path, error) != 0 ||
        take_listeners(master, error) != 0 ||
        privileges_give(&identity, master->listeners.store_path, error) != 0 ||
        privileges_give(&identity, master->listeners.control_path, error) != 0)
        return -1;
    command_groups_prepare(master->config, &identity, &master->command_groups);
    return privileges_drop(&identity, error);
}

void master_show_config(struct master *master)
{
    struct sync_board *sync = &master->mapping->sync;
    atomic_store(&sync->sink, (uint32_t)master->config->sync_sink);
    atomic_store(&sync->enabled, master->config->sync_enabled);
    const struct config *config = master->config;
    cache_limit(mapping_templates(master->mapping),
                config->template_cache_enabled
                    ? (uint64_t)config->template_cache_max
                    : 0,
                (uint64_t)config->template_cache_bytes,
                (uint64_t)config->template_cache_ttl_ms);
}

static int make_mapping(struct master *master, struct error *error)
{
    master->mapping = master->options->mapping;
    if (master->mapping == NULL)
        master->mapping = mapping_new(error);
    if (master->mapping == NULL)
        return -1;
    struct daemon_board *board = &master->mapping->daemon;
    atomic_store(&board->master_pid, getpid());
    atomic_store(&board->started_wall_ms, clock_wall_ms());
    atomic_store(&board->started_monotonic_ms, clock_monotonic_ms());
    atomic_store(&board->config_epoch, 1);
    daemon_board_set_groups(board, master->command_groups.path,
                            master->command_groups.why);
    master_show_config(master);
    metrics_use(&master->mapping->metrics, METRICS_MASTER);
    rotation_init(master);
    return 0;
}

static int make_events(struct master *master, struct error *error)
{
    struct event_config *options = event_config_new();
    if (options != NULL)
        event_config_set_flag(options, EVENT_BASE_FLAG_NOLOCK);
    master->base = options == NULL ? NULL : event_base_new_with_config(options);
    if (options != NULL)
        event_config_free(options);
    if (master->base == NULL || deadlines_init(master) != 0)
        return error_set(error, ERROR_SYSTEM, "cannot make an event loop");
    return signals_init(master, error);
}

/* Claims in the store outlive us with their spawn numbers: the next life of
 * the daemon must not count over the same ones. */
static uint32_t random_start(void)
{
    uint32_t start;
    if (getrandom(&start, sizeof(start), GRND_NONBLOCK) != sizeof(start))
        start = (uint32_t)clock_wall_ms();
    return start & 0x7fffffffu;
}

struct master *master_new(const struct master_options *options,
                          struct config *config, struct starter *starter,
                          struct error *error)
{
    struct master *master = calloc(1, sizeof(*master));
    if (master == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for the master");
        config_free(&config);
        return NULL;
    }
    master->options = options;
    master->config = config;
    master->starter = starter;
    master->signal_fd = -1;
    master->pidfile.fd = -1;
    master->listeners.store_fd = -1;
    master->listeners.control_fd = -1;
    master->upgrade.fd = -1;
    notify_init(&master->notify);
    log_identify("master", -1);
    if (take_places(master, error) != 0 || make_mapping(master, error) != 0 ||
        master_open_log(master, error) != 0 ||
        make_events(master, error) != 0 ||
        watch_ourselves(master, error) != 0) {
        master_free(&master);
        return NULL;
    }
    give_listeners(master);
    limits_raise();
    slots_init(master);
    master->spawn_count = random_start();
    return master;
}

static void leave_places(struct master *master)
{
    bool by_new = master->upgrade.handed_over;
    bool by_old = !master->ready && !master_is_alone(master);
    bool by_manager = master->given;
    if (by_new || by_old || by_manager)
        listeners_leave(&master->listeners);
    else
        listeners_close(&master->listeners);
    if (by_new || by_old)
        pidfile_leave(&master->pidfile);
    else
        pidfile_drop(&master->pidfile);
}

void master_free(struct master **pointer)
{
    struct master *master = *pointer;
    *pointer = NULL;
    if (master == NULL)
        return;
    signals_deinit(master);
    upgrade_deinit(master);
    if (takes_over(master))
        takeover_deinit(master->options->takeover);
    if (master->watchdog_event != NULL)
        event_free(master->watchdog_event);
    if (master->check_event != NULL)
        event_free(master->check_event);
    if (master->base != NULL)
        event_base_free(master->base);
    leave_places(master);
    notify_deinit(&master->notify);
    metrics_use(NULL, 0);
    log_tell_repeats(true);
    log_share(NULL, 0, NULL);
    if (master->mapping != master->options->mapping)
        mapping_free(&master->mapping);
    config_free(&master->config);
    free(master);
}

void master_tell(struct master *master, const char *format, ...)
{
    char text[NOTIFY_TEXT_MAX];
    struct error error;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (notify_send(&master->notify, text, &error) == 0)
        trouble_over(master, TROUBLE_NOTIFY);
    else
        trouble_note(master, TROUBLE_NOTIFY, &error);
}

void master_say_status(struct master *master)
{
    uint32_t epoch = atomic_load(&master->mapping->daemon.config_epoch);
    process_title_set("tidemilld: master [config %" PRIu32 "]", epoch);
    master_tell(master, "STATUS=running, configuration %" PRIu32 "%s", epoch,
                atomic_load(&master->mapping->daemon.reload_failed)
                    ? " (a newer one was refused)"
                    : "");
}

void master_check_ready(struct master *master)
{
    if (master->ready || master->stopping)
        return;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (master->slots[i].wanted && !master->slots[i].was_ready)
            return;
    struct error error;
    master->ready = true;
    if (takes_over(master) && pidfile_write(&master->pidfile, &error) != 0)
        trouble_note(master, TROUBLE_PIDFILE, &error);
    log_notice("tidemilld is ready");
    master_tell(master, "READY=1\nMAINPID=%ld", (long)getpid());
    master_say_status(master);
    starter_succeed(master->starter);
    atomic_store(&master->mapping->daemon.ready, 1);
}

static void give_up(struct master *master, enum error_code code,
                    const char *role, const char *why)
{
    if (master->failure.code != ERROR_NONE)
        return;
    error_set(&master->failure, code, "cannot start: %s: %s", role, why);
    log_error("%s", master->failure.text);
    /* Nothing was accepted yet, and who waits for the store waits in vain. */
    shutdown_now(master);
}

void master_check_start(struct master *master, const struct slot *slot)
{
    const struct slot_entry *entry = slot_entry(master, slot);
    const char *said = master->last_failure;
    enum error_code code = master->last_failure_code;
    char words[64];
    enum death death = (enum death)atomic_load(&entry->death);
    unsigned detail = atomic_load(&entry->death_detail);
    if (said[0] == '\0' || master->last_failure_role != slot->role) {
        said = death_words(death, detail, words);
        code = ERROR_SOFTWARE;
    }
    if (death == DEATH_EXITED && detail == WORKER_EXIT_STORE_REFUSED)
        give_up(master, code != ERROR_SOFTWARE ? code : ERROR_IO,
                role_name(slot->role), said);
    else if (death == DEATH_HELLO_TIMEOUT ||
             (atomic_load(&master->mapping->daemon.degraded_roles) &
              (1u << slot->role)) != 0)
        give_up(master, code, role_name(slot->role), said);
}

void master_end(struct master *master)
{
    master->over = true;
    event_base_loopbreak(master->base);
}

void master_begin(struct master *master)
{
    if (master->begun || master->stopping)
        return;
    master->begun = true;
    slots_fit_pools(master);
    deadlines_arm(master);
}

int master_run(struct master *master, struct error *error)
{
    log_event(LOG_NOTICE_LEVEL, "tidemilld starts",
              LOG_TEXT("version", PACKAGE_VERSION),
              LOG_TEXT("configuration", master->config->path));
    process_title_set("tidemilld: master starting");
    if (!takes_over(master))
        master_begin(master);
    else if (takeover_wait(master, error) != 0)
        return -1;
    rotation_tidy(master);
    while (!master->over)
        event_base_dispatch(master->base);
    log_notice(master->upgrade.handed_over ? "tidemilld has handed over"
                                           : "tidemilld has stopped");
    if (master->failure.code == ERROR_NONE)
        return 0;
    *error = master->failure;
    return -1;
}
