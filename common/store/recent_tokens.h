/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokens of at least the last `capacity` operations, with their keys.
 * What it says is a hint: a group that was rolled back leaves its tokens
 * here, so the caller looks at the row before it believes one.
 */
#ifndef TIDEMILL_STORE_RECENT_TOKENS_H
#define TIDEMILL_STORE_RECENT_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

struct recent_tokens;

/* NULL without memory.  It takes 64 bytes for each of `capacity`, as they
 * are touched. */
struct recent_tokens *recent_tokens_new(uint32_t capacity);
void recent_tokens_free(struct recent_tokens **tokens);

/* token is not 0.  The newest key of a token wins. */
void recent_tokens_add(struct recent_tokens *tokens, int64_t token,
                       int64_t key);
bool recent_tokens_empty(const struct recent_tokens *tokens);
bool recent_tokens_find(const struct recent_tokens *tokens, int64_t token,
                        int64_t *key);

#endif
