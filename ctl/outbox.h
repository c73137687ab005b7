/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations on their way from a command into the outbox.
 */
#ifndef TIDEMILL_CTL_OUTBOX_H
#define TIDEMILL_CTL_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/store/client.h"

/* How long a command waits for a store that is starting or busy. */
#define SESSION_TIMEOUT_MS 20000

/* The texts are not copied. */
struct new_operation {
    const char *operation, *table_name, *record_id, *data, *priority;
    size_t operation_size, table_name_size, record_id_size, data_size,
        priority_size;
};

/* The rank of a priority's word; ERROR_DATA when it is unknown. */
int priority_rank(const char *word, size_t size, int64_t *rank,
                  struct error *error);

/* Fills a call; the priority's word becomes its rank.  ERROR_DATA when the
 * word is unknown. The token makes it safe to repeat. */
int outbox_call(const struct new_operation *operation, int64_t created_ms,
                struct store_call *call, struct error *error);

/* All of standard input or of a file ("-" is standard input), at most
 * limit bytes; the arena's. */
int read_input(const char *path, size_t limit, struct arena *arena,
               char **text, size_t *size, struct error *error);

#endif
