/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/top_frame.h"

#define LONG_ERROR                                                             \
    "could not connect to \xc3\xbc" /* two bytes, one column */                \
    "ber.example: \033[31mconnection refused, and so on and so on, at length"

/* As bad as it gets: large numbers, long names, all slots, all troubles. */
static void fill(struct top_sample *sample)
{
    memset(sample, 0, sizeof(*sample));
    sample->wall_ms = 1763700000000;
    sample->status = json_pack(
        "{s:s,s:s,s:f,s:{s:I,s:b,s:[s]},s:{s:s},s:[s,s]}", "version",
        "10.11.12", "system_id",
        "a-host-whose-name-is-longer-than-all-others.example", "uptime_seconds",
        86400.0 * 3650, "configuration", "epoch", (json_int_t)4000000000,
        "reload_failed", 1, "pending_restart", "x: 1", "upgrade", "phase",
        "handing over", "degraded", "generation", "sync");
    sample->line =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:b}", "state", "offline", "sink",
                  "pgsql", "state_since", "2025-11-20T12:00:00.000Z",
                  "next_sync", "2025-11-22T12:00:00.000Z", "next_trigger",
                  "reconnect", "last_error", LONG_ERROR, "stalled", 1);
    json_int_t many = 999999999;
    sample->outbox =
        json_pack("{s:I,s:I,s:I,s:{s:I,s:I,s:I,s:I}}", "pending", many, "dead",
                  many, "conflicts", many, "by_priority", "urgent", many,
                  "high", many, "normal", many, "low", many);
    sample->jobs_queued = many;
    for (unsigned i = 0; i < LOOK_RATES; i++)
        sample->rates[i] = 999999.0;
    for (unsigned i = 0; i < TOP_WORKERS_MAX; i++) {
        struct top_worker *worker = &sample->workers[sample->worker_count++];
        *worker = (struct top_worker){.place = i,
                                      .pid = 4194304,
                                      .work_id = 99999999,
                                      .age_seconds = 3599.0 * (i + 1),
                                      .finished = many,
                                      .restarts = (long long)many * i,
                                      .cpu_percent = i,
                                      .rss_bytes = 1000000000 + i};
        snprintf(worker->name, sizeof(worker->name), "generation[%u]", i);
        strcpy(worker->role, "generation");
        strcpy(worker->state, i % 2 == 0 ? "draining" : "busy");
    }
}

static void check_frame(const struct top_screen *screen,
                        const struct buffer *out)
{
    unsigned row = 0;
    unsigned column = 0;
    for (size_t i = 0; i < out->size; i++) {
        unsigned char c = (unsigned char)out->bytes[i];
        if (c == 0x1b) {
            char *end;
            unsigned long number = strtoul(out->bytes + i + 2, &end, 10);
            if (*end == ';') { /* to the start of a row */
                row = (unsigned)number;
                column = 0;
                assert_string_equal(strndupa(end, 3), ";1H");
                end += 2;
            }
            i = (size_t)(end - out->bytes);
            continue;
        }
        assert_true(c >= ' ' && c != 0x7f);
        column += (c & 0xc0) != 0x80;
        assert_true(row >= 1 && row <= screen->rows);
        assert_true(column <= screen->columns);
    }
}

static void every_size_of_screen(void **state)
{
    static struct top_sample sample;
    struct buffer out;
    (void)state;
    fill(&sample);
    buffer_init(&out, TOP_FRAME_MAX);
    for (unsigned rows = 1; rows <= 120; rows += rows < 30 ? 1 : 30)
        for (unsigned columns = 1; columns <= 220;
             columns += columns < 90 ? 1 : 40)
            for (unsigned kind = 0; kind < 4; kind++) {
                const struct top_screen screen = {columns, rows, kind & 1};
                struct top_view view = {.help = kind == 2,
                                        .typing = kind == 3,
                                        .first = kind * 40,
                                        .interval_ms = 1000};
                buffer_reset(&out);
                top_frame_write(&screen, &sample, &view, &out);
                assert_false(out.failed);
                check_frame(&screen, &out);
            }
    buffer_deinit(&out);
    top_sample_clear(&sample);
}

/* Nothing of these is cut on 80. */
static void rows_fit_on_80(void **state)
{
    static struct top_sample sample;
    struct buffer out;
    struct top_view view = {.interval_ms = 1000};
    const struct top_screen screen = {0};
    static const char *const starts[] = {"generation[", "WORKER", "queue",
                                         "jobs",        "rate/s", "p95 ms"};
    unsigned lines = 0;
    (void)state;
    fill(&sample);
    buffer_init(&out, TOP_FRAME_MAX);
    top_frame_write(&screen, &sample, &view, &out);
    assert_null(memchr(out.bytes, 0x1b, out.size));
    for (char *line = strtok(out.bytes, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
            if (strncmp(line, starts[i], strlen(starts[i])) == 0) {
                assert_true(strlen(line) <= 80);
                lines++;
            }
    }
    assert_int_equal(lines, TOP_WORKERS_MAX + 5);
    buffer_deinit(&out);
    top_sample_clear(&sample);
}

static void orders_and_filters(void **state)
{
    static struct top_sample sample;
    const struct top_worker *workers[TOP_WORKERS_MAX];
    struct top_view view = {.interval_ms = 1000};
    (void)state;
    fill(&sample);
    assert_int_equal(top_view_workers(&view, &sample, workers),
                     TOP_WORKERS_MAX);
    assert_int_equal(workers[0]->place, 0);
    static const char most_first[] = {'a', 's', 'c', 'm'};
    for (size_t i = 0; i < sizeof(most_first); i++) {
        assert_int_equal(top_view_key(&view, most_first[i]), TOP_WISH_NONE);
        top_view_workers(&view, &sample, workers);
        assert_int_equal(workers[0]->place, TOP_WORKERS_MAX - 1);
        top_view_key(&view, most_first[i]); /* again: turned */
        top_view_workers(&view, &sample, workers);
        assert_int_equal(workers[0]->place, 0);
    }
    top_view_key(&view, 't');
    top_view_workers(&view, &sample, workers);
    assert_string_equal(workers[0]->state, "busy");
    for (const char *c = "/drain\r"; *c != '\0'; c++)
        top_view_key(&view, *c);
    assert_int_equal(top_view_workers(&view, &sample, workers),
                     (TOP_WORKERS_MAX + 1) / 2);
    top_view_key(&view, TOP_KEY_ESCAPE);
    assert_int_equal(top_view_workers(&view, &sample, workers),
                     TOP_WORKERS_MAX);
    top_sample_clear(&sample);
}

static void bounds_of_what_keys_change(void **state)
{
    struct top_view view = {
        .interval_ms = 1000, .matches = 10, .page = 4, .first = 0};
    (void)state;
    for (unsigned i = 0; i < 50; i++)
        top_view_key(&view, '+');
    assert_true(view.interval_ms <= TOP_INTERVAL_MOST);
    for (unsigned i = 0; i < 50; i++)
        top_view_key(&view, '-');
    assert_true(view.interval_ms >= TOP_INTERVAL_LEAST);
    for (unsigned i = 0; i < 50; i++)
        top_view_key(&view, TOP_KEY_DOWN);
    assert_int_equal(view.first, 6);
    for (unsigned i = 0; i < 50; i++)
        top_view_key(&view, TOP_KEY_PAGE_UP);
    assert_int_equal(view.first, 0);
    top_view_key(&view, TOP_KEY_END);
    assert_int_equal(view.first, 6);
    top_view_key(&view, '/');
    for (unsigned i = 0; i < 100; i++)
        top_view_key(&view, 'x');
    assert_int_equal(strlen(view.filter), TOP_FILTER_MAX);
    assert_int_equal(top_view_key(&view, 'q'), TOP_WISH_NONE);
    top_view_key(&view, '\r');
    assert_int_equal(top_view_key(&view, ' '), TOP_WISH_LOOK);
    assert_int_equal(top_view_key(&view, -1), TOP_WISH_NONE);
    assert_int_equal(top_view_key(&view, 'q'), TOP_WISH_LEAVE);
}

static void looks_that_follow_each_other(void **state)
{
    static struct metrics_look looks[2];
    static struct histogram_totals since;
    (void)state;
    json_t *metrics = json_loads(
        "{\"tidemill_sync_operations_total\": 1000, \"tidemill_job_seconds\": "
        "{\"buckets_us\": [[7, 2], [1023, 3]]}}",
        0, NULL);
    metrics_look_read(metrics, 5000, &looks[0]);
    json_decref(metrics);
    looks[1] = looks[0];
    looks[1].at_ms = 7000;
    looks[1].counters[LOOK_RATE_SYNCED] += 500;
    looks[1].histograms[LOOK_LATENCY_JOB].buckets[7] += 4;
    looks[1].histograms[LOOK_LATENCY_JOB].count += 4;
    assert_false(metrics_look_fell(&looks[1], &looks[0]));
    assert_true(metrics_look_fell(&looks[0], &looks[1]));
    double rate = metrics_look_rate(&looks[1], &looks[0], LOOK_RATE_SYNCED);
    assert_true(rate > 249.9 && rate < 250.1);
    assert_true(metrics_look_rate(&looks[0], &looks[0], LOOK_RATE_JOBS) < 0);
    metrics_look_latency(&looks[1], &looks[0], LOOK_LATENCY_JOB, &since);
    assert_int_equal(since.count, 4);
    assert_true(histogram_quantile_us(&since, 0.99) < 7.1);
    metrics_look_latency(&looks[1], NULL, LOOK_LATENCY_JOB, &since);
    assert_int_equal(since.count, 9);
    assert_true(histogram_quantile_us(&since, 0.99) > 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_of_screen),
        cmocka_unit_test(rows_fit_on_80),
        cmocka_unit_test(orders_and_filters),
        cmocka_unit_test(bounds_of_what_keys_change),
        cmocka_unit_test(looks_that_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
