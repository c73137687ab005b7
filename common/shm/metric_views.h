/* SPDX-License-Identifier: Apache-2.0
 *
 * The metrics that are read from the boards: METRIC_VIEW_LIST.
 */
#ifndef TIDEMILL_SHM_METRIC_VIEWS_H
#define TIDEMILL_SHM_METRIC_VIEWS_H

#include <stdbool.h>

#include "common/shm/metrics_text.h"

enum metric_view {
#define X(kind, name, outside, labels, unit, meaning) METRIC_VIEW_##name,
    METRIC_VIEW_LIST(X)
#undef X
        METRIC_VIEW_COUNT
};

/* Where their values go: a line each, or members of a list. */
struct metric_view_sink {
    struct buffer *out;
    const char *name;
    bool json;
    bool any; /* something was written */
};

void metric_view_write(enum metric_view view, struct mapping *mapping,
                       struct metric_view_sink *sink);

#endif
