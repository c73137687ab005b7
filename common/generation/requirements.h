/* SPDX-License-Identifier: Apache-2.0
 *
 * Requirements: a Markdown text that a contract is made from.  The first
 * heading of level 1 is the title; of the sections, known by their headings,
 * only dash bullets count, but for the Overview, whose text is the
 * description.  The rules are in tidemill-templates(7).
 *
 * The contract is YAML text; each of its lines is remembered with the line
 * of the Markdown that it comes from, so that all that is wrong with the
 * contract is told with the place where a person wrote it.
 */
#ifndef TIDEMILL_GENERATION_REQUIREMENTS_H
#define TIDEMILL_GENERATION_REQUIREMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/generation/contract.h"

#define REQUIREMENT_SECTION_LIST(X)                                            \
    X(OVERVIEW, "Overview")                                                    \
    X(FUNCTIONAL, "Functional Requirements")                                   \
    X(FEATURES, "Features")                                                    \
    X(SUCCESS, "Success Criteria")                                             \
    X(TECHNICAL, "Technical Details")                                          \
    X(DEPENDENCIES, "Dependencies")

enum requirement_section {
#define X(name, heading) SECTION_##name,
    REQUIREMENT_SECTION_LIST(X)
#undef X
        SECTION_COUNT
};

#define REQUIREMENT_ITEMS_MAX 100 /* bullets of a section */

struct requirement {
    const char *text; /* one line, white space folded */
    unsigned line;    /* from 1 */
};

struct requirement_list {
    struct requirement *items;
    size_t count;
};

struct requirements {
    const char *name; /* of the file, for messages */
    struct requirement title;
    struct requirement overview; /* its first paragraph */
    struct requirement_list sections[SECTION_COUNT];
    bool present[SECTION_COUNT];
    unsigned heading_lines[SECTION_COUNT];
    size_t words;                 /* in all of the text */
    unsigned hits[NODE_TYPE_COUNT]; /* words that speak for a type */
    uint32_t capabilities;        /* mixins that its words ask for */

    /* what follows */
    enum node_type node_type;
    bool type_given;              /* and not guessed */
    double hints[NODE_TYPE_COUNT];
    double quality, confidence;
    uint32_t mixins;              /* of the contract */
    uint32_t dropped;             /* asked for, but refused by the type */

    const char *contract; /* YAML */
    size_t contract_size;
    const unsigned *lines; /* of the Markdown, for each line of the YAML */
    size_t line_count;
};

/* Does the name end in .md or .markdown? */
bool requirements_are(const char *name);

/* Reads requirements and makes the contract, checked whole; everything is in
 * the arena.  NULL after appending every error, a line each
 * ("NAME:LINE: what; what to do"), to `errors`. */
struct contract *requirements_read(struct arena *arena, const char *name,
                                   const char *text, size_t size,
                                   struct requirements *requirements,
                                   struct buffer *errors);

/* --- the parts, for requirements_*.c and their tests --- */

/* Text to sections, words and hits.  Complains of what cannot be meant; 0,
 * or -1 without memory. */
int requirements_parse(struct arena *arena, const char *name, const char *text,
                       size_t size, struct requirements *requirements,
                       struct buffer *errors);

/* The value of a bullet "KEY: value" of the Technical Details, from the
 * *at-th bullet on (*at is put behind it); NULL at the end. */
const char *requirements_detail(const struct requirements *requirements,
                                const char *key, size_t *at, unsigned *line);

/* Counts a word (small letters, without its marks) that follows another. */
void requirements_count_word(struct requirements *requirements,
                             const char *word, const char *before,
                             bool asks_for_mixins);

/* Hints: hits / 10, at most 1; when the best is below 0.1, EFFECT 0.5.
 * Quality: 0.5 and 0.1 for each section there is, at most 1.  Confidence:
 * 0.2 for more than 100 words, 0.1 for a section, 0.2 when the node type is
 * given, 0.1 for functional requirements, 0.3 times the best hint, 0.1 for a
 * word that asks for a mixin. */
void requirements_score(struct requirements *requirements);

/* Writes the contract and its lines.  Complains; 0, or -1 without memory. */
int requirements_write(struct arena *arena, struct requirements *requirements,
                       struct buffer *errors);

#endif
