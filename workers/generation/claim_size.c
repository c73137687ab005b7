/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/claim_size.h"

void claim_size_init(struct claim_size *claim)
{
    *claim = (struct claim_size){.size = 1};
}

void claim_size_job(struct claim_size *claim, uint64_t job_us,
                    size_t spec_bytes)
{
    double weight = claim->job_us == 0 ? 1.0 : 0.2;
    claim->job_us += weight * ((double)job_us - claim->job_us);
    claim->spec_bytes += weight * ((double)spec_bytes - claim->spec_bytes);
}

void claim_size_answer(struct claim_size *claim, unsigned asked, unsigned got)
{
    if (got >= asked && asked > 0)
        claim->size =
            claim->size < CLAIM_MOST / 2 ? 2 * claim->size : CLAIM_MOST;
    else if (claim->size > 1)
        claim->size /= 2;
}

unsigned claim_size_wanted(const struct claim_size *claim, unsigned held)
{
    double most = claim->size;
    if (claim->job_us > 0 && most > CLAIM_WORK_US / claim->job_us)
        most = CLAIM_WORK_US / claim->job_us;
    if (claim->spec_bytes > 0 && most > CLAIM_BYTES_MAX / claim->spec_bytes)
        most = CLAIM_BYTES_MAX / claim->spec_bytes;
    unsigned size = most < 1 ? 1 : (unsigned)most;
    /* asking again when half is left keeps the worker at work meanwhile */
    return 2 * held > size ? 0 : size - held;
}
