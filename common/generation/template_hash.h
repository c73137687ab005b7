/* SPDX-License-Identifier: Apache-2.0
 *
 * Hashes of template sets (template_set_hash) that make one node together.
 */
#ifndef TIDEMILL_GENERATION_TEMPLATE_HASH_H
#define TIDEMILL_GENERATION_TEMPLATE_HASH_H

#include "common/base/arena.h"

/* SHA-256 over both texts, in hexadecimal, in the arena; NULL without
 * memory. */
const char *template_hash_join(struct arena *arena, const char *before,
                               const char *hash);

#endif
