/* SPDX-License-Identifier: Apache-2.0
 *
 * Room for fresh urgent operations in a drain.  One of them waits for the
 * batch that holds its record's lane, for the one at the sink, and for a
 * processor of a busy server.  So while such operations come, batches are
 * what the centre applies within URGENT_SLICE_MS, and the last of several
 * workers carries nothing else.  No system calls; times are handed in.
 */
#ifndef TIDEMILL_SYNC_URGENCY_H
#define TIDEMILL_SYNC_URGENCY_H

#include <stdint.h>

#define URGENT_SLICE_MS 2
#define URGENT_NEWS_MS  1000 /* so long after the last one more may come */

struct urgency {
    uint64_t news_ms;      /* monotonic, of the last fresh one; 0: none yet */
    uint64_t operation_ns; /* at the centre, smoothed; 0: not known */
};

/* A fresh urgent operation was told of. */
void urgency_news(struct urgency *urgency, uint64_t now_ms);

/* A batch took so long at the centre. */
void urgency_applied(struct urgency *urgency, uint64_t operations,
                     uint64_t took_ns);

/* Until when, monotonic, room is to be left; 0: none now. */
uint64_t urgency_until_ms(const struct urgency *urgency, uint64_t now_ms);

/* Of a batch, where `size` would be right otherwise. */
int64_t urgency_limit(const struct urgency *urgency, int64_t size,
                      uint64_t now_ms);

#endif
