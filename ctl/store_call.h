/* SPDX-License-Identifier: Apache-2.0
 *
 * One statement of the store, run by a command, with or without the daemon.
 */
#ifndef TIDEMILL_CTL_STORE_CALL_H
#define TIDEMILL_CTL_STORE_CALL_H

#include <stdint.h>

#include "common/store/wire.h"
#include "ctl/command.h"

/* 0 and what it changed; or the command's exit status, the failure told. */
int store_call_run(const struct command_context *context,
                   struct store_call *call, int64_t *changed);

#endif
