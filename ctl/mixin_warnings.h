/* SPDX-License-Identifier: Apache-2.0
 *
 * A word before mixins are put together that do not go well together.
 */
#ifndef TIDEMILL_CTL_MIXIN_WARNINGS_H
#define TIDEMILL_CTL_MIXIN_WARNINGS_H

#include <jansson.h>

#include "common/config/config.h"
#include "common/generation/contract.h"

struct mixin_warnings;

/* What was seen is read from the store when the first pair is judged; with
 * no store to read, only the rules judge.  NULL without memory. */
struct mixin_warnings *mixin_warnings_new(const struct config *config);
void mixin_warnings_free(struct mixin_warnings **warnings);

/* Judges the mixins of a contract; each poor pair is told once for each node
 * type, with the first contract that has it. */
void mixin_warnings_add(struct mixin_warnings *warnings,
                        const struct contract *contract);

/* On standard error, a line each. */
void mixin_warnings_print(const struct mixin_warnings *warnings);

/* A list of {contract, node_type, mixin_a, mixin_b, score, rule_score,
 * success_count, failure_count, level, conflict_reason, resolution_pattern,
 * contracts}; a new reference. */
json_t *mixin_warnings_json(const struct mixin_warnings *warnings);

#endif
