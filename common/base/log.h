/* SPDX-License-Identifier: Apache-2.0
 *
 * Logging: whole lines, one write() each, to a file opened O_APPEND or to
 * standard error.  A line has time, level, component, pid, slot,
 * correlation_id, message and typed fields, as JSON or as text.
 *
 * Many processes write to one file.  What they must agree on stands in a
 * struct log_board in shared memory: the file's size, how large and how old
 * it may become, levels, and its generation.  Whoever is about to write past
 * a bound renames the file to log_backup_name() under the board's lock, makes
 * a new one and counts the generation up; the others see that before their
 * next line and open the new file too.  What they wrote in between is in the
 * old one: no line is lost, torn or doubled.  See log_backups.h for what
 * becomes of old files.
 *
 * Logging never fails its caller: a line that cannot be written is counted.
 * Lines whose texts are identical (numbers may differ) are limited to
 * LOG_REPEAT_MAX a second; the next one, or a line of its own, says how many
 * were left out.
 */
#ifndef TIDEMILL_BASE_LOG_H
#define TIDEMILL_BASE_LOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

#define LOG_LEVEL_LIST(X)                                                      \
    X(ERROR, "error", 3)                                                       \
    X(WARNING, "warning", 4)                                                   \
    X(NOTICE, "notice", 5)                                                     \
    X(INFO, "info", 6)                                                         \
    X(DEBUG, "debug", 7)

enum log_level { /* values are those of syslog(3), for the journal's <n> */
#define X(name, text, number) LOG_##name##_LEVEL = number,
    LOG_LEVEL_LIST(X)
#undef X
};

enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

#define LOG_REPEAT_MAX 10
#define LOG_LINE_MAX   8192 /* longer lines are cut, whole as JSON */

struct log_options {
    const char *path; /* NULL: standard error */
    enum log_format format;
    enum log_level level;
    bool journal_prefix; /* "<n>" before each line (systemd) */
};

#define LOG_COMPONENTS_MAX 16

/* Shared by all processes that write to one file.  All zero but for its lock
 * means: never rotate. */
struct log_board {
    pthread_mutex_t rotating;     /* robust: its owner may be killed */
    _Atomic uint32_t generation;  /* counts up when the path is a new file */
    _Atomic uint32_t told;        /* 1: a rotation was told, not yet seen */
    _Atomic uint32_t reopen_attempts; /* log_reopen; counts when one is over */
    _Atomic uint32_t reopen_failed;   /* was the last one of them */
    _Atomic uint32_t torn;        /* 1: the last line was written in part */
    _Atomic uint64_t size_bytes;  /* of the present file */
    _Atomic uint64_t max_bytes;   /* 0: no bound */
    _Atomic int64_t interval_ms;  /* 0: none */
    _Atomic int64_t due_wall_ms;  /* when the interval of the file ends */
    _Atomic uint64_t retry_ms;    /* monotonic: after a failed rotation */
    _Atomic int64_t last_stamp_ms; /* of the last backup's name */
    _Atomic uint32_t levels[LOG_COMPONENTS_MAX];
    _Atomic uint32_t configured_levels[LOG_COMPONENTS_MAX]; /* what levels
                                                             * goes back to */
};

void log_board_init(struct log_board *board);

/* Sets the bounds of the file; 0 is none.  At the end of an interval (counted
 * from 1970 in UTC: one of a day ends at midnight) the first line goes to a
 * new file. */
void log_board_bound(struct log_board *board, uint64_t max_bytes,
                     int64_t interval_ms);

enum log_count {
    LOG_COUNT_LOST,     /* lines that could not be written */
    LOG_COUNT_REPEATED, /* lines left out because they repeat */
    LOG_COUNT_ROTATION,
    LOG_COUNT_ROTATION_FAILURE
};

/* What others want to know; both may be NULL. */
struct log_hooks {
    void (*count)(enum log_count what, uint64_t number);
    void (*rotated)(void *self); /* this process has rotated the file, and
                                  * nobody has looked since the last time */
    void *self;
};

/* Writes with this board from now on, with the level of a component of it.
 * board is kept by pointer; NULL: one of our own. */
void log_share(struct log_board *board, unsigned component,
               const struct log_hooks *hooks);

/* Opens the log.  On failure the log stays as it was. */
int log_open(const struct log_options *options, struct error *error);

/* Opens the file again by its name (it was moved away), and lets all who
 * share the board do so before their next line.  On failure the old
 * descriptor stays in use. */
int log_reopen(struct error *error);

/* What a file is renamed to, "PATH-20260131T235959.123Z"; -1 and errno when
 * there is no room for it. */
#define LOG_STAMP_SIZE 20
int log_backup_name(const char *path, int64_t wall_ms, char *name,
                    size_t room);

/* Opens the file again when someone else rotated or reopened it, as the next
 * line would do: an idle process lets go of the old file. */
int log_refresh(struct error *error);

/* After a process that wrote to the file was killed: its last line may be
 * there in part (the kernel gives a write() up between two pages); what comes
 * next then begins a line of its own. */
void log_mend(void);

/* The descriptor that lines go to; a worker that closes what is not its own
 * keeps this one. */
int log_descriptor(void);

/* Says who we are in every line from now on: component is a role's or a
 * program's name (kept by pointer), slot is -1 for none. */
void log_identify(const char *component, int slot);

void log_set_level(enum log_level level); /* of our component */
bool log_wants(enum log_level level);

/* Writes what is known of repeated messages that were left out more than a
 * second ago; `all`: of every one.  From time to time, and at the end. */
void log_tell_repeats(bool all);

/* Correlation id of the current work, in each line until it is set to NULL;
 * copied.  One that comes from elsewhere has 1 to LOG_CORRELATION_MAX of
 * [A-Za-z0-9._:/-]. */
#define LOG_CORRELATION_MAX 100
void log_set_correlation(const char *correlation_id);
const char *log_correlation(void); /* "": none */
bool log_correlation_is_valid(const char *correlation_id);

/* Lines lost since the start of this process. */
uint64_t log_lost(void);

/* The reader of names in configuration: 0, or -1 when unknown. */
int log_level_parse(const char *text, enum log_level *level);
const char *log_level_name(enum log_level level);

/* One line with a printf message and no typed fields. */
void log_write(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A typed field. Make them with the macros: log_event(LOG_INFO_LEVEL,
 * "batch applied", LOG_UINT("batch_id", id), LOG_TEXT("sink", name)); */
struct log_field {
    const char *name;
    enum { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_UINT, LOG_FIELD_REAL } type;
    union {
        const char *text;
        int64_t integer;
        uint64_t natural;
        double real;
    } value;
};

#define LOG_TEXT(n, v)                                                         \
    ((struct log_field){.name = (n), .type = LOG_FIELD_TEXT, .value.text = (v)})
#define LOG_INT(n, v)                                                          \
    ((struct log_field){                                                       \
        .name = (n), .type = LOG_FIELD_INT, .value.integer = (int64_t)(v)})
#define LOG_UINT(n, v)                                                         \
    ((struct log_field){                                                       \
        .name = (n), .type = LOG_FIELD_UINT, .value.natural = (uint64_t)(v)})
#define LOG_REAL(n, v)                                                         \
    ((struct log_field){.name = (n), .type = LOG_FIELD_REAL, .value.real = (v)})

void log_event_fields(enum log_level level, const char *message,
                      const struct log_field *fields, unsigned count);

#define log_event(level, message, ...)                                         \
    log_event_fields(                                                          \
        (level), (message), (const struct log_field[]){__VA_ARGS__},           \
        sizeof((const struct log_field[]){__VA_ARGS__}) /                      \
            sizeof(struct log_field))

#define log_error(...)   log_write(LOG_ERROR_LEVEL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING_LEVEL, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_NOTICE_LEVEL, __VA_ARGS__)
#define log_info(...)    log_write(LOG_INFO_LEVEL, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_DEBUG_LEVEL, __VA_ARGS__)

#endif
