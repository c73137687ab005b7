/* SPDX-License-Identifier: Apache-2.0
 *
 * A command on its way from a worker to its guardian, through a pipe.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_COMMAND_WIRE_H
#define TIDEMILL_WORKERS_GENERATION_COMMAND_WIRE_H

#include "common/base/error.h"
#include "workers/generation/guardian.h"

/* What the worker writes: a command, or a byte alone. */
#define WIRE_RUN    'r'
#define WIRE_CANCEL 'c'

/* Waits for at most a second for one who does not read. */
int command_wire_put(int fd, const struct command *command,
                     struct error *error);

/* Waits for the next command; *block owns all its texts.  0; -1 when the
 * pipe has ended, or there is no memory. */
int command_wire_get(int fd, struct command *command, char **block);

#endif
