/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/sink.h"

#include "common/config/config.h"

const struct sink_methods *sink_methods_for(const struct config *config)
{
    static const struct sink_methods *const methods[] = {
        [SYNC_SINK_SQLITE] = &sink_sqlite,
        [SYNC_SINK_PGSQL] = &sink_pgsql,
        [SYNC_SINK_HTTP] = &sink_http};
    return methods[config->sync_sink];
}
