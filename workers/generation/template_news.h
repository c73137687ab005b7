/* SPDX-License-Identifier: Apache-2.0
 *
 * Tells the store which templates were used (template_cache_metadata): at
 * most once in TEMPLATE_NEWS_MS, and when the worker leaves.  What a killed
 * worker had not told is lost: it is statistics.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_TEMPLATE_NEWS_H
#define TIDEMILL_WORKERS_GENERATION_TEMPLATE_NEWS_H

#include <stdbool.h>

#include "common/base/error.h"

#define TEMPLATE_NEWS_MS 5000

struct event_base;
struct store_link;
struct template_cache;
struct template_news;

/* told(self): an answer is here, or what was asked is lost. */
struct template_news *template_news_new(struct event_base *base,
                                        struct store_link *link,
                                        struct template_cache *templates,
                                        void (*told)(void *self), void *self);
void template_news_free(struct template_news **news);

/* There may be something to tell in a while. */
void template_news_look(struct template_news *news);

/* Tells it now; true while an answer is waited for. */
bool template_news_tell(struct template_news *news);

#endif
