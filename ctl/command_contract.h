/* SPDX-License-Identifier: Apache-2.0
 *
 * A contract with `kind: command`: a program and its arguments, to be run as
 * a job by `generate` (see tidemill-templates(7)).
 */
#ifndef TIDEMILL_CTL_COMMAND_CONTRACT_H
#define TIDEMILL_CTL_COMMAND_CONTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"

/* What may be limited, of each process; NULL at the end. */
extern const char *const command_limit_names[];

struct command_contract {
    json_t *spec; /* of a job of kind `command` (command_job.h); the caller's */
    int64_t timeout_ms; /* 0: none given */
};

/* Whether the text is such a contract: a map whose `kind` is `command`.  A
 * text that cannot be read is none. */
bool command_contract_is(struct arena *arena, const char *name,
                         const char *text, size_t size);

/* Reads and checks one whole; `path` is where it is, absolute, and its folder
 * what relative directories begin at.  -1 after adding every error, with its
 * place and a remedy, a line each. */
int command_contract_read(struct arena *arena, const char *name,
                          const char *path, const char *text, size_t size,
                          struct command_contract *contract,
                          struct buffer *errors);

#endif
