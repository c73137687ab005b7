/* SPDX-License-Identifier: Apache-2.0
 *
 * Template sets that a process keeps, by template directory and folder.
 * What they consist of is read again when it changed; their programs are
 * those of template_programs.h, looked at once a round.
 */
#ifndef TIDEMILL_GENERATION_TEMPLATE_CACHE_H
#define TIDEMILL_GENERATION_TEMPLATE_CACHE_H

#include <stdbool.h>

#include "common/base/error.h"
#include "common/generation/template_programs.h"
#include "common/generation/template_set.h"

struct template_cache;

/* sharing NULL: programs are this process's own. */
struct template_cache *
template_cache_new(const struct template_sharing *sharing, struct error *error);
void template_cache_free(struct template_cache **cache);

/* Begins a round: what is asked for from now on is current now.  Gives back
 * all programs. */
void template_cache_begin(struct template_cache *cache);

struct template_programs *
template_cache_programs(struct template_cache *cache);

/* The set, ready, until the round ends or several others are asked for; *was_hit
 * says whether all of it was there. */
const struct template_set *template_cache_get(struct template_cache *cache,
                                              const char *template_dir,
                                              const char *folder,
                                              bool *was_hit,
                                              struct error *error);

#endif
