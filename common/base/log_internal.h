/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the log share: log (the caller's side), log_line (how a
 * line looks), log_file (where it goes, rotation), log_repeat (what is left
 * out).
 */
#ifndef TIDEMILL_BASE_LOG_INTERNAL_H
#define TIDEMILL_BASE_LOG_INTERNAL_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/base/log.h"

#define LOG_HEAD_MAX        160

/* A process has one log. */
struct log_state {
    int fd;
    char path[PATH_MAX]; /* "" for standard error */
    dev_t device;        /* of the open file */
    ino_t inode;
    uint32_t generation; /* the board's when the file was opened */
    int64_t checked_s;   /* when the path was last looked at */
    bool missing;        /* it had no file then */
    enum log_format format;
    bool journal_prefix;
    const char *component;
    int slot;
    char correlation[LOG_CORRELATION_MAX + 1];
    struct log_board *board;
    unsigned component_index;
    struct log_hooks hooks;
    uint64_t lost;
    uint64_t lost_untold;

    /* the parts of a line that seldom change */
    int64_t head_second; /* that head_time shows */
    char head_time[24];  /* "2026-01-31T23:59:59" */
    bool head_known;     /* head is of this process and identity */
    size_t head_size[8]; /* by level */
    char head[8][LOG_HEAD_MAX];
};

extern struct log_state log_state;

/* A line of bounded size; its end always fits. */
struct log_line {
    size_t size;
    bool cut;
    char bytes[LOG_LINE_MAX];
};

/* --- log_line --- */

/* What one line says. */
struct log_entry {
    enum log_level level;
    int64_t wall_ms;
    const char *message;
    const struct log_field *fields;
    unsigned field_count;
    uint32_t left_out; /* equal messages before it */
};

void log_line_make(struct log_line *line, const struct log_entry *entry);

/* --- log_file --- */

/* Writes the line to the file of the present generation; rotates before
 * when it is due. */
void log_file_write(const struct log_line *line, int64_t wall_ms);

void log_count(enum log_count what, uint64_t number);

/* --- log_repeat --- */

/* May this entry pass?  If so, left_out becomes how many equal ones did not
 * before it. */
bool log_repeat_passes(struct log_entry *entry);

/* The next message that was left out for over a second before wall_ms (or at
 * all), and how often; false: there is none. */
struct log_repeated {
    enum log_level level;
    uint32_t left_out;
    char message[128];
};
bool log_repeat_take(int64_t wall_ms, bool all, struct log_repeated *repeated);

/* Is there one that log_repeat_take might give? */
bool log_repeat_waits(int64_t wall_ms);

/* A forked process does not tell its parent's. */
void log_repeat_forget(void);

#endif
