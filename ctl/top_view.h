/* SPDX-License-Identifier: Apache-2.0
 *
 * How `tidemill top` is looked at: order, filter, place, help; and the keys
 * that change it.  Pure.
 */
#ifndef TIDEMILL_CTL_TOP_VIEW_H
#define TIDEMILL_CTL_TOP_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/top_sample.h"

/* name in code, key, word */
#define TOP_SORT_LIST(X)                                                       \
    X(WORKER, 'w', "worker")                                                   \
    X(STATE, 't', "state")                                                     \
    X(AGE, 'a', "age")                                                         \
    X(JOB, 'j', "job")                                                         \
    X(FINISHED, 'f', "finished")                                               \
    X(RESTARTS, 's', "restarts")                                               \
    X(CPU, 'c', "CPU")                                                         \
    X(MEMORY, 'm', "memory")

#define X(name, key, word) TOP_SORT_##name,
enum top_sort { TOP_SORT_LIST(X) TOP_SORTS };
#undef X

#define TOP_FILTER_MAX      40
#define TOP_INTERVAL_LEAST  100
#define TOP_INTERVAL_MOST   3600000
#define TOP_INTERVAL_NORMAL 1000

struct top_view {
    enum top_sort sort;
    bool reversed;
    char filter[TOP_FILTER_MAX + 1]; /* in name or state; "": all */
    bool typing;                     /* the filter is being typed */
    bool help;
    unsigned first;   /* workers above the window */
    unsigned page;    /* workers in the window, as last drawn */
    unsigned matches; /* workers that pass the filter, as last drawn */
    int64_t interval_ms;
};

/* Keys that are no characters. */
enum top_key {
    TOP_KEY_UP = 256,
    TOP_KEY_DOWN,
    TOP_KEY_PAGE_UP,
    TOP_KEY_PAGE_DOWN,
    TOP_KEY_HOME,
    TOP_KEY_END,
    TOP_KEY_ESCAPE,
};

enum top_wish { TOP_WISH_NONE, TOP_WISH_LOOK, TOP_WISH_LEAVE };

enum top_wish top_view_key(struct top_view *view, int key);

/* The workers that pass the filter, in order; returns how many. */
unsigned top_view_workers(const struct top_view *view,
                          const struct top_sample *sample,
                          const struct top_worker *workers[TOP_WORKERS_MAX]);

const char *top_sort_word(enum top_sort sort);
char top_sort_key(enum top_sort sort);

#endif
