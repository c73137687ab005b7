/* SPDX-License-Identifier: Apache-2.0
 *
 * A job of kind `command`: an argument vector, run beside the worker's event
 * loop.  The specification is JSON:
 *
 *     {"argv": [text, ...], "directory": absolute path,
 *      "environment": {NAME: value} (beside what is allowed of the daemon's),
 *      "limits": {"cpu_seconds": N, "memory_bytes": N, "file_bytes": N,
 *                 "processes": N, "open_files": N} (each optional),
 *      "correlation_id": that of the command (optional)}
 */
#ifndef TIDEMILL_WORKERS_GENERATION_COMMAND_JOB_H
#define TIDEMILL_WORKERS_GENERATION_COMMAND_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "workers/generation/guardian.h"

struct event_base;
struct job;

/* Of what a command prints its first and last halves of this are kept. */
#define COMMAND_OUTPUT_MAX (64u << 10)

/* When it is over at the latest, beyond its deadline and the grace. */
#define COMMAND_SLACK_MS 5000

/* Exit codes with a meaning of their own. */
#define COMMAND_EXIT_PERMANENT 100
#define COMMAND_EXIT_TEMPORARY 111
#define COMMAND_EXIT_TIMED_OUT 124

/* For jobs that say nothing else. */
struct command_defaults {
    const char *environment; /* names of what they have of the daemon's */
    struct command_limits limits;
};

/* How it ended; valid during the call. */
struct command_outcome {
    int exit_code; /* -1: it has none; 124: at the deadline */
    int signal;    /* 0: by none */
    bool cancelled;
    const char *correlation; /* NULL when it has none */
    const char *output;      /* UTF-8 without NUL; NULL without memory */
};

/* Called once, when nothing of the command is alive.  `error` has ERROR_NONE
 * after exit code 0; ERROR_TRY_AGAIN and ERROR_SYSTEM may pass. */
typedef void (*command_over)(void *self, const struct command_outcome *outcome,
                             const struct error *error);

struct command_job;

/* Starts it below the guardian, which is the caller's and lives longer; NULL on
 * failure.  `job` is not needed afterwards. */
struct command_job *command_job_start(struct event_base *base,
                                      struct guardian *guardian,
                                      const struct command_defaults *defaults,
                                      const struct job *job,
                                      uint64_t timeout_ms, uint64_t grace_ms,
                                      command_over over, void *self,
                                      struct error *error);

/* TERM, KILL after the grace; `over` is called as ever. */
void command_job_cancel(struct command_job *command);

/* Kills it, should it live, without a call. */
void command_job_free(struct command_job **command);

#endif
