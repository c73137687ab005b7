/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a worker may claim jobs, by memory: pure, tested without processes.
 *
 * One worker may always, so no job waits for ever.  Another one may when what
 * the pool uses and what a command is known to take fit under the limit, and
 * while memory is not under pressure.  As long as it is not known what
 * commands take, they begin one by one.
 */
#ifndef TIDEMILL_GENERATION_ADMISSION_RULE_H
#define TIDEMILL_GENERATION_ADMISSION_RULE_H

#include <stdbool.h>
#include <stdint.h>

/* What has just begun counts as no less than is known of others: it has not
 * taken yet what it will. */
#define ADMISSION_YOUNG_MS 1000u

struct admission_facts {
    uint64_t limit_bytes; /* 0: none */
    uint64_t used_bytes;  /* by the pool's workers and all below them */
    uint64_t job_bytes;   /* that a command takes; 0: not known */
    bool others;          /* are at work */
    bool others_young;    /* one of them has just begun */
    double pressure;      /* percent; below 0: not known */
    double most_pressure; /* 0: any */
};

enum admission_answer {
    ADMISSION_YES,
    ADMISSION_LIMIT,    /* the limit is reached */
    ADMISSION_PRESSURE, /* memory is short on this host */
};

enum admission_answer admission_decide(const struct admission_facts *facts);

/* What counts for a command that was measured to take so much. */
uint64_t admission_count(uint64_t measured_bytes, uint64_t job_bytes,
                         uint64_t age_ms);

#endif
