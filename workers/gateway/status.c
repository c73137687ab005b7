/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/gateway/commands.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/process_stat.h"
#include "common/config/config.h"
#include "common/store/reader.h"
#include "config.h"

/* An ISO time, or null for 0. */
static json_t *time_json(int64_t wall_ms)
{
    char text[CLOCK_TEXT_SIZE];
    return wall_ms == 0 ? json_null()
                        : json_string(clock_format(wall_ms, text));
}

static json_t *age_json(uint64_t now_ms, uint64_t since_ms)
{
    if (since_ms == 0 || since_ms > now_ms)
        return json_real(0);
    return json_real((double)(now_ms - since_ms) / 1000.0);
}

/* The lines of a text as a list. */
static json_t *lines_json(const char *text)
{
    json_t *lines = json_array();
    while (*text != '\0') {
        size_t size = strcspn(text, "\n");
        if (size > 0)
            json_array_append_new(lines, json_stringn(text, size));
        text += size + (text[size] == '\n');
    }
    return lines;
}

static json_t *last_death_json(struct slot_entry *slot, uint64_t now_ms)
{
    char words[64];
    enum death death = (enum death)atomic_load(&slot->death);
    if (death == DEATH_NONE)
        return json_null();
    death_words(death, atomic_load(&slot->death_detail), words);
    return json_pack("{s:s,s:I,s:I,s:o}", "reason", words, "spawn",
                     (json_int_t)atomic_load(&slot->death_spawn), "work_id",
                     (json_int_t)atomic_load(&slot->death_work_id),
                     "seconds_ago",
                     age_json(now_ms, atomic_load(&slot->death_ms)));
}

/* Null where the kernel does not tell. */
static void add_usage(json_t *object, pid_t pid)
{
    struct process_stat process;
    bool known = process_stat_read(pid, &process) == 0;
    json_object_set_new(object, "cpu_seconds",
                        known ? json_real(process.cpu_seconds) : json_null());
    json_object_set_new(object, "rss_bytes",
                        known ? json_integer((json_int_t)process.rss_bytes)
                              : json_null());
}

static json_t *slot_json(struct slot_entry *slot, uint64_t now_ms)
{
    uint64_t work_id = atomic_load(&slot->work_id);
    uint64_t work_since_ms =
        work_id == 0 ? 0 : atomic_load(&slot->work_started_ms);
    pid_t pid = atomic_load(&slot->pid);
    json_t *worker = json_pack(
        "{s:s,s:i,s:i,s:s,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:o}", "role",
        role_name((enum role)atomic_load(&slot->role)), "slot",
        (int)atomic_load(&slot->number), "pid", (int)pid, "state",
        slot_state_name((enum slot_state)atomic_load(&slot->state)), "spawn",
        (json_int_t)atomic_load(&slot->spawn), "restarts",
        (json_int_t)atomic_load(&slot->restarts), "finished",
        (json_int_t)atomic_load(&slot->finished), "work_id",
        work_id == 0 ? json_null() : json_integer((json_int_t)work_id),
        "work_seconds",
        work_id == 0 ? json_null() : age_json(now_ms, work_since_ms),
        "uptime_seconds", age_json(now_ms, atomic_load(&slot->started_ms)),
        "state_seconds", age_json(now_ms, atomic_load(&slot->state_since_ms)),
        "heartbeat_seconds", age_json(now_ms, atomic_load(&slot->heartbeat_ms)),
        "last_death", last_death_json(slot, now_ms));
    add_usage(worker, pid);
    return worker;
}

static json_t *workers_json(struct mapping *mapping, uint64_t now_ms)
{
    json_t *workers = json_array();
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot_entry *slot = &mapping->scoreboard.slots[i];
        if (atomic_load(&slot->in_use) != 0)
            json_array_append_new(workers, slot_json(slot, now_ms));
    }
    return workers;
}

static json_t *degraded_json(struct daemon_board *board)
{
    json_t *roles = json_array();
    for (unsigned i = 0; i < ROLE_COUNT; i++)
        if ((atomic_load(&board->degraded_roles) & (1u << i)) != 0)
            json_array_append_new(roles, json_string(role_name((enum role)i)));
    return roles;
}

static json_t *pools_json(struct mapping *mapping, uint64_t now_ms)
{
    json_t *pools = json_array();
    uint32_t degraded = atomic_load(&mapping->daemon.degraded_roles);
    for (unsigned i = 0; i < ROLE_COUNT; i++) {
        struct pool_board *board = &mapping->pools[i];
        if (!role_has_pool((enum role)i))
            continue;
        json_array_append_new(
            pools,
            json_pack("{s:s,s:i,s:i,s:i,s:o,s:b}", "role",
                      role_name((enum role)i), "size",
                      (int)atomic_load(&board->size), "min_workers",
                      (int)atomic_load(&board->least), "max_workers",
                      (int)atomic_load(&board->most), "waiting_seconds",
                      age_json(now_ms, atomic_load(&board->waiting_since_ms)),
                      "degraded", (int)(degraded >> i & 1)));
    }
    return pools;
}

/* Of the generation pool, as of when a worker last asked. */
static json_t *memory_json(struct memory_board *board,
                           const struct config *config, uint64_t now_ms)
{
    int32_t pressure = atomic_load(&board->pressure_hundredths);
    int64_t limit = config->generation_memory_limit;
    return json_pack(
        "{s:o,s:o,s:o,s:o}", "limit_bytes",
        limit == 0 ? json_null() : json_integer(limit), "used_bytes",
        limit == 0 ? json_null()
                   : json_integer((json_int_t)atomic_load(&board->used_bytes)),
        "pressure_percent",
        pressure < 0 ? json_null() : json_real(pressure / 100.0),
        "held_seconds", age_json(now_ms, memory_board_held_since_ms(board)));
}

static json_t *configuration_json(struct daemon_board *board,
                                  const struct config *config)
{
    char errors[DAEMON_TEXT_MAX];
    char pending[DAEMON_TEXT_MAX];
    daemon_board_get_text(board, board->reload_errors, errors, sizeof(errors));
    daemon_board_get_text(board, board->pending_restart, pending,
                          sizeof(pending));
    return json_pack(
        "{s:s?,s:i,s:o,s:b,s:o,s:o}", "path", config->path, "epoch",
        (int)atomic_load(&board->config_epoch), "last_reload",
        time_json(atomic_load(&board->reload_wall_ms)), "reload_failed",
        (int)atomic_load(&board->reload_failed), "errors", lines_json(errors),
        "pending_restart", lines_json(pending));
}

static json_t *upgrade_json(struct daemon_board *board)
{
    char error[DAEMON_TEXT_MAX];
    daemon_board_get_text(board, board->upgrade_error, error, sizeof(error));
    uint32_t phase = atomic_load(&board->upgrade_phase);
    return json_pack(
        "{s:s,s:I,s:o,s:i,s:s?}", "phase",
        upgrade_phase_name((enum upgrade_phase)phase), "failures",
        (json_int_t)atomic_load(&board->upgrade_failures), "last_failure",
        time_json(atomic_load(&board->upgrade_wall_ms)), "exit_status",
        error_exit_status(
            (enum error_code)atomic_load(&board->upgrade_error_code)),
        "error", error[0] != '\0' ? error : NULL);
}

/* {"store_commit": {...}, ...}: every histogram, since the daemon started. */
static json_t *latency_json(const struct metrics *metrics)
{
    json_t *latency = json_object();
    struct histogram_totals totals;
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        if (metric_kind_of((enum metric)i) != METRIC_KIND_HISTOGRAM)
            continue;
        const char *name =
            metric_outside_name((enum metric)i) + strlen("tidemill_");
        size_t size = strlen(name) - strlen("_seconds");
        metrics_total_histogram(metrics, (enum metric)i, &totals);
        json_object_setn_new(
            latency, name, size,
            json_pack("{s:I,s:f,s:f,s:f}", "count", (json_int_t)totals.count,
                      "p50_ms", histogram_quantile_us(&totals, 0.50) / 1e3,
                      "p95_ms", histogram_quantile_us(&totals, 0.95) / 1e3,
                      "p99_ms", histogram_quantile_us(&totals, 0.99) / 1e3));
    }
    return latency;
}

/* How the processes of commands are found when they are to end. */
static json_t *commands_json(struct daemon_board *board)
{
    bool group = board->command_group[0] != '\0';
    return json_pack(
        "{s:s,s:s?,s:s?}", "mechanism",
        group ? "control group" : "subreaper and /proc", "group",
        group ? board->command_group : NULL, "note",
        board->command_group_why[0] != '\0' ? board->command_group_why : NULL);
}

json_t *status_json(const struct worker *worker)
{
    struct mapping *mapping = worker->mapping;
    struct daemon_board *board = &mapping->daemon;
    uint64_t now_ms = clock_monotonic_ms();
    pid_t master = atomic_load(&board->master_pid);
    json_t *status = json_pack(
        "{s:b,s:s,s:s,s:i,s:o,s:o,s:b,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:{s:I,s:"
        "I}}",
        "running", 1, "version", PACKAGE_VERSION, "system_id",
        worker->config->system_id, "pid", (int)master, "started",
        time_json(atomic_load(&board->started_wall_ms)), "uptime_seconds",
        age_json(now_ms, atomic_load(&board->started_monotonic_ms)), "stopping",
        (int)atomic_load(&board->stopping), "ready",
        (int)atomic_load(&board->ready), "degraded", degraded_json(board),
        "configuration", configuration_json(board, worker->config), "upgrade",
        upgrade_json(board), "pools", pools_json(mapping, now_ms), "memory",
        memory_json(&mapping->memory, worker->config, now_ms), "workers",
        workers_json(mapping, now_ms), "sync", sync_line_json(mapping),
        "outbox", "pending",
        (json_int_t)metrics_total(&mapping->metrics, METRIC_OUTBOX_PENDING),
        "dead",
        (json_int_t)metrics_total(&mapping->metrics, METRIC_OUTBOX_DEAD));
    add_usage(status, master);
    json_object_set_new(status, "commands", commands_json(board));
    json_object_set_new(status, "latency", latency_json(&mapping->metrics));
    return status;
}

static int64_t latest(struct sync_board *board, size_t offset)
{
    int64_t best = 0;
    for (unsigned i = 0; i < SYNC_SLOTS_MAX; i++) {
        _Atomic int64_t *at = (void *)((char *)&board->views[i] + offset);
        int64_t value = atomic_load(at);
        if (value > best)
            best = value;
    }
    return best;
}

/* The whole pool's, while it drains. */
static int64_t drain_rate(struct sync_board *board)
{
    int64_t rate = 0;
    for (unsigned i = 0; i < SYNC_SLOTS_MAX; i++)
        if (atomic_load(&board->views[i].in_pass) != 0)
            rate += atomic_load(&board->views[i].rate);
    return rate;
}

/* How slot 0, which plans, judges what pends. */
static void add_plan(json_t *line, struct sync_board *board)
{
    static const char *const modes[] = {"adaptive", "aggressive",
                                        "conservative"};
    static const char *const tables[] = {
#define X(name, table) table,
        OUTBOX_KIND_LIST(X)
#undef X
    };
    struct sync_view *view = &board->views[0];
    unsigned kind = atomic_load(&view->nearest_kind);
    json_object_set_new(line, "mode",
                        json_string(modes[atomic_load(&view->mode)]));
    json_object_set_new(
        line, "band",
        json_string(sync_band_name((enum sync_band)atomic_load(&view->band))));
    json_object_set_new(
        line, "interval_seconds",
        json_real((double)atomic_load(&view->interval_ms) / 1000.0));
    json_object_set_new(line, "batch_size",
                        json_integer(atomic_load(&view->batch_size)));
    json_object_set_new(line, "rate", json_integer(drain_rate(board)));
    json_object_set_new(
        line, "threshold",
        json_pack("{s:s,s:I,s:I}", "of",
                  kind < OUTBOX_KINDS ? tables[kind] : "operations", "pending",
                  (json_int_t)atomic_load(&view->nearest_pending), "limit",
                  (json_int_t)atomic_load(&view->nearest_threshold)));
    json_object_set_new(line, "stalled",
                        json_boolean(atomic_load(&board->stalled) != 0));
}

static const char *const sink_names[] = {[SYNC_SINK_SQLITE] = "sqlite",
                                         [SYNC_SINK_PGSQL] = "pgsql",
                                         [SYNC_SINK_HTTP] = "http"};

json_t *sync_line_json(struct mapping *mapping)
{
    struct sync_board *board = &mapping->sync;
    struct sync_view *view = sync_board_leader(board);
    char error[SYNC_ERROR_TEXT_MAX];
    sync_view_get_error(view, error, sizeof(error));
    const char *state = sync_board_state(board, clock_monotonic_ms());
    unsigned trigger = atomic_load(&view->next_trigger);
    json_t *line = json_pack(
        "{s:s,s:s,s:o,s:o,s:o,s:o,s:s,s:s?}", "state", state, "sink",
        sink_names[atomic_load(&board->sink) % 3], "state_since",
        time_json(atomic_load(&view->state_since_wall_ms)), "last_attempt",
        time_json(
            latest(board, offsetof(struct sync_view, last_attempt_wall_ms))),
        "last_sync",
        time_json(
            latest(board, offsetof(struct sync_view, last_success_wall_ms))),
        "next_sync", time_json(atomic_load(&view->next_sync_wall_ms)),
        "next_trigger", trigger_name((enum trigger)trigger), "last_error",
        error[0] != '\0' ? error : NULL);
    add_plan(line, board);
    return line;
}
