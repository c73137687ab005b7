/* SPDX-License-Identifier: Apache-2.0
 *
 * Names and texts as the generated code (Python 3.11, YAML) needs them.
 */
#ifndef TIDEMILL_GENERATION_NAMES_H
#define TIDEMILL_GENERATION_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/document/document.h"

#define NAME_SIZE_MAX 64

/* Is it [a-z][a-z0-9_]*, at most NAME_SIZE_MAX bytes? */
bool name_is_snake(const char *text);

/* Is it a keyword of Python 3.11 (soft ones are none)? */
bool name_is_keyword(const char *text);

/* What a person probably meant: "sendInvoice" and "send-invoice" become
 * "send_invoice".  In the arena; NULL when nothing usable is left. */
const char *name_to_snake(struct arena *arena, const char *text);

/* snake_case to PascalCase and UPPER_CASE, in the arena. */
const char *name_to_pascal(struct arena *arena, const char *snake);
const char *name_to_upper(struct arena *arena, const char *snake);

/* A text as a JSON string with its quotes, which YAML reads as well. */
const char *name_to_json(struct arena *arena, const char *text);

/* Appends a document value as a Python literal.  Numbers must be decimal,
 * as name_is_decimal says. */
void name_put_python(struct buffer *out, const struct node *value);

/* Is the text a decimal integer (or, with fraction_allowed, a decimal
 * number) that Python and JSON read alike? */
bool name_is_decimal(const char *text, bool fraction_allowed);

/* The text for a docstring or comment: white space folded to single spaces,
 * control characters dropped, backslashes doubled, three quotes in a row
 * made harmless, a full stop at its end. */
const char *name_to_sentence(struct arena *arena, const char *text);

#endif
