/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/store_call.h"

#include "common/store/client.h"
#include "ctl/outbox.h"
#include "ctl/print.h"

int store_call_run(const struct command_context *context,
                   struct store_call *call, int64_t *changed)
{
    struct store_session *session = NULL;
    struct store_answer answer;
    struct arena arena;
    struct error error;
    const struct store_request request = {call, 1};
    arena_init(&arena, 1u << 20);
    int result = store_session_open(&session, context->config,
                                    SESSION_TIMEOUT_MS, &error);
    if (result == 0)
        result = store_session_call(session, &request, &arena, &answer, &error);
    if (result == 0)
        *changed = answer.results[0].changed;
    store_session_close(&session);
    arena_deinit(&arena);
    return result == 0 ? 0 : print_failure(&error);
}
