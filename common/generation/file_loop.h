/* SPDX-License-Identifier: Apache-2.0
 *
 * `each` in set.yaml: one file for every element of a list.
 */
#ifndef TIDEMILL_GENERATION_FILE_LOOP_H
#define TIDEMILL_GENERATION_FILE_LOOP_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/document/document.h"

/* The list that a dotted name, "input.fields", leads to.  NULL with
 * ERROR_DATA when it is no list. */
const struct node *file_loop_list(const struct node *data, const char *each,
                                  struct error *error);

/* What the templates of one element see: its own keys when it is a map, the
 * element as `item`, and all of data that these do not hide.  Shares the
 * nodes' children with both; NULL when the arena is full. */
struct node *file_loop_data(struct arena *arena, const struct node *data,
                            const struct node *element);

#endif
