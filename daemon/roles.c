/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/roles.h"

#include "workers/gateway/gateway.h"
#include "workers/generation/generation.h"
#include "workers/monitor/monitor.h"
#include "workers/store/store.h"
#include "workers/sync/sync.h"

const struct role_row master_roles[ROLE_COUNT] = {
    [ROLE_STORE] = {.main = store_main,
                    .handover = HANDOVER_LEAVE_FIRST,
                    .stop_rank = STOP_RANK_LAST,
                    .has_store_listener = true},
    [ROLE_GATEWAY] = {.main = gateway_main,
                      .handover = HANDOVER_SUCCESSOR_FIRST,
                      .has_control_listener = true},
    [ROLE_MONITOR] = {.main = monitor_main,
                      .handover = HANDOVER_SUCCESSOR_FIRST},
    [ROLE_GENERATION] = {.main = generation_main,
                         .handover = HANDOVER_LEAVE_FIRST},
    [ROLE_SYNC] = {.main = sync_main, .handover = HANDOVER_LEAVE_FIRST},
};
