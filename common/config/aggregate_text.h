/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking the texts of an aggregate apart, from left to right.  After the
 * first thing that is wrong nothing more is taken.  Private to this folder.
 */
#ifndef TIDEMILL_CONFIG_AGGREGATE_TEXT_H
#define TIDEMILL_CONFIG_AGGREGATE_TEXT_H

#include "common/config/aggregate.h"

struct aggregate_text {
    struct arena *arena;
    const char *start;
    const char *at;
    const char *wrong_at;
    char wrong[240]; /* "" while all is well */
};

void aggregate_text_wrong(struct aggregate_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Is there something left? */
bool aggregate_text_more(struct aggregate_text *text);

/* Takes this word if it comes next. */
bool aggregate_text_take(struct aggregate_text *text, const char *word);

void aggregate_text_path(struct aggregate_text *text,
                         struct aggregate_path *path);
void aggregate_text_condition(struct aggregate_text *text,
                              struct aggregate_condition *condition);
unsigned aggregate_text_number(struct aggregate_text *text, unsigned least,
                               unsigned most);

#endif
