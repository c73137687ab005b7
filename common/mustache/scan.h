/* SPDX-License-Identifier: Apache-2.0
 *
 * The words of a template: text and tags in turn, with the delimiters in
 * force and the rules for tags that stand alone on a line applied.
 */
#ifndef TIDEMILL_MUSTACHE_SCAN_H
#define TIDEMILL_MUSTACHE_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/mustache/program.h"

enum scan_kind {
    SCAN_END, /* of the template; only the text counts */
    SCAN_VALUE,
    SCAN_RAW, /* {{{name}}} and {{&name}} */
    SCAN_SECTION,
    SCAN_INVERTED,
    SCAN_CLOSE,
    SCAN_PARTIAL,
    SCAN_DYNAMIC, /* {{>*name}}: a partial that the data names */
    SCAN_COMMENT,
    SCAN_DELIMITERS,
};

struct scan_delimiter {
    const char *text; /* within the template, or a constant */
    size_t size;
};

struct scan {
    const char *name; /* of the template, for messages */
    const char *text;
    size_t size;
    size_t at;                /* the next byte */
    bool line_begins;         /* a line begins at `at` */
    bool line_silent;         /* nothing of this line was written yet */
    struct scan_delimiter open, close;
    size_t placed_at;         /* where `place` is */
    struct program_place place;
};

/* Text, which may be empty, then a tag. */
struct scan_word {
    const char *text;
    size_t text_size;
    bool text_line_start; /* the text begins a line of the output */
    enum scan_kind kind;
    const char *name;
    size_t name_size;
    bool line_start;     /* no text or tag wrote to this line before */
    bool standalone;     /* its line leaves no trace */
    const char *indent;  /* of a standalone tag: what stood before it */
    size_t indent_size;
    struct program_place place;
};

void scan_init(struct scan *scan, const char *name, const char *text,
               size_t size);

/* The next word; 0, or -1 with "NAME:LINE:COLUMN: ...". */
int scan_next(struct scan *scan, struct scan_word *word, struct error *error);

#endif
