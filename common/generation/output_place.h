/* SPDX-License-Identifier: Apache-2.0
 *
 * How the files of one job come to their places: all of them or none.
 *
 * A new node is made in a folder beside its own, which is renamed when all
 * is in it.  In a node that exists each file is written beside its place;
 * when all are there, they change places with the old ones, which go back
 * when one cannot.  The manifest is written beside its own place after all
 * files and is renamed last: one that is whole beside its place says that a
 * job died between its first and its last rename, and what it lists is
 * finished by the next one (place_recover).  All under the lock of the
 * node's folder, and nothing but beneath the output directory.
 */
#ifndef TIDEMILL_GENERATION_OUTPUT_PLACE_H
#define TIDEMILL_GENERATION_OUTPUT_PLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/generation/manifest.h"
#include "common/generation/output.h"
#include "common/generation/safe_path.h"

#define PLACE_PREFIX ".tidemill-new-"

struct place {
    const char *directory; /* the output directory, for messages */
    const char *node;
    int root;
    int folder_fd;  /* of the node, or the one beside it; locked */
    bool is_new;    /* folder_fd is beside the node's place */
    int64_t stamp_ns; /* mtime of what is written; of this locking */
    struct stat written; /* what was written last */
    int last_fd;    /* the folder opened last: files come ordered by path */
    char last_path[SAFE_PATH_MAX + 1];
};

enum place_result { PLACE_FAILED = -1, PLACE_DONE, PLACE_AGAIN };

/* Opens the output directory; made when missing and create is set. */
int place_open(struct place *place, const struct output *output, bool create,
               struct error *error);
void place_close(struct place *place);

/* Opens and locks the node's folder, or makes one beside it when there is
 * none.  ERROR_TRY_AGAIN when another job has it for longer than 5 s. */
int place_lock(struct place *place, struct error *error);

/* Finishes what a job that died in this node had begun to put in place. */
int place_recover(struct place *place, struct arena *arena,
                  struct error *error);

/* Puts the files that are to be written, and the manifest with the texts for
 * merging (NULL: both stay), in their places.  On an error nothing was changed.
 * PLACE_AGAIN: somebody made the node meanwhile; nothing was changed either.
 * Takes what the files of a new node look like (output_seen.h). */
enum place_result place_files(struct place *place, struct output *output,
                              const struct buffer *manifest,
                              const struct buffer *base, struct error *error);

/* Puts a text of output_seen.h beside the manifest; when it cannot, it is
 * not there. */
void place_put_seen(struct place *place, const struct buffer *text);

/* Takes away the empty folder, or the one beside, of a job that failed. */
void place_abandon(struct place *place);

#endif
