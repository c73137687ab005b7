/* SPDX-License-Identifier: Apache-2.0
 *
 * The directories that the daemon lives in, and whom they belong to.
 */
#ifndef TIDEMILL_DAEMON_DIRECTORIES_H
#define TIDEMILL_DAEMON_DIRECTORIES_H

#include "common/base/error.h"
#include "daemon/privileges.h"

struct config;

/* Makes the state (0750), runtime (0755) and log (0750) directories where
 * they are missing, for the identity; checks that it can write there. */
int directories_prepare(const struct config *config,
                        const struct identity *identity, struct error *error);

#endif
