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
/* words, function, arguments, what it does */
#define COMMAND_LIST(X) \
X("status", command_status, "", \
  "show the daemon, its workers and its configuration") \
X("reload", command_reload, "", \
  "read the configuration again; exit 78 when it is refused") \
X("reopen-logs", command_reopen_logs, "", \
  "open the log files again, after they were moved away") \
X("doctor", command_doctor, "", \
  "look for what is missing or wrong on this host") \
X("enqueue", command_enqueue, "TABLE RECORD_ID [--operation O] [--priority P] [DATA|-] | --batch FILE|- [--atomic]", \
  "put operations into the outbox, durable when it returns") \
X("hook", command_hook, "[--priority P]", \
  "record an agent's hook event from standard input") \
X("sync now", command_sync_now, "", \
  "carry operations now; returns when one pass is done") \
X("sync status", command_sync_status, "", \
  "show what is pending and the line to the centre") \
X("sync drain", command_sync_drain, "", \
  "carry until nothing is pending; exit 75 when the centre is away") \
X("sync pause", command_sync_pause, "", \
  "carry nothing until 'sync resume'") \
X("sync resume", command_sync_resume, "", \
  "carry operations again") \
X("sync dead", command_sync_dead, "[--limit N]", \
  "list the operations that the centre refused for good") \
X("sync retry", command_sync_retry, "ID... | --all", \
  "try dead operations again") \
X("sync drop", command_sync_drop, "ID...", \
  "give dead operations up") \
X("generate", command_generate, "[--output DIR] [--template-dir DIR] CONTRACT...", \
  "generate code from contracts, by the daemon's workers") \
X("render", command_render, "--template FILE --data FILE [--partials DIR] [--escape E] [--strict]", \
  "render one template to standard output, without the daemon") \
X("jobs list", command_jobs_list, "[--state S] [--limit N]", \
  "list jobs, the newest first") \
X("jobs show", command_jobs_show, "ID", \
  "show one job with its files") \
X("metrics", command_metrics, "", \
  "print all metrics in Prometheus' text format") \
X("migrate", command_migrate, "[--status]", \
  "bring the local store to this version's schema")
/* clang-format on */

#define X(words, function, arguments, what)                                    \
    int function(const struct command_context *context, int argc, char **argv);
COMMAND_LIST(X)
#undef X

#endif
