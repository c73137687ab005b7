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
    SCAN_BLOCK,  /* {{$name}} */
    SCAN_PARENT, /* {{<name}} */
    SCAN_COMMENT,
    SCAN_DELIMITERS,
};

/* Within the template, or a constant. */
struct scan_text {
    const char *text;
    size_t size;
};

struct scan {
    const char *name; /* of the template, for messages */
    const char *text;
    size_t size;
    size_t at;                /* the next byte */
    bool line_begins;         /* a line begins at `at` */
    bool line_silent;         /* nothing of this line was written yet */
    struct scan_text open, close;
    size_t placed_at;         /* where `place` is */
    struct program_place place;
};

/* Text, which may be empty, then a tag. */
struct scan_word {
    const char *text;
    size_t text_size;
    bool text_begins;     /* the text begins a line of the template */
    bool text_line_start; /* the text begins a line of the output */
    enum scan_kind kind;
    const char *name;
    size_t name_size;
    bool dynamic;        /* {{>*name}}, {{<*name}}: the data names it */
    bool line_start;     /* no text or tag wrote to this line before */
    bool clear_before;   /* only blanks between the line's begin and the tag */
    bool clear_behind;   /* only blanks between the tag and the line's end */
    const char *indent;  /* when clear before: those blanks */
    size_t indent_size;
    size_t end;          /* of the tag */
    size_t line_end;     /* when clear behind: behind the line's end */
    struct program_place place;
};

void scan_init(struct scan *scan, const char *name, const char *text,
               size_t size);

/* Lines and columns (in characters) of a byte; bytes in ascending order. */
struct program_place scan_place(struct scan *scan, size_t at);

/* The next word; 0, or -1 with "NAME:LINE:COLUMN: ...".  Whoever calls it
 * then says with scan_take what becomes of the tag's line. */
int scan_next(struct scan *scan, struct scan_word *word, struct error *error);

/* Stands the tag alone on its line? */
static inline bool scan_alone(const struct scan_word *word)
{
    return word->clear_before && word->clear_behind;
}

/* Goes on behind the word.  The blanks before the tag go, or the rest of
 * the line behind it, or both: then the tag leaves no trace of its line. */
void scan_take(struct scan *scan, struct scan_word *word, bool without_before,
               bool without_behind);

/* What a scan stands before begins a line of the output, and of the template
 * too? */
void scan_begin_line(struct scan *scan, bool of_template);

/* The blanks that the first line with something in it begins with. */
struct scan_text scan_indentation(const struct scan *scan);

#endif
