/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of `test offline`: operations of common/ipc/exercise.h put into
 * the outbox, what of them still pends, the cut of the line.
 */
#ifndef TIDEMILL_CTL_EXERCISE_H
#define TIDEMILL_CTL_EXERCISE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/store/client.h"
#include "common/store/reader.h"
#include "ctl/command.h"

/* The line is cut for so long at a time, and asked for again so often: a
 * command that was killed leaves it cut for LEASE at most. */
#define EXERCISE_LEASE_SECONDS 15
#define EXERCISE_RENEW_MS      3000

/* Most urgent operations sent while what was kept is drained. */
#define EXERCISE_URGENT_MAX 20

struct exercise {
    const struct command_context *context;
    int64_t run;
    int64_t duration_ms;
    int64_t rate; /* operations in a second */
    bool keep;    /* leave the records at the centre */
    struct store_session *session;
    struct store_reader *reader;
    struct arena arena;
    bool cut;
    uint64_t renewed_ms; /* monotonic */
    int64_t accepted;    /* all but urgent ones */
    int64_t urgent;      /* sent */
    int64_t urgent_first_ms, urgent_most_ms; /* until settled */
    uint64_t urgent_sent_ms; /* 0: none is on its way */
    int64_t offline_ms, drain_ms;
    int64_t pending_at_return;
    int64_t records, complete; /* at the centre; -1: it cannot tell */
    bool inspects;
};

int exercise_open(struct exercise *exercise, struct error *error);
void exercise_close(struct exercise *exercise);

/* Puts operations into the outbox until there are `target` of the run. */
int exercise_append(struct exercise *exercise, int64_t target,
                    struct error *error);
int exercise_append_urgent(struct exercise *exercise, struct error *error);

/* Deletes the records of the run again. */
int exercise_delete(struct exercise *exercise, struct error *error);

/* Of the run's operations: all, and the urgent ones. */
int exercise_pending(struct exercise *exercise, int64_t *all, int64_t *urgent,
                     struct error *error);

/* Cuts the line, or keeps it cut; renews when that is due. */
int exercise_cut(struct exercise *exercise, struct error *error);
int exercise_return(struct exercise *exercise, struct error *error);

/* Asks the centre; sets records and complete. */
int exercise_inspect(struct exercise *exercise, struct error *error);

/* Records that must be there. */
int64_t exercise_expected(const struct exercise *exercise);

#endif
