/* SPDX-License-Identifier: Apache-2.0
 *
 * Lambdas, all built in: sections whose name the data does not define, and
 * which change what their body gave.
 */
#ifndef TIDEMILL_MUSTACHE_LAMBDA_H
#define TIDEMILL_MUSTACHE_LAMBDA_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buffer.h"

/* name, function in lambda.c, what it gives of "parse HTTPRequest" */
#define LAMBDA_LIST(X)                                                         \
    X(snake_case, put_snake, "parse_http_request")                             \
    X(kebab_case, put_kebab, "parse-http-request")                             \
    X(camel_case, put_camel, "parseHttpRequest")                               \
    X(pascal_case, put_pascal, "ParseHttpRequest")                             \
    X(upper, put_upper, "PARSE HTTPREQUEST")                                   \
    X(lower, put_lower, "parse httprequest")                                   \
    X(indent, put_indent, "    parse HTTPRequest")                             \
    X(c_string, put_c_string, "\"parse HTTPRequest\"")                         \
    X(json, put_json, "\"parse HTTPRequest\"")                                 \
    X(sql_string, put_sql_string, "'parse HTTPRequest'")

enum lambda {
    LAMBDA_NONE,
#define X(name, function, words) LAMBDA_##name,
    LAMBDA_LIST(X)
#undef X
        LAMBDA_COUNT
};

/* The lambda of a name, or LAMBDA_NONE.  Part of a program, so the numbers
 * go with its version. */
uint32_t lambda_find(const char *name, size_t size);

/* Appends what the lambda gives of a text.  Letters are ASCII's; a byte of
 * another character counts as a small letter. */
void lambda_apply(uint32_t lambda, const char *text, size_t size,
                  struct buffer *out);

#endif
