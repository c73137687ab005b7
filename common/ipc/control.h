/* SPDX-License-Identifier: Apache-2.0
 *
 * The control socket: what `tidemill` asks of the running daemon.
 *
 * A request is one line of JSON, {"command": NAME, "correlation_id": TEXT,
 * "args": {...}} (the id, as log.h has it, may be missing), an answer
 * is one line too: {"ok": true, "data": {...}}, or {"ok": false, "status": an
 * exit status of sysexits(3), "error": TEXT}.  Requests on a connection are
 * answered in their order.
 *
 * Reading commands are for everyone whom the socket's mode lets in, changing
 * ones for root and the daemon's user (by the peer's uid from the kernel).
 */
#ifndef TIDEMILL_IPC_CONTROL_H
#define TIDEMILL_IPC_CONTROL_H

#define CONTROL_LINE_MAX 65536 /* bytes of a request with its line end */

/* A cut of the line to the centre lasts so long at most; then it is asked
 * for again, or over. */
#define SYNC_CUT_SECONDS_MAX 60

/* name in code, name on the socket, changes something, may be asked again
 * when the connection was lost before the answer, words */
#define CONTROL_LIST(X)                                                        \
    X(STATUS, "status", 0, 1, "the daemon, its workers, its configuration")    \
    X(METRICS, "metrics", 0, 1, "all metrics; args.format: text or json")      \
    X(SYNC_STATUS, "sync-status", 0, 1, "the line to the centre")              \
    X(RELOAD, "reload", 1, 1, "read the configuration again; waits")           \
    X(UPGRADE, "upgrade", 1, 0, "a new master; answers only when it failed")   \
    X(REOPEN_LOGS, "reopen-logs", 1, 1, "open the log files again")            \
    X(LOG_LEVELS, "log-levels", 0, 1, "what each component writes")            \
    X(LOG_LEVEL, "log-level", 1, 1, "args.component writes args.level and up") \
    X(SYNC_NOW, "sync-now", 1, 1, "one pass of sync; waits for its end")       \
    X(SYNC_DRAIN, "sync-drain", 1, 1, "sync until nothing is pending; waits")  \
    X(SYNC_PAUSE, "sync-pause", 1, 1, "stop carrying operations")              \
    X(SYNC_RESUME, "sync-resume", 1, 1, "carry operations again")              \
    X(SYNC_CUT, "sync-cut", 1, 1, "cut the line for args.seconds; 0: no more") \
    X(CACHE_STATS, "cache-stats", 0, 1, "the template cache")                  \
    X(CACHE_CLEAR, "cache-clear", 1, 1, "remove all templates from it")        \
    X(CACHE_INVALIDATE, "cache-invalidate", 1, 1, "those like args.pattern")   \
    X(KILL, "kill", 1, 0, "kill the worker with args.spawn, as an exercise")   \
    X(SYNC_INSPECT, "sync-inspect", 1, 1, "what the exercise args.run left")

enum control_command {
#define X(name, text, changes, repeats, words) CONTROL_##name,
    CONTROL_LIST(X)
#undef X
        CONTROL_COUNT
};

#endif
