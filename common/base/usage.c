/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/usage.h"

#include <sys/resource.h>

#include "common/base/buffer.h"
#include "common/base/clock.h"

static uint64_t span_us(const struct timeval *span)
{
    return (uint64_t)span->tv_sec * 1000000u + (uint64_t)span->tv_usec;
}

void usage_mark(struct usage_mark *mark)
{
    struct rusage now = {.ru_maxrss = 0};
    getrusage(RUSAGE_SELF, &now);
    *mark = (struct usage_mark){.wall_ns = clock_monotonic_ns(),
                                .cpu_us = span_us(&now.ru_utime) +
                                          span_us(&now.ru_stime),
                                .peak_kb = (uint64_t)now.ru_maxrss};
}

void usage_add_between(struct usage *usage, const struct usage_mark *from,
                       const struct usage_mark *to)
{
    usage->wall_us += (to->wall_ns - from->wall_ns) / 1000;
    usage->cpu_us += to->cpu_us - from->cpu_us;
    usage->peak_kb = to->peak_kb;
}

void usage_add(struct usage *usage, struct usage_mark *since)
{
    struct usage_mark now;
    usage_mark(&now);
    usage_add_between(usage, since, &now);
    *since = now;
}

void usage_write(const struct usage *usage, struct buffer *json)
{
    buffer_printf(json, "[%llu,",
                  (unsigned long long)(usage->peak_kb + 512) / 1024);
    if (usage->wall_us == 0)
        buffer_append_text(json, "null]");
    else
        buffer_printf(json, "%.2f]",
                      100.0 * (double)usage->cpu_us / (double)usage->wall_us);
}
