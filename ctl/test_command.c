/* SPDX-License-Identifier: Apache-2.0
 *
 * test offline: an exercise for operators.  The line to the centre is cut
 * inside the sync workers, operations go on, the line returns, all is
 * drained, and what arrived is compared with what was accepted.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/ipc/exercise.h"
#include "ctl/arguments.h"
#include "ctl/control.h"
#include "ctl/exercise.h"
#include "ctl/print.h"

#define TICK_MS         50
#define DRAIN_TICK_MS   5
#define URGENT_EVERY_MS 250
#define RATE_DEFAULT    10
#define RATE_MAX        10000
#define DURATION_MAX_MS ((int64_t)7 * 86400 * 1000)
#define DRAIN_MIN_MS    300000 /* the longest drain: this or the duration */

static volatile sig_atomic_t interrupted; /* by a signal: nowhere else to */

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static void signals_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static void rest(int64_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000,
                             .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static int parse_options(const struct command_context *context,
                         struct exercise *exercise, int argc, char **argv)
{
    static const struct option longs[] = {
        {"duration", required_argument, NULL, 'd'},
        {"rate", required_argument, NULL, 'r'},
        {"keep", no_argument, NULL, 'k'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == 'd')
            exercise->duration_ms = parse_duration_ms(optarg);
        else if (option == 'r')
            exercise->rate = parse_positive(optarg);
        else if (option == 'k')
            exercise->keep = true;
        else
            return print_usage_line(context);
    }
    if (optind != argc)
        return print_usage(context, "unexpected argument: %s", argv[optind]);
    if (exercise->duration_ms <= 0 || exercise->duration_ms > DURATION_MAX_MS)
        return print_usage(context,
                           "--duration takes a time such as 90s, 30m or 2h, "
                           "7d at most");
    if (exercise->rate <= 0 || exercise->rate > RATE_MAX)
        return print_usage(context, "--rate takes 1 to %d operations a second",
                           RATE_MAX);
    return 0;
}

/* Whole records only: the last one is completed when the time is up. */
static int64_t whole(int64_t operations)
{
    return (operations + EXERCISE_STEPS - 1) / EXERCISE_STEPS * EXERCISE_STEPS;
}

/* --- the three parts --- */

static int stay_offline(struct exercise *exercise, struct error *error)
{
    struct progress progress;
    uint64_t start_ms = clock_monotonic_ms();
    int64_t past_ms = 0;
    int result = exercise_cut(exercise, error);
    progress_start(&progress, "offline");
    while (result == 0 && !interrupted && past_ms < exercise->duration_ms) {
        result = exercise_append(exercise, past_ms * exercise->rate / 1000 + 1,
                                 error);
        if (result == 0)
            result = exercise_cut(exercise, error);
        progress_show(&progress, (uint64_t)past_ms,
                      (uint64_t)exercise->duration_ms);
        rest(TICK_MS);
        past_ms = (int64_t)(clock_monotonic_ms() - start_ms);
    }
    if (past_ms > exercise->duration_ms)
        past_ms = exercise->duration_ms;
    if (result == 0)
        result = exercise_append(
            exercise, whole(past_ms * exercise->rate / 1000 + 1), error);
    progress_end(&progress);
    exercise->offline_ms = past_ms;
    return result;
}

static void note_urgent(struct exercise *exercise, int64_t took_ms)
{
    if (exercise->urgent == 1)
        exercise->urgent_first_ms = took_ms;
    if (took_ms > exercise->urgent_most_ms)
        exercise->urgent_most_ms = took_ms;
    exercise->urgent_sent_ms = 0;
}

/* One look at what still pends: notes the urgent one that arrived, and sends
 * another now and then. */
static int look_at_drain(struct exercise *exercise, uint64_t start_ms,
                         int64_t *pending, struct error *error)
{
    int64_t urgent;
    uint64_t now_ms = clock_monotonic_ms();
    if (exercise_pending(exercise, pending, &urgent, error) != 0)
        return -1;
    if (urgent == 0 && exercise->urgent_sent_ms != 0)
        note_urgent(exercise, (int64_t)(now_ms - exercise->urgent_sent_ms));
    if (exercise->urgent_sent_ms == 0 && *pending > 0 &&
        exercise->urgent < EXERCISE_URGENT_MAX &&
        now_ms >= start_ms + URGENT_EVERY_MS * (uint64_t)exercise->urgent)
        return exercise_append_urgent(exercise, error);
    return 0;
}

static int drain(struct exercise *exercise, struct error *error)
{
    struct progress progress;
    int64_t pending = 1, urgent;
    int64_t bound_ms = exercise->duration_ms > DRAIN_MIN_MS
                           ? exercise->duration_ms
                           : DRAIN_MIN_MS;
    if (exercise_pending(exercise, &exercise->pending_at_return, &urgent,
                         error) != 0 ||
        exercise_return(exercise, error) != 0 ||
        exercise_append_urgent(exercise, error) != 0)
        return -1;
    uint64_t start_ms = clock_monotonic_ms();
    uint64_t all = (uint64_t)exercise->pending_at_return + 1;
    progress_start(&progress, "draining");
    int result = 0;
    while (result == 0 && pending > 0 && !interrupted) {
        result = look_at_drain(exercise, start_ms, &pending, error);
        uint64_t left = (uint64_t)(pending > 0 ? pending : 0);
        progress_show(&progress, left < all ? all - left : 0, all);
        exercise->drain_ms = (int64_t)(clock_monotonic_ms() - start_ms);
        if (result == 0 && exercise->drain_ms > bound_ms)
            result = error_set(error, ERROR_TRY_AGAIN,
                               "%" PRId64 " operations of the exercise still "
                               "wait after %" PRId64 " s; 'tidemill sync "
                               "status' says why",
                               pending, bound_ms / 1000);
        if (pending > 0)
            rest(DRAIN_TICK_MS);
    }
    progress_end(&progress);
    return result;
}

/* --- the report --- */

static bool passed(const struct exercise *exercise)
{
    int64_t expected = exercise_expected(exercise);
    return exercise->pending_at_return >= exercise->accepted &&
           (!exercise->inspects ||
            (exercise->records == expected && exercise->complete == expected));
}

static json_t *report_json(const struct exercise *exercise)
{
    int64_t expected = exercise_expected(exercise);
    return json_pack(
        "{s:b,s:b,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:f,s:f,s:f,s:f}", "passed",
        (int)passed(exercise), "verified", (int)exercise->inspects, "run",
        (json_int_t)exercise->run, "accepted_offline",
        (json_int_t)exercise->accepted, "held_back",
        (json_int_t)exercise->pending_at_return, "urgent",
        (json_int_t)exercise->urgent, "records", (json_int_t)expected,
        "missing",
        exercise->inspects
            ? json_integer((json_int_t)(expected - exercise->records))
            : json_null(),
        "wrong",
        exercise->inspects
            ? json_integer((json_int_t)(exercise->records - exercise->complete))
            : json_null(),
        "offline_seconds", (double)exercise->offline_ms / 1000.0,
        "drain_seconds", (double)exercise->drain_ms / 1000.0,
        "urgent_first_seconds", (double)exercise->urgent_first_ms / 1000.0,
        "urgent_most_seconds", (double)exercise->urgent_most_ms / 1000.0);
}

static void show_verdict(const struct exercise *exercise)
{
    int64_t expected = exercise_expected(exercise);
    if (exercise->pending_at_return < exercise->accepted)
        printf("%sfailed%s: %" PRId64 " operations left this host while the "
               "line was cut\n",
               print_red(), print_plain(),
               exercise->accepted - exercise->pending_at_return);
    else if (!exercise->inspects)
        printf("%sdelivered%s: the sink acknowledged all; it cannot be asked "
               "what it holds\n",
               print_green(), print_plain());
    else if (passed(exercise))
        printf("%spassed%s: all %" PRId64 " records are at the centre, each "
               "operation once and in order\n",
               print_green(), print_plain(), expected);
    else
        printf("%sfailed%s: of %" PRId64 " records %" PRId64 " are missing, "
               "%" PRId64 " are not as they should be\n",
               print_red(), print_plain(), expected,
               expected - exercise->records,
               exercise->records - exercise->complete);
}

static void show_report(const struct exercise *exercise)
{
    char offline[32], time[32];
    printf("accepted       %" PRId64 " operations in %s without the centre\n",
           exercise->accepted,
           print_duration((double)exercise->offline_ms / 1000.0, offline));
    printf("drained        in %s",
           print_duration((double)exercise->drain_ms / 1000.0, time));
    if (exercise->drain_ms > 0)
        printf(" (%" PRId64 " a second)",
               exercise->accepted * 1000 / exercise->drain_ms);
    printf("\nurgent         %" PRId64 " ms after the return, %" PRId64
           " ms at most while draining\n",
           exercise->urgent_first_ms, exercise->urgent_most_ms);
    show_verdict(exercise);
}

/* --- the command --- */

static int run(struct exercise *exercise, struct error *error)
{
    if (exercise_open(exercise, error) != 0 ||
        exercise_inspect(exercise, error) != 0 ||
        stay_offline(exercise, error) != 0)
        return -1;
    if (interrupted)
        return error_set(error, ERROR_NEGATIVE,
                         "interrupted; the line is back, what the exercise "
                         "recorded is being sent");
    if (drain(exercise, error) != 0)
        return -1;
    if (interrupted)
        return error_set(error, ERROR_NEGATIVE,
                         "interrupted while draining; nothing was verified");
    if (exercise->inspects && exercise_inspect(exercise, error) != 0)
        return -1;
    return exercise->keep ? 0 : exercise_delete(exercise, error);
}

int command_test_offline(const struct command_context *context, int argc,
                         char **argv)
{
    struct exercise exercise = {.context = context, .rate = RATE_DEFAULT};
    struct error error, ignored;
    int status = parse_options(context, &exercise, argc, argv);
    if (status != 0)
        return status;
    signals_catch();
    int result = run(&exercise, &error);
    exercise_return(&exercise, &ignored);
    exercise_close(&exercise);
    if (result != 0)
        return print_failure(&error);
    if (context->json)
        print_json(report_json(&exercise));
    else
        show_report(&exercise);
    return passed(&exercise) ? 0 : 1;
}
