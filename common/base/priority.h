/* SPDX-License-Identifier: Apache-2.0
 *
 * The priorities of operations and of jobs; the lower goes first.
 */
#ifndef TIDEMILL_BASE_PRIORITY_H
#define TIDEMILL_BASE_PRIORITY_H

#include <stddef.h>

/* X(name, word) */
#define PRIORITY_LIST(X)                                                       \
    X(URGENT, "urgent")                                                        \
    X(HIGH, "high")                                                            \
    X(NORMAL, "normal")                                                        \
    X(LOW, "low")

enum priority {
#define X(name, word) PRIORITY_##name,
    PRIORITY_LIST(X)
#undef X
        PRIORITY_COUNT
};

/* "" for a number that is none. */
const char *priority_word(unsigned priority);

/* -1: no such word. */
int priority_find(const char *text, size_t size);

#endif
