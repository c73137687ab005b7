/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/shm/metrics_text.h"

static struct mapping *mapping;

static int setup(void **state)
{
    struct error error;
    (void)state;
    mapping = mapping_new(&error);
    return mapping == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    metrics_use(NULL, 0);
    mapping_free(&mapping);
    return 0;
}

static void mapping_says_what_it_is(void **state)
{
    (void)state;
    assert_true(mapping->magic == MAPPING_MAGIC);
    assert_int_equal(mapping->version, MAPPING_VERSION);
    assert_int_equal(mapping->slot_count, SLOTS_MAX);
    assert_true(mapping->size_bytes > sizeof(*mapping));
    assert_true(mapping->templates_at >= sizeof(*mapping));
    assert_int_equal((uintptr_t)&mapping->scoreboard.slots[1] % 128, 0);
    /* no slot shares a cache line with another */
    assert_int_equal((uintptr_t)&mapping->metrics.slots[1] % 128, 0);
    assert_int_equal(sizeof(struct slot_metrics) % 128, 0);
}

static void every_slot_has_its_place(void **state)
{
    bool taken[SLOTS_MAX] = {false};
    (void)state;
    for (unsigned role = 0; role < ROLE_COUNT; role++) {
        unsigned count = role == ROLE_GENERATION ? GENERATION_SLOTS_MAX
                         : role == ROLE_SYNC     ? SYNC_SLOTS_MAX
                                                 : 1;
        for (unsigned i = 0; i < count; i++) {
            unsigned at = scoreboard_index((enum role)role, i);
            assert_true(at < SLOTS_MAX - SPARE_SLOTS);
            assert_false(taken[at]);
            taken[at] = true;
        }
    }
}

static void scoreboard_finds_the_living(void **state)
{
    (void)state;
    assert_null(scoreboard_find(&mapping->scoreboard, 0));
    assert_null(scoreboard_find(&mapping->scoreboard, 99));
    atomic_store(&mapping->scoreboard.slots[7].pid, 99);
    assert_ptr_equal(scoreboard_find(&mapping->scoreboard, 99),
                     &mapping->scoreboard.slots[7]);
}

static void words(void **state)
{
    char text[64];
    (void)state;
    assert_string_equal(slot_state_name(SLOT_DRAINING), "draining");
    assert_string_equal(slot_state_name(SLOT_STATE_COUNT), "unknown");
    assert_string_equal(death_words(DEATH_SIGNALLED, 9, text),
                        "killed by signal 9");
    assert_string_equal(death_words(DEATH_LEFT, 0, text), "left as asked");
    assert_string_equal(death_words(DEATH_COUNT, 0, text), "unknown");
}

static void texts_are_whole(void **state)
{
    struct daemon_board *board = &mapping->daemon;
    char text[DAEMON_TEXT_MAX];
    char small[4];
    char *long_text = malloc(DAEMON_TEXT_MAX * 2);
    (void)state;
    daemon_board_set_texts(board, "first\nsecond\n", "a: 1 -> 2\n");
    daemon_board_get_text(board, board->reload_errors, text, sizeof(text));
    assert_string_equal(text, "first\nsecond\n");
    daemon_board_get_text(board, board->pending_restart, text, sizeof(text));
    assert_string_equal(text, "a: 1 -> 2\n");
    daemon_board_get_text(board, board->reload_errors, small, sizeof(small));
    assert_string_equal(small, "fir");
    memset(long_text, 'x', DAEMON_TEXT_MAX * 2);
    long_text[DAEMON_TEXT_MAX * 2 - 1] = '\0';
    daemon_board_set_texts(board, long_text, "");
    daemon_board_get_text(board, board->reload_errors, text, sizeof(text));
    assert_int_equal(strlen(text), DAEMON_TEXT_MAX - 1);
    free(long_text);
}

static void counters_add_up_over_slots(void **state)
{
    (void)state;
    metric_add(METRIC_JOBS_DONE, 1); /* goes nowhere */
    metrics_use(&mapping->metrics, 3);
    metric_add(METRIC_JOBS_DONE, 5);
    metric_set(METRIC_OUTBOX_PENDING, -7);
    metrics_use(&mapping->metrics, SLOTS_MAX);
    metric_add(METRIC_JOBS_DONE, 2);
    metric_set(METRIC_OUTBOX_PENDING, 10);
    assert_int_equal(metrics_total(&mapping->metrics, METRIC_JOBS_DONE), 7);
    assert_int_equal(metrics_total(&mapping->metrics, METRIC_OUTBOX_PENDING),
                     3);
    metrics_forget_gauges(&mapping->metrics, 3);
    assert_int_equal(metrics_total(&mapping->metrics, METRIC_JOBS_DONE), 7);
    assert_int_equal(metrics_total(&mapping->metrics, METRIC_OUTBOX_PENDING),
                     10);
}

static void buckets_follow_each_other(void **state)
{
    (void)state;
    for (unsigned b = 0; b + 1 < HISTOGRAM_BUCKETS; b++) {
        uint64_t bound_us = histogram_bucket_bound_us(b);
        assert_true(histogram_bucket_bound_us(b + 1) > bound_us);
        /* each bound lies in its bucket, the next value in the next one */
        assert_int_equal(histogram_bucket_of(bound_us), b);
        assert_int_equal(histogram_bucket_of(bound_us + 1), b + 1);
        /* none is wider than an eighth of its lowest value */
        if (b > 0) {
            uint64_t low_us = histogram_bucket_bound_us(b - 1) + 1;
            assert_true((bound_us - low_us) * 8 < low_us);
        }
    }
    assert_int_equal(histogram_bucket_of(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    assert_true(histogram_bucket_bound_us(HISTOGRAM_BUCKETS - 2) == UINT32_MAX);
}

static void records_add_up_over_slots(void **state)
{
    struct histogram_totals totals;
    (void)state;
    for (unsigned slot = 0; slot < 5; slot++) {
        metrics_use(&mapping->metrics, slot);
        metric_record_us(METRIC_JOB_SECONDS, slot * 100);
        metric_record_us(METRIC_STORE_COMMIT_SECONDS, 0);
    }
    metrics_total_histogram(&mapping->metrics, METRIC_JOB_SECONDS, &totals);
    assert_int_equal(totals.count, 5);
    assert_int_equal(totals.sum_us, 1000);
    metrics_total_histogram(&mapping->metrics, METRIC_STORE_COMMIT_SECONDS,
                            &totals);
    assert_int_equal(totals.count, 5);
    assert_int_equal(totals.buckets[0], 5);
    metrics_total_histogram(&mapping->metrics, METRIC_SYNC_BATCH_SECONDS,
                            &totals);
    assert_int_equal(totals.count, 0);
}

#define RECORDS 5000

static int compare_values(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* Beside the true quantiles of values over `bits` powers of two. */
static void check_quantiles(unsigned bits)
{
    static const double quantiles[] = {0.5, 0.95, 0.99, 1.0};
    static uint64_t values[RECORDS];
    struct histogram histogram = {0};
    struct histogram_totals totals = {0};
    for (unsigned i = 0; i < RECORDS; i++) {
        uint64_t chance = (uint64_t)random() << 31 | (uint64_t)random();
        values[i] = (chance & ((UINT64_C(1) << bits) - 1)) >>
                    ((uint64_t)random() % bits);
        histogram_record_us(&histogram, values[i]);
    }
    qsort(values, RECORDS, sizeof(values[0]), compare_values);
    histogram_add_to(&totals, &histogram);
    assert_int_equal(totals.count, RECORDS);
    for (unsigned i = 0; i < 4; i++) {
        unsigned rank = (unsigned)(quantiles[i] * RECORDS + 0.5);
        double truth = (double)values[rank - 1];
        double said = histogram_quantile_us(&totals, quantiles[i]);
        assert_true(said <= truth * 1.125);
        assert_true(said >= truth * 0.875);
    }
}

static void quantiles_are_within_their_bound(void **state)
{
    struct histogram_totals none = {0};
    (void)state;
    assert_true(histogram_quantile_us(&none, 0.5) < 0.001);
    srandom(20261121);
    for (unsigned bits = 1; bits <= 32; bits++)
        check_quantiles(bits);
}

static void successor_goes_on_counting(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            metrics_use(&mapping->metrics, 5);
            metric_add(METRIC_SYNC_PASSES, 10);
            _exit(0);
        }
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    assert_int_equal(metrics_total(&mapping->metrics, METRIC_SYNC_PASSES), 30);
}

static void text_forms(void **state)
{
    struct buffer out;
    (void)state;
    buffer_init(&out, 1 << 20);
    metrics_use(&mapping->metrics, 0);
    struct slot_entry *slot = &mapping->scoreboard.slots[80];
    atomic_store(&slot->in_use, 1);
    atomic_store(&slot->role, ROLE_SYNC);
    atomic_store(&slot->state, SLOT_BUSY);
    atomic_store(&mapping->daemon.degraded_roles, 1u << ROLE_MONITOR);
    atomic_store(&mapping->daemon.config_epoch, 7);
    metric_add(METRIC_SYNC_OPERATIONS, 42);
    metric_record_us(METRIC_JOB_SECONDS, 20);
    metrics_write_text(mapping, &out);
    assert_false(out.failed);
    assert_non_null(strstr(out.bytes, "\ntidemill_sync_operations_total 42\n"));
    assert_non_null(
        strstr(out.bytes, "tidemill_job_seconds_bucket{le=\"1.6e-05\"} 0\n"));
    assert_non_null(
        strstr(out.bytes, "tidemill_job_seconds_bucket{le=\"6.4e-05\"} 1\n"));
    assert_non_null(
        strstr(out.bytes, "tidemill_job_seconds_bucket{le=\"+Inf\"} 1\n"));
    assert_non_null(strstr(
        out.bytes, "\ntidemill_workers{role=\"sync\",state=\"busy\"} 1\n"));
    assert_non_null(
        strstr(out.bytes, "\ntidemill_role_degraded{role=\"monitor\"} 1\n"));
    assert_non_null(
        strstr(out.bytes, "\ntidemill_sync_state{state=\"disabled\"} 1\n"));
    assert_non_null(strstr(out.bytes, "\ntidemill_config_epoch 7\n"));
    assert_int_equal(out.bytes[out.size - 1], '\n');
    buffer_reset(&out);
    metrics_write_json(mapping, &out);
    assert_non_null(strstr(out.bytes, "\"tidemill_sync_operations_total\":42"));
    assert_non_null(
        strstr(out.bytes, "\"tidemill_job_seconds\":{\"count\":1,"));
    assert_non_null(strstr(out.bytes, "\"buckets_us\":[[21,1]]"));
    assert_non_null(
        strstr(out.bytes, "\"tidemill_workers\":[{\"role\":\"store\",\"state\":"
                          "\"backoff\",\"value\":0},"));
    assert_non_null(strstr(out.bytes, "{\"role\":\"monitor\",\"value\":1}"));
    assert_non_null(strstr(out.bytes, "\"tidemill_config_epoch\":7,"));
    assert_int_equal(out.bytes[out.size - 1], '}');
    buffer_deinit(&out);
}

/* `test_shm --text` prints the text form, for `promtool check metrics`. */
static int print_text(void)
{
    struct buffer out;
    buffer_init(&out, 1 << 20);
    metrics_use(&mapping->metrics, 0);
    for (unsigned i = 0; i < METRIC_COUNT; i++)
        if (metric_kind_of((enum metric)i) == METRIC_KIND_HISTOGRAM)
            for (unsigned n = 0; n < 1000; n++)
                metric_record_us((enum metric)i, n * n * n);
        else
            metric_add((enum metric)i, i);
    metrics_write_text(mapping, &out);
    fwrite(out.bytes, 1, out.size, stdout);
    buffer_deinit(&out);
    return fflush(stdout);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(mapping_says_what_it_is),
        T(every_slot_has_its_place),
        T(scoreboard_finds_the_living),
        T(words),
        T(texts_are_whole),
        T(counters_add_up_over_slots),
        T(buckets_follow_each_other),
        T(records_add_up_over_slots),
        T(quantiles_are_within_their_bound),
        T(successor_goes_on_counting),
        T(text_forms),
    };
    if (argc == 2 && strcmp(argv[1], "--text") == 0)
        return setup(NULL) == 0 ? print_text() : 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
