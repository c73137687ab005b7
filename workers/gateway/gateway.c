/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/gateway/gateway.h"

#include "common/base/log.h"
#include "common/shm/mapping.h"
#include "common/worker/worker_loop.h"
#include "workers/gateway/control.h"

struct gateway {
    struct worker_loop *loop;
    struct control *control;
    struct mapping *mapping;
};

static void gateway_answered_all(void *self)
{
    struct gateway *gateway = self;
    worker_loop_leave(gateway->loop, WORKER_EXIT_DRAINED);
}

static void gateway_drain(void *self, uint64_t bound_ms)
{
    struct gateway *gateway = self;
    (void)bound_ms; /* the master holds us to it */
    if (atomic_load(&gateway->mapping->daemon.upgrade_phase) !=
        UPGRADE_PHASE_NONE)
        control_cut_waiting(gateway->control);
    control_drain(gateway->control, gateway_answered_all, gateway);
}

enum worker_exit gateway_main(const struct worker *worker)
{
    struct gateway gateway = {.mapping = worker->mapping};
    struct error error;
    const struct worker_hooks hooks = {.drain = gateway_drain};
    gateway.loop = worker_loop_new(worker, &hooks, &gateway, &error);
    if (gateway.loop == NULL) {
        log_error("gateway cannot start: %s", error.text);
        return WORKER_EXIT_FAILED;
    }
    gateway.control = control_new(worker, gateway.loop, &error);
    if (gateway.control == NULL)
        worker_loop_fail(gateway.loop, WORKER_EXIT_FAILED, &error);
    else
        worker_loop_ready(gateway.loop);
    enum worker_exit code = worker_loop_run(gateway.loop);
    control_free(&gateway.control);
    worker_loop_free(&gateway.loop);
    return code;
}
