/* SPDX-License-Identifier: Apache-2.0
 *
 * Every option, once.  Parsing, checking, `tidemilld --dump-config`, the
 * sample file and tidemill.yaml(5) come from this list or are checked
 * against it in `make check`.
 *
 * X(path, member of struct config, TYPE, default as text, minimum, maximum,
 *   what a change costs, secret, one sentence)
 *
 * TYPE      member          text in the file
 * BOOL      bool            true, false
 * INT       int64_t         123
 * REAL      double          0.8
 * DURATION  int64_t ms      500ms 30s 5m 1h 7d (a bare number is seconds)
 * SIZE      int64_t bytes   512 64kB 50MB 1GB (powers of 1000; KiB MiB GiB)
 * TEXT      const char *    any text
 * PATH      const char *    an absolute path; <state_dir> and <hostname> at
 *                           the start of a default stand for those values
 * MODE      int64_t         octal permission bits, "0660"
 * CHOICE    int64_t         one of the words in OPTION_CHOICE_LIST
 *
 * minimum and maximum are in the member's unit (of a TEXT: its length).
 *
 * Costs: LIVE (the master applies it), RESPAWN_x (workers of these roles are
 * replaced), RESTART (pending until the daemon is started again).
 */
#ifndef TIDEMILL_CONFIG_OPTIONS_H
#define TIDEMILL_CONFIG_OPTIONS_H

#include "common/ipc/worker_contract.h"

/* Bits 1 << enum role, so that a diff says whom to replace. */
#define COST_LIVE               0x0000u
#define COST_RESTART            0x8000u
#define COST_RESPAWN_STORE      (1u << ROLE_STORE)
#define COST_RESPAWN_GATEWAY    (1u << ROLE_GATEWAY)
#define COST_RESPAWN_MONITOR    (1u << ROLE_MONITOR)
#define COST_RESPAWN_GENERATION (1u << ROLE_GENERATION)
#define COST_RESPAWN_SYNC       (1u << ROLE_SYNC)
#define COST_RESPAWN_ALL        ((1u << ROLE_COUNT) - 1u)

/* clang-format off */
#define OPTION_LIST(X) \
X("system.id", system_id, TEXT, "<hostname>", 1, 100, RESTART, 0, \
  "Name of this host at the centre; part of every key there.") \
X("system.type", system_type, CHOICE, "developer_workstation", 0, 0, RESPAWN_SYNC, 0, \
  "Kind of host; decides the interval when sync.interval_selection is auto.") \
X("system.user", system_user, TEXT, "", 0, 64, RESTART, 0, \
  "User that the daemon becomes when root starts it; empty: stay who we are.") \
X("paths.state_dir", state_dir, PATH, "/var/lib/tidemill", 1, 4000, RESTART, 0, \
  "Directory of the local store.") \
X("paths.runtime_dir", runtime_dir, PATH, "/run/tidemill", 1, 80, RESTART, 0, \
  "Directory of the pidfile and the sockets.") \
X("paths.log_dir", log_dir, PATH, "/var/log/tidemill", 1, 4000, RESTART, 0, \
  "Directory of the log file.") \
X("paths.template_dir", template_dir, PATH, "/usr/share/tidemill/templates", 1, 4000, RESPAWN_GENERATION, 0, \
  "Directory of the template sets, one folder a node type.") \
X("supervisor.shutdown_timeout", shutdown_timeout_ms, DURATION, "30s", 100, 3600000, LIVE, 0, \
  "Longest time for workers to finish when the daemon stops.") \
X("supervisor.hello_timeout", hello_timeout_ms, DURATION, "10s", 100, 600000, LIVE, 0, \
  "Longest time for a new worker to say that it is ready.") \
X("supervisor.heartbeat_timeout", heartbeat_timeout_ms, DURATION, "30s", 1000, 3600000, RESPAWN_ALL, 0, \
  "A worker whose heartbeat is older is killed.") \
X("supervisor.kill_grace", kill_grace_ms, DURATION, "5s", 0, 600000, LIVE, 0, \
  "Time between TERM and KILL, and past a work deadline.") \
X("supervisor.crash_limit", crash_limit, INT, "5", 1, 1000, LIVE, 0, \
  "Crashes of a role within crash_window that make its pool degraded.") \
X("supervisor.crash_window", crash_window_ms, DURATION, "60s", 1000, 86400000, LIVE, 0, \
  "Window in which crashes are counted.") \
X("generation.enabled", generation_enabled, BOOL, "true", 0, 0, LIVE, 0, \
  "Run generation workers.") \
X("generation.min_workers", generation_min_workers, INT, "1", 1, GENERATION_SLOTS_MAX, LIVE, 0, \
  "Generation workers that are kept when there is nothing to do.") \
X("generation.max_workers", generation_max_workers, INT, "4", 1, GENERATION_SLOTS_MAX, LIVE, 0, \
  "Generation workers at most; there are more than min_workers while jobs wait.") \
X("generation.idle_timeout", generation_idle_ms, DURATION, "60s", 0, 86400000, LIVE, 0, \
  "Time without need of all generation workers after which one leaves, down to min_workers; 0: none does.") \
X("generation.memory_limit", generation_memory_limit, SIZE, "0", 0, 1000000000000000, RESPAWN_GENERATION, 0, \
  "Resident memory of all generation workers and their commands beyond which no further job begins beside others; 0: no bound.") \
X("generation.memory_pressure", generation_memory_pressure, REAL, "20", 0, 100, RESPAWN_GENERATION, 0, \
  "Percent of the last ten seconds in which processes stalled for memory, from which on no further job begins beside others; 0: any.") \
X("generation.pressure_file", generation_pressure_file, PATH, "/proc/pressure/memory", 1, 4000, RESPAWN_GENERATION, 0, \
  "File that tells that: of the host, or memory.pressure of a cgroup; without it memory_pressure has no effect.") \
X("generation.worker_timeout", worker_timeout_ms, DURATION, "300s", 100, 86400000, RESPAWN_GENERATION, 0, \
  "Deadline of one job.") \
X("generation.max_retries", generation_max_retries, INT, "3", 0, 100, RESPAWN_GENERATION, 0, \
  "Attempts after the first before a job fails for good.") \
X("generation.command.environment", command_environment, TEXT, "PATH HOME USER LOGNAME LANG TZ TMPDIR", 0, 4000, RESPAWN_GENERATION, 0, \
  "Variables of the daemon's environment that commands have.") \
X("generation.command.cgroup", command_cgroup, TEXT, "auto", 1, 3900, RESTART, 0, \
  "Control groups (v2) for commands: auto below the daemon's own where that is delegated, none, or below this group.") \
X("generation.command.cpu_seconds", command_cpu_seconds, INT, "0", 0, 1000000000, RESPAWN_GENERATION, 0, \
  "Processor time of each process of a command that has no limit of its own; 0: none.") \
X("generation.command.memory_bytes", command_memory_bytes, SIZE, "0", 0, 1000000000000000, RESPAWN_GENERATION, 0, \
  "Address space of each process, likewise; in a control group also the memory of all; 0: none.") \
X("generation.command.file_bytes", command_file_bytes, SIZE, "0", 0, 1000000000000000, RESPAWN_GENERATION, 0, \
  "Size of a file that a command writes, likewise; 0: none.") \
X("generation.command.processes", command_processes, INT, "0", 0, 10000000, RESPAWN_GENERATION, 0, \
  "Processes of the user when a command forks (none for root), likewise; in a control group those of the command; 0: none.") \
X("generation.command.open_files", command_open_files, INT, "0", 0, 10000000, RESPAWN_GENERATION, 0, \
  "Open files of each process, likewise; 0: none.") \
X("generation.source", generation_source, CHOICE, "local", 0, 0, RESPAWN_SYNC, 0, \
  "Where jobs come from: local ones only, or the queue at the centre as well.") \
X("generation.central.max_jobs", central_max_jobs, INT, "16", 1, 1000, RESPAWN_SYNC, 0, \
  "Jobs of the central queue that this host holds at a time, waiting or running.") \
X("generation.central.lease", central_lease_ms, DURATION, "60s", 1000, 86400000, RESPAWN_SYNC, 0, \
  "Time after which the jobs of a host that is not heard of run elsewhere.") \
X("generation.central.poll", central_poll_ms, DURATION, "2s", 50, 3600000, RESPAWN_SYNC, 0, \
  "How often an idle host looks into the central queue.") \
X("template_cache.enabled", template_cache_enabled, BOOL, "true", 0, 0, LIVE, 0, \
  "Keep compiled templates in shared memory, for all workers.") \
X("template_cache.max_templates", template_cache_max, INT, "100", 1, 10000, LIVE, 0, \
  "Templates kept, with partials.") \
X("template_cache.max_size", template_cache_bytes, SIZE, "50MB", 1, 256000000, LIVE, 0, \
  "Size of all of them together; a larger one is kept alone.") \
X("template_cache.ttl", template_cache_ttl_ms, DURATION, "1h", 0, 315360000000, LIVE, 0, \
  "Time after which a template is compiled anew, changed or not; 0: never.") \
X("template_cache.persistence", template_cache_persistence, BOOL, "true", 0, 0, RESPAWN_GENERATION, 0, \
  "Keep count of templates in the local store's template_cache_metadata.") \
X("sync.enabled", sync_enabled, BOOL, "true", 0, 0, LIVE, 0, \
  "Run sync workers.") \
X("sync.sink", sync_sink, CHOICE, "sqlite", 0, 0, RESPAWN_SYNC, 0, \
  "Where operations go.") \
X("sync.mode", sync_mode, CHOICE, "adaptive", 0, 0, RESPAWN_SYNC, 0, \
  "Preset of the options below that nobody set; adaptive also follows backlog and latency.") \
X("sync.min_workers", sync_min_workers, INT, "1", 1, SYNC_SLOTS_MAX, LIVE, 0, \
  "Sync workers that are kept when there is nothing to carry.") \
X("sync.max_workers", sync_max_workers, INT, "2", 1, SYNC_SLOTS_MAX, LIVE, 0, \
  "Sync workers at most, one central connection each; there are more than min_workers while a backlog is carried.") \
X("sync.idle_timeout", sync_idle_ms, DURATION, "60s", 0, 86400000, LIVE, 0, \
  "Time without need of all sync workers after which one leaves, down to min_workers; 0: none does.") \
X("sync.interval_selection", sync_interval_selection, CHOICE, "auto", 0, 0, RESPAWN_SYNC, 0, \
  "auto: by system.type; default: always intervals.default.") \
X("sync.intervals.default", sync_interval_default_ms, DURATION, "1800s", 100, 604800000, RESPAWN_SYNC, 0, \
  "Interval of periodic passes of a developer_workstation.") \
X("sync.intervals.high_priority_system", sync_interval_high_ms, DURATION, "300s", 100, 604800000, RESPAWN_SYNC, 0, \
  "Interval of periodic passes of a production_server.") \
X("sync.intervals.low_priority_system", sync_interval_low_ms, DURATION, "3600s", 100, 604800000, RESPAWN_SYNC, 0, \
  "Interval of periodic passes of a backup_server.") \
X("sync.thresholds.max_pending_operations", sync_threshold_operations, INT, "50", 1, 1000000000, RESPAWN_SYNC, 0, \
  "Pending operations that start a pass at once.") \
X("sync.thresholds.max_pending_tasks", sync_threshold_tasks, INT, "5", 1, 1000000000, RESPAWN_SYNC, 0, \
  "Pending operations of table tasks that start a pass at once.") \
X("sync.thresholds.max_pending_errors", sync_threshold_errors, INT, "3", 1, 1000000000, RESPAWN_SYNC, 0, \
  "Pending operations of table errors that start a pass at once.") \
X("sync.thresholds.max_pending_contexts", sync_threshold_contexts, INT, "1", 1, 1000000000, RESPAWN_SYNC, 0, \
  "Pending operations of table contexts that start a pass at once.") \
X("sync.event_driven.enable_urgent", sync_enable_urgent, BOOL, "true", 0, 0, RESPAWN_SYNC, 0, \
  "An urgent operation starts a pass at once.") \
X("sync.event_driven.immediate_on_error", sync_immediate_on_error, BOOL, "true", 0, 0, RESPAWN_SYNC, 0, \
  "A single operation of table errors starts a pass at once.") \
X("sync.batch.min", sync_batch_min, INT, "50", 1, 5000, RESPAWN_SYNC, 0, \
  "Operations in a batch of the trickle.") \
X("sync.batch.max", sync_batch_max, INT, "1000", 1, 5000, RESPAWN_SYNC, 0, \
  "Operations in a batch of a drain.") \
X("sync.max_per_pass", sync_max_per_pass, INT, "500", 1, 1000000, RESPAWN_SYNC, 0, \
  "Operations carried in one pass of the trickle; a drain has no such cap.") \
X("sync.max_retries", sync_max_retries, INT, "5", 0, 1000, RESPAWN_SYNC, 0, \
  "Attempts after the first before a refused operation is dead.") \
X("sync.poll_interval", sync_poll_interval_ms, DURATION, "1s", 10, 3600000, RESPAWN_STORE, 0, \
  "Longest time until a new row in a source is noticed.") \
X("sync.aggregate_interval", sync_aggregate_interval_ms, DURATION, "60s", 100, 86400000, RESPAWN_STORE, 0, \
  "Longest time until new detail of a summary goes to the centre with it.") \
X("sync.aggregate_events", sync_aggregate_events, INT, "1000", 1, 1000000, RESPAWN_STORE, 0, \
  "New details of a summary that send it at once.") \
X("sync.retry.base", sync_retry_base_ms, DURATION, "1s", 10, 3600000, RESPAWN_SYNC, 0, \
  "First delay after a failure; it doubles up to sync.retry.max, with jitter.") \
X("sync.retry.max", sync_retry_max_ms, DURATION, "60s", 10, 86400000, RESPAWN_SYNC, 0, \
  "Longest delay between attempts.") \
X("sync.connection_pool_threshold", sync_pool_threshold, REAL, "0.8", 0, 1, RESPAWN_SYNC, 0, \
  "Usage of the connection pools above which all but urgent operations wait.") \
X("sync.connection_pool_check_enabled", sync_pool_check, BOOL, "true", 0, 0, RESPAWN_SYNC, 0, \
  "Look at the usage of the connection pools before operations are carried.") \
X("sync.sqlite.path", sync_sqlite_path, PATH, "<state_dir>/centre.db", 1, 4000, RESPAWN_SYNC, 0, \
  "File of the sqlite sink.") \
X("sync.http.url", sync_http_url, TEXT, "", 0, 2000, RESPAWN_SYNC, 0, \
  "Endpoint of the http sink, which takes batches by POST.") \
X("sync.http.token_env", sync_http_token_env, TEXT, "", 0, 200, RESPAWN_SYNC, 0, \
  "Environment variable that holds the bearer token of the http sink.") \
X("sync.http.token_file", sync_http_token_file, TEXT, "", 0, 4000, RESPAWN_SYNC, 0, \
  "File that holds the token; read for every request, so that it can be renewed.") \
X("sync.http.ca_file", sync_http_ca_file, TEXT, "", 0, 4000, RESPAWN_SYNC, 0, \
  "Certificates that the http sink trusts; empty: the system's.") \
X("sync.http.timeout", sync_http_timeout_ms, DURATION, "60s", 100, 3600000, RESPAWN_SYNC, 0, \
  "Longest time of one HTTP request.") \
X("database.conninfo", database_conninfo, TEXT, "", 0, 4000, RESPAWN_SYNC, 1, \
  "Connection string of libpq; the other database options are put over it.") \
X("database.host", database_host, TEXT, "", 0, 1000, RESPAWN_SYNC, 0, \
  "Host or socket directory of the central PostgreSQL; several with commas between, for a takeover.") \
X("database.port", database_port, INT, "5432", 1, 65535, RESPAWN_SYNC, 0, \
  "Port of the central PostgreSQL.") \
X("database.database", database_name, TEXT, "", 0, 63, RESPAWN_SYNC, 0, \
  "Name of the central database.") \
X("database.user", database_user, TEXT, "", 0, 63, RESPAWN_SYNC, 0, \
  "User at the central database.") \
X("database.password_env", database_password_env, TEXT, "", 0, 200, RESPAWN_SYNC, 0, \
  "Environment variable that holds the password.") \
X("database.password_file", database_password_file, TEXT, "", 0, 4000, RESPAWN_SYNC, 0, \
  "File that holds the password; its last line end is left out.") \
X("database.sslmode", database_sslmode, CHOICE, "prefer", 0, 0, RESPAWN_SYNC, 0, \
  "Use of TLS, as libpq means it.") \
X("database.application_name", database_application_name, TEXT, "tidemill", 1, 63, RESPAWN_SYNC, 0, \
  "Name shown in pg_stat_activity.") \
X("database.connect_timeout", database_connect_timeout_ms, DURATION, "10s", 100, 600000, RESPAWN_SYNC, 0, \
  "Longest time to make a connection.") \
X("database.statement_timeout", database_statement_timeout_ms, DURATION, "30s", 100, 3600000, RESPAWN_SYNC, 0, \
  "Longest time of one batch at the server.") \
X("database.query_timeout", database_query_timeout_ms, DURATION, "60s", 100, 3600000, RESPAWN_SYNC, 0, \
  "Longest wait for an answer before the line counts as down.") \
X("database.pool.min", database_pool_min, INT, "1", 0, SYNC_SLOTS_MAX, RESPAWN_SYNC, 0, \
  "Connections to the centre that stay open when nothing is to be carried.") \
X("database.pool.max", database_pool_max, INT, "10", 1, 1000, RESPAWN_SYNC, 0, \
  "Connections to the centre that this host may hold.") \
X("database.pool.acquire_timeout", database_pool_acquire_ms, DURATION, "60s", 100, 3600000, RESPAWN_SYNC, 0, \
  "Longest wait of a batch for one of these connections.") \
X("database.pool.idle_timeout", database_pool_idle_ms, DURATION, "30s", 100, 86400000, RESPAWN_SYNC, 0, \
  "An unused connection above pool.min is closed after this time.") \
X("database.pool.max_lifetime", database_pool_lifetime_ms, DURATION, "3600s", 100, 604800000, RESPAWN_SYNC, 0, \
  "A connection is renewed after this time, or up to a tenth less.") \
X("database.pool.health_check_interval", database_pool_check_ms, DURATION, "30s", 100, 86400000, RESPAWN_SYNC, 0, \
  "Time after which an unused connection is checked.") \
X("gateway.control_mode", control_mode, MODE, "0660", 0, 0777, RESTART, 0, \
  "Permission bits of control.sock and store.sock.") \
X("monitoring.enabled", monitoring_enabled, BOOL, "true", 0, 0, LIVE, 0, \
  "Run the monitor.") \
X("monitoring.health_check_interval", health_check_interval_ms, DURATION, "60s", 100, 86400000, RESPAWN_MONITOR, 0, \
  "Time between two samples of the metrics.") \
X("monitoring.report_interval", report_interval_ms, DURATION, "15m", 0, 86400000, RESPAWN_MONITOR, 0, \
  "How often figures of events and templates that the centre has not had are put into the outbox; 0: never.") \
X("monitoring.metric_retention_points", metric_retention_points, INT, "1000", 1, 1000000, RESPAWN_MONITOR, 0, \
  "Samples kept.") \
X("retention.synced", retention_synced_ms, DURATION, "7d", 0, 315360000000, RESPAWN_STORE, 0, \
  "How long synced operations, their batches and decided conflicts are kept; 0: for ever.") \
X("retention.events", retention_events_ms, DURATION, "30d", 0, 315360000000, RESPAWN_STORE, 0, \
  "How long hook events and other detail are kept once they are folded; 0: for ever.") \
X("retention.summaries", retention_summaries_ms, DURATION, "90d", 0, 315360000000, RESPAWN_STORE, 0, \
  "How long after its last detail a summary can be updated; a later one begins it anew; 0: for ever.") \
X("retention.metrics", retention_metrics_ms, DURATION, "90d", 0, 315360000000, RESPAWN_STORE, 0, \
  "How long the metrics of passes and of their events are kept; 0: for ever.") \
X("retention.jobs", retention_jobs_ms, DURATION, "30d", 0, 315360000000, RESPAWN_STORE, 0, \
  "How long jobs that are over are kept, with their phases and the lists of their files; 0: for ever.") \
X("retention.dead", retention_dead_ms, DURATION, "0", 0, 315360000000, RESPAWN_STORE, 0, \
  "How long dead operations are kept; 0: for ever.") \
X("logging.level", log_level, CHOICE, "info", 0, 0, LIVE, 0, \
  "Least important level that is written.") \
X("logging.levels.master", log_level_master, CHOICE, "default", 0, 0, LIVE, 0, \
  "The level of the master; default: logging.level.") \
X("logging.levels.store", log_level_store, CHOICE, "default", 0, 0, LIVE, 0, \
  "The level of the store.") \
X("logging.levels.gateway", log_level_gateway, CHOICE, "default", 0, 0, LIVE, 0, \
  "The level of the gateway.") \
X("logging.levels.monitor", log_level_monitor, CHOICE, "default", 0, 0, LIVE, 0, \
  "The level of the monitor.") \
X("logging.levels.generation", log_level_generation, CHOICE, "default", 0, 0, LIVE, 0, \
  "The level of the generation workers.") \
X("logging.levels.sync", log_level_sync, CHOICE, "default", 0, 0, LIVE, 0, \
  "The level of the sync workers.") \
X("logging.format", log_format, CHOICE, "json", 0, 0, RESPAWN_ALL, 0, \
  "Form of a log line.") \
X("logging.rotation.max_bytes", log_max_bytes, SIZE, "100MB", 0, 1000000000000, LIVE, 0, \
  "Size at which the log is put aside and begun anew; 0: at none.") \
X("logging.rotation.interval", log_interval_ms, DURATION, "0", 0, 31622400000, LIVE, 0, \
  "Time after which it is too, counted from midnight in UTC; 0: never.") \
X("logging.rotation.backup_count", log_backup_count, INT, "30", 0, 10000, LIVE, 0, \
  "Old logs kept.") \
X("logging.rotation.max_total_bytes", log_total_bytes, SIZE, "0", 0, 1000000000000000, LIVE, 0, \
  "Size of all old logs together above which the oldest go; 0: no bound.") \
X("logging.rotation.compression", log_compression, BOOL, "true", 0, 0, LIVE, 0, \
  "Compress old logs.")

/* X(member, words in the order of their values) */
#define OPTION_CHOICE_LIST(X) \
X(system_type, "developer_workstation", "production_server", "backup_server") \
X(generation_source, "local", "central") \
X(sync_mode, "adaptive", "aggressive", "conservative") \
X(sync_sink, "sqlite", "pgsql", "http") \
X(sync_interval_selection, "auto", "default") \
X(database_sslmode, "disable", "allow", "prefer", "require", "verify-ca", "verify-full") \
X(log_level, "error", "warning", "notice", "info", "debug") \
X(log_format, "json", "text") \
X(log_level_master, "default", "error", "warning", "notice", "info", "debug") \
X(log_level_store, "default", "error", "warning", "notice", "info", "debug") \
X(log_level_gateway, "default", "error", "warning", "notice", "info", "debug") \
X(log_level_monitor, "default", "error", "warning", "notice", "info", "debug") \
X(log_level_generation, "default", "error", "warning", "notice", "info", "debug") \
X(log_level_sync, "default", "error", "warning", "notice", "info", "debug")

/* What sync.mode puts in the place of defaults: aggressive for a host whose
 * centre should know all within a minute, conservative for a slow or dear
 * line.  adaptive keeps the defaults.
 *
 * X(member, aggressive, conservative) */
#define MODE_PRESET_LIST(X) \
X(sync_interval_default_ms, "300s", "7200s") \
X(sync_interval_high_ms, "60s", "1800s") \
X(sync_interval_low_ms, "900s", "14400s") \
X(sync_threshold_operations, "10", "500") \
X(sync_threshold_tasks, "1", "50") \
X(sync_threshold_errors, "1", "10") \
X(sync_threshold_contexts, "1", "10") \
X(sync_immediate_on_error, "true", "false") \
X(sync_max_per_pass, "5000", "500")
/* clang-format on */

enum system_type { SYSTEM_WORKSTATION, SYSTEM_PRODUCTION, SYSTEM_BACKUP };
enum sync_mode { MODE_ADAPTIVE, MODE_AGGRESSIVE, MODE_CONSERVATIVE };
enum generation_source { GENERATION_LOCAL, GENERATION_CENTRAL };
enum sync_sink { SYNC_SINK_SQLITE, SYNC_SINK_PGSQL, SYNC_SINK_HTTP };
enum interval_selection { INTERVAL_AUTO, INTERVAL_DEFAULT };

/* The two options that are no scalars: */

/* What decides when two hosts change one record of a table (the number goes
 * over the wire to the centre).  Any but `none` makes the table a shared one:
 * one row a record at the centre, whoever wrote it. */
#define CONFLICT_RULE_LIST(X)                                                  \
    X(NONE, "none")                                                            \
    X(LAST_WRITE_WINS, "last_write_wins")                                      \
    X(LOCAL_WINS, "local_wins")                                                \
    X(CENTRE_WINS, "centre_wins")                                              \
    X(MANUAL, "manual")

enum conflict_rule {
#define X(name, word) CONFLICT_##name,
    CONFLICT_RULE_LIST(X)
#undef X
        CONFLICT_RULE_COUNT
};

static inline const char *conflict_rule_name(enum conflict_rule rule)
{
    static const char *const names[] = {
#define X(name, word) word,
        CONFLICT_RULE_LIST(X)
#undef X
    };
    return names[rule];
}

/* An entry of `sync.tables`: where the operations of one table land.
 * Changing one respawns the sync pool. */
struct sync_table {
    const char *name;   /* the operations' table_name */
    const char *target; /* "table" or "schema.table" at the centre, checked;
                           "" for tidemill's own table */
    const char *key;    /* column that holds the record_id */
    enum conflict_rule conflict;
    const char *version;    /* field of the data that grows; "": by time */
    const char *updated_at; /* field of the data with the time */
    const char *base;       /* field with the version or time that a change
                               was made upon; "": not said */
};

/* An entry of `sources`.  Changing one respawns the store. */
struct sync_source {
    const char *name; /* 1 to 64 of [A-Za-z0-9_-], unique */
    const char *path; /* absolute */
    const char *user; /* must own the file; "" for any */
};

#define SYNC_TABLES_MAX 200
#define SOURCES_MAX     100

#endif
