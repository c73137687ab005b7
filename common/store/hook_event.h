/* SPDX-License-Identifier: Apache-2.0
 *
 * An agent's hook event: the members that summaries and queries use.  The
 * forms are those of the hook events of coding agents, under any of their
 * spellings; unknown types and members are kept as they are.
 */
#ifndef TIDEMILL_STORE_HOOK_EVENT_H
#define TIDEMILL_STORE_HOOK_EVENT_H

#include "common/store/wire.h"

/* Texts as they are written in the JSON (escapes stay: these are names and
 * ids), pointing into it; null where the event does not say. */
struct hook_event {
    struct value type, session, task, tool, file;
    struct value success; /* 0 or 1 */
};

/* The text must be valid JSON; of one that is no object nothing is known. */
void hook_event_read(const char *text, size_t size, struct hook_event *event);

/* A text member under the first of these names that it has. */
struct value hook_event_text(const char *text, size_t size,
                             const char *const *names);

#endif
