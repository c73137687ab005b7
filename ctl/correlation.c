/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/correlation.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"

const char *correlation_id(void)
{
    static char id[LOG_CORRELATION_MAX + 1];
    const char *given = getenv("TIDEMILL_CORRELATION_ID");
    uint64_t random;
    if (id[0] != '\0')
        return id;
    if (given != NULL && log_correlation_is_valid(given)) {
        snprintf(id, sizeof(id), "%s", given);
        return id;
    }
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        random = clock_monotonic_ns() << 16 ^ (uint64_t)getpid();
    snprintf(id, sizeof(id), "%016" PRIx64, random);
    return id;
}
