/* SPDX-License-Identifier: Apache-2.0
 *
 * Asking the running daemon over its control socket.
 */
#ifndef TIDEMILL_CTL_CONTROL_H
#define TIDEMILL_CTL_CONTROL_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/config/config.h"
#include "common/ipc/control.h"

/* Sends one command and waits for its answer up to timeout_ms (0: for ever).
 * args may be NULL; its reference is taken.  Returns the answer's data (a
 * new reference), or NULL: ERROR_NOT_RUNNING when there is no daemon, else
 * the daemon's own error.  When the gateway ends before it has answered the
 * command is asked of the next one, unless the list says no (then
 * ERROR_TRY_AGAIN). */
json_t *control_ask(const struct config *config, enum control_command command,
                    json_t *args, unsigned timeout_ms, struct error *error);

/* A daemon that runs carries what was freed at once, not with the next pass;
 * whether it can does not change what was done. */
void control_ask_pass(const struct config *config);

#endif
