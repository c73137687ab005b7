/* SPDX-License-Identifier: Apache-2.0
 *
 * What tidemill.apply_batch and its sisters answer (tidemill.told).
 */
#ifndef TIDEMILL_SYNC_PGSQL_ANSWER_H
#define TIDEMILL_SYNC_PGSQL_ANSWER_H

#include "common/base/arena.h"
#include "common/postgres/connection.h"
#include "workers/sync/sink.h"

/* Fills the outcome, refusals and conflicts; the lists are the arena's, texts
 * the rows' own. */
int pgsql_answer_read(const struct pg_result *rows, struct arena *arena,
                      struct sink_result *result, struct error *error);

#endif
