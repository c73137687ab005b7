/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/sink.h"

#include "common/config/config.h"

const struct sink_methods *sink_methods_for(const struct config *config)
{
    return config->sync_sink == SYNC_SINK_PGSQL ? &sink_pgsql : &sink_sqlite;
}
