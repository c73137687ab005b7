/* SPDX-License-Identifier: Apache-2.0
 *
 * Logging: whole lines, one write() each, to a file opened O_APPEND or to
 * standard error.  A line has time, level, component, pid, slot,
 * correlation_id, message and typed fields, as JSON or as text.
 *
 * Logging never fails its caller: a line that cannot be written is counted
 * (log_lost).  Identical messages from one place are limited to
 * LOG_REPEAT_MAX a second; the next line that passes says how many were
 * left out.
 */
#ifndef TIDEMILL_BASE_LOG_H
#define TIDEMILL_BASE_LOG_H

#include <stdbool.h>
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

/* Opens the log.  On failure the log stays as it was. */
int log_open(const struct log_options *options, struct error *error);

/* Closes and opens the file again by its name (rotation).  On failure the
 * old descriptor stays in use. */
int log_reopen(struct error *error);

/* The descriptor that lines go to; a worker that closes what is not its own
 * keeps this one. */
int log_descriptor(void);

/* Says who we are in every line from now on: component is a role's or a
 * program's name (kept by pointer), slot is -1 for none. */
void log_identify(const char *component, int slot);

void log_set_level(enum log_level level);
bool log_wants(enum log_level level);

/* Correlation id of the current work, in each line until it is set to NULL;
 * copied. */
void log_set_correlation(const char *correlation_id);

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
