/* SPDX-License-Identifier: Apache-2.0
 *
 * top: the daemon as it works, on a terminal; elsewhere one frame as text.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/base/clock.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "ctl/terminal.h"
#include "ctl/top_frame.h"

_Static_assert((int)TERMINAL_UP == (int)TOP_KEY_UP &&
                   (int)TERMINAL_ESCAPE == (int)TOP_KEY_ESCAPE,
               "one keyboard");

struct top {
    struct top_sampler *sampler;
    struct top_sample sample;
    struct top_view view;
    struct buffer frame;
};

static void take_sample(struct top *top)
{
    top_sample_clear(&top->sample);
    top_sample_take(top->sampler, &top->sample);
}

/* Rates need two looks. */
static void take_two(struct top *top)
{
    const struct timespec between = {top->view.interval_ms / 1000,
                                     top->view.interval_ms % 1000 * 1000000L};
    take_sample(top);
    if (top->sample.status == NULL)
        return;
    nanosleep(&between, NULL);
    take_sample(top);
}

static int show_once(struct top *top, bool json)
{
    const struct top_screen screen = {0};
    take_two(top);
    int status = top->sample.status == NULL
                     ? error_exit_status(top->sample.error.code)
                     : 0;
    if (json) {
        print_json(top_sample_json(&top->sample));
        return status;
    }
    top_frame_write(&screen, &top->sample, &top->view, &top->frame);
    fwrite(top->frame.bytes, 1, top->frame.size, stdout);
    return status;
}

static int draw(struct top *top)
{
    struct top_screen screen = {.colour = getenv("NO_COLOR") == NULL};
    terminal_size(&screen.columns, &screen.rows);
    buffer_reset(&top->frame);
    top_frame_write(&screen, &top->sample, &top->view, &top->frame);
    return terminal_write(top->frame.bytes, top->frame.size);
}

/* Looks when it is due, shows what is known, takes a key; false to leave. */
static bool live_step(struct top *top, uint64_t *due_ms)
{
    uint64_t now_ms = clock_monotonic_ms();
    if (now_ms >= *due_ms) {
        take_sample(top);
        *due_ms = now_ms + (uint64_t)top->view.interval_ms;
    }
    if (draw(top) != 0)
        return false;
    now_ms = clock_monotonic_ms();
    int key = terminal_key(*due_ms > now_ms ? (int)(*due_ms - now_ms) : 0);
    enum top_wish wish = top_view_key(&top->view, key);
    uint64_t latest_ms = clock_monotonic_ms() + (uint64_t)top->view.interval_ms;
    if (wish == TOP_WISH_LOOK)
        *due_ms = 0;
    else if (*due_ms > latest_ms) /* the interval was made shorter */
        *due_ms = latest_ms;
    return key != TERMINAL_GONE && wish != TOP_WISH_LEAVE;
}

static int show_live(struct top *top)
{
    struct error error;
    uint64_t due_ms = 0;
    if (terminal_open(&error) != 0)
        return print_failure(&error);
    while (live_step(top, &due_ms))
        continue;
    terminal_close();
    return 0;
}

struct wishes {
    int64_t interval_ms;
    enum top_sort sort;
    const char *filter;
    bool once;
};

static enum top_sort find_sort(const char *word)
{
    unsigned sort = 0;
    while (sort < TOP_SORTS &&
           strcasecmp(top_sort_word((enum top_sort)sort), word) != 0)
        sort++;
    return (enum top_sort)sort;
}

/* 0, or a usage error's status. */
static int read_options(const struct command_context *context, int argc,
                        char **argv, struct wishes *wishes)
{
    static const struct option longs[] = {
        {"interval", required_argument, NULL, 'i'},
        {"sort", required_argument, NULL, 's'},
        {"filter", required_argument, NULL, 'f'},
        {"once", no_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == 'i')
            wishes->interval_ms = parse_duration_ms(optarg);
        else if (option == 's')
            wishes->sort = find_sort(optarg);
        else if (option == 'f')
            wishes->filter = optarg;
        else if (option == 'o')
            wishes->once = true;
        else
            return print_usage_line(context);
    }
    if (wishes->interval_ms < TOP_INTERVAL_LEAST ||
        wishes->interval_ms > TOP_INTERVAL_MOST)
        return print_usage(context, "--interval takes 100ms to 1h");
    if (wishes->sort == TOP_SORTS)
        return print_usage(context, "--sort takes worker, state, age, job, "
                                    "finished, restarts, cpu or memory");
    if (strlen(wishes->filter) > TOP_FILTER_MAX)
        return print_usage(context, "--filter takes at most %d characters",
                           TOP_FILTER_MAX);
    if (optind != argc)
        return print_usage(context, "unexpected argument: %s", argv[optind]);
    return 0;
}

int command_top(const struct command_context *context, int argc, char **argv)
{
    struct error error;
    struct wishes wishes = {.interval_ms = TOP_INTERVAL_NORMAL, .filter = ""};
    int status = read_options(context, argc, argv, &wishes);
    if (status != 0)
        return status;
    struct top top = {
        .view = {.interval_ms = wishes.interval_ms, .sort = wishes.sort}};
    strcpy(top.view.filter, wishes.filter);
    top.sampler = top_sampler_new(context->config, &error);
    if (top.sampler == NULL)
        return print_failure(&error);
    buffer_init(&top.frame, TOP_FRAME_MAX);
    if (wishes.once || context->json || !terminal_is_there())
        status = show_once(&top, context->json);
    else
        status = show_live(&top);
    top_sample_clear(&top.sample);
    buffer_deinit(&top.frame);
    top_sampler_free(&top.sampler);
    return status;
}
