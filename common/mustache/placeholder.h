/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates with {UPPER_SNAKE} placeholders.
 */
#ifndef TIDEMILL_MUSTACHE_PLACEHOLDER_H
#define TIDEMILL_MUSTACHE_PLACEHOLDER_H

#include "common/mustache/compile.h"
#include "common/mustache/execute.h"

/* Compiles all of the template as text and values; 0 or -1. */
int placeholder_compile(struct compiler *c);

/* After the program gave the output from `start` on: replaces the names one
 * after the other where that would give something else.  0 or -1. */
int placeholder_finish(struct execution *x, const struct call *call,
                       const struct node *data, size_t start);

#endif
