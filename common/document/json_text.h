/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON as text: questions and changes that keep every other byte as it
 * was (numbers keep their spelling).  No tree is built, no memory taken
 * but for the result.
 */
#ifndef TIDEMILL_DOCUMENT_JSON_TEXT_H
#define TIDEMILL_DOCUMENT_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buffer.h"
#include "common/base/error.h"

#define JSON_TEXT_DEPTH_MAX 512

/* Is it one JSON value (RFC 8259) in UTF-8, with white space around it at
 * most?  On false *error says what is wrong at which byte. Escapes such as
 * \u0000 and lone surrogates are syntax, so they pass. */
bool json_text_valid(const char *text, size_t size, struct error *error);

/* The first byte that is no white space decides: '{' is an object.  The
 * text must be valid. */
bool json_text_is_object(const char *text, size_t size);

/* The raw value of a top-level member (the last one of that name) in a
 * valid object; false when absent.  The key is compared unescaped. */
bool json_text_member(const char *text, size_t size, const char *key,
                      const char **value, size_t *value_size);

/* The members of a valid object one by one, in their order: start, then next
 * until it is false.  The key is without its quotes and, as the value, as it
 * was written. */
struct json_text_members {
    const char *key;
    size_t key_size;
    const char *value;
    size_t value_size;
    const char *at; /* private: what is left */
    const char *end;
};

void json_text_members_start(struct json_text_members *members,
                             const char *text, size_t size);
bool json_text_members_next(struct json_text_members *members);

/* Appends to `out` what PostgreSQL's `base || patch` gives for two valid
 * objects: base's top-level members with those of patch put over them.
 * Where one of the two is no object, patch itself. */
void json_text_merge(const char *base, size_t base_size, const char *patch,
                     size_t patch_size, struct buffer *out);

#endif
