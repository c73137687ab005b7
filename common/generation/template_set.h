/* SPDX-License-Identifier: Apache-2.0
 *
 * A template set: the folder of a node type with its set.yaml, *.mustache
 * files, and partials.
 *
 *     files:
 *       - {template: node.py, output: "{{version_dir}}/node.py"}
 *       - {template: shared/errors.py, output: ..., executable: true}
 *       - {template: old.py, output: ..., syntax: placeholder}
 *       - {template: op.py, each: operations, output: "{{name}}.py"}
 *
 * `template` NAME is NAME.mustache in the set's folder, or below shared/ of
 * the template directory when it starts with shared/.  `output` is itself a
 * template; it is relative to the node's folder, and a file whose output
 * path renders as nothing is left out.  `each` makes a file for every
 * element of a list (file_loop.h).  The partial NAME is
 * partials/NAME.mustache of the set, else shared/partials/NAME.mustache.
 */
#ifndef TIDEMILL_GENERATION_TEMPLATE_SET_H
#define TIDEMILL_GENERATION_TEMPLATE_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/generation/contract.h"
#include "common/generation/output.h"

#define TEMPLATE_SET_FILES_MAX 200 /* templates and partials of one set */

struct template_set;

/* Loads and compiles a set: template_dir/folder.  Errors name the file. */
struct template_set *template_set_load(const char *template_dir,
                                       const char *folder,
                                       struct error *error);
void template_set_free(struct template_set **set);

/* "effect", and SHA-256 over all its files with their names. */
const char *template_set_name(const struct template_set *set);
const char *template_set_hash(const struct template_set *set);

/* Templates and partials in it. */
size_t template_set_count(const struct template_set *set);

/* Renders all files of a node into the arena, ready for output_plan and
 * output_write; node, contract and template fields of `output` are filled,
 * directory and force are left to the caller.  `set` and `contract` must
 * live as long as `output`. */
int template_set_render(const struct template_set *set,
                        const struct contract *contract, struct arena *arena,
                        struct output *output, struct error *error);

/* Sets kept compiled, by template directory and folder.  A set is loaded
 * again when one of its files or folders changed (device, inode, size,
 * times; then its hash).  At most `templates_max` templates stay; the least
 * recently used set goes first. */
struct template_cache;
struct template_cache *template_cache_new(size_t templates_max);
void template_cache_free(struct template_cache **cache);

/* The set, valid until the next call; *was_hit says whether it was there. */
const struct template_set *template_cache_get(struct template_cache *cache,
                                              const char *template_dir,
                                              const char *folder,
                                              bool *was_hit,
                                              struct error *error);

#endif
