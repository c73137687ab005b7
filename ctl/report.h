/* SPDX-License-Identifier: Apache-2.0
 *
 * Reports read from the local store, with or without the daemon.
 */
#ifndef TIDEMILL_CTL_REPORT_H
#define TIDEMILL_CTL_REPORT_H

#include <stdint.h>

#include <jansson.h>

#include "common/base/error.h"
#include "common/config/config.h"
#include "common/store/reader.h"

/* Opens the store for reading, with all that was ever acknowledged. */
int report_open(struct store_reader **reader, const struct config *config,
                struct error *error);

/* pending, in_flight, waiting, dead, conflicts, by_priority, by_table,
 * last_sync, last_error.  NULL on failure. */
json_t *report_outbox(const struct config *config, struct error *error);

/* Runs a reading query and gives its rows as a list of objects, named by
 * their columns; columns named *_ms that are not NULL become times of
 * clock_format without the suffix, columns named *_json their value.  NULL
 * on failure.  Arguments are bound in order. */
json_t *report_rows(struct store_reader *reader, const char *sql,
                    const int64_t *arguments, unsigned count,
                    struct error *error);

/* The same with all values as they are; the query's one argument is how many
 * rows it gives at most. */
json_t *report_table(struct store_reader *reader, const char *sql,
                     int64_t most_rows, struct error *error);

/* A reading statement failed; -1, with the error set. */
int report_unreadable(struct store_reader *reader, struct error *error);

#endif
