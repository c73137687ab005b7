/* SPDX-License-Identifier: Apache-2.0
 *
 * What a value needs before it may stand in the output's language.
 */
#ifndef TIDEMILL_MUSTACHE_ESCAPE_H
#define TIDEMILL_MUSTACHE_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buffer.h"
#include "common/mustache/mustache.h"

/* Would escaping change these bytes? */
bool escape_changes(enum mustache_escape escape, const char *text, size_t size);

/* Appends the escaped bytes: html  & " < > as entities (the specification's
 * four); json  the inside of a JSON string; c  the inside of a C string
 * literal, without trigraphs; sql  the inside of a standard SQL string. */
void escape_append(enum mustache_escape escape, const char *text, size_t size,
                   struct buffer *out);

#endif
