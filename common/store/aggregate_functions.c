/* SPDX-License-Identifier: Apache-2.0
 *
 * SQL functions of the folding statements.
 *
 * detail_text(v)    numbers as they are, texts as PostgreSQL's jsonb takes
 *                   them and at most VALUE_BYTES_MAX long
 * detail_number(v)  a number, else NULL
 * detail_time(v)    seconds since 1970: of a time as clock_parse reads it,
 *                   or of a number of seconds or milliseconds
 * detail_moment(v)  the text of a time in milliseconds
 * detail_exact(v)   a number as a text that detail_double reads back exactly
 *                   (SQLite's own does only where long double has 80 bits)
 * detail_sum(v)     the number that a text or number is; whole ones as such,
 *                   NULL when JSON has none for it
 * summary_id(v...)  the record id of a summary
 */
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/store/aggregates.h"
#include "common/store/writer.h"

#define VALUE_BYTES_MAX 512
/* Beyond this a number of seconds would be in the year 5138. */
#define SECONDS_MAX 1e11
/* A longer id is cut, and ends with the hash of all of it. */
#define ID_CUT_BYTES 440

/* Bytes of the UTF-8 character at text, 0 when there is none. */
static size_t character_size(const char *text, size_t left)
{
    for (size_t size = 1; size <= 4 && size <= left; size++)
        if (text_is_utf8(text, size))
            return size;
    return 0;
}

/* What jsonb refuses becomes U+FFFD. */
static void append_clean(struct buffer *out, const char *text, size_t size,
                         size_t most)
{
    for (size_t at = 0; at < size;) {
        size_t step = character_size(text + at, size - at);
        bool bad = step == 0 || text[at] == '\0';
        if (out->size + (bad ? 3 : step) > most)
            return;
        if (bad)
            buffer_append(out, "\xef\xbf\xbd", 3);
        else
            buffer_append(out, text + at, step);
        at += step == 0 ? 1 : step;
    }
}

/* One that JSON can say. */
static bool is_number(sqlite3_value *value)
{
    int type = sqlite3_value_type(value);
    return type == SQLITE_INTEGER ||
           (type == SQLITE_FLOAT && isfinite(sqlite3_value_double(value)));
}

static void detail_text(sqlite3_context *context, int count,
                        sqlite3_value **values)
{
    (void)count;
    int type = sqlite3_value_type(values[0]);
    if (is_number(values[0])) {
        sqlite3_result_value(context, values[0]);
        return;
    }
    const char *text = (const char *)sqlite3_value_text(values[0]);
    size_t size = (size_t)sqlite3_value_bytes(values[0]);
    if (type == SQLITE_NULL || type == SQLITE_FLOAT || text == NULL) {
        sqlite3_result_null(context);
        return;
    }
    if (size <= VALUE_BYTES_MAX && text_is_utf8(text, size) &&
        memchr(text, 0, size) == NULL) {
        sqlite3_result_value(context, values[0]);
        return;
    }
    struct buffer clean;
    buffer_init(&clean, VALUE_BYTES_MAX + 8);
    append_clean(&clean, text, size, VALUE_BYTES_MAX);
    sqlite3_result_text(context, clean.bytes, (int)clean.size,
                        SQLITE_TRANSIENT);
    buffer_deinit(&clean);
}

static void detail_number(sqlite3_context *context, int count,
                          sqlite3_value **values)
{
    (void)count;
    if (is_number(values[0]))
        sqlite3_result_value(context, values[0]);
    else
        sqlite3_result_null(context);
}

static void detail_time(sqlite3_context *context, int count,
                        sqlite3_value **values)
{
    (void)count;
    if (is_number(values[0])) {
        double number = sqlite3_value_double(values[0]);
        if (number >= 0 && number < SECONDS_MAX * 1000)
            sqlite3_result_double(context, number >= SECONDS_MAX ? number / 1000
                                                                 : number);
        return;
    }
    const char *text = (const char *)sqlite3_value_text(values[0]);
    int64_t wall_ms;
    if (text != NULL &&
        clock_parse(text, (size_t)sqlite3_value_bytes(values[0]), &wall_ms) ==
            0)
        sqlite3_result_double(context, (double)wall_ms / 1000);
}

static void detail_moment(sqlite3_context *context, int count,
                          sqlite3_value **values)
{
    char text[CLOCK_TEXT_SIZE];
    (void)count;
    clock_format(sqlite3_value_int64(values[0]), text);
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static void detail_exact(sqlite3_context *context, int count,
                         sqlite3_value **values)
{
    char text[40];
    (void)count;
    snprintf(text, sizeof(text), "%.17g", sqlite3_value_double(values[0]));
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static double exact_value(sqlite3_value *value)
{
    const char *text = sqlite3_value_type(value) == SQLITE_TEXT
                           ? (const char *)sqlite3_value_text(value)
                           : NULL;
    return text != NULL ? strtod(text, NULL) : sqlite3_value_double(value);
}

static void detail_double(sqlite3_context *context, int count,
                          sqlite3_value **values)
{
    (void)count;
    sqlite3_result_double(context, exact_value(values[0]));
}

static void detail_sum(sqlite3_context *context, int count,
                       sqlite3_value **values)
{
    (void)count;
    double number = exact_value(values[0]);
    if (sqlite3_value_type(values[0]) == SQLITE_NULL || !isfinite(number))
        sqlite3_result_null(context);
    else if (fabs(number) < 9007199254740992.0 && number == trunc(number))
        sqlite3_result_int64(context, (sqlite3_int64)number);
    else
        sqlite3_result_double(context, number);
}

/* One value of an id: "/" parts values, "%" begins what stands for another
 * byte. */
static void append_part(struct buffer *id, const char *text, size_t size,
                        bool several)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f || c == '%' || (several && c == '/') ||
            (c == '-' && size == 1 && id->size == 0))
            buffer_printf(id, "%%%02X", c);
        else
            buffer_append_char(id, (char)c);
    }
}

static void finish_id(sqlite3_context *context, struct buffer *id)
{
    if (id->size == 0)
        buffer_append_char(id, '-'); /* none of the values is there */
    if (id->failed) {
        sqlite3_result_error_nomem(context);
        return;
    }
    if (id->size > OUTBOX_RECORD_ID_MAX) {
        uint64_t hash = text_hash(TEXT_HASH_START, id->bytes, id->size);
        size_t cut = ID_CUT_BYTES;
        while (cut > 0 && ((unsigned char)id->bytes[cut] & 0xc0) == 0x80)
            cut--;
        id->size = cut;
        buffer_printf(id, "~%016llx", (unsigned long long)hash);
    }
    sqlite3_result_text(context, id->bytes, (int)id->size, SQLITE_TRANSIENT);
}

/* Values at the end that are not there are left out. */
static void summary_id(sqlite3_context *context, int count,
                       sqlite3_value **values)
{
    struct buffer id;
    buffer_init(&id, (size_t)AGGREGATE_GROUPS_MAX * (VALUE_BYTES_MAX * 3 + 8));
    int used = count;
    while (used > 0 && sqlite3_value_type(values[used - 1]) == SQLITE_NULL)
        used--;
    for (int i = 0; i < used; i++) {
        const char *text = (const char *)sqlite3_value_text(values[i]);
        if (i > 0)
            buffer_append_char(&id, '/');
        if (text != NULL)
            append_part(&id, text, (size_t)sqlite3_value_bytes(values[i]),
                        count > 1);
    }
    finish_id(context, &id);
    buffer_deinit(&id);
}

int aggregate_functions_add(sqlite3 *db)
{
    static const struct {
        const char *name;
        int arguments;
        void (*run)(sqlite3_context *context, int count,
                    sqlite3_value **values);
    } functions[] = {
        {"detail_text", 1, detail_text},   {"detail_number", 1, detail_number},
        {"detail_time", 1, detail_time},   {"detail_moment", 1, detail_moment},
        {"detail_exact", 1, detail_exact}, {"detail_double", 1, detail_double},
        {"detail_sum", 1, detail_sum},     {"summary_id", -1, summary_id}};
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        int code = sqlite3_create_function(db, functions[i].name,
                                           functions[i].arguments,
                                           SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                           NULL, functions[i].run, NULL, NULL);
        if (code != SQLITE_OK)
            return code;
    }
    return SQLITE_OK;
}
