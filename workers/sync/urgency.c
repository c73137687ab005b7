/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/urgency.h"

void urgency_news(struct urgency *urgency, uint64_t now_ms)
{
    urgency->news_ms = now_ms;
}

void urgency_applied(struct urgency *urgency, uint64_t operations,
                     uint64_t took_ns)
{
    if (operations == 0)
        return;
    uint64_t each_ns = took_ns / operations + 1;
    urgency->operation_ns = urgency->operation_ns == 0
                                ? each_ns
                                : (3 * urgency->operation_ns + each_ns) / 4;
}

uint64_t urgency_until_ms(const struct urgency *urgency, uint64_t now_ms)
{
    uint64_t until_ms = urgency->news_ms + URGENT_NEWS_MS;
    return urgency->news_ms != 0 && until_ms > now_ms ? until_ms : 0;
}

int64_t urgency_limit(const struct urgency *urgency, int64_t size,
                      uint64_t now_ms)
{
    if (urgency_until_ms(urgency, now_ms) == 0 || urgency->operation_ns == 0)
        return size;
    int64_t slice =
        (int64_t)(URGENT_SLICE_MS * UINT64_C(1000000) / urgency->operation_ns);
    return slice < size ? slice : size;
}
