/* SPDX-License-Identifier: Apache-2.0
 *
 * The manifest of a node: <output>/.tidemill/<node>.json says which files
 * were generated, with SHA-256, template and contract.  One file a node, so
 * jobs that write different nodes into one directory share nothing.  It is
 * written last: what it lists is whole.
 *
 *     {"format": 1, "node": ..., "contract": ..., "contract_sha256": ...,
 *      "template_set": ..., "template_hash": ..., "files": [
 *      {"path": ..., "sha256": ..., "size": ..., "mode": "0644",
 *       "template": ..., "template_hash": ..., "contract_sha256": ...}]}
 *
 * <output>/.tidemill/<node>.base has the texts that were generated last, for
 * merging (base_texts.h).
 */
#ifndef TIDEMILL_GENERATION_MANIFEST_H
#define TIDEMILL_GENERATION_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/error.h"

#define MANIFEST_DIRECTORY ".tidemill"
#define MANIFEST_FILES_MAX 10000
#define MANIFEST_BYTES_MAX (16u << 20)

struct manifest_file {
    const char *path; /* relative to the output directory */
    const char *sha256;
    uint64_t size;
    unsigned mode;
    const char *template_name;
    const char *template_hash;
    const char *contract_sha256;
    /* Of a file that was merged by the job that wrote this manifest: the
     * bytes on disk, and those before; "" otherwise. */
    const char *merged_sha256;
    const char *edited_sha256;
};

struct manifest {
    const char *node;
    const char *contract; /* path of the contract: the owner */
    const char *contract_sha256;
    const char *template_set;
    const char *template_hash;
    struct manifest_file *files; /* ordered by path */
    size_t file_count;
};

/* ".tidemill/NODE.json" in the arena. */
char *manifest_path(struct arena *arena, const char *node);

/* Reads a manifest; everything in the arena.  ERROR_NO_INPUT when there is
 * none; ERROR_DATA with the remedy when it is damaged. */
int manifest_read(int root, const char *node, struct arena *arena,
                  struct manifest *manifest, struct error *error);

/* The same of a text; `path` is for messages.  The node is as given. */
int manifest_parse(const char *path, const char *bytes, size_t size,
                   struct arena *arena, struct manifest *manifest,
                   struct error *error);

/* The entry of a path, or NULL. */
const struct manifest_file *manifest_find(const struct manifest *manifest,
                                          const char *path);

/* Its text: the same bytes for the same content. */
void manifest_put(const struct manifest *manifest, struct buffer *out);

#endif
