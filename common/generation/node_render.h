/* SPDX-License-Identifier: Apache-2.0
 *
 * All files of a node: those of its type's template set, and of its mixins.
 */
#ifndef TIDEMILL_GENERATION_NODE_RENDER_H
#define TIDEMILL_GENERATION_NODE_RENDER_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/generation/contract.h"
#include "common/generation/output.h"
#include "common/generation/template_cache.h"

/* The sets that a contract needs, at most this many. */
#define NODE_SETS_MAX 2

/* Folders of the sets for a contract of this type with these mixins, in the
 * order in which they are rendered; how many. */
size_t node_sets(enum node_type node_type, uint32_t mixins,
                 const char *folders[NODE_SETS_MAX]);

/* Loads the sets through the cache and renders into the arena as
 * template_set_render does, into an empty `output`.  *was_hit: all of them
 * were in the cache. */
int node_render(struct template_cache *cache, const char *template_dir,
                const struct contract *contract, struct arena *arena,
                struct output *output, bool *was_hit, struct error *error);

#endif
