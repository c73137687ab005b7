/* SPDX-License-Identifier: Apache-2.0
 *
 * What a person gives to be generated: a contract, or requirements that one
 * is made from.
 */
#ifndef TIDEMILL_CTL_CONTRACT_INPUT_H
#define TIDEMILL_CTL_CONTRACT_INPUT_H

#include <jansson.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/usage.h"
#include "common/generation/contract.h"
#include "common/generation/requirements.h"

struct contract_input {
    const char *text; /* of the contract, as it is or as it was made */
    size_t size;
    const struct contract *contract;
    struct requirements *requirements; /* NULL: it was a contract */
    struct usage analysis; /* what it took to make one of requirements */
};

/* Takes the text of a file; its name decides what it is.  Everything in the
 * arena.  -1 after appending every error to `errors`. */
int contract_input_take(struct arena *arena, const char *name,
                        const char *text, size_t size,
                        struct contract_input *input, struct buffer *errors);

/* {file, title, node_type, node_type_given, hints, quality, confidence,
 * mixins, left_out, contract}; a new reference. */
json_t *requirements_json(const struct requirements *requirements);

/* A list of these: on standard error a line each, on standard output the
 * contracts when asked for. */
void requirements_print(const json_t *list, bool contracts);

#endif
