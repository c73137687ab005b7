/* SPDX-License-Identifier: Apache-2.0
 *
 * How the text of one value is read, checked and written.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/config/option_table.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* A bare number has the unit "". */
static const struct unit duration_units[] = {
    {"ms", 1},      {"s", 1000},     {"", 1000}, {"m", 60000},
    {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};
static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"kB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", 1000000000000},
    {"KiB", INT64_C(1) << 10},
    {"MiB", INT64_C(1) << 20},
    {"GiB", INT64_C(1) << 30},
    {"TiB", INT64_C(1) << 40},
    {NULL, 0},
};

/* Bounds in the words of the type. */
static void append_bounds(const struct option *option, struct buffer *out)
{
    union option_value minimum = {.integer = option->minimum};
    union option_value maximum = {.integer = option->maximum};
    if (option->type == OPTION_REAL) {
        minimum.real = (double)option->minimum;
        maximum.real = (double)option->maximum;
    }
    option_format(option, &minimum, out);
    buffer_append_text(out, " to ");
    option_format(option, &maximum, out);
}

static void append_words(const struct option *option, struct buffer *out)
{
    for (const char *const *word = option->words; *word != NULL; word++)
        buffer_printf(out, "%s%s", word == option->words ? "" : ", ", *word);
}

void option_describe(const struct option *option, struct buffer *out)
{
    static const char *const names[] = {
        [OPTION_INT] = "whole number",  [OPTION_REAL] = "number",
        [OPTION_DURATION] = "duration", [OPTION_SIZE] = "size",
        [OPTION_MODE] = "octal mode",
    };
    switch (option->type) {
    case OPTION_BOOL:
        buffer_append_text(out, "true or false");
        break;
    case OPTION_CHOICE:
        buffer_append_text(out, "one of ");
        append_words(option, out);
        break;
    case OPTION_TEXT:
        if (option->minimum > 0)
            buffer_printf(out, "text, %lld to %lld bytes",
                          (long long)option->minimum,
                          (long long)option->maximum);
        else
            buffer_printf(out, "text, at most %lld bytes",
                          (long long)option->maximum);
        break;
    case OPTION_PATH:
        buffer_printf(out, "absolute path, at most %lld bytes",
                      (long long)option->maximum);
        break;
    default:
        buffer_printf(out, "%s, ", names[option->type]);
        append_bounds(option, out);
    }
}

/* "VALUE" is WHAT; give DESCRIPTION. */
static int refuse(const struct option *option, const char *text,
                  const char *what, struct buffer *why)
{
    buffer_printf(why, "\"%.80s\" %s; give ", option->secret ? "***" : text,
                  what);
    if (option->type == OPTION_PATH || option->type == OPTION_MODE)
        buffer_append_text(why, "an ");
    else if (option->type != OPTION_CHOICE && option->type != OPTION_BOOL)
        buffer_append_text(why, "a ");
    option_describe(option, why);
    return -1;
}

static int check_bounds(const struct option *option, const char *text,
                        int64_t value, struct buffer *why)
{
    if (value >= option->minimum && value <= option->maximum)
        return 0;
    return refuse(option, text,
                  value < option->minimum ? "is too small" : "is too large",
                  why);
}

static int parse_bool(const struct option *option, const char *text,
                      union option_value *value, struct buffer *why)
{
    value->boolean = strcmp(text, "true") == 0;
    if (value->boolean || strcmp(text, "false") == 0)
        return 0;
    return refuse(option, text, "is neither true nor false", why);
}

static int parse_integer(const struct option *option, const char *text,
                         union option_value *value, struct buffer *why)
{
    bool octal = option->type == OPTION_MODE;
    const char *digits = octal && strncmp(text, "0o", 2) == 0 ? text + 2 : text;
    size_t sign = !octal && *digits == '-' ? 1 : 0;
    size_t length = strspn(digits + sign, octal ? "01234567" : "0123456789");
    if (length == 0 || digits[sign + length] != '\0')
        return refuse(option, text,
                      octal ? "is no octal number" : "is no whole number", why);
    errno = 0;
    value->integer = strtoll(digits, NULL, octal ? 8 : 10);
    if (errno != 0)
        return refuse(option, text, "is too large", why);
    return check_bounds(option, text, value->integer, why);
}

static int parse_real(const struct option *option, const char *text,
                      union option_value *value, struct buffer *why)
{
    char *end;
    if (*text == '\0' || text[strspn(text, "0123456789+-.eE")] != '\0')
        return refuse(option, text, "is no number", why);
    value->real = strtod(text, &end);
    if (*end != '\0' || !isfinite(value->real))
        return refuse(option, text, "is no number", why);
    if (value->real < (double)option->minimum ||
        value->real > (double)option->maximum)
        return refuse(option, text, "is out of bounds", why);
    return 0;
}

/* number × factor, exactly: "1.5" × 1000 is 1500, and "0.0005" × 1000
 * fails.  *end is behind the number. */
static int scale_number(const char *text, int64_t factor, int64_t *result,
                        const char **end)
{
    int64_t whole = 0;
    int64_t part = 0;
    int64_t scale = 1;
    const char *c = text;
    for (; *c >= '0' && *c <= '9'; c++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, *c - '0', &whole))
            return -1;
    if (c > text && *c == '.' && c[1] >= '0' && c[1] <= '9')
        for (c++; *c >= '0' && *c <= '9'; c++) {
            if (scale > 100000)
                return -1;
            part = part * 10 + (*c - '0');
            scale *= 10;
        }
    *end = c;
    if (__builtin_mul_overflow(part, factor, &part) || part % scale != 0 ||
        __builtin_mul_overflow(whole, factor, &whole) ||
        __builtin_add_overflow(whole, part / scale, result))
        return -1;
    return 0;
}

static int parse_scaled(const struct option *option, const char *text,
                        const struct unit *unit, union option_value *value,
                        struct buffer *why)
{
    bool duration = option->type == OPTION_DURATION;
    size_t length = strspn(text, "0123456789.");
    if (*text < '0' || *text > '9')
        return refuse(option, text,
                      duration ? "is no duration such as 500ms, 30s, 5m, 1h "
                                 "or 7d"
                               : "is no size such as 512, 64kB, 50MB or 1GiB",
                      why);
    while (unit->name != NULL && strcmp(unit->name, text + length) != 0)
        unit++;
    if (unit->name == NULL)
        return refuse(option, text,
                      duration ? "has an unknown unit (ms, s, m, h and d exist)"
                               : "has an unknown unit (kB, MB, GB, TB, KiB, "
                                 "MiB, GiB and TiB exist)",
                      why);
    const char *end;
    if (scale_number(text, unit->factor, &value->integer, &end) != 0 ||
        end != text + length)
        return refuse(option, text,
                      duration ? "is no whole number of milliseconds, or too "
                                 "large"
                               : "is no whole number of bytes, or too large",
                      why);
    return check_bounds(option, text, value->integer, why);
}

static int parse_choice(const struct option *option, const char *text,
                        union option_value *value, struct buffer *why)
{
    for (int64_t i = 0; option->words[i] != NULL; i++)
        if (strcmp(option->words[i], text) == 0) {
            value->integer = i;
            return 0;
        }
    refuse(option, text, "is unknown", why);
    const char *nearest = text_nearest(text, option->words);
    if (nearest != NULL)
        buffer_printf(why, " (did you mean \"%s\"?)", nearest);
    return -1;
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static int parse_text(const struct option *option, const char *text,
                      union option_value *value, struct buffer *why)
{
    size_t size = strlen(text);
    if (!text_is_utf8(text, size))
        return refuse(option, "...", "is not UTF-8", why);
    if (has_control(text))
        return refuse(option, "...", "has a control character in it", why);
    if (size < (size_t)option->minimum)
        return refuse(option, text, size == 0 ? "is empty" : "is too short",
                      why);
    if (size > (size_t)option->maximum) {
        refuse(option, text, "is too long", why);
        /* sun_path of sockaddr_un has 108 bytes. */
        if (strcmp(option->path, "paths.runtime_dir") == 0)
            buffer_append_text(why, ", since sockets with short names are "
                                    "made in it");
        return -1;
    }
    if (option->type == OPTION_PATH && text[0] != '/')
        return refuse(option, text, "does not begin with \"/\"", why);
    value->text = text;
    return 0;
}

int option_parse(const struct option *option, const char *text,
                 union option_value *value, struct buffer *why)
{
    switch (option->type) {
    case OPTION_BOOL:
        return parse_bool(option, text, value, why);
    case OPTION_INT:
    case OPTION_MODE:
        return parse_integer(option, text, value, why);
    case OPTION_REAL:
        return parse_real(option, text, value, why);
    case OPTION_DURATION:
        return parse_scaled(option, text, duration_units, value, why);
    case OPTION_SIZE:
        return parse_scaled(option, text, size_units, value, why);
    case OPTION_CHOICE:
        return parse_choice(option, text, value, why);
    case OPTION_TEXT:
    case OPTION_PATH:
        break;
    }
    return parse_text(option, text, value, why);
}

/* In the largest unit that holds it exactly. */
static void format_scaled(int64_t value, const struct unit *units,
                          const char *zero, struct buffer *out)
{
    const struct unit *best = NULL;
    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (value % unit->factor == 0 &&
            (best == NULL || unit->factor > best->factor))
            best = unit;
    if (value == 0 || best == NULL)
        buffer_append_text(out, zero);
    else
        buffer_printf(out, "%lld%s", (long long)(value / best->factor),
                      best->name);
}

void option_format(const struct option *option, const union option_value *value,
                   struct buffer *out)
{
    switch (option->type) {
    case OPTION_BOOL:
        buffer_append_text(out, value->boolean ? "true" : "false");
        break;
    case OPTION_INT:
        buffer_printf(out, "%lld", (long long)value->integer);
        break;
    case OPTION_REAL:
        buffer_printf(out, "%.15g", value->real);
        break;
    case OPTION_DURATION:
        format_scaled(value->integer, duration_units, "0s", out);
        break;
    case OPTION_SIZE:
        format_scaled(value->integer, size_units, "0", out);
        break;
    case OPTION_MODE:
        buffer_printf(out, "%04llo", (unsigned long long)value->integer);
        break;
    case OPTION_CHOICE:
        buffer_append_text(out, option->words[value->integer]);
        break;
    case OPTION_TEXT:
    case OPTION_PATH:
        buffer_append_text(out, value->text);
        break;
    }
}
