/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked of the central queue, and what comes of the answers.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/shm/metrics.h"
#include "workers/sync/queue_feeder_internal.h"

static const char give_back_sql[] =
    "SELECT tidemill.give_back_leases($1,$2,$3)";
static const char renew_sql[] = "SELECT tidemill.renew_leases($1,$2,$3)";
static const char lease_sql[] =
    "SELECT * FROM tidemill.lease_jobs($1,$2,$3,$4)";
static const char finish_sql[] = "SELECT tidemill.finish_job($1,$2,$3,$4)";

/* For an end whose own words the centre cannot keep. */
static const char bare_words[] =
    "{\"error\":\"what the host told of this job is no text that PostgreSQL "
    "takes; it is in its store\"}";

static struct pg_parameter text_parameter(const char *text)
{
    return (struct pg_parameter){
        .type = PG_OID_TEXT, .value = text, .size_bytes = (int)strlen(text)};
}

/* `number` is in network order, and stays the caller's. */
static struct pg_parameter number_parameter(const int64_t *number)
{
    return (struct pg_parameter){
        .type = PG_OID_INT8, .value = number, .size_bytes = sizeof(*number)};
}

static int64_t number_bits(int64_t number)
{
    return (int64_t)htobe64((uint64_t)number);
}

static int64_t number_at(const struct pg_answer *answer, int row, int column)
{
    const char *text = pg_result_text(answer->result, row, column);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

static void ask(struct queue_feeder *feeder, const char *sql,
                const struct pg_parameter *parameters, size_t count,
                pg_done done, void *self)
{
    feeder->asks++;
    queue_line_ask(feeder->line, sql, parameters, count, done, self);
}

/* The leases as two arrays. */
static int leases_read(struct queue_feeder *feeder, bool live_only,
                       struct pg_parameter arrays[2], struct error *error)
{
    if (queue_leases_read(feeder->reader, live_only, &feeder->arena,
                          &feeder->leases, &feeder->lease_count, error) != 0)
        return -1;
    pg_array_reset(&feeder->ids);
    pg_array_reset(&feeder->tokens);
    for (size_t i = 0; i < feeder->lease_count; i++) {
        pg_array_add_int8(&feeder->ids, feeder->leases[i].central_id);
        pg_array_add_int8(&feeder->tokens, feeder->leases[i].token);
    }
    if (pg_array_parameter(&feeder->ids, &arrays[0]) == 0 &&
        pg_array_parameter(&feeder->tokens, &arrays[1]) == 0)
        return 0;
    return error_set(error, ERROR_SYSTEM, "no memory for the list of leases");
}

/* --- what became of ends --- */

static void on_marked(void *self, const struct store_answer *answer)
{
    struct queue_feeder *feeder = self;
    if (answer->code != ERROR_NONE)
        queue_feeder_refused(feeder, answer);
    queue_feeder_settle(feeder, &feeder->calls);
}

static struct store_call mark_call(const struct queue_lease *lease,
                                   const char *word)
{
    if (strcmp(word, "reported") == 0) {
        metric_add(METRIC_CENTRAL_REPORTED, 1);
    } else {
        metric_add(METRIC_CENTRAL_LOST, 1);
        log_event(LOG_WARNING_LEVEL,
                  strcmp(word, "lost") == 0
                      ? "the lease of a central job was lost; it is ended here"
                      : "the end of a central job was refused, for its lease "
                        "was lost",
                  LOG_INT("job", lease->job_id),
                  LOG_INT("central_job", lease->central_id));
    }
    return (struct store_call){.statement = STATEMENT_CENTRAL_REPORTED,
                               .argument_count = 3,
                               .arguments = {value_integer(lease->job_id),
                                             value_text(word),
                                             value_integer(clock_wall_ms())}};
}

/* --- QUEUE_GIVE_BACK --- */

static void on_given_back(void *self, const struct pg_answer *answer)
{
    struct queue_feeder *feeder = self;
    if (!answer->ok) {
        queue_feeder_failed(feeder, answer);
    } else {
        int64_t given = number_at(answer, 0, 0);
        feeder->facts.reconciled = true;
        feeder->facts.renew_at_ms = 0;
        if (given > 0)
            log_event(LOG_NOTICE_LEVEL,
                      feeder->facts.handed_back
                          ? "jobs that had not begun were handed back to the "
                            "central queue"
                          : "jobs that were leased and never came were given "
                            "back",
                      LOG_INT("jobs", given));
        feeder->facts.handed_back = false;
    }
    queue_feeder_settle(feeder, &feeder->asks);
}

int queue_ask_give_back(struct queue_feeder *feeder, struct error *error)
{
    struct pg_parameter parameters[3] = {
        text_parameter(feeder->config->system_id)};
    if (leases_read(feeder, false, &parameters[1], error) != 0)
        return -1;
    ask(feeder, give_back_sql, parameters, 3, on_given_back, feeder);
    return 0;
}

/* --- QUEUE_HAND_BACK --- */

/* Here they are settled; those that had begun are told as every end is, the
 * others are now leases that this host does not know. */
static void on_handed_back(void *self, const struct store_answer *answer)
{
    struct queue_feeder *feeder = self;
    if (answer->code != ERROR_NONE)
        queue_feeder_refused(feeder, answer);
    else if (answer->results[0].changed > 0)
        feeder->facts.handed_back = true;
    queue_feeder_settle(feeder, &feeder->calls);
}

int queue_ask_hand_back(struct queue_feeder *feeder, struct error *error)
{
    struct store_call call = {
        .statement = STATEMENT_CENTRAL_HAND_BACK,
        .argument_count = 2,
        .arguments = {value_integer(feeder->facts.workers_gone),
                      value_integer(clock_wall_ms())}};
    if (queue_feeder_call(feeder, &call, 1, on_handed_back, feeder) == 0)
        return 0;
    return error_set(error, ERROR_TRY_AGAIN,
                     "the store does not take back what has not begun");
}

/* --- QUEUE_RENEW --- */

static bool is_lost(const struct pg_answer *answer, int64_t central_id)
{
    for (int i = 0; i < pg_result_rows(answer->result); i++)
        if (number_at(answer, i, 0) == central_id)
            return true;
    return false;
}

static void on_renewed(void *self, const struct pg_answer *answer)
{
    struct queue_feeder *feeder = self;
    if (!answer->ok) {
        queue_feeder_failed(feeder, answer);
        queue_feeder_settle(feeder, &feeder->asks);
        return;
    }
    feeder->facts.renew_at_ms =
        queue_feeder_now_ms() +
        queue_heartbeat_ms(feeder->config->central_lease_ms);
    for (size_t i = 0; i < feeder->lease_count; i++) {
        if (!is_lost(answer, feeder->leases[i].central_id))
            continue;
        struct store_call call = mark_call(&feeder->leases[i], "lost");
        queue_feeder_call(feeder, &call, 1, on_marked, feeder);
    }
    queue_feeder_settle(feeder, &feeder->asks);
}

int queue_ask_renew(struct queue_feeder *feeder, struct error *error)
{
    int64_t lease = number_bits(feeder->config->central_lease_ms);
    struct pg_parameter parameters[3];
    if (leases_read(feeder, true, parameters, error) != 0)
        return -1;
    parameters[2] = number_parameter(&lease);
    ask(feeder, renew_sql, parameters, 3, on_renewed, feeder);
    return 0;
}

/* --- QUEUE_REPORT --- */

static void report_send(struct queue_report *report);

/* All were answered: the store keeps it. */
static void reports_mark(struct queue_feeder *feeder)
{
    struct store_call calls[QUEUE_REPORTS_MOST];
    size_t count = 0;
    for (size_t i = 0; i < feeder->report_count; i++)
        if (feeder->reports[i].answer != NULL)
            calls[count++] = mark_call(&feeder->reports[i].end.lease,
                                       feeder->reports[i].answer);
    if (count > 0)
        queue_feeder_call(feeder, calls, count, on_marked, feeder);
}

static void on_finished(void *self, const struct pg_answer *answer)
{
    struct queue_report *report = self;
    struct queue_feeder *feeder = report->feeder;
    const char *word = answer->ok ? pg_result_text(answer->result, 0, 0) : NULL;
    if (word != NULL)
        report->answer = strcmp(word, "refused") == 0 ? "refused" : "reported";
    else if (!answer->down && !report->bare &&
             pg_failure_of(answer->sqlstate) == PG_REFUSED)
        report->bare = true;
    else
        queue_feeder_failed(feeder, answer);
    if (word == NULL && report->bare && !feeder->failed)
        report_send(report);
    else if (feeder->asks == 1)
        reports_mark(feeder);
    queue_feeder_settle(feeder, &feeder->asks);
}

static void report_send(struct queue_report *report)
{
    const struct queue_end *end = &report->end;
    int64_t id = number_bits(end->lease.central_id);
    int64_t token = number_bits(end->lease.token);
    struct pg_parameter parameters[4] = {
        number_parameter(&id), number_parameter(&token),
        text_parameter(end->outcome),
        text_parameter(report->bare ? bare_words : end->told)};
    ask(report->feeder, finish_sql, parameters, 4, on_finished, report);
}

int queue_ask_report(struct queue_feeder *feeder, struct error *error)
{
    struct queue_end ends[QUEUE_REPORTS_MOST];
    if (queue_ends_read(feeder->reader, QUEUE_REPORTS_MOST, &feeder->arena,
                        ends, &feeder->report_count, error) != 0)
        return -1;
    for (size_t i = 0; i < feeder->report_count; i++) {
        feeder->reports[i] =
            (struct queue_report){.feeder = feeder, .end = ends[i]};
        report_send(&feeder->reports[i]);
    }
    if (feeder->report_count == 0)
        queue_feeder_soon(feeder, 0);
    return 0;
}

/* --- QUEUE_LEASE --- */

/* The centre's queue holds what no store takes, which it would be asked for
 * again and again: its lease ends with the store's words.  Its place among
 * the reports is free, because nothing is reported while jobs are leased. */
static void job_unfit(struct queue_report *report, const char *why)
{
    struct queue_feeder *feeder = report->feeder;
    struct buffer words;
    buffer_init(&words, 65536);
    buffer_append_text(&words, "{\"error\":");
    buffer_append_json(&words, why, strlen(why));
    buffer_append_char(&words, '}');
    report->end.outcome = "failed";
    report->end.told =
        words.failed ? NULL
                     : arena_copy(&feeder->arena, words.bytes, words.size);
    report->bare = report->end.told == NULL;
    buffer_deinit(&words);
    report_send(report);
}

static void on_submitted(void *self, const struct store_answer *answer)
{
    struct queue_report *report = self;
    struct queue_feeder *feeder = report->feeder;
    if (answer->code == ERROR_NONE) {
        metric_add(METRIC_CENTRAL_LEASED, 1);
    } else if (answer->code == ERROR_DATA && !feeder->failed &&
               queue_line_is_open(feeder->line)) {
        job_unfit(report, answer->text);
    } else {
        feeder->facts.reconciled = false; /* gives it back */
        queue_feeder_refused(feeder, answer);
    }
    queue_feeder_settle(feeder, &feeder->calls);
}

static void job_submit(struct queue_feeder *feeder,
                       const struct pg_answer *answer, int row)
{
    struct queue_report *report = &feeder->reports[row];
    int64_t id = number_at(answer, row, 0);
    *report = (struct queue_report){
        .feeder = feeder,
        .end.lease = {.central_id = id, .token = feeder->token}};
    struct store_call call = {
        .statement = STATEMENT_CENTRAL_SUBMIT,
        .argument_count = 8,
        .arguments = {value_text(pg_result_text(answer->result, row, 2)),
                      value_integer(number_at(answer, row, 4)),
                      value_text(pg_result_text(answer->result, row, 3)),
                      value_integer(number_at(answer, row, 5)),
                      value_integer(clock_wall_ms()), value_integer(id),
                      value_integer(number_at(answer, row, 1)),
                      value_integer(feeder->token)}};
    if (queue_feeder_call(feeder, &call, 1, on_submitted, report) != 0)
        feeder->facts.reconciled = false;
}

static void on_leased(void *self, const struct pg_answer *answer)
{
    struct queue_feeder *feeder = self;
    int64_t now_ms = queue_feeder_now_ms();
    feeder->report_count = 0;
    if (!answer->ok) {
        queue_feeder_failed(feeder, answer);
    } else {
        const struct config *config = feeder->config;
        int rows = pg_result_rows(answer->result);
        for (int i = 0; i < rows && i < feeder->asked; i++)
            job_submit(feeder, answer, i);
        feeder->facts.more = rows >= feeder->asked;
        feeder->facts.look_at_ms = now_ms + config->central_poll_ms;
        if (feeder->facts.held == 0)
            feeder->facts.renew_at_ms =
                now_ms + queue_heartbeat_ms(config->central_lease_ms);
    }
    queue_feeder_settle(feeder, &feeder->asks);
}

void queue_ask_lease(struct queue_feeder *feeder, int64_t count)
{
    feeder->asked = count;
    feeder->token = store_token();
    int64_t token = number_bits(feeder->token);
    int64_t most = number_bits(count);
    int64_t lease = number_bits(feeder->config->central_lease_ms);
    const struct pg_parameter parameters[4] = {
        text_parameter(feeder->config->system_id), number_parameter(&token),
        number_parameter(&most), number_parameter(&lease)};
    ask(feeder, lease_sql, parameters, 4, on_leased, feeder);
}
