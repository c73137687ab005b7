/* SPDX-License-Identifier: Apache-2.0
 *
 * Small questions about text.
 */
#ifndef TIDEMILL_BASE_TEXT_H
#define TIDEMILL_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is it well-formed UTF-8 (RFC 3629: no surrogates, nothing overlong)? */
bool text_is_utf8(const char *text, size_t size);

/* The nearest of the NULL-terminated candidates by edit distance, or NULL
 * when none is near enough to be what was meant. */
const char *text_nearest(const char *text, const char *const *candidates);

/* 64-bit FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/), going on from
 * `hash`; start with TEXT_HASH_START.  Stable for ever: lanes depend on it. */
#define TEXT_HASH_START 0xcbf29ce484222325u
uint64_t text_hash(uint64_t hash, const void *bytes, size_t size);

/* "1.5 MB", "12 kB", "321 B": for people. Returns buffer (24 bytes). */
char *text_bytes(uint64_t bytes, char *buffer);

#endif
