/* SPDX-License-Identifier: Apache-2.0
 *
 * Figures of the events of a pass (common/store/figures.h), added up by
 * event type, source and outcome.
 */
#ifndef TIDEMILL_SYNC_FIGURES_H
#define TIDEMILL_SYNC_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "workers/sync/batch.h"

#define FIGURES_ROWS_MAX 48  /* of a pass; what is beyond is "(others)" */
#define FIGURES_TYPE_MAX 100 /* bytes */
#define FIGURES_TEXT_MAX 200

struct figure {
    char type[FIGURES_TYPE_MAX + 1];
    size_t type_size;
    int64_t source;
    char sqlstate[6];                 /* "": success */
    char words[FIGURES_TEXT_MAX + 1]; /* of the first refusal */
    int64_t events, took_us, wait_ms, retries;
    int64_t beside; /* sizes of the events' batches, added up */
};

/* Zeroed it is empty. */
struct figures {
    struct figure rows[FIGURES_ROWS_MAX];
    unsigned count;
    unsigned last; /* added to */
    struct buffer json;
};

void figures_deinit(struct figures *figures);

/* A batch that the sink applied. */
void figures_add(struct figures *figures, const struct batch *batch);

/* As JSON, which lives until the next one, and forgets them; NULL: there are
 * none, or no memory. */
const char *figures_take(struct figures *figures);

#endif
