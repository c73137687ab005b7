/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/admission_rule.h"

static bool fits(const struct admission_facts *facts)
{
    if (facts->limit_bytes == 0)
        return true;
    if (facts->job_bytes == 0 && facts->others_young)
        return false;
    return facts->used_bytes < facts->limit_bytes &&
           facts->job_bytes <= facts->limit_bytes - facts->used_bytes;
}

enum admission_answer admission_decide(const struct admission_facts *facts)
{
    if (!facts->others)
        return ADMISSION_YES;
    if (facts->most_pressure > 0 && facts->pressure >= facts->most_pressure)
        return ADMISSION_PRESSURE;
    return fits(facts) ? ADMISSION_YES : ADMISSION_LIMIT;
}

uint64_t admission_count(uint64_t measured_bytes, uint64_t job_bytes,
                         uint64_t age_ms)
{
    return age_ms < ADMISSION_YOUNG_MS && measured_bytes < job_bytes
               ? job_bytes
               : measured_bytes;
}
