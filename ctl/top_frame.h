/* SPDX-License-Identifier: Apache-2.0
 *
 * One frame of `tidemill top`: a sample as lines of text.  Pure.
 */
#ifndef TIDEMILL_CTL_TOP_FRAME_H
#define TIDEMILL_CTL_TOP_FRAME_H

#include <stdbool.h>

#include "common/base/buffer.h"
#include "ctl/top_view.h"

#define TOP_FRAME_MAX (256u << 10) /* bytes */

struct top_screen {
    unsigned columns, rows; /* 0 rows: a text as long as it must be, without
                             * keys or codes for a terminal */
    bool colour;
};

/* Writes the frame; no line is wider, and no more are there, than the screen
 * has.  Sets view->page and view->matches. */
void top_frame_write(const struct top_screen *screen,
                     const struct top_sample *sample, struct top_view *view,
                     struct buffer *out);

#endif
