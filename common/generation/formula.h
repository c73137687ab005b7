/* SPDX-License-Identifier: Apache-2.0
 *
 * Formulas: how a COMPUTE node computes an output field, in a small
 * language that is checked before it becomes Python.
 *
 *     choice  := or ("if" or "else" choice)?
 *     or      := and ("or" and)*          and := not ("and" not)*
 *     not     := "not" not | sum (("<"|"<="|">"|">="|"=="|"!=") sum)?
 *     sum     := product (("+"|"-") product)*
 *     product := unary (("*"|"/"|"//"|"%") unary)*
 *     unary   := "-" unary | atom ("**" unary)?
 *     atom    := number | 'text' | "text" | true | false | name
 *              | function "(" choice ("," choice)* ")" | "(" choice ")"
 */
#ifndef TIDEMILL_GENERATION_FORMULA_H
#define TIDEMILL_GENERATION_FORMULA_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/generation/contract.h"

/* Names that a formula may use. */
struct formula_names {
    const struct contract_fields *input;  /* become request.NAME */
    const struct contract_fields *config; /* become self._config.NAME */
};

struct formula {
    const char *python;
    bool uses_math;
    bool used[CONTRACT_FIELDS_MAX]; /* input fields that it reads */
};

/* Checks a formula for a field of this type and translates it.  -1 with
 * ERROR_DATA: what is wrong, at which character, and what to do. */
int formula_compile(struct arena *arena, const char *text,
                    enum field_type wanted, const struct formula_names *names,
                    struct formula *formula, struct error *error);

#endif
