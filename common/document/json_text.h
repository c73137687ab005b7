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

/* Appends to `out` what PostgreSQL's `base || patch` gives for two valid
 * objects: base's top-level members with those of patch put over them.
 * Where one of the two is no object, patch itself. */
void json_text_merge(const char *base, size_t base_size, const char *patch,
                     size_t patch_size, struct buffer *out);

#endif
