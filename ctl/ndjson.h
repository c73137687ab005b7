/* SPDX-License-Identifier: Apache-2.0
 *
 * A line of an NDJSON batch: {"operation", "table", "record_id", "data",
 * "priority"}; operation is INSERT and priority normal unless said.
 */
#ifndef TIDEMILL_CTL_NDJSON_H
#define TIDEMILL_CTL_NDJSON_H

#include <stddef.h>

#include "common/base/arena.h"
#include "ctl/outbox.h"

/* Takes a line apart; texts point into the line, or into the arena where
 * they had escapes.  ERROR_DATA says what is wrong and what to do. */
int ndjson_parse(const char *line, size_t size, struct arena *arena,
                 struct new_operation *operation, struct error *error);

#endif
