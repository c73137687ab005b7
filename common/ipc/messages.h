/* SPDX-License-Identifier: Apache-2.0
 *
 * Every message on the pipes between the master and a worker.  A message is
 * one write() of at most PIPE_BUF bytes, therefore atomic:
 *
 *     u16 size (of all that follows)  u8 kind  i32 pid  u32 spawn  fields
 *
 * pid and spawn are the worker's; a message of an earlier one is stale and
 * ignored.  Fields are u64 or text, as the list says, nothing left over.
 */
#ifndef TIDEMILL_IPC_MESSAGES_H
#define TIDEMILL_IPC_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/error.h"

/* name, direction, has number, has text, what it says */
#define MESSAGE_LIST(X)                                                        \
    X(DRAIN, DOWN, 1, 0, "finish what you have within NUMBER ms, then leave")  \
    X(STOP, DOWN, 0, 0, "leave at once")                                       \
    X(REOPEN_LOGS, DOWN, 0, 0, "let go of a log that was moved away")          \
    X(WAKE, DOWN, 0, 0, "there may be work, or the line was cut or returned")  \
    X(PAUSE, DOWN, 0, 0, "take no new work until RESUME")                      \
    X(RESUME, DOWN, 0, 0, "take work again")                                   \
    X(SYNC_NOW, DOWN, 1, 0, "sync at once; NUMBER is the ticket")              \
    X(READY, UP, 0, 0, "hello: initialised and at work")                       \
    X(BUSY, UP, 1, 0, "from idle to busy; NUMBER is the work's id")            \
    X(IDLE, UP, 0, 0, "from busy to idle")                                     \
    X(REQUEST, UP, 1, 1, "operator's request NUMBER (enum request), argument") \
    X(WAITING, UP, 1, 0, "work waits for the pool of role NUMBER: its board")  \
    X(LOG_ROTATED, UP, 0, 0, "the log is in a new file")                       \
    X(FAILED, UP, 1, 1, "cannot go on: NUMBER is enum error_code, and words")

enum message_kind {
    MESSAGE_NONE,
#define X(name, direction, number, text, words) MESSAGE_##name,
    MESSAGE_LIST(X)
#undef X
        MESSAGE_KIND_COUNT
};

enum message_direction { MESSAGE_DOWN, MESSAGE_UP };

/* What the gateway relays to the master for an operator: the argument, and
 * behind a TAB the correlation id, if there is one.
 * name, argument, what it asks */
#define REQUEST_LIST(X)                                                        \
    X(RELOAD, "-", "read the configuration again")                             \
    X(REOPEN_LOGS, "-", "reopen all log files")                                \
    X(SYNC_NOW, "ticket", "a pass of sync now")                                \
    X(SYNC_PAUSE, "-", "pause the sync pool")                                  \
    X(SYNC_RESUME, "-", "resume the sync pool")                                \
    X(SYNC_LOOK, "-", "let the sync pool look at its board")                   \
    X(UPGRADE, "-", "start the program anew and hand over")                    \
    X(KILL, "spawn", "kill the worker with that spawn number")                 \
    X(STOP, "-", "stop the daemon gracefully")

enum request {
    REQUEST_NONE,
#define X(name, argument, words) REQUEST_##name,
    REQUEST_LIST(X)
#undef X
        REQUEST_COUNT
};

#define MESSAGE_TEXT_MAX 1024

struct message {
    enum message_kind kind;
    pid_t pid;
    uint32_t spawn;
    uint64_t number;
    char text[MESSAGE_TEXT_MAX];
};

const char *message_name(enum message_kind kind);

/* The bytes that a message has on a pipe; of a kind that there is. */
size_t message_size(const struct message *message);

/* Sends one message without blocking.  -1 with ERROR_TRY_AGAIN when the
 * pipe is full, ERROR_IO when the other end is gone. */
int message_send(int fd, const struct message *message, struct error *error);

/* Takes the first whole message out of `size` bytes that were read from a
 * pipe.  Returns the bytes used, 0 when there is no whole message yet, or
 * -1 when they can be no message of that direction. */
int message_parse(const void *bytes, size_t size,
                  enum message_direction direction, struct message *message,
                  struct error *error);

#endif
