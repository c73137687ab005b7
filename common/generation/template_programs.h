/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiled templates, as a process has them in use: from the shared cache,
 * pinned there, or compiled for itself when they are not in it or cannot be.
 *
 * A file is looked at once a round; a round begins with what is asked for
 * next (a worker begins one with each claim, so a job sees every change that
 * was made before it was submitted).  What looks as it did when it was read
 * is current; else its contents are hashed: the same, and it stays; others,
 * and it is compiled anew.  What is past its time to live is, too.
 */
#ifndef TIDEMILL_GENERATION_TEMPLATE_PROGRAMS_H
#define TIDEMILL_GENERATION_TEMPLATE_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/generation/template_record.h"
#include "common/mustache/mustache.h"

struct cache_region;

/* With whom templates are shared. */
struct template_sharing {
    struct cache_region *region;
    unsigned holder;          /* our index in the scoreboard */
    const char *template_dir; /* that names are relative to */
    bool keeps_news;          /* for template_cache_metadata */
};

struct template_programs;

/* sharing NULL: what is compiled stays for this process, for one round. */
struct template_programs *
template_programs_new(const struct template_sharing *sharing,
                      struct error *error);
void template_programs_free(struct template_programs **programs);

/* Begins a round: all that was asked for is given back. */
void template_programs_begin(struct template_programs *programs);

/* The number of the round. */
uint64_t template_programs_round(const struct template_programs *programs);

/* A template, until the round ends. */
struct template_program {
    const struct mustache_program *program;
    const char *sha256; /* of its file */
};

/* *was_hit: it was compiled before, and current.  NULL and the error of
 * reading or compiling it otherwise. */
const struct template_program *
template_programs_get(struct template_programs *programs,
                      enum mustache_syntax syntax, const char *path,
                      bool *was_hit, struct error *error);

/* One more use, in the same round, of what was asked for: a hit. */
void template_programs_use(struct template_programs *programs,
                           const struct template_program *program);

/* Is there news for template_cache_metadata? */
bool template_programs_have_news(const struct template_programs *programs);

/* Writes it, for the statement TEMPLATES_RECORD, and forgets it; at most so
 * many rows, the rest stays. */
void template_programs_take_news(struct template_programs *programs,
                                 unsigned most, struct buffer *json);

#endif
