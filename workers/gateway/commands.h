/* SPDX-License-Identifier: Apache-2.0
 *
 * What each command of common/ipc/control.h does.
 */
#ifndef TIDEMILL_GATEWAY_COMMANDS_H
#define TIDEMILL_GATEWAY_COMMANDS_H

#include <jansson.h>

#include "common/shm/mapping.h"
#include "workers/gateway/control.h"

/* Runs one; it answers now or later through control.h.  args is an object,
 * or NULL. */
void command_run(enum control_command command,
                 struct control_connection *connection, const json_t *args);

/* The command of that name on the socket; -1 when there is none. */
int command_find(const char *name);
bool command_changes(enum control_command command);

/* The template cache (template_commands.c). */
void run_cache_stats(struct control_connection *connection, const json_t *args);
void run_cache_clear(struct control_connection *connection, const json_t *args);
void run_cache_invalidate(struct control_connection *connection,
                          const json_t *args);

/* What `tidemill status --json` prints, from shared memory. */
json_t *status_json(const struct worker *worker);

/* The line to the centre, as `sync status --json` shows it. */
json_t *sync_line_json(struct mapping *mapping);

/* The connection budget and the server's connections, and what came of the
 * attempts to sync, as shown there under "pool" and "attempts". */
json_t *sync_pool_json(struct mapping *mapping);
json_t *sync_attempts_json(struct mapping *mapping);

#endif
