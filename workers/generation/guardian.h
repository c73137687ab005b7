/* SPDX-License-Identifier: Apache-2.0
 *
 * The guardian of a worker's commands, one after the other: a small process
 * between the worker and the command, the subreaper of all that the command
 * starts.  It ends the whole tree (TERM, KILL after the grace) at the deadline
 * and when the worker asks; KILL at once when the command itself has ended and
 * when the worker is gone, which it notices by the end of file of the pipe
 * that only the worker holds.
 *
 * What holds when the job (of the same user) attacks it: it cannot be traced
 * (not dumpable), and ignores all signals but KILL and STOP.  When it is
 * killed the command dies by PR_SET_PDEATHSIG and the rest becomes the
 * worker's, a subreaper too, which kills it; when it is stopped the worker
 * does so after deadline and grace.  Killing worker and guardian at once
 * escapes, unless there is a control group: then the next worker kills it.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_GUARDIAN_H
#define TIDEMILL_WORKERS_GENERATION_GUARDIAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/error.h"

/* Of each process of the command; 0: not limited by us. */
struct command_limits {
    uint64_t cpu_seconds;
    uint64_t memory_bytes; /* address space */
    uint64_t file_bytes;   /* of a file that it writes */
    uint64_t processes;    /* of the user; has no effect on root */
    uint64_t open_files;
};

struct command {
    char **argv;        /* argv[0] is looked for in PATH; never a shell */
    char **environment; /* whole */
    const char *directory;
    struct command_limits limits;
    uint64_t timeout_ms;
    uint64_t grace_ms;
};

enum command_end {
    COMMAND_EXITED,      /* detail: exit code */
    COMMAND_SIGNALLED,   /* detail: signal */
    COMMAND_NOT_STARTED, /* detail: errno */
};

struct command_result {
    enum command_end end;
    int detail;
    bool timed_out;
    bool cancelled;
};

struct guardian {
    pid_t pid;
    int group_fd;   /* the caller's: where commands run; 0 or less: nowhere */
    int lock_fd;    /* the caller's, of command_lock.h; 0 or less: none */
    unsigned slot;
    int control_fd; /* commands and their cancelling; closed: kill */
    int result_fd;  /* a struct command_result when all of a command is dead;
                     * the end of file when the guardian was killed */
    int output_fd;  /* what the command prints; not blocking */
};

/* Starts it, so that the first command need not wait for that. */
int guardian_start(struct guardian *guardian, struct error *error);

/* Lets the guardian, which is started when there is none (all zero), run a
 * command; the one before is over.  The caller becomes a subreaper. */
int guardian_run(struct guardian *guardian, const struct command *command,
                 struct error *error);

/* TERM, KILL after the grace. */
void guardian_cancel(struct guardian *guardian);

/* Ends the tree, should it live, and its guardian; waits for two seconds at
 * most.  What was printed can still be read. */
void guardian_close_tree(struct guardian *guardian);

/* The same, and closes all.  Nothing happens when it was never started. */
void guardian_close(struct guardian *guardian);

#endif
