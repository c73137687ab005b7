/* SPDX-License-Identifier: Apache-2.0
 *
 * From files in memory to files on disk: complete or absent, unchanged ones
 * untouched, never outside the output directory, with a manifest.
 *
 * A node's files all lie below its own folder, whose lock (flock on the
 * folder) keeps two jobs of one node apart; jobs of different nodes share
 * nothing.  A job puts all of its files in place or none (output_place.h).
 * Nothing is synced to disk: what the manifest lists is whole, and a job
 * that is run again writes only what differs.
 */
#ifndef TIDEMILL_GENERATION_OUTPUT_H
#define TIDEMILL_GENERATION_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/generation/contract.h"
#include "common/generation/file_identity.h"

/* What happens to a file: name, word */
#define OUTPUT_CHANGE_LIST(X)                                                  \
    X(CREATED, "created")                                                      \
    X(CHANGED, "changed")                                                      \
    X(UNCHANGED, "unchanged") /* same bytes and mode: not touched */           \
    X(KEPT, "kept") /* edited since by hand, or not ours: left as it is */     \
    X(GONE, "gone") /* removed by hand: not made again */                      \
    X(MERGED, "merged") /* what is new went into what was edited */            \
    X(CONFLICT, "conflict") /* as merged, with marked conflicts */

enum output_change {
#define X(name, text) OUTPUT_##name,
    OUTPUT_CHANGE_LIST(X)
#undef X
        OUTPUT_CHANGE_COUNT
};

const char *output_change_name(enum output_change change);

#define OUTPUT_FILES_MAX 1000

/* What a file looked like (output_seen.h); certain: its bytes and mode are
 * ours as long as it does. */
struct output_seen {
    struct file_identity identity;
    bool certain;
};

struct seen_inputs;

struct output_file {
    const char *path; /* relative to the output directory */
    const char *bytes;
    size_t size;
    unsigned mode; /* 0644 or 0755 */
    const char *template_name;
    /* filled by output_plan: */
    char sha256[65];
    enum output_change change;
    const char *merged; /* what goes to the disk instead; NULL: the bytes */
    size_t merged_size;
    char there_sha256[65]; /* of what it replaces; "": whatever it is */
    char merged_sha256[65], edited_sha256[65]; /* of it, and what it replaces */
    const char *old; /* what is there, when keep_old is set */
    size_t old_size;
    struct output_seen seen; /* filled by output_write */
};

struct output {
    const char *directory; /* absolute */
    const char *node;      /* folder of all its files */
    const char *contract;  /* path of the contract: the owner */
    const char *contract_sha256;
    const char *template_set;
    const char *template_hash;
    enum node_type node_type;
    uint32_t mixins; /* bits 1 << enum mixin */
    const struct seen_inputs *inputs; /* to be remembered; NULL: not */
    bool force;    /* write also what would be kept, or is gone */
    bool merge;    /* merge what would be kept */
    bool keep_old; /* for a diff */
    struct arena *arena; /* for merged and old texts */
    struct output_file *files;
    size_t file_count;
    size_t counts[OUTPUT_CHANGE_COUNT]; /* filled by output_plan */
    struct output_seen manifest;        /* filled by output_write */
};

/* Says what output_write would do, and does nothing: fills sha256, change
 * and counts.  Errors: ERROR_NOT_ALLOWED for a path that leads outside and
 * for a node that another contract owns; ERROR_DATA for a damaged manifest. */
int output_plan(struct output *output, struct error *error);

/* Plans and does it.  On an error no file was changed, unless the text says
 * so.  What a killed one began is finished first.  ERROR_TRY_AGAIN when
 * another job holds the node for longer than 5 seconds. */
int output_write(struct output *output, struct error *error);

/* Was it written, or would it be? */
bool output_change_writes(enum output_change change);

/* One line a file, "created    node_x/v1_0_0/node.py", then a summary
 * line; without the unchanged ones unless all is set. */
void output_summary(const struct output *output, bool all,
                    struct buffer *out);

#endif
