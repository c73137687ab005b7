/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/template_news.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/generation/template_cache.h"
#include "common/store/client.h"

#define ROWS_MAX  200 /* in one request */
#define BYTES_MAX (4u << 20)

struct template_news {
    struct store_link *link;
    struct template_programs *programs;
    struct event *timer;
    bool under_way;
    void (*told)(void *self);
    void *self;
};

static void on_answer(void *self, const struct store_answer *answer)
{
    struct template_news *news = self;
    news->under_way = false;
    if (answer->code != ERROR_NONE && answer->code != ERROR_TRY_AGAIN)
        log_event(LOG_WARNING_LEVEL, "uses of templates were not recorded",
                  LOG_TEXT("why", answer->text));
    news->told(news->self);
}

static void tell(struct template_news *news)
{
    struct buffer json;
    struct error error;
    buffer_init(&json, BYTES_MAX);
    template_programs_take_news(news->programs, ROWS_MAX, &json);
    struct store_call call = {
        .statement = STATEMENT_TEMPLATES_RECORD,
        .argument_count = 2,
        .arguments = {value_text_sized(json.bytes, json.size),
                      value_integer(clock_wall_ms())}};
    const struct store_request request = {.calls = &call, .call_count = 1};
    news->under_way =
        !json.failed &&
        store_link_call(news->link, &request, on_answer, news, &error) == 0;
    buffer_deinit(&json);
}

bool template_news_tell(struct template_news *news)
{
    if (!news->under_way && template_programs_have_news(news->programs) &&
        store_link_connected(news->link))
        tell(news);
    return news->under_way;
}

static void on_timer(evutil_socket_t fd, short what, void *self)
{
    (void)fd;
    (void)what;
    template_news_tell(self);
}

void template_news_look(struct template_news *news)
{
    const struct timeval delay = clock_span(TEMPLATE_NEWS_MS);
    if (template_programs_have_news(news->programs) &&
        event_pending(news->timer, EV_TIMEOUT, NULL) == 0)
        event_add(news->timer, &delay);
}

struct template_news *template_news_new(struct event_base *base,
                                        struct store_link *link,
                                        struct template_cache *templates,
                                        void (*told)(void *self), void *self)
{
    struct template_news *news = calloc(1, sizeof(*news));
    if (news == NULL)
        return NULL;
    *news = (struct template_news){
        .link = link,
        .programs = template_cache_programs(templates),
        .timer = event_new(base, -1, 0, on_timer, news),
        .told = told,
        .self = self,
    };
    if (news->timer == NULL)
        template_news_free(&news);
    return news;
}

void template_news_free(struct template_news **news)
{
    if (*news == NULL)
        return;
    if ((*news)->timer != NULL)
        event_free((*news)->timer);
    free(*news);
    *news = NULL;
}
