/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals of the master, read from a descriptor: no handler ever runs.
 */
#ifndef TIDEMILL_DAEMON_SIGNALS_H
#define TIDEMILL_DAEMON_SIGNALS_H

#include "common/base/error.h"

struct master;

/* Blocks the signals and adds their descriptor to the event base. */
int signals_init(struct master *master, struct error *error);
void signals_deinit(struct master *master);

#endif
