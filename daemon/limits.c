/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/limits.h"

#include <sys/resource.h>

#include "common/base/log.h"

void limits_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur >= LIMITS_FILES_WANTED)
        return;
    limit.rlim_cur = limit.rlim_max < LIMITS_FILES_WANTED ? limit.rlim_max
                                                          : LIMITS_FILES_WANTED;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur < LIMITS_FILES_WANTED)
        log_warning("at most %llu open files are allowed and %u wanted: large "
                    "pools may not fill and many clients at once may wait; "
                    "raise LimitNOFILE or ulimit -n",
                    (unsigned long long)limit.rlim_cur, LIMITS_FILES_WANTED);
}
