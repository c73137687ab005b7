/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/job_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/priority.h"
#include "common/store/client.h"
#include "ctl/arguments.h"
#include "ctl/outbox.h"
#include "ctl/print.h"

#define AFTER_MAX 64

void job_options_init(struct job_options *options)
{
    *options = (struct job_options){.priority = PRIORITY_NORMAL};
}

static int compare_ids(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Sorted, so that the same jobs in another order are the same list. */
static void put_ids(struct job_options *options, int64_t *ids, size_t count)
{
    size_t size = 0;
    qsort(ids, count, sizeof(*ids), compare_ids);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || ids[i] != ids[i - 1])
            size += (size_t)snprintf(options->after + size,
                                     sizeof(options->after) - size, "%c%lld",
                                     size == 0 ? '[' : ',', (long long)ids[i]);
    snprintf(options->after + size, sizeof(options->after) - size, "]");
}

static int take_after(const struct command_context *context,
                      struct job_options *options, const char *text)
{
    int64_t ids[AFTER_MAX];
    size_t count = 0;
    bool good = true;
    for (const char *at = text; good;) {
        char id[24];
        size_t size = strcspn(at, ",");
        good = size < sizeof(id) && count < AFTER_MAX;
        if (!good)
            break;
        memcpy(id, at, size);
        id[size] = '\0';
        ids[count] = parse_positive(id);
        good = ids[count++] > 0;
        if (at[size] == '\0')
            break;
        at += size + 1;
    }
    if (!good)
        return print_usage(context,
                           "--after takes the ids of at most %d jobs: 12,15, "
                           "not '%s'",
                           AFTER_MAX, text);
    put_ids(options, ids, count);
    return 0;
}

int job_option_take(const struct command_context *context,
                    struct job_options *options, int option,
                    const char *argument)
{
    struct error error;
    if (option == 'A')
        return take_after(context, options, argument);
    if (option == 'P')
        return priority_rank(argument, strlen(argument), &options->priority,
                             &error) == 0
                   ? 0
                   : print_usage(context, "%s", error.text);
    if (option == 'T') {
        options->timeout_ms = parse_duration_ms(argument);
        return options->timeout_ms > 0
                   ? 0
                   : print_usage(context,
                                 "--timeout takes a duration: 90s, 10m");
    }
    if (option == 'S') {
        options->sql = true;
        return 0;
    }
    if (option != 'K')
        return 1;
    options->key = argument;
    return argument[0] != '\0' ? 0 : print_usage(context, "--key takes a word");
}

int job_options_check(const struct command_context *context,
                      const struct job_options *options)
{
    if (options->sql && options->after[0] != '\0')
        return print_usage(context, "--after names jobs of this host, and "
                                    "--sql is for all: give one of them");
    if (options->sql && context->json)
        return print_usage(context, "--sql prints SQL, not JSON");
    return 0;
}

struct store_call job_submit_call(const struct job_options *options,
                                  const char *kind, const char *spec,
                                  const char *key)
{
    return (struct store_call){
        .statement = STATEMENT_JOB_SUBMIT,
        .argument_count = 8,
        .arguments = {value_text(kind), value_integer(options->priority),
                      value_text(spec), value_integer(options->timeout_ms),
                      value_integer(clock_wall_ms()),
                      value_integer(store_token()),
                      options->after[0] != '\0' ? value_text(options->after)
                                                : value_null(),
                      key != NULL ? value_text(key) : value_null()}};
}
