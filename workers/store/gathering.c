/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/gathering.h"

bool gathering_waits(struct gathering *gathering, unsigned connections,
                     uint64_t now_ns)
{
    uint64_t most_ns = gathering->commit_ns / 2;
    if (connections >= gathering->expected)
        return false;
    if (gathering->began_ns == 0)
        gathering->began_ns = now_ns;
    if (most_ns > GATHERING_NS_MAX)
        most_ns = GATHERING_NS_MAX;
    return now_ns - gathering->began_ns < most_ns;
}

void gathering_ended(struct gathering *gathering, unsigned connections,
                     uint64_t took_ns)
{
    gathering->expected = connections;
    gathering->began_ns = 0;
    gathering->commit_ns = gathering->commit_ns == 0
                               ? took_ns
                               : (7 * gathering->commit_ns + took_ns) / 8;
}
