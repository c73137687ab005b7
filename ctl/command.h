/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands of `tidemill`, once: parsing, help, the manual page's check
 * and the shell completions come from this list.
 */
#ifndef TIDEMILL_CTL_COMMAND_H
#define TIDEMILL_CTL_COMMAND_H

#include <stdbool.h>

#include "common/base/error.h"
#include "common/config/config.h"

/* What a command has to work with. */
struct command_context {
    const struct config *config;
    const char *config_path;
    bool json;
    const char *usage; /* of the command, for messages */
};

/* A command: argv[0] is its last word, the rest its arguments.  Returns the
 * exit status; errors were printed. */
typedef int (*command_function)(const struct command_context *context,
                                int argc, char **argv);

/* clang-format off */
/* words, function, configuration, arguments, what it does
 *
 * STRICT commands refuse to run with a configuration that has errors; LENIENT
 * ones look for the running daemon all the same: an operator must be able to
 * ask it while the file is broken. */
#define COMMAND_LIST(X) \
X("status", command_status, LENIENT, "", \
  "show the daemon, its workers and its configuration") \
X("top", command_top, LENIENT, "[--interval T] [--sort COLUMN] [--filter TEXT] [--once]", \
  "watch the daemon work: workers, rates, queue, line to the centre") \
X("reload", command_reload, LENIENT, "", \
  "read the configuration again; exit 78 when it is refused") \
X("upgrade", command_upgrade, LENIENT, "", \
  "start the daemon's program anew and hand over to it, unnoticed") \
X("reopen-logs", command_reopen_logs, LENIENT, "", \
  "open the log files again, after they were moved away") \
X("log-level", command_log_level, LENIENT, "[COMPONENT|all LEVEL|default]", \
  "show what each component logs, or change it until a reload") \
X("doctor", command_doctor, LENIENT, "", \
  "look for what is missing or wrong on this host") \
X("enqueue", command_enqueue, STRICT, "TABLE RECORD_ID [--operation O] [--priority P] [DATA|-] | --batch FILE|- [--atomic]", \
  "put operations into the outbox, durable when it returns") \
X("hook", command_hook, STRICT, "[--priority P]", \
  "record an agent's hook event from standard input") \
X("sync now", command_sync_now, LENIENT, "", \
  "carry operations now; returns when one pass is done") \
X("sync status", command_sync_status, LENIENT, "", \
  "show what is pending and the line to the centre") \
X("sync drain", command_sync_drain, LENIENT, "", \
  "carry until nothing is pending; exit 75 when the centre is away") \
X("sync pause", command_sync_pause, STRICT, "", \
  "carry nothing until 'sync resume'") \
X("sync resume", command_sync_resume, STRICT, "", \
  "carry operations again") \
X("sync dead", command_sync_dead, STRICT, "[--limit N]", \
  "list the operations that the centre refused for good") \
X("sync retry", command_sync_retry, STRICT, "ID... | --all", \
  "try dead operations again") \
X("sync drop", command_sync_drop, STRICT, "ID...", \
  "give dead operations up") \
X("sync conflicts", command_sync_conflicts, STRICT, "[--all] [--limit N]", \
  "show records that another host changed as well, and what to do") \
X("sync resolve", command_sync_resolve, STRICT, "ID...|--all --keep local|centre", \
  "decide conflicts: whose version of the record stands") \
X("sync health", command_sync_health, STRICT, "", \
  "how syncing went, day by day, in the last week") \
X("test offline", command_test_offline, STRICT, "--duration D [--rate N] [--keep]", \
  "exercise an absent centre, and verify what comes of it") \
X("test kill", command_test_kill, LENIENT, "[--role R] [--count N]", \
  "kill workers, one by one, and see their successors serve") \
X("generate", command_generate, STRICT, "[--output DIR] [--template-dir DIR] [--force | --merge] [--dry-run] [--diff] [--after JOB[,JOB]] [--key KEY] " \
  "[--priority P] [--timeout T] [--sql] CONTRACT...", \
  "generate code from contracts, by the daemon's workers") \
X("render", command_render, STRICT, "--template FILE --data FILE [--partials DIR] [--escape E] [--syntax S] [--strict]", \
  "render one template to standard output, without the daemon") \
X("run", command_run, STRICT, "[--timeout T] [--directory DIR] [--env NAME[=VALUE]] [--limit NAME=N] [--detach | --sql] [--after JOB[,JOB]] [--key KEY] " \
  "[--priority P] -- PROGRAM [ARG...]", \
  "run a program as a job of the daemon, under a deadline") \
X("jobs list", command_jobs_list, STRICT, "[--state S] [--limit N]", \
  "list jobs, the newest first") \
X("jobs show", command_jobs_show, STRICT, "ID", \
  "show one job with its files") \
X("jobs output", command_jobs_output, STRICT, "ID", \
  "print what a command job printed") \
X("jobs cancel", command_jobs_cancel, STRICT, "ID", \
  "cancel a job; one that runs is ended with all its processes") \
X("jobs retry", command_jobs_retry, STRICT, "ID", \
  "put a job that failed or was cancelled into the queue again") \
X("feedback match", command_feedback_match, STRICT, "[--threshold T] CONTRACT...", \
  "name the patterns of the operations of contracts") \
X("feedback record", command_feedback_record, STRICT, "--pattern P --type T [--confidence C] [--actual P] [--contract FILE] [--automatic]", \
  "say whether a pattern that was named is the right one") \
X("feedback report", command_feedback_report, STRICT, "[--strategy S] [--threshold T]", \
  "show how right the patterns were, and what threshold suits") \
X("feedback mixins", command_feedback_mixins, STRICT, "[--node-type T --good|--bad [--reason TEXT] [--resolution TEXT] MIXIN MIXIN...]", \
  "show how mixins went together, or say how some did") \
X("cache stats", command_cache_stats, LENIENT, "[--limit N]", \
  "show which compiled templates are kept, and what that saves") \
X("cache clear", command_cache_clear, LENIENT, "", \
  "remove all compiled templates") \
X("cache invalidate", command_cache_invalidate, LENIENT, "NAME|PATTERN", \
  "remove the compiled templates that match") \
X("metrics", command_metrics, LENIENT, "[--history | --report NAME|list [--limit N]]", \
  "print all metrics for Prometheus, their history, or records") \
X("backup", command_backup, STRICT, "FILE|DIR", \
  "copy the local store, whole and checked, while the daemon runs") \
X("restore", command_restore, STRICT, "FILE", \
  "put a backup in the local store's place; the daemon must be down") \
X("store check", command_store_check, STRICT, "", \
  "look for damage in the local store; exit 1 when there is any") \
X("store export", command_store_export, STRICT, "[--after-batch N]", \
  "print operations for 'enqueue --batch': pending ones, or synced") \
X("store repair", command_store_repair, STRICT, "[--apply]", \
  "say what of a damaged store can be read; --apply makes it anew") \
X("migrate", command_migrate, STRICT, "[--status]", \
  "bring the local store to this version's schema")
/* clang-format on */

#define X(words, function, configuration, arguments, what)                     \
    int function(const struct command_context *context, int argc, char **argv);
COMMAND_LIST(X)
#undef X

#endif
