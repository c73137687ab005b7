/* SPDX-License-Identifier: Apache-2.0
 *
 * One sink under test and a second way to look at its centre.
 */
#ifndef TIDEMILL_TESTS_SINK_FIXTURE_H
#define TIDEMILL_TESTS_SINK_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config/config.h"
#include "tests/unit/postgres_cluster.h"
#include "workers/sync/sink.h"

#define FIXTURE_REFUSALS 64

struct event_base;

struct fixture {
    const struct sink_methods *methods;
    bool pgsql;
    struct cluster *cluster; /* of pgsql */
    char path[128];          /* of sqlite */
    struct config config;
    struct event_base *base;
    struct sink *sink;
    void *line; /* PGconn or sqlite3 of our own */
    bool done;
    enum sink_outcome outcome;
    struct error error;
    size_t refusal_count;
    struct sink_refusal refusals[FIXTURE_REFUSALS]; /* messages below */
    char messages[FIXTURE_REFUSALS][200];
    size_t conflict_count;
    struct sink_conflict conflicts[FIXTURE_REFUSALS]; /* texts below */
    char centre_systems[FIXTURE_REFUSALS][32];
    char centre_data[FIXTURE_REFUSALS][200];
    char conninfo[400]; /* room for a case's own */
    char text[256];
};

void fixture_open(struct fixture *f, const struct sink_methods *methods,
                  struct cluster *cluster, const char *system_id);
void fixture_close(struct fixture *f);
/* Closes the sink and makes another with the configuration as it is now. */
void fixture_again(struct fixture *f);

/* Starts, and waits for, an apply or a probe. */
void fixture_begin(struct fixture *f, int64_t batch_id,
                   const struct outbox_operation *operations, size_t count);
enum sink_outcome fixture_wait(struct fixture *f);
enum sink_outcome fixture_apply(struct fixture *f, int64_t batch_id,
                                const struct outbox_operation *operations,
                                size_t count);
/* Applies what `first` has under way on `f` as well, whoever comes first. */
enum sink_outcome fixture_apply_beside(struct fixture *f,
                                       const struct fixture *first);
enum sink_outcome fixture_probe(struct fixture *f);

/* Runs SQL on our own line; the first value as text ("" for NULL or none).
 * Tables of tidemill need no schema; $ stands for the system_id in quotes. */
const char *fixture_sql(struct fixture *f, const char *sql);
/* Connects our own line again. */
void fixture_reconnect(struct fixture *f);

struct outbox_operation op_make(enum operation_kind kind, const char *table,
                                const char *record, const char *data);
#define INS(t, r, d) op_make(OPERATION_INSERT, t, r, d)
#define UPD(t, r, d) op_make(OPERATION_UPDATE, t, r, d)
#define DEL(t, r)    op_make(OPERATION_DELETE, t, r, NULL)

#endif
