/* SPDX-License-Identifier: Apache-2.0
 *
 * What PostgreSQL's text and jsonb cannot hold, seen without asking it.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/document/json_text.h"
#include "workers/sync/fold.h"

/* numeric: digits before and behind the point (PostgreSQL 8.1.2). */
#define NUMERIC_WHOLE_MAX    131072
#define NUMERIC_FRACTION_MAX 16383

static unsigned hex4(const char *digits)
{
    char text[5] = {digits[0], digits[1], digits[2], digits[3], 0};
    return (unsigned)strtoul(text, NULL, 16);
}

static const char *surrogate_refusal(const char **code)
{
    *code = "22P02";
    return "invalid input syntax for type json: "
           "a Unicode surrogate stands alone";
}

/* A string of valid JSON from behind its opening quote; *end is behind its
 * closing one. */
static const char *string_refusal(const char *at, const char *limit,
                                  const char **end, const char **code)
{
    bool high = false;
    for (; at < limit && *at != '"'; at++) {
        unsigned unit = 0;
        if (*at == '\\' && *++at == 'u' && limit - at > 4) {
            unit = hex4(at + 1);
            at += 4;
            if (unit == 0) {
                *code = "22P05";
                return "unsupported Unicode escape sequence: "
                       "\\u0000 cannot be converted to text";
            }
        }
        bool low = (unit & 0xfc00) == 0xdc00;
        if (high != low)
            return surrogate_refusal(code);
        high = (unit & 0xfc00) == 0xd800;
    }
    *end = at + 1;
    return high ? surrogate_refusal(code) : NULL;
}

/* A number of valid JSON. */
static const char *number_refusal(const char *at, const char *limit,
                                  const char **end, const char **code)
{
    long whole = 0, fraction = 0, exponent = 0;
    bool leading = true;
    at += *at == '-';
    for (; at < limit && *at >= '0' && *at <= '9'; at++) {
        leading = leading && *at == '0';
        whole += !leading;
    }
    if (at < limit && *at == '.')
        for (at++; at < limit && *at >= '0' && *at <= '9'; at++) {
            leading = leading && *at == '0';
            whole -= leading;
            fraction++;
        }
    if (at < limit && (*at == 'e' || *at == 'E')) {
        bool minus = at[1] == '-';
        at += 1 + (at[1] == '-' || at[1] == '+');
        for (; at < limit && *at >= '0' && *at <= '9'; at++)
            if (exponent < 10000000)
                exponent = exponent * 10 + (*at - '0');
        exponent = minus ? -exponent : exponent;
    }
    *end = at;
    if ((leading || whole + exponent <= NUMERIC_WHOLE_MAX) &&
        fraction - exponent <= NUMERIC_FRACTION_MAX && exponent < 1000000)
        return NULL;
    *code = "22003";
    return "value overflows numeric format";
}

static const char *json_refusal(const char *text, size_t size,
                                const char **code)
{
    const char *at = text, *limit = text + size;
    while (at < limit) {
        const char *words = NULL;
        if (*at == '"')
            words = string_refusal(at + 1, limit, &at, code);
        else if (*at == '-' || (*at >= '0' && *at <= '9'))
            words = number_refusal(at, limit, &at, code);
        else
            at++;
        if (words)
            return words;
    }
    return NULL;
}

static bool text_is_sendable(const char *text, size_t size)
{
    return !memchr(text, '\0', size) && text_is_utf8(text, size);
}

const char *operation_unsendable(const struct outbox_operation *operation,
                                 const char **code)
{
    if (!operation->data && operation->kind != OPERATION_DELETE) {
        *code = "22004";
        return "the operation carries no data";
    }
    if (text_is_sendable(operation->table_name, operation->table_name_size) &&
        text_is_sendable(operation->record_id, operation->record_id_size) &&
        (operation->kind == OPERATION_DELETE ||
         text_is_sendable(operation->data, operation->data_size)))
        return NULL;
    *code = "22021";
    return "invalid byte sequence for encoding \"UTF8\"";
}

const char *operation_refusal(const struct outbox_operation *operation,
                              const char **code)
{
    const char *words = operation_unsendable(operation, code);
    if (words || operation->kind == OPERATION_DELETE)
        return words;
    if (!json_text_valid(operation->data, operation->data_size, NULL)) {
        *code = "22P02";
        return "invalid input syntax for type json";
    }
    return json_refusal(operation->data, operation->data_size, code);
}
