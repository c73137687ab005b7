/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/top_view.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    char key;
    const char *word;
} sorts[] = {
#define X(name, key, word) {key, word},
    TOP_SORT_LIST(X)
#undef X
};

const char *top_sort_word(enum top_sort sort)
{
    return sorts[sort].word;
}

char top_sort_key(enum top_sort sort)
{
    return sorts[sort].key;
}

/* --- keys --- */

static void type_filter(struct top_view *view, int key)
{
    size_t size = strlen(view->filter);
    if (key == '\n' || key == '\r') {
        view->typing = false;
    } else if (key == TOP_KEY_ESCAPE) {
        view->typing = false;
        view->filter[0] = '\0';
    } else if (key == 0x7f || key == '\b') {
        if (size > 0)
            view->filter[size - 1] = '\0';
    } else if (key >= ' ' && key < 0x7f && size < TOP_FILTER_MAX) {
        view->filter[size] = (char)key;
        view->filter[size + 1] = '\0';
    }
    view->first = 0;
}

static void move(struct top_view *view, int key)
{
    unsigned last = view->matches > view->page ? view->matches - view->page : 0;
    unsigned step = view->page > 1 ? view->page - 1 : 1;
    unsigned first = view->first;
    if (key == TOP_KEY_UP)
        first -= first > 0;
    else if (key == TOP_KEY_DOWN)
        first++;
    else if (key == TOP_KEY_PAGE_UP)
        first -= first > step ? step : first;
    else if (key == TOP_KEY_PAGE_DOWN)
        first += step;
    else if (key == TOP_KEY_HOME)
        first = 0;
    else if (key == TOP_KEY_END)
        first = last;
    view->first = first > last ? last : first;
}

static void choose_sort(struct top_view *view, int key)
{
    for (unsigned i = 0; i < TOP_SORTS; i++)
        if (sorts[i].key == key) {
            view->reversed = view->sort == i && !view->reversed;
            view->sort = (enum top_sort)i;
            view->first = 0;
        }
}

static void change_interval(struct top_view *view, int64_t interval_ms)
{
    if (interval_ms >= TOP_INTERVAL_LEAST && interval_ms <= TOP_INTERVAL_MOST)
        view->interval_ms = interval_ms;
}

enum top_wish top_view_key(struct top_view *view, int key)
{
    if (view->typing) {
        type_filter(view, key);
        return TOP_WISH_NONE;
    }
    if (key == 'q' || key == 'Q')
        return TOP_WISH_LEAVE;
    if (key == 'h' || key == '?')
        view->help = !view->help;
    else if (key == TOP_KEY_ESCAPE && view->help)
        view->help = false;
    else if (key == TOP_KEY_ESCAPE)
        view->filter[0] = '\0';
    else if (key == '/')
        view->typing = true;
    else if (key == 'r')
        view->reversed = !view->reversed;
    else if (key == '+')
        change_interval(view, view->interval_ms * 2);
    else if (key == '-')
        change_interval(view, view->interval_ms / 2);
    else if (key == ' ')
        return TOP_WISH_LOOK;
    else if (key >= TOP_KEY_UP)
        move(view, key);
    else
        choose_sort(view, key);
    return TOP_WISH_NONE;
}

/* --- order and filter --- */

static bool passes(const struct top_view *view, const struct top_worker *worker)
{
    return strstr(worker->name, view->filter) != NULL ||
           strstr(worker->state, view->filter) != NULL;
}

/* What the order goes by; the most first. */
static double weight(enum top_sort sort, const struct top_worker *worker)
{
    switch (sort) {
    case TOP_SORT_AGE:
        return worker->age_seconds;
    case TOP_SORT_JOB:
        return (double)worker->work_id;
    case TOP_SORT_FINISHED:
        return (double)worker->finished;
    case TOP_SORT_RESTARTS:
        return (double)worker->restarts;
    case TOP_SORT_CPU:
        return worker->cpu_percent;
    case TOP_SORT_MEMORY:
        return (double)worker->rss_bytes;
    default:
        return 0;
    }
}

static int compare(const void *a, const void *b, void *self)
{
    const struct top_worker *x = *(const struct top_worker *const *)a;
    const struct top_worker *y = *(const struct top_worker *const *)b;
    const struct top_view *view = self;
    int order;
    if (view->sort == TOP_SORT_STATE) {
        order = strcmp(x->state, y->state);
    } else {
        double one = weight(view->sort, x);
        double other = weight(view->sort, y);
        order = (one < other) - (one > other);
    }
    if (order == 0)
        order = (x->place > y->place) - (x->place < y->place);
    return view->reversed ? -order : order;
}

unsigned top_view_workers(const struct top_view *view,
                          const struct top_sample *sample,
                          const struct top_worker *workers[TOP_WORKERS_MAX])
{
    unsigned count = 0;
    for (unsigned i = 0; i < sample->worker_count; i++)
        if (passes(view, &sample->workers[i]))
            workers[count++] = &sample->workers[i];
    qsort_r(workers, count, sizeof(workers[0]), compare, (void *)view);
    return count;
}
