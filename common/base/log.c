/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"

#define MESSAGE_MAX 4096

static struct log_board own_board = {
    .rotating = PTHREAD_MUTEX_INITIALIZER,
    .levels = {LOG_INFO_LEVEL},
};

struct log_state log_state = {.fd = STDERR_FILENO,
                              .format = LOG_FORMAT_TEXT,
                              .component = "tidemill",
                              .slot = -1,
                              .board = &own_board};

static const struct {
    const char *name;
    enum log_level level;
} log_levels[] = {
#define X(name, text, number) {text, LOG_##name##_LEVEL},
    LOG_LEVEL_LIST(X)
#undef X
};

#define LOG_LEVELS (sizeof(log_levels) / sizeof(log_levels[0]))

int log_level_parse(const char *text, enum log_level *level)
{
    for (size_t i = 0; i < LOG_LEVELS; i++)
        if (strcmp(text, log_levels[i].name) == 0) {
            *level = log_levels[i].level;
            return 0;
        }
    return -1;
}

const char *log_level_name(enum log_level level)
{
    for (size_t i = 0; i < LOG_LEVELS; i++)
        if (log_levels[i].level == level)
            return log_levels[i].name;
    return "unknown";
}

void log_share(struct log_board *board, unsigned component,
               const struct log_hooks *hooks)
{
    log_state.board = board != NULL ? board : &own_board;
    log_state.component_index =
        board != NULL && component < LOG_COMPONENTS_MAX ? component : 0;
    log_state.hooks = hooks != NULL ? *hooks : (struct log_hooks){0};
}

int log_descriptor(void)
{
    return log_state.fd;
}

void log_identify(const char *component, int slot)
{
    log_state.component = component;
    log_state.slot = slot;
    log_state.head_known = false;
    log_state.lost_untold = 0;
    log_repeat_forget();
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_state.board->levels[log_state.component_index],
                          (uint32_t)level, memory_order_relaxed);
}

bool log_wants(enum log_level level)
{
    return (uint32_t)level <=
           atomic_load_explicit(
               &log_state.board->levels[log_state.component_index],
               memory_order_relaxed);
}

void log_set_correlation(const char *correlation_id)
{
    snprintf(log_state.correlation, sizeof(log_state.correlation), "%s",
             correlation_id == NULL ? "" : correlation_id);
}

const char *log_correlation(void)
{
    return log_state.correlation;
}

bool log_correlation_is_valid(const char *correlation_id)
{
    size_t size = strspn(correlation_id, "abcdefghijklmnopqrstuvwxyz"
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789._:/-");
    return size > 0 && size <= LOG_CORRELATION_MAX &&
           correlation_id[size] == '\0';
}

uint64_t log_lost(void)
{
    return log_state.lost;
}

void log_count(enum log_count what, uint64_t number)
{
    if (log_state.hooks.count != NULL)
        log_state.hooks.count(what, number);
}

static void write_entry(const struct log_entry *entry)
{
    struct log_line line;
    log_line_make(&line, entry);
    log_file_write(&line, entry->wall_ms);
}

static void tell_repeats(int64_t wall_ms, bool all)
{
    struct log_repeated repeated;
    while (log_repeat_take(wall_ms, all, &repeated)) {
        const struct log_field fields[] = {
            LOG_TEXT("repeated", repeated.message),
            LOG_UINT("times", repeated.left_out)};
        write_entry(&(struct log_entry){.level = repeated.level,
                                        .wall_ms = wall_ms,
                                        .message = "message was repeated",
                                        .fields = fields,
                                        .field_count = 2});
    }
}

/* The file takes lines again. */
static void tell_lost(int64_t wall_ms)
{
    const struct log_field field = LOG_UINT("lost", log_state.lost_untold);
    log_state.lost_untold = 0;
    write_entry(&(struct log_entry){.level = LOG_WARNING_LEVEL,
                                    .wall_ms = wall_ms,
                                    .message = "log lines were lost before",
                                    .fields = &field,
                                    .field_count = 1});
}

void log_tell_repeats(bool all)
{
    int saved = errno;
    tell_repeats(clock_wall_ms(), all);
    errno = saved;
}

void log_event_fields(enum log_level level, const char *message,
                      const struct log_field *fields, unsigned count)
{
    if (!log_wants(level))
        return;
    int saved = errno;
    struct log_entry entry = {.level = level,
                              .wall_ms = clock_wall_ms(),
                              .message = message,
                              .fields = fields,
                              .field_count = count};
    if (log_repeat_waits(entry.wall_ms))
        tell_repeats(entry.wall_ms, false);
    if (log_repeat_passes(&entry)) {
        uint64_t lost = log_state.lost;
        write_entry(&entry);
        if (log_state.lost_untold > 0 && log_state.lost == lost)
            tell_lost(entry.wall_ms);
    }
    errno = saved;
}

void log_write(enum log_level level, const char *format, ...)
{
    char message[MESSAGE_MAX];
    if (!log_wants(level))
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    log_event_fields(level, message, NULL, 0);
}
