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

struct template_programs;
struct template_set;

/* Reads what a set consists of: template_dir/folder.  Errors name the
 * file. */
struct template_set *template_set_load(const char *template_dir,
                                       const char *folder,
                                       struct error *error);
void template_set_free(struct template_set **set);

/* False when its list or a folder of partials changed since: it is to be
 * loaded again. */
bool template_set_is_current(const struct template_set *set);

/* Has all its programs at hand until the programs' round ends; *was_hit: all
 * were compiled before.  Errors name the file. */
int template_set_ready(struct template_set *set,
                       struct template_programs *programs, bool *was_hit,
                       struct error *error);

/* Was that done in this round? */
bool template_set_is_ready(const struct template_set *set,
                           const struct template_programs *programs);

/* "effect", and SHA-256 over the names of all its files and their hashes, as
 * they were when it was made ready. */
const char *template_set_name(const struct template_set *set);
const char *template_set_hash(const struct template_set *set);

/* Is that of sets that make a node together? */
bool template_sets_have_hash(const struct template_set *const *sets,
                             size_t count, const char *hash);

/* Renders all files of a node of a set that is ready into the arena, behind
 * those that `output` has already (from another set), ready for output_plan and output_write; node,
 * contract and template fields of `output` are filled, directory and force
 * are left to the caller.  `contract` must live as long as `output`. */
int template_set_render(const struct template_set *set,
                        const struct contract *contract, struct arena *arena,
                        struct output *output, struct error *error);

#endif
