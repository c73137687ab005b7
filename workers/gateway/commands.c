/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/gateway/commands.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/ipc/messages.h"
#include "common/shm/metrics_text.h"
#include "common/worker/worker_loop.h"
#include "common/store/reader.h"

#define METRICS_TEXT_MAX (1u << 20)

static struct mapping *mapping_of(struct control_connection *connection)
{
    return control_worker(control_of(connection))->mapping;
}

/* Relays to the master; on failure the connection is answered. */
static int relay(struct control_connection *connection, enum request request,
                 const char *argument)
{
    struct error error;
    if (worker_loop_request(control_loop(control_of(connection)),
                            (unsigned)request, argument, &error) == 0)
        return 0;
    control_refuse(connection, &error);
    return -1;
}

static void run_status(struct control_connection *connection,
                       const json_t *args)
{
    (void)args;
    control_answer(connection,
                   status_json(control_worker(control_of(connection))));
}

static void run_metrics(struct control_connection *connection,
                        const json_t *args)
{
    const char *format = json_string_value(json_object_get(args, "format"));
    struct mapping *mapping = mapping_of(connection);
    struct buffer text;
    buffer_init(&text, METRICS_TEXT_MAX);
    json_t *data;
    if (format != NULL && strcmp(format, "json") == 0) {
        metrics_write_json(mapping, &text);
        data = json_loadb(text.bytes, text.size, 0, NULL);
    } else {
        metrics_write_text(mapping, &text);
        data = json_pack("{s:s#}", "text", text.bytes, text.size);
    }
    buffer_deinit(&text);
    control_answer(connection, data);
}

static void run_sync_status(struct control_connection *connection,
                            const json_t *args)
{
    struct mapping *mapping = mapping_of(connection);
    json_t *line = sync_line_json(mapping);
    (void)args;
    json_object_set_new(line, "pool", sync_pool_json(mapping));
    json_object_set_new(line, "attempts", sync_attempts_json(mapping));
    control_answer(connection, line);
}

static bool reload_over(struct control_connection *connection,
                        const struct control_wait *wait)
{
    struct daemon_board *board = &mapping_of(connection)->daemon;
    if (atomic_load(&board->reload_attempts) <= wait->ticket)
        return false;
    char text[DAEMON_TEXT_MAX];
    if (atomic_load(&board->reload_failed) != 0) {
        struct error error;
        daemon_board_get_text(board, board->reload_errors, text, sizeof(text));
        error_set(&error, ERROR_CONFIG, "%s", text);
        control_refuse(connection, &error);
        return true;
    }
    daemon_board_get_text(board, board->pending_restart, text, sizeof(text));
    control_answer(connection, json_pack("{s:i,s:s}", "epoch",
                                         (int)atomic_load(&board->config_epoch),
                                         "pending_restart", text));
    return true;
}

static void run_reload(struct control_connection *connection,
                       const json_t *args)
{
    (void)args;
    uint64_t before =
        atomic_load(&mapping_of(connection)->daemon.reload_attempts);
    if (relay(connection, REQUEST_RELOAD, "") == 0)
        control_wait_for(connection, reload_over, before);
}

/* When it goes well we leave, and the connection with us. */
static bool upgrade_over(struct control_connection *connection,
                         const struct control_wait *wait)
{
    struct daemon_board *board = &mapping_of(connection)->daemon;
    if (atomic_load(&board->upgrade_failures) <= wait->ticket)
        return false;
    char text[DAEMON_TEXT_MAX];
    struct error error;
    daemon_board_get_text(board, board->upgrade_error, text, sizeof(text));
    error_set(&error, (enum error_code)atomic_load(&board->upgrade_error_code),
              "%s", text);
    control_refuse(connection, &error);
    return true;
}

static void run_upgrade(struct control_connection *connection,
                        const json_t *args)
{
    (void)args;
    uint64_t before =
        atomic_load(&mapping_of(connection)->daemon.upgrade_failures);
    if (relay(connection, REQUEST_UPGRADE, "") == 0)
        control_wait_for(connection, upgrade_over, before);
}

static bool reopening_over(struct control_connection *connection,
                           const struct control_wait *wait)
{
    const struct log_board *log = &mapping_of(connection)->log;
    struct error error;
    if (atomic_load(&log->reopen_attempts) == wait->ticket)
        return false;
    if (atomic_load(&log->reopen_failed) == 0) {
        control_answer(connection, NULL);
        return true;
    }
    error_set(&error, ERROR_CANT_CREATE,
              "the log file cannot be opened by its name; the old one, which "
              "stays in use, says why");
    control_refuse(connection, &error);
    return true;
}

/* Over as soon as no line that is begun goes to the old file. */
static void run_reopen_logs(struct control_connection *connection,
                            const json_t *args)
{
    (void)args;
    uint32_t before = atomic_load(&mapping_of(connection)->log.reopen_attempts);
    if (relay(connection, REQUEST_REOPEN_LOGS, "") == 0)
        control_wait_for(connection, reopening_over, before);
}

static void run_log_levels(struct control_connection *connection,
                           const json_t *args)
{
    const struct log_board *log = &mapping_of(connection)->log;
    json_t *list = json_array();
    (void)args;
    for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
        uint32_t level = atomic_load(&log->levels[i]);
        uint32_t configured = atomic_load(&log->configured_levels[i]);
        json_array_append_new(
            list,
            json_pack("{s:s,s:s,s:s}", "component", component_name(i), "level",
                      log_level_name((enum log_level)level), "configured",
                      log_level_name((enum log_level)configured)));
    }
    control_answer(connection, json_pack("{s:o}", "components", list));
}

/* The words were checked; "all" and "default" stand for what they say. */
static unsigned set_levels(struct log_board *log, const char *component,
                           const char *text)
{
    unsigned changed = 0;
    for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
        enum log_level level =
            (enum log_level)atomic_load(&log->configured_levels[i]);
        if (strcmp(component, "all") != 0 &&
            strcmp(component, component_name(i)) != 0)
            continue;
        log_level_parse(text, &level);
        atomic_store(&log->levels[i], (uint32_t)level);
        changed++;
    }
    return changed;
}

static void run_log_level(struct control_connection *connection,
                          const json_t *args)
{
    const char *component =
        json_string_value(json_object_get(args, "component"));
    const char *text = json_string_value(json_object_get(args, "level"));
    struct error error;
    enum log_level level;
    if (component == NULL || text == NULL ||
        (strcmp(text, "default") != 0 && log_level_parse(text, &level) != 0))
        error_set(&error, ERROR_USAGE,
                  "no such level: '%.64s'; there are error, warning, notice, "
                  "info, debug, and default",
                  text == NULL ? "" : text);
    else if (set_levels(&mapping_of(connection)->log, component, text) == 0)
        error_set(&error, ERROR_USAGE,
                  "no such component: '%.64s'; 'tidemill log-level' lists "
                  "them, 'all' is every one",
                  component);
    else {
        log_event(LOG_NOTICE_LEVEL, "log level changed",
                  LOG_TEXT("of", component), LOG_TEXT("to", text));
        run_log_levels(connection, args);
        return;
    }
    control_refuse(connection, &error);
}

/* Is there a sync pool that can be asked? Answers when not. */
static bool sync_can_run(struct control_connection *connection)
{
    struct error error;
    struct mapping *mapping = mapping_of(connection);
    if (atomic_load(&mapping->sync.enabled) == 0)
        error_set(&error, ERROR_CONFIG,
                  "sync is switched off; set sync.enabled to true and reload");
    else if (atomic_load(&mapping->sync.paused) != 0)
        error_set(&error, ERROR_TRY_AGAIN,
                  "sync is paused; 'tidemill sync resume' goes on");
    else
        return true;
    control_refuse(connection, &error);
    return false;
}

/* Asks for a pass; 0 when the connection has been answered instead. */
static uint64_t ask_for_pass(struct control_connection *connection)
{
    struct sync_board *board = &mapping_of(connection)->sync;
    uint64_t ticket = atomic_fetch_add(&board->ticket, 1) + 1;
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)ticket);
    sync_board_set_asker(board, ticket, log_correlation());
    return relay(connection, REQUEST_SYNC_NOW, text) == 0 ? ticket : 0;
}

static void refuse_offline(struct control_connection *connection)
{
    struct error error;
    char reason[SYNC_ERROR_TEXT_MAX];
    sync_view_get_error(&mapping_of(connection)->sync.views[0], reason,
                        sizeof(reason));
    error_set(&error, ERROR_TRY_AGAIN, "%s",
              reason[0] != '\0' ? reason
                                : "the centre has not answered; operations "
                                  "stay here and are sent when it does");
    control_refuse(connection, &error);
}

static bool pass_over(struct control_connection *connection,
                      const struct control_wait *wait)
{
    struct sync_view *view = &mapping_of(connection)->sync.views[0];
    if (atomic_load(&view->ticket_done) >= wait->ticket)
        control_answer(connection, sync_line_json(mapping_of(connection)));
    else if (atomic_load(&view->ticket_failed) >= wait->ticket)
        refuse_offline(connection);
    else
        return false;
    return true;
}

static void run_sync_now(struct control_connection *connection,
                         const json_t *args)
{
    (void)args;
    if (!sync_can_run(connection))
        return;
    uint64_t ticket = ask_for_pass(connection);
    if (ticket != 0)
        control_wait_for(connection, pass_over, ticket);
}

static bool drain_over(struct control_connection *connection,
                       const struct control_wait *wait)
{
    struct sync_board *board = &mapping_of(connection)->sync;
    struct outbox_pending pending;
    struct error error;
    struct store_reader *reader =
        control_reader(control_of(connection), &error);
    struct sync_view *view = &board->views[0];
    bool over = true;
    if (atomic_load(&view->ticket_failed) >= wait->ticket ||
        (atomic_load(&view->ticket_done) >= wait->ticket &&
         (atomic_load(&view->state) == LINK_OFFLINE ||
          atomic_load(&view->state) == LINK_BUSY)))
        refuse_offline(connection);
    else if (reader == NULL ||
             outbox_pending_read(reader, &pending, &error) != 0)
        control_refuse(connection, &error);
    else if (pending.total == 0)
        control_answer(connection, json_pack("{s:i,s:I}", "pending", 0, "dead",
                                             (json_int_t)pending.dead));
    else
        over = false;
    if (over)
        atomic_store(&board->drain_wanted, 0);
    return over;
}

static void run_sync_drain(struct control_connection *connection,
                           const json_t *args)
{
    (void)args;
    if (!sync_can_run(connection))
        return;
    atomic_store(&mapping_of(connection)->sync.drain_wanted, 1);
    uint64_t ticket = ask_for_pass(connection);
    if (ticket != 0)
        control_wait_for(connection, drain_over, ticket);
}

static void run_sync_pause(struct control_connection *connection,
                           const json_t *args)
{
    (void)args;
    atomic_store(&mapping_of(connection)->sync.paused, 1);
    if (relay(connection, REQUEST_SYNC_PAUSE, "") == 0)
        control_answer(connection, NULL);
}

static void run_sync_resume(struct control_connection *connection,
                            const json_t *args)
{
    (void)args;
    atomic_store(&mapping_of(connection)->sync.paused, 0);
    if (relay(connection, REQUEST_SYNC_RESUME, "") == 0)
        control_answer(connection, NULL);
}

/* A cut line returns by itself: the exercise asks again and again, and when
 * it was killed, nobody does. */
static void run_sync_cut(struct control_connection *connection,
                         const json_t *args)
{
    struct sync_board *board = &mapping_of(connection)->sync;
    json_int_t seconds = json_integer_value(json_object_get(args, "seconds"));
    uint64_t now_ms = clock_monotonic_ms();
    bool was_cut = now_ms < atomic_load(&board->cut_until_ms);
    struct error error;
    if (seconds < 0 || seconds > SYNC_CUT_SECONDS_MAX) {
        error_set(&error, ERROR_USAGE, "seconds: 0 to %d are taken",
                  SYNC_CUT_SECONDS_MAX);
        control_refuse(connection, &error);
        return;
    }
    if (seconds > 0 && !sync_can_run(connection))
        return;
    atomic_store(&board->cut_until_ms,
                 seconds > 0 ? now_ms + 1000u * (uint64_t)seconds : 0);
    if (was_cut == (seconds > 0) ||
        relay(connection, REQUEST_SYNC_LOOK, "") == 0)
        control_answer(connection, sync_line_json(mapping_of(connection)));
}

static bool inspection_over(struct control_connection *connection,
                            const struct control_wait *wait)
{
    struct sync_inspection *inspection =
        &mapping_of(connection)->sync.inspection;
    if (atomic_load(&inspection->answered) < wait->ticket)
        return false;
    if (atomic_load(&inspection->failed) != 0)
        control_answer(connection, json_object());
    else
        control_answer(
            connection,
            json_pack("{s:I,s:I}", "records",
                      (json_int_t)atomic_load(&inspection->records), "complete",
                      (json_int_t)atomic_load(&inspection->complete)));
    return true;
}

static void run_sync_inspect(struct control_connection *connection,
                             const json_t *args)
{
    struct sync_inspection *inspection =
        &mapping_of(connection)->sync.inspection;
    if (!sync_can_run(connection))
        return;
    atomic_store(&inspection->run,
                 json_integer_value(json_object_get(args, "run")));
    uint64_t ticket = atomic_fetch_add(&inspection->asked, 1) + 1;
    if (relay(connection, REQUEST_SYNC_LOOK, "") == 0)
        control_wait_for(connection, inspection_over, ticket);
}

static void run_kill(struct control_connection *connection, const json_t *args)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld",
             (long long)json_integer_value(json_object_get(args, "spawn")));
    if (relay(connection, REQUEST_KILL, text) == 0)
        control_answer(connection, NULL);
}

static const struct {
    const char *name;
    bool changes;
} command_list[] = {
#define X(name, text, changes, repeats, words) {text, changes},
    CONTROL_LIST(X)
#undef X
};

static void (*const command_functions[])(struct control_connection *connection,
                                         const json_t *args) = {
    [CONTROL_STATUS] = run_status,
    [CONTROL_METRICS] = run_metrics,
    [CONTROL_SYNC_STATUS] = run_sync_status,
    [CONTROL_RELOAD] = run_reload,
    [CONTROL_UPGRADE] = run_upgrade,
    [CONTROL_REOPEN_LOGS] = run_reopen_logs,
    [CONTROL_LOG_LEVELS] = run_log_levels,
    [CONTROL_LOG_LEVEL] = run_log_level,
    [CONTROL_SYNC_NOW] = run_sync_now,
    [CONTROL_SYNC_DRAIN] = run_sync_drain,
    [CONTROL_SYNC_PAUSE] = run_sync_pause,
    [CONTROL_SYNC_RESUME] = run_sync_resume,
    [CONTROL_SYNC_CUT] = run_sync_cut,
    [CONTROL_CACHE_STATS] = run_cache_stats,
    [CONTROL_CACHE_CLEAR] = run_cache_clear,
    [CONTROL_CACHE_INVALIDATE] = run_cache_invalidate,
    [CONTROL_KILL] = run_kill,
    [CONTROL_SYNC_INSPECT] = run_sync_inspect,
};
_Static_assert(sizeof(command_functions) / sizeof(command_functions[0]) ==
                   CONTROL_COUNT,
               "every command of the list has its function");

void command_run(enum control_command command,
                 struct control_connection *connection, const json_t *args)
{
    command_functions[command](connection, args);
}

int command_find(const char *name)
{
    for (int i = 0; i < CONTROL_COUNT; i++)
        if (strcmp(command_list[i].name, name) == 0)
            return i;
    return -1;
}

bool command_changes(enum control_command command)
{
    return command_list[command].changes;
}
