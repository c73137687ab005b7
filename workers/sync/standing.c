/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/standing.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/shm/mapping.h"

static void show_line(struct standing *standing)
{
    atomic_store(&standing->view->state, standing->line.state);
    atomic_store(&standing->view->state_since_wall_ms, clock_wall_ms());
}

void standing_init(struct standing *standing, const struct worker *worker,
                   uint64_t seed)
{
    struct sync_board *board = &worker->mapping->sync;
    struct sync_view *view = &board->views[worker->slot];
    *standing = (struct standing){.view = view};
    line_init(&standing->line, worker->config->sync_retry_base_ms,
              worker->config->sync_retry_max_ms, seed);
    /* What a predecessor answered stays answered; what it was asked and
     * could not answer any more is ours. */
    standing->answered = atomic_load(&view->ticket_done);
    if (atomic_load(&view->ticket_failed) > standing->answered)
        standing->answered = atomic_load(&view->ticket_failed);
    standing->ticket =
        worker->slot == 0 ? atomic_load(&board->ticket) : standing->answered;
    atomic_store(&view->in_pass, 0);
    standing_next(standing, TRIGGER_NONE, 0);
    show_line(standing);
}

void standing_error(struct standing *standing, const char *text)
{
    /* Nothing new, most of the time. */
    if (text[0] != '\0' || standing->view->last_error[0] != '\0')
        sync_view_set_error(standing->view, text);
}

void standing_next(struct standing *standing, enum trigger trigger,
                   int64_t at_ms)
{
    atomic_store(&standing->view->next_trigger, trigger);
    atomic_store(&standing->view->next_sync_wall_ms, at_ms);
}

void standing_line(struct standing *standing, enum line_event event,
                   const char *reason)
{
    enum link_state before = standing->line.state;
    if (!line_take(&standing->line, event, clock_monotonic_ms()))
        return;
    show_line(standing);
    log_event(line_is_away(standing->line.state) ? LOG_WARNING_LEVEL
                                                 : LOG_NOTICE_LEVEL,
              "the line to the centre changed",
              LOG_TEXT("from", link_state_name(before)),
              LOG_TEXT("to", link_state_name(standing->line.state)),
              LOG_TEXT("reason", reason));
}

/* A centre that is down for days: the change is logged, and the first
 * failures; what follows shows in the view. */
#define FAILURES_LOGGED 3

void standing_failed(struct standing *standing,
                     const struct sink_result *result)
{
    static const struct {
        enum line_event event;
        const char *what, *then;
    } words[] = {
        [SINK_DOWN] = {LINE_DOWN, "the centre cannot be reached",
                       "operations stay here and are sent when it is back"},
        [SINK_BUSY] = {LINE_BUSY, "the centre has no connection free",
                       "operations stay here and are sent when it has"},
        [SINK_BEHIND] = {LINE_TRANSIENT, "nothing is sent now",
                         "operations stay here and are sent then"},
        [SINK_TRANSIENT] = {LINE_TRANSIENT, "the centre could not take it now",
                            "the same operations are sent again"},
    };
    char text[SYNC_ERROR_TEXT_MAX];
    enum sink_outcome outcome = result->outcome;
    snprintf(text, sizeof(text), "%s: %.800s; %s", words[outcome].what,
             result->error.text, words[outcome].then);
    standing_line(standing, words[outcome].event, result->error.text);
    if (result->retry_after_ms > 0)
        line_not_before(&standing->line, clock_monotonic_ms() +
                                             (uint64_t)result->retry_after_ms);
    metric_add(METRIC_SYNC_BUSY, outcome == SINK_BUSY);
    if (outcome == SINK_TRANSIENT && standing->line.failures <= FAILURES_LOGGED)
        log_warning("%s", text);
    standing_error(standing, text);
}

bool standing_asked(const struct standing *standing)
{
    return standing->ticket > standing->answered;
}

bool standing_hurries(struct standing *standing)
{
    if (standing->ticket <= standing->hurried || !standing_asked(standing))
        return false;
    standing->hurried = standing->ticket;
    return true;
}

void standing_answer(struct standing *standing, uint64_t ticket, bool ok)
{
    if (ticket <= standing->answered)
        return;
    standing->answered = ticket;
    atomic_store(ok ? &standing->view->ticket_done
                    : &standing->view->ticket_failed,
                 ticket);
}
