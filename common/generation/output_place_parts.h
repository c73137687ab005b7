/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of putting files in their places share.  For
 * output_place.c and output_recover.c only.
 */
#ifndef TIDEMILL_GENERATION_OUTPUT_PLACE_PARTS_H
#define TIDEMILL_GENERATION_OUTPUT_PLACE_PARTS_H

#include "common/generation/output_place.h"

#define NAME_SIZE 300

enum place_swap {
    PLACE_EXCHANGES, /* with what is there, so that it can go back; replaces
                      * it where the file system cannot do that */
    PLACE_ADDS,      /* ERROR_TRY_AGAIN when something is there */
    PLACE_REPLACES,
};

/* The name beside a place. */
void place_beside(char name[NAME_SIZE], const char *last);
void place_manifest_name(const struct place *place, char path[NAME_SIZE]);

/* Puts what is beside a file's place there. */
int place_swap(struct place *place, const char *path, enum place_swap how,
               struct error *error);

/* Takes away what is beside the place of a file. */
void place_drop_beside(struct place *place, const char *path);

bool place_is_there(const struct place *place, const char *path);

/* Is a text beside the file's place that has another hash? */
bool place_has_other(const struct place *place, const char *file,
                     const char *sha256);

/* The manifest comes last: with it the job is done, and nothing beside. */
int place_put_manifest(struct place *place, bool has_manifest,
                       struct error *error);

#endif
