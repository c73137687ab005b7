/* SPDX-License-Identifier: Apache-2.0
 *
 * How a line looks.  This is most of what logging costs beside write():
 * what seldom changes is kept, text is looked at eight bytes at a time.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log_internal.h"
#include "common/base/log_redact.h"
#include "common/base/text.h"

#define LINE_TAIL      32 /* kept free for closing quotes, `"cut":true}` */
#define FIELD_NAME_MAX 64
#define TIME_SIZE      19 /* "2026-01-31T23:59:59" */

static size_t line_room(const struct log_line *line)
{
    size_t most = LOG_LINE_MAX - LINE_TAIL;
    return line->size < most ? most - line->size : 0;
}

static void put_bytes(struct log_line *line, const char *bytes, size_t size)
{
    memcpy(line->bytes + line->size, bytes, size);
    line->size += size;
}

/* For what must stand whole: all of it or nothing. */
static void put_whole(struct log_line *line, const char *text, size_t size)
{
    if (size > line_room(line))
        line->cut = true;
    else
        put_bytes(line, text, size);
}

#define PUT(line, literal) put_whole((line), literal, sizeof(literal) - 1)

/* --- text --- */

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

#define EACH(byte) (0x0101010101010101u * (byte))

/* Has the word a byte that is zero? */
static uint64_t has_zero(uint64_t word)
{
    return (word - EACH(1)) & ~word & EACH(0x80);
}

/* How many bytes, from the start, need no second look: ASCII, no control
 * character, quote or backslash. */
static size_t plain_size(const char *text, size_t size)
{
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word;
        memcpy(&word, text + at, sizeof(word));
        uint64_t odd =
            (word & EACH(0x80)) | ((word - EACH(0x20)) & ~word & EACH(0x80)) |
            has_zero(word ^ EACH('"')) | has_zero(word ^ EACH('\\')) |
            has_zero(word ^ EACH(0x7f));
        if (odd != 0)
            break;
    }
    for (; at < size; at++) {
        unsigned char c = (unsigned char)text[at];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            break;
    }
    return at;
}

/* One character that may need an escape; false when there is no room. */
static bool put_character(struct log_line *line, const char *at, bool high,
                          bool quoted)
{
    char room[8];
    unsigned char c = (unsigned char)*at;
    const char *escape = escape_of(c, high, quoted, room);
    size_t need = escape == NULL ? 1 : strlen(escape);
    size_t whole = need;
    if (!high && c >= 0xc0) /* never cut within a sequence */
        whole = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (whole + 3 > line_room(line))
        return false;
    put_bytes(line, escape == NULL ? at : escape, need);
    return true;
}

/* Text without secrets, and with what would end the line or the string
 * escaped.  Bytes that are
 * not UTF-8 are shown by their value, so that the line always is. */
static void put_escaped(struct log_line *line, const char *text, bool quoted)
{
    char redacted[LOG_LINE_MAX];
    size_t size = strlen(text);
    text = log_redact(text, &size, redacted, sizeof(redacted));
    size_t at = 0;
    bool looked = false;
    bool high = false;
    while (at < size) {
        size_t plain = plain_size(text + at, size - at);
        size_t room = line_room(line) > 3 ? line_room(line) - 3 : 0;
        put_bytes(line, text + at, plain < room ? plain : room);
        at += plain;
        if (!looked && at < size)
            high = !text_is_utf8(text + at, size - at);
        looked = true;
        if (plain > room ||
            (at < size && !put_character(line, text + at, high, quoted))) {
            PUT(line, "...");
            line->cut = true;
            return;
        }
        at++;
    }
}

/* --- fields --- */

static void put_natural(struct log_line *line, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    put_whole(line, digits + at, sizeof(digits) - at);
}

static void put_number(struct log_line *line, const struct log_field *field)
{
    char room[32];
    int64_t integer = field->value.integer;
    if (field->type == LOG_FIELD_UINT) {
        put_natural(line, field->value.natural);
    } else if (field->type == LOG_FIELD_INT) {
        if (integer < 0)
            PUT(line, "-");
        put_natural(line,
                    integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer);
    } else if (field->type == LOG_FIELD_REAL && isfinite(field->value.real)) {
        int size = snprintf(room, sizeof(room), "%.9g", field->value.real);
        put_whole(line, room, (size_t)size);
    } else {
        PUT(line, "null");
    }
}

/* False when there is no room for it and a value. */
static bool put_name(struct log_line *line, const char *before,
                     const char *name, const char *after)
{
    size_t size = strnlen(name, FIELD_NAME_MAX);
    if (size + 48 > line_room(line)) {
        line->cut = true;
        return false;
    }
    put_bytes(line, before, strlen(before));
    put_bytes(line, name, size);
    put_bytes(line, after, strlen(after));
    return true;
}

static void put_json_field(struct log_line *line, const struct log_field *field)
{
    if (!put_name(line, ",\"", field->name, "\":"))
        return;
    if (field->type != LOG_FIELD_TEXT || field->value.text == NULL) {
        put_number(line, field);
        return;
    }
    put_bytes(line, "\"", 1);
    put_escaped(line, field->value.text, true);
    put_bytes(line, "\"", 1); /* from the tail when it was cut */
}

static void put_text_field(struct log_line *line, const struct log_field *field)
{
    if (!put_name(line, " ", field->name, "="))
        return;
    if (field->type != LOG_FIELD_TEXT || field->value.text == NULL) {
        put_number(line, field);
        return;
    }
    const char *text = field->value.text;
    bool quoted = text[0] == '\0' || strpbrk(text, " \"=\\") != NULL;
    if (quoted)
        put_bytes(line, "\"", 1);
    put_escaped(line, text, quoted);
    if (quoted)
        put_bytes(line, "\"", 1);
}

/* --- the head --- */

static void forget_head(void)
{
    log_state.head_known = false;
}

/* What stands between the time and the message, for each level. */
static void make_heads(void)
{
    static bool asked;
    char slot[32] = "";
    bool json = log_state.format == LOG_FORMAT_JSON;
    if (!asked) /* a child has another pid */
        asked = pthread_atfork(NULL, NULL, forget_head) == 0;
    if (log_state.slot >= 0)
        snprintf(slot, sizeof(slot), json ? ",\"slot\":%d" : "[%d]",
                 log_state.slot);
    for (unsigned level = LOG_ERROR_LEVEL; level <= LOG_DEBUG_LEVEL; level++) {
        const char *name = log_level_name((enum log_level)level);
        char *head = log_state.head[level];
        if (json)
            snprintf(head, LOG_HEAD_MAX,
                     "Z\",\"level\":\"%s\",\"component\":\"%.64s\","
                     "\"pid\":%ld%s,\"message\":\"",
                     name, log_state.component, (long)getpid(), slot);
        else
            snprintf(head, LOG_HEAD_MAX, "Z %s %.64s%s %ld: ", name,
                     log_state.component, slot, (long)getpid());
        log_state.head_size[level] = strlen(head);
    }
    log_state.head_known = true;
}

static void put_time(struct log_line *line, int64_t wall_ms)
{
    char text[CLOCK_TEXT_SIZE];
    int64_t second = wall_ms / 1000;
    unsigned ms = (unsigned)(wall_ms % 1000);
    if (log_state.head_second != second) {
        memcpy(log_state.head_time, clock_format(wall_ms, text), TIME_SIZE);
        log_state.head_second = second;
    }
    put_bytes(line, log_state.head_time, TIME_SIZE);
    const char digits[] = {'.', (char)('0' + ms / 100),
                           (char)('0' + ms / 10 % 10), (char)('0' + ms % 10)};
    put_bytes(line, digits, sizeof(digits));
}

static void put_head(struct log_line *line, const struct log_entry *entry)
{
    bool json = log_state.format == LOG_FORMAT_JSON;
    unsigned level = (unsigned)entry->level & 7u;
    if (!log_state.head_known)
        make_heads();
    if (json)
        PUT(line, "{\"time\":\"");
    put_time(line, entry->wall_ms);
    put_bytes(line, log_state.head[level], log_state.head_size[level]);
    put_escaped(line, entry->message, json);
    if (json)
        put_bytes(line, "\"", 1);
}

void log_line_make(struct log_line *line, const struct log_entry *entry)
{
    bool json = log_state.format == LOG_FORMAT_JSON;
    void (*put)(struct log_line *, const struct log_field *) =
        json ? put_json_field : put_text_field;
    line->size = 0;
    line->cut = false;
    /* whoever comes first after a line that was cut off by a full disk */
    if (atomic_load_explicit(&log_state.board->torn, memory_order_relaxed) &&
        atomic_exchange(&log_state.board->torn, 0) != 0)
        PUT(line, "\n");
    if (log_state.journal_prefix) {
        const char prefix[] = {'<', (char)('0' + ((unsigned)entry->level & 7u)),
                               '>'};
        put_bytes(line, prefix, sizeof(prefix));
    }
    put_head(line, entry);
    if (log_state.correlation[0] != '\0')
        put(line, &LOG_TEXT("correlation_id", log_state.correlation));
    for (unsigned i = 0; i < entry->field_count; i++)
        put(line, &entry->fields[i]);
    if (entry->left_out > 0)
        put(line, &LOG_UINT("repeats_left_out", entry->left_out));
    if (!json)
        put_bytes(line, "\n", 1);
    else if (line->cut)
        put_bytes(line, ",\"cut\":true}\n", 13);
    else
        put_bytes(line, "}\n", 2);
}
