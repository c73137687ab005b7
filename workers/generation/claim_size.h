/* SPDX-License-Identifier: Apache-2.0
 *
 * How many jobs a worker claims at once: pure, and tested without a store.
 * It grows while the queue gives what was asked for, and shrinks when it
 * does not; a claim never holds more than about CLAIM_WORK_US of work, so
 * that no worker sits on jobs while another has none.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_CLAIM_SIZE_H
#define TIDEMILL_WORKERS_GENERATION_CLAIM_SIZE_H

#include <stddef.h>
#include <stdint.h>

#define CLAIM_MOST      256
#define CLAIM_WORK_US   32000
#define CLAIM_BYTES_MAX (4u << 20) /* of specifications in one answer */

struct claim_size {
    unsigned size;          /* jobs to hold; at least 1 */
    double job_us;          /* mean time of a job, the newest count most */
    double spec_bytes;      /* mean size of a specification, likewise */
};

void claim_size_init(struct claim_size *claim);

/* A job took so long. */
void claim_size_job(struct claim_size *claim, uint64_t job_us,
                    size_t spec_bytes);

/* Asked for `asked`, got `got`. */
void claim_size_answer(struct claim_size *claim, unsigned asked, unsigned got);

/* How many to ask for while `held` are not yet begun; 0: none now. */
unsigned claim_size_wanted(const struct claim_size *claim, unsigned held);

#endif
