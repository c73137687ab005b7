/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ipc/worker_contract.h"

const char *role_name(enum role role)
{
    static const char *const names[ROLE_COUNT] = {
#define X(name, text, pool) [ROLE_##name] = text,
        ROLE_LIST(X)
#undef X
    };
    return (unsigned)role < ROLE_COUNT ? names[role] : "unknown";
}

const char *component_name(unsigned component)
{
    return component == COMPONENT_MASTER ? "master"
                                         : role_name((enum role)component);
}

bool role_has_pool(enum role role)
{
    static const bool pools[ROLE_COUNT] = {
#define X(name, text, pool) [ROLE_##name] = pool,
        ROLE_LIST(X)
#undef X
    };
    return (unsigned)role < ROLE_COUNT && pools[role];
}
