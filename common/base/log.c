/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/text.h"

#define CORRELATION_MAX 100
#define MESSAGE_MAX     4096
#define REPEAT_PLACES   64

/* How often one message was written in the current second. */
struct repeat {
    uint64_t hash;
    uint64_t second;
    uint32_t count;
    uint32_t left_out;
};

/* A process has one log. */
static struct {
    int fd;
    char path[PATH_MAX]; /* "" for standard error */
    enum log_format format;
    enum log_level level;
    bool journal_prefix;
    bool torn; /* the last line was written in part */
    const char *component;
    int slot;
    char correlation[CORRELATION_MAX + 1];
    uint64_t lost;
    struct repeat repeats[REPEAT_PLACES];
} log_state = {.fd = STDERR_FILENO,
               .format = LOG_FORMAT_TEXT,
               .level = LOG_INFO_LEVEL,
               .component = "tidemill",
               .slot = -1};

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

static int open_file(const char *path, struct error *error)
{
    int fd =
        open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
    if (fd < 0)
        return error_set_errno(error, ERROR_CANT_CREATE,
                               "cannot open the log file %s", path);
    return fd;
}

static void replace_descriptor(int fd)
{
    if (log_state.fd > STDERR_FILENO)
        close(log_state.fd);
    log_state.fd = fd;
    log_state.torn = false;
}

int log_open(const struct log_options *options, struct error *error)
{
    int fd = STDERR_FILENO;
    if (options->path != NULL) {
        if (strlen(options->path) >= sizeof(log_state.path))
            return error_set(error, ERROR_CONFIG,
                             "the path of the log file is too long");
        fd = open_file(options->path, error);
        if (fd < 0)
            return -1;
    }
    replace_descriptor(fd);
    snprintf(log_state.path, sizeof(log_state.path), "%s",
             options->path == NULL ? "" : options->path);
    log_state.format = options->format;
    log_state.level = options->level;
    log_state.journal_prefix = options->journal_prefix;
    return 0;
}

int log_reopen(struct error *error)
{
    if (log_state.path[0] == '\0')
        return 0;
    int fd = open_file(log_state.path, error);
    if (fd < 0)
        return -1;
    replace_descriptor(fd);
    return 0;
}

int log_descriptor(void)
{
    return log_state.fd;
}

void log_identify(const char *component, int slot)
{
    log_state.component = component;
    log_state.slot = slot;
}

void log_set_level(enum log_level level)
{
    log_state.level = level;
}

bool log_wants(enum log_level level)
{
    return level <= log_state.level;
}

void log_set_correlation(const char *correlation_id)
{
    snprintf(log_state.correlation, sizeof(log_state.correlation), "%s",
             correlation_id == NULL ? "" : correlation_id);
}

uint64_t log_lost(void)
{
    return log_state.lost;
}

/* --- a line of bounded size; its end always fits --- */

#define LINE_TAIL 32 /* kept free for closing quotes, `"cut":true}` */

struct line {
    size_t size;
    bool cut;
    char bytes[LOG_LINE_MAX];
};

static size_t line_room(const struct line *line)
{
    size_t most = LOG_LINE_MAX - LINE_TAIL;
    return line->size < most ? most - line->size : 0;
}

/* For what must stand whole: all of it or nothing. */
static bool put_whole(struct line *line, const char *text)
{
    size_t size = strlen(text);
    if (size > line_room(line)) {
        line->cut = true;
        return false;
    }
    memcpy(line->bytes + line->size, text, size);
    line->size += size;
    return true;
}

static const char *escape_of(unsigned char c, bool high, bool quoted,
                             char *room)
{
    switch (c) {
    case '\n':
        return "\\n";
    case '\t':
        return "\\t";
    case '\r':
        return "\\r";
    case '"':
        return quoted ? "\\\"" : NULL;
    case '\\':
        return quoted ? "\\\\" : NULL;
    default:
        break;
    }
    if (c >= 0x20 && c != 0x7f && (c < 0x80 || !high))
        return NULL;
    snprintf(room, 8, "\\u%04x", c);
    return room;
}

/* Text with what would end the line or the string escaped.  Bytes that are
 * not UTF-8 are shown by their value, so that the line always is. */
static void put_escaped(struct line *line, const char *text, bool quoted)
{
    char room[8];
    bool high = !text_is_utf8(text, strlen(text));
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        const char *escape = escape_of(c, high, quoted, room);
        size_t need = escape == NULL ? 1 : strlen(escape);
        /* never cut within a sequence */
        if (!high && c >= 0xc0)
            need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        if (need + 3 > line_room(line)) {
            put_whole(line, "...");
            line->cut = true;
            return;
        }
        if (escape != NULL)
            put_whole(line, escape);
        else
            line->bytes[line->size++] = *at;
    }
}

static const char *number_text(const struct log_field *field, char *room,
                               size_t size)
{
    switch (field->type) {
    case LOG_FIELD_INT:
        snprintf(room, size, "%" PRId64, field->value.integer);
        break;
    case LOG_FIELD_UINT:
        snprintf(room, size, "%" PRIu64, field->value.natural);
        break;
    case LOG_FIELD_REAL:
        if (!isfinite(field->value.real))
            return "null";
        snprintf(room, size, "%.9g", field->value.real);
        break;
    case LOG_FIELD_TEXT:
    default:
        return "null";
    }
    return room;
}

static void put_json_field(struct line *line, const struct log_field *field)
{
    char number[32];
    char name[80];
    snprintf(name, sizeof(name), ",\"%.64s\":", field->name);
    if (strlen(name) + 40 > line_room(line)) {
        line->cut = true;
        return;
    }
    put_whole(line, name);
    if (field->type != LOG_FIELD_TEXT || field->value.text == NULL) {
        put_whole(line, number_text(field, number, sizeof(number)));
        return;
    }
    put_whole(line, "\"");
    put_escaped(line, field->value.text, true);
    line->bytes[line->size++] = '"'; /* from the tail when it was cut */
}

static void put_text_field(struct line *line, const struct log_field *field)
{
    char number[32];
    char name[80];
    snprintf(name, sizeof(name), " %.64s=", field->name);
    if (strlen(name) + 40 > line_room(line)) {
        line->cut = true;
        return;
    }
    put_whole(line, name);
    if (field->type != LOG_FIELD_TEXT || field->value.text == NULL) {
        put_whole(line, number_text(field, number, sizeof(number)));
        return;
    }
    bool quoted = strpbrk(field->value.text, " \"=\\") != NULL ||
                  field->value.text[0] == '\0';
    if (quoted)
        put_whole(line, "\"");
    put_escaped(line, field->value.text, quoted);
    if (quoted)
        line->bytes[line->size++] = '"';
}

static void put_head(struct line *line, enum log_level level,
                     const char *message)
{
    char time[CLOCK_TEXT_SIZE];
    char text[256];
    clock_format(clock_wall_ms(), time);
    if (log_state.format == LOG_FORMAT_TEXT) {
        char slot[16] = "";
        if (log_state.slot >= 0)
            snprintf(slot, sizeof(slot), "[%d]", log_state.slot);
        snprintf(text, sizeof(text), "%s %s %.64s%s %ld: ", time,
                 log_level_name(level), log_state.component, slot,
                 (long)getpid());
        put_whole(line, text);
        put_escaped(line, message, false);
        return;
    }
    snprintf(text, sizeof(text),
             "{\"time\":\"%s\",\"level\":\"%s\",\"component\":\"%.64s\","
             "\"pid\":%ld",
             time, log_level_name(level), log_state.component, (long)getpid());
    put_whole(line, text);
    if (log_state.slot >= 0)
        put_json_field(line, &LOG_INT("slot", log_state.slot));
    put_json_field(line, &LOG_TEXT("message", message));
}

static void put_line(struct line *line, enum log_level level,
                     const char *message, const struct log_field *fields,
                     unsigned count, uint32_t left_out)
{
    void (*put)(struct line *, const struct log_field *) =
        log_state.format == LOG_FORMAT_JSON ? put_json_field : put_text_field;
    if (log_state.torn)
        put_whole(line, "\n");
    if (log_state.journal_prefix) {
        char prefix[8];
        snprintf(prefix, sizeof(prefix), "<%u>", (unsigned)level & 7u);
        put_whole(line, prefix);
    }
    put_head(line, level, message);
    if (log_state.correlation[0] != '\0')
        put(line, &LOG_TEXT("correlation_id", log_state.correlation));
    for (unsigned i = 0; i < count; i++)
        put(line, &fields[i]);
    if (left_out > 0)
        put(line, &LOG_UINT("repeats_left_out", left_out));
    const char *tail = log_state.format == LOG_FORMAT_JSON
                           ? line->cut ? ",\"cut\":true}\n" : "}\n"
                           : "\n";
    memcpy(line->bytes + line->size, tail, strlen(tail));
    line->size += strlen(tail);
}

static void write_line(const struct line *line)
{
    ssize_t wrote;
    do
        wrote = write(log_state.fd, line->bytes, line->size);
    while (wrote < 0 && errno == EINTR);
    if (wrote != (ssize_t)line->size)
        log_state.lost++;
    if (wrote > 0)
        log_state.torn = wrote != (ssize_t)line->size;
}

/* May this message pass?  If so, how many equal ones did not before it. */
static bool repeat_passes(enum log_level level, const char *message,
                          uint32_t *left_out)
{
    uint64_t hash = text_hash(TEXT_HASH_START, message, strlen(message));
    hash = text_hash(hash, &level, sizeof(level));
    uint64_t second = clock_monotonic_ms() / 1000;
    struct repeat *repeat = &log_state.repeats[hash % REPEAT_PLACES];
    *left_out = 0;
    if (repeat->hash != hash)
        *repeat = (struct repeat){.hash = hash, .second = second};
    if (repeat->second != second) {
        *left_out = repeat->left_out;
        *repeat = (struct repeat){.hash = hash, .second = second};
    }
    if (repeat->count >= LOG_REPEAT_MAX) {
        repeat->left_out++;
        return false;
    }
    repeat->count++;
    return true;
}

void log_event_fields(enum log_level level, const char *message,
                      const struct log_field *fields, unsigned count)
{
    uint32_t left_out;
    if (!log_wants(level))
        return;
    int saved = errno;
    if (repeat_passes(level, message, &left_out)) {
        struct line line;
        line.size = 0;
        line.cut = false;
        put_line(&line, level, message, fields, count, left_out);
        write_line(&line);
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
