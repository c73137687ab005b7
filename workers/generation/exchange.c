/* SPDX-License-Identifier: Apache-2.0
 *
 * A generation worker's requests to the store, and the answers.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/generation/template_cache.h"
#include "common/shm/mapping.h"
#include "common/store/client.h"
#include "common/worker/worker_loop.h"
#include "workers/generation/generation_state.h"
#include "workers/generation/job_run.h"
#include "workers/generation/predecessor.h"
#include "workers/generation/queue_view.h"
#include "workers/generation/template_news.h"

#define REPORTS_SENT_MAX  64    /* in one request */
#define CALLS_SENT_MAX    20000 /* in one request */
#define LOOK_AGAIN_MIN_MS 20    /* for jobs that wait to be retried */
#define LOOK_AGAIN_MAX_MS 60000
#define REFUSED_WAIT_MS   1000

void generation_start_timer(struct event *event, uint64_t delay_ms)
{
    struct timeval delay = clock_span((int64_t)delay_ms);
    event_add(event, &delay);
}

/* A job that waits to be retried gives no word when its time has come, so
 * the queue is looked at again then.  Only where one waits: opening the store
 * to look is most of what an idle worker would ever do. */
static void look_later(struct generation *generation)
{
    int64_t when_ms = generation->draining
                          ? 0
                          : queue_next_retry_ms(&generation->reader,
                                                generation->config->state_dir);
    if (when_ms == 0)
        return;
    int64_t wait_ms = when_ms - clock_wall_ms() + 1;
    if (when_ms < 0 || wait_ms > LOOK_AGAIN_MAX_MS)
        wait_ms = LOOK_AGAIN_MAX_MS;
    generation_start_timer(generation->look_event, wait_ms < LOOK_AGAIN_MIN_MS
                                                       ? LOOK_AGAIN_MIN_MS
                                                       : (uint64_t)wait_ms);
}

void generation_pop_report(struct generation *generation)
{
    backlog_pop_report(&generation->backlog);
    if (generation->alone > 0)
        generation->alone--;
}

/* --- answers of the store --- */

static void take_claim(struct generation *generation,
                       const struct store_answer *answer)
{
    const struct store_result *result =
        &answer->results[answer->result_count - 1];
    unsigned got = (unsigned)result->rows;
    for (size_t i = 0; i < result->rows && result->columns == 5; i++) {
        if (backlog_push_job(&generation->backlog, &result->values[i * 5]) !=
            0) {
            struct error error;
            error_set(&error, ERROR_SYSTEM,
                      "claimed jobs cannot be taken in; the successor will "
                      "have them");
            worker_loop_fail(generation->loop, WORKER_EXIT_FAILED, &error);
            return;
        }
    }
    template_cache_begin(generation->templates); /* as they are now */
    template_news_look(generation->template_news);
    claim_size_answer(&generation->claim_size, generation->asked, got);
    admission_claimed(generation->admission,
                      backlog_begins_with_command(&generation->backlog));
    if (got < generation->asked && result->changed <= (int64_t)got)
        generation->may_have_jobs = false;
    if (result->changed < 0)
        look_later(generation);
}

/* One report alone was refused: the job is no longer ours (the answer to an
 * earlier request was lost, or it was adopted), or the disk is full. */
static void report_refused(struct generation *generation,
                           const struct store_answer *answer)
{
    if (answer->code == ERROR_FULL || answer->code == ERROR_IO ||
        answer->code == ERROR_DAMAGED || answer->code == ERROR_SYSTEM) {
        generation_start_timer(generation->again_event, REFUSED_WAIT_MS);
        return;
    }
    log_event(LOG_NOTICE_LEVEL, "the end of a job was not recorded",
              LOG_INT("job", generation->backlog.report_first->job_id),
              LOG_TEXT("why", answer->text));
    generation_pop_report(generation);
}

static void on_answer(void *self, const struct store_answer *answer)
{
    struct generation *generation = self;
    unsigned sent = generation->report_sent;
    generation->under_way = false;
    generation->report_sent = 0;
    if (answer->code == ERROR_NONE) {
        for (unsigned i = 0; i < sent; i++)
            generation_pop_report(generation);
        if (generation->asked > 0 && answer->result_count > 0)
            take_claim(generation, answer);
    } else if (answer->code == ERROR_TRY_AGAIN) {
        generation->claim_lost |= generation->asked > 0;
        generation->alone = sent > generation->alone ? sent : generation->alone;
    } else if (sent == 1) {
        report_refused(generation, answer);
    } else if (sent > 1) {
        generation->alone = sent;
    } else {
        log_event(LOG_WARNING_LEVEL, "the store refused a claim of jobs",
                  LOG_TEXT("why", answer->text));
        claim_size_init(&generation->claim_size);
        generation_start_timer(generation->again_event, REFUSED_WAIT_MS);
    }
    generation_go_on(generation);
}

/* --- what the predecessor left --- */

static void on_adopted(void *self, const struct store_answer *answer)
{
    struct generation *generation = self;
    generation->under_way = false;
    if (answer->code == ERROR_TRY_AGAIN) {
        generation->claim_lost |= generation->asked > 0;
        return; /* asked again when connected */
    }
    if (answer->code != ERROR_NONE && generation->asked > 0) {
        generation->adopts_alone = true; /* it may be the claim's fault */
        generation_adopt(generation);
        return;
    }
    if (answer->code != ERROR_NONE) {
        struct error error;
        error_set(&error, ERROR_SYSTEM,
                  "the jobs that the predecessor left cannot be settled: %s",
                  answer->text);
        worker_loop_fail(generation->loop, WORKER_EXIT_STORE_REFUSED, &error);
        return;
    }
    jobs_say_adopted(&answer->results[0]);
    generation->adopted = true;
    generation->may_have_jobs = true;
    if (generation->asked > 0)
        take_claim(generation, answer);
    generation_go_on(generation);
}

/* A command that died with the predecessor is likely to be claimed. */
static bool expects_command(const struct generation *generation)
{
    const struct worker *worker = generation->worker;
    const struct slot_entry *entry =
        &worker->mapping->scoreboard.slots[worker->board_index];
    return atomic_load(&entry->has_commands) != 0 &&
           atomic_load(&entry->death_work_id) != 0;
}

void generation_adopt(struct generation *generation)
{
    char why[64];
    struct error error;
    if (generation->adopted || generation->under_way ||
        predecessor_lives(generation->predecessor))
        return;
    bool claims = !generation->draining && !generation->claim_lost &&
                  !generation->adopts_alone &&
                  admission_ask(generation->admission);
    generation->asked = claims ? 1 : 0;
    struct store_call calls[] = {queue_adopt_call(generation->worker, why),
                                 queue_claim_call(generation->worker, 1)};
    const struct store_request request = {.calls = calls,
                                          .call_count = claims ? 2 : 1};
    if (store_link_call(generation->link, &request, on_adopted, generation,
                        &error) != 0) {
        worker_loop_fail(generation->loop, WORKER_EXIT_STORE_REFUSED, &error);
        return;
    }
    generation->under_way = true;
    if (claims && expects_command(generation))
        command_slot_prepare(generation->command);
}

/* --- requests to the store --- */

/* How many reports go with the next request, and their calls. */
static unsigned reports_to_send(const struct generation *generation,
                                size_t *call_count)
{
    unsigned most = generation->alone > 0 ? 1 : REPORTS_SENT_MAX;
    unsigned count = 0;
    *call_count = 0;
    for (const struct report *report = generation->backlog.report_first;
         report != NULL && count < most; report = report->next) {
        if (count > 0 && *call_count + report->call_count > CALLS_SENT_MAX)
            break;
        *call_count += report->call_count;
        count++;
    }
    return count;
}

/* Ends of jobs and the claim of the next ones in one request. */
static void send_request(struct generation *generation)
{
    size_t call_count;
    unsigned reports = reports_to_send(generation, &call_count);
    bool claims = !generation->draining && generation->may_have_jobs &&
                  generation->alone == 0 && !generation->claim_lost &&
                  generation->backlog.report_count < REPORTS_HELD_MAX / 2 &&
                  !generation->command_long;
    generation->asked = claims
                            ? claim_size_wanted(&generation->claim_size,
                                                generation->backlog.job_count)
                            : 0;
    if (generation->asked > 0 && !admission_ask(generation->admission))
        generation->asked = 0;
    if (reports + generation->asked == 0)
        return;
    struct store_call *calls = calloc(call_count + 1, sizeof(*calls));
    if (calls == NULL) {
        generation_start_timer(generation->again_event, REFUSED_WAIT_MS);
        return;
    }
    size_t at = 0;
    const struct report *report = generation->backlog.report_first;
    for (unsigned i = 0; i < reports; i++, report = report->next) {
        memcpy(&calls[at], report->calls, report->call_count * sizeof(*calls));
        at += report->call_count;
    }
    if (generation->asked > 0)
        calls[at++] = queue_claim_call(generation->worker, generation->asked);
    const struct store_request request = {.calls = calls, .call_count = at};
    struct error error;
    int failed = store_link_call(generation->link, &request, on_answer,
                                 generation, &error);
    free(calls);
    if (failed != 0) {
        log_warning("the store cannot be asked: %s", error.text);
        generation->alone = reports;
        generation_start_timer(generation->again_event, REFUSED_WAIT_MS);
        return;
    }
    generation->under_way = true;
    generation->report_sent = reports;
}

/* Gives the jobs that are claimed and that we do not have (any more) back to
 * the queue, as a successor would: what is held by this slot under another
 * spawn number. */
static void on_given_back(void *self, const struct store_answer *answer)
{
    struct generation *generation = self;
    generation->under_way = false;
    if (answer->code != ERROR_TRY_AGAIN) {
        generation->gives_back = false;
        generation->claim_lost = false;
        generation->may_have_jobs = true;
    }
    generation_go_on(generation);
}

static void give_back(struct generation *generation)
{
    struct error error;
    struct store_call call = queue_give_back_call(generation->worker);
    const struct store_request request = {.calls = &call, .call_count = 1};
    if (store_link_call(generation->link, &request, on_given_back, generation,
                        &error) == 0)
        generation->under_way = true;
    else
        generation_start_timer(generation->again_event, REFUSED_WAIT_MS);
}

static void on_handed_back(void *self, const struct store_answer *answer)
{
    struct generation *generation = self;
    generation->under_way = false;
    if (answer->code != ERROR_NONE)
        generation->gives_back = true; /* when the command is over */
    generation_go_on(generation);
}

/* The jobs behind a command that runs for long are for other workers, and
 * those for which there is no memory for later. */
static void hand_back(struct generation *generation)
{
    struct error error;
    char ids[CLAIM_MOST * 24];
    backlog_list_jobs(&generation->backlog, ids, sizeof(ids));
    struct store_call call = queue_unclaim_call(generation->worker, ids);
    const struct store_request request = {.calls = &call, .call_count = 1};
    if (store_link_call(generation->link, &request, on_handed_back, generation,
                        &error) != 0) {
        generation_start_timer(generation->again_event, REFUSED_WAIT_MS);
        return;
    }
    generation->under_way = true;
    generation->hands_back = false;
    while (generation->backlog.job_count > 0)
        backlog_pop_job(&generation->backlog);
}

void generation_drop_jobs(struct generation *generation)
{
    while (generation->backlog.job_count > 0) {
        backlog_pop_job(&generation->backlog);
        generation->gives_back = true;
    }
}

void generation_talk(struct generation *generation)
{
    if (generation->under_way || !generation->adopted ||
        !store_link_connected(generation->link) ||
        event_pending(generation->again_event, EV_TIMEOUT, NULL) != 0)
        return;
    bool clear = generation->backlog.report_count == 0 &&
                 !command_slot_busy(generation->command) &&
                 (generation->draining || generation->backlog.job_count == 0);
    if (clear && (generation->gives_back || generation->claim_lost))
        give_back(generation);
    else if ((generation->command_long || generation->hands_back) &&
             generation->backlog.job_count > 0)
        hand_back(generation);
    else if (claim_size_wanted(&generation->claim_size,
                               generation->backlog.job_count) > 0 ||
             generation->backlog.report_count >= REPORTS_SENT_MAX ||
             command_slot_busy(generation->command))
        send_request(generation);
}
