/* SPDX-License-Identifier: Apache-2.0
 *
 * What `tidemill top` shows: readings of what `status`, `metrics` and
 * `sync status` say, and what follows from two of them.
 */
#ifndef TIDEMILL_CTL_TOP_SAMPLE_H
#define TIDEMILL_CTL_TOP_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/base/error.h"
#include "common/config/config.h"
#include "common/ipc/worker_contract.h"
#include "ctl/metrics_look.h"

#define TOP_WORKERS_MAX (SLOTS_MAX + 1) /* with the master */

struct top_worker {
    char name[32]; /* "generation[3]" */
    char role[16];
    char state[16];
    unsigned place; /* in the daemon's own order */
    int pid;
    long long work_id;  /* 0: none */
    double age_seconds; /* of its work, else of its state */
    long long finished, restarts;
    double cpu_percent;  /* of one processor; negative: not known */
    long long rss_bytes; /* negative: not known */
};

/* One look.  JSON is what the named command prints; NULL: not known. */
struct top_sample {
    json_t *status;
    json_t *line;   /* of sync status */
    json_t *outbox; /* of sync status, from the local store */
    struct error error; /* why status is NULL */
    int64_t wall_ms;
    long long jobs_queued, jobs_running; /* negative: not known */
    double rates[LOOK_RATES]; /* a second, since the look before; negative: not
                              * known */
    struct histogram_totals latencies[LOOK_LATENCIES]; /* of the last 10 s */
    struct top_worker workers[TOP_WORKERS_MAX];
    unsigned worker_count;
};

/* What is remembered between looks. */
struct top_sampler;

struct top_sampler *top_sampler_new(const struct config *config,
                                    struct error *error);
void top_sampler_free(struct top_sampler **sampler);

/* Takes a look, in bounded time, with the daemon or without. */
void top_sample_take(struct top_sampler *sampler, struct top_sample *sample);
void top_sample_clear(struct top_sample *sample);

/* As `top --json` prints it. */
json_t *top_sample_json(const struct top_sample *sample);

#endif
