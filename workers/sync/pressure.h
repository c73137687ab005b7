/* SPDX-License-Identifier: Apache-2.0
 *
 * Connection pressure: while the pools are fuller than
 * sync.connection_pool_threshold (strictly more), all but urgent operations
 * wait here.  What was put off is counted, tried again with growing delays
 * and chance in them, and logged at most every PRESSURE_LOG_MS.
 */
#ifndef TIDEMILL_SYNC_PRESSURE_H
#define TIDEMILL_SYNC_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/shm/budget.h"
#include "common/shm/sync_board.h"

struct config;

#define PRESSURE_LOG_MS 60000

/* What was put off for the server's sake looks at it anew after this. */
#define PRESSURE_ASK_MS 3000

struct pressure {
    const struct config *config;
    const struct budget *budget;
    struct sync_view *view;
    unsigned holder;
    struct budget_usage usage; /* at the last look */
    unsigned deferrals;        /* in a row */
    uint64_t retry_at_ms;      /* monotonic */
    uint64_t logged_ms;        /* monotonic; 0: never */
    bool asked;                /* the server was counted again since */
    uint64_t *random;
};

enum pressure_word {
    PRESSURE_NONE,
    PRESSURE_NEAR, /* near capacity: put off */
    PRESSURE_WAIT, /* was put off a moment ago */
    PRESSURE_ASK,  /* was put off for the server's sake, and how full that is
                    * is not known any more: probe it */
};

void pressure_init(struct pressure *pressure, const struct config *config,
                   struct budget *budget, struct sync_view *view,
                   unsigned holder, uint64_t *random);

enum pressure_word pressure_look(struct pressure *pressure, uint64_t now_ms);

/* A probe was made because of ASK. */
void pressure_asked(struct pressure *pressure);

/* What would have started does not: counts, logs, sets retry_at_ms. */
void pressure_defer(struct pressure *pressure, uint64_t now_ms);

/* The figures in words, in text (200 bytes). */
char *pressure_words(const struct pressure *pressure, char *text);
#define PRESSURE_WORDS_SIZE 200

#endif
