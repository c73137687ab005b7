/* SPDX-License-Identifier: Apache-2.0
 *
 * feedback match, record and mixins: what was found in contracts, and what a
 * person says of it.
 */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/generation/compatibility.h"
#include "common/generation/patterns.h"
#include "common/store/client.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/contract_input.h"
#include "ctl/correlation.h"
#include "ctl/outbox.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "ctl/store_call.h"

#define ARENA_BYTES_MAX (64u << 20)

/* A share from 0 to 1; -1 when the text is none. */
static double parse_share(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    return *text == '\0' || *end != '\0' || !(value >= 0.0 && value <= 1.0)
               ? -1.0
               : value;
}

static bool among(const char *text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(*words, text) == 0)
            return true;
    }
    return false;
}

/* Reads a contract or requirements; NULL after its errors were printed, with
 * the exit status. */
static const struct contract *read_contract(const char *path,
                                            struct arena *arena, int *status)
{
    struct contract_input input = {.contract = NULL};
    struct buffer errors;
    struct error error;
    char *text;
    size_t size;
    if (read_input(path, CONTRACT_BYTES_MAX, arena, &text, &size, &error) !=
        0) {
        *status = print_failure(&error);
        return NULL;
    }
    buffer_init(&errors, 2 * CONTRACT_ERRORS_MAX);
    if (contract_input_take(arena, path, text, size, &input, &errors) != 0) {
        fwrite(errors.bytes, 1, errors.size, stderr);
        *status = error_exit_status(ERROR_DATA);
    }
    buffer_deinit(&errors);
    return input.contract;
}

static json_t *matches_json(const struct contract_operation *operation,
                            double threshold)
{
    struct pattern_match matches[PATTERN_MATCHES_MAX];
    json_t *list = json_array();
    size_t count = pattern_matches(operation->name, operation->description,
                                   threshold, matches);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list,
                              json_pack("{s:s,s:f}", "pattern",
                                        pattern_names[matches[i].pattern],
                                        "confidence", matches[i].confidence));
    return list;
}

static void match_contract(const char *path, const struct contract *contract,
                           double threshold, json_t *rows)
{
    for (size_t i = 0; i < contract->operation_count; i++)
        json_array_append_new(
            rows, json_pack("{s:s,s:s,s:s,s:o}", "contract", path, "node",
                            contract->node_name, "operation",
                            contract->operations[i].name, "matches",
                            matches_json(&contract->operations[i], threshold)));
}

static void show_matches(const json_t *rows)
{
    size_t i, j;
    json_t *row, *match;
    printf("%s%-40s %-24s %s%s\n", print_bold(), "node", "operation",
           "patterns", print_plain());
    json_array_foreach(rows, i, row)
    {
        json_t *matches = json_object_get(row, "matches");
        printf("%-40s %-24s", report_text(row, "node"),
               report_text(row, "operation"));
        json_array_foreach(matches, j, match) printf(
            "%s%s %.2f", j == 0 ? " " : ", ", report_text(match, "pattern"),
            json_real_value(json_object_get(match, "confidence")));
        puts(json_array_size(matches) == 0 ? " -" : "");
    }
}

int command_feedback_match(const struct command_context *context, int argc,
                           char **argv)
{
    static const struct option longs[] = {
        {"threshold", required_argument, NULL, 't'}, {NULL, 0, NULL, 0}};
    double threshold = PATTERN_THRESHOLD;
    struct arena arena;
    int status = 0;
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option != 't')
            return print_usage_line(context);
        threshold = parse_share(optarg);
        if (threshold < 0.0)
            return print_usage(context, "--threshold takes 0 to 1");
    }
    if (optind == argc)
        return print_usage(context, "name at least one contract");
    json_t *rows = json_array();
    arena_init(&arena, ARENA_BYTES_MAX);
    for (int i = optind; i < argc && status == 0; i++) {
        arena_reset(&arena);
        const struct contract *contract =
            read_contract(argv[i], &arena, &status);
        if (contract != NULL)
            match_contract(argv[i], contract, threshold, rows);
    }
    arena_deinit(&arena);
    if (status == 0 && context->json)
        return print_json(
            json_pack("{s:f,s:o}", "threshold", threshold, "operations", rows));
    if (status == 0)
        show_matches(rows);
    json_decref(rows);
    return status;
}

struct record {
    const char *pattern, *type, *actual, *contract;
    double confidence; /* -1: not given */
    bool automatic;
};

/* The operations of a contract that are of the pattern, as JSON. */
static char *matched_json(const struct contract *contract, const char *pattern)
{
    json_t *list = json_array();
    for (size_t i = 0; contract != NULL && i < contract->operation_count; i++) {
        const struct contract_operation *operation = &contract->operations[i];
        int wanted = pattern_find(pattern);
        if (wanted >= 0 &&
            pattern_confidence((enum pattern)wanted, operation->name,
                               operation->description) >= PATTERN_THRESHOLD)
            json_array_append_new(list, json_string(operation->name));
    }
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return text;
}

static int submit_record(const struct command_context *context,
                         const struct record *record,
                         const struct contract *contract)
{
    struct buffer json;
    int64_t id = 0;
    buffer_init(&json, 8 * CONTRACT_BYTES_MAX);
    if (contract != NULL)
        document_write_json(contract->root, &json);
    char *matched = matched_json(contract, record->pattern);
    struct store_call call = {
        .statement = STATEMENT_FEEDBACK_RECORD,
        .argument_count = 9,
        .arguments = {
            value_text(correlation_id()), value_text(record->pattern),
            record->confidence < 0.0
                ? value_null()
                : value_integer((int64_t)(record->confidence * 10000.0 + 0.5)),
            record->actual == NULL ? value_null() : value_text(record->actual),
            value_text(record->type), value_integer(!record->automatic),
            contract == NULL || json.failed ? value_null()
                                            : value_text(json.bytes),
            value_text(matched == NULL ? "[]" : matched),
            value_integer(clock_wall_ms())}};
    int status = store_call_run(context, &call, &id);
    buffer_deinit(&json);
    free(matched);
    if (status == 0 && context->json)
        return print_json(json_pack("{s:I}", "id", (json_int_t)id));
    if (status == 0)
        puts("recorded");
    return status;
}

static int check_record(const struct command_context *context,
                        const struct record *record)
{
    static const char *const types[] = {"correct", "incorrect", "partial",
                                        "adjusted", NULL};
    if (record->pattern == NULL || record->type == NULL)
        return print_usage(context, "--pattern and --type are needed");
    if (!among(record->pattern, pattern_names) ||
        (record->actual != NULL && !among(record->actual, pattern_names)))
        return print_usage(context, "a pattern is crud, transformation, "
                                    "aggregation or orchestration");
    if (!among(record->type, types))
        return print_usage(context, "--type takes correct, incorrect, partial "
                                    "or adjusted");
    return 0;
}

int command_feedback_record(const struct command_context *context, int argc,
                            char **argv)
{
    static const struct option longs[] = {
        {"pattern", required_argument, NULL, 'p'},
        {"type", required_argument, NULL, 't'},
        {"confidence", required_argument, NULL, 'c'},
        {"actual", required_argument, NULL, 'a'},
        {"contract", required_argument, NULL, 'f'},
        {"automatic", no_argument, NULL, 'm'},
        {NULL, 0, NULL, 0},
    };
    struct record record = {.confidence = -1.0};
    struct arena arena;
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == 'p')
            record.pattern = optarg;
        else if (option == 't')
            record.type = optarg;
        else if (option == 'a')
            record.actual = optarg;
        else if (option == 'f')
            record.contract = optarg;
        else if (option == 'm')
            record.automatic = true;
        else if (option != 'c')
            return print_usage_line(context);
        else if ((record.confidence = parse_share(optarg)) < 0.0)
            return print_usage(context, "--confidence takes 0 to 1");
    }
    if (optind < argc)
        return print_usage(context, "unexpected argument '%s'", argv[optind]);
    int status = check_record(context, &record);
    if (status != 0)
        return status;
    arena_init(&arena, ARENA_BYTES_MAX);
    const struct contract *contract =
        record.contract == NULL
            ? NULL
            : read_contract(record.contract, &arena, &status);
    if (status == 0)
        status = submit_record(context, &record, contract);
    arena_deinit(&arena);
    return status;
}

struct mixins_said {
    const char *node_type, *reason, *resolution;
    int good; /* -1: not said */
};

static void add_scores(json_t *rows)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        int a = mixin_find(report_text(row, "mixin_a"));
        int b = mixin_find(report_text(row, "mixin_b"));
        if (a < 0 || b < 0)
            continue;
        double rule = mixin_rule_score((enum mixin)a, (enum mixin)b);
        double score =
            mixin_learned_score(rule, report_number(row, "success_count"),
                                report_number(row, "failure_count"));
        json_object_set_new(row, "rule_score", json_real(rule));
        json_object_set_new(row, "score", json_real(score));
        json_object_set_new(row, "level", json_string(mixin_level(score)));
    }
}

static int show_mixins(const struct command_context *context)
{
    struct store_reader *reader = NULL;
    struct error error;
    json_t *rows = NULL;
    size_t i;
    json_t *row;
    if (report_open(&reader, context->config, &error) == 0)
        rows = report_rows(reader,
                           "SELECT mixin_a, mixin_b, node_type, "
                           "compatibility_score, success_count, failure_count, "
                           "last_tested_at AS last_tested_ms, conflict_reason, "
                           "resolution_pattern FROM mixin_compatibility_matrix "
                           "ORDER BY node_type, mixin_a, mixin_b",
                           NULL, 0, &error);
    store_reader_close(&reader);
    if (rows == NULL)
        return print_failure(&error);
    add_scores(rows);
    if (context->json)
        return print_json(json_pack("{s:o}", "pairs", rows));
    printf("%s%-13s %-15s %-15s %6s %6s %6s %6s  %s%s\n", print_bold(),
           "node type", "mixin", "with", "good", "bad", "rules", "score",
           "level", print_plain());
    json_array_foreach(rows, i, row)
        printf("%-13s %-15s %-15s %6lld %6lld %6.2f %6.2f  %s\n",
               report_text(row, "node_type"), report_text(row, "mixin_a"),
               report_text(row, "mixin_b"), report_number(row, "success_count"),
               report_number(row, "failure_count"),
               json_number_value(json_object_get(row, "rule_score")),
               json_number_value(json_object_get(row, "score")),
               report_text(row, "level"));
    json_decref(rows);
    return 0;
}

static int say_mixins(const struct command_context *context,
                      const struct mixins_said *said, char **names, int count)
{
    static const char *const types[] = {
#define X(name, folder, words) #name,
        NODE_TYPE_LIST(X)
#undef X
            NULL,
    };
    int64_t changed = 0;
    if (said->node_type == NULL || said->good < 0 || count < 2)
        return print_usage(context, "--node-type, --good or --bad, and two "
                                    "mixins are needed");
    if (!among(said->node_type, types))
        return print_usage(context, "--node-type takes EFFECT, COMPUTE, "
                                    "REDUCER or ORCHESTRATOR");
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        if (mixin_find(names[i]) < 0) {
            const char *nearest = mixin_nearest(names[i]);
            json_decref(list);
            return print_usage(context, "no mixin '%s'%s%s", names[i],
                               nearest == NULL ? "" : "; did you mean ",
                               nearest == NULL ? "" : nearest);
        }
        json_array_append_new(list, json_string(names[i]));
    }
    char *json = json_dumps(list, JSON_COMPACT);
    struct store_call call = {
        .statement = STATEMENT_MIXINS_RECORD,
        .argument_count = 6,
        .arguments = {
            value_text(said->node_type), value_text(json == NULL ? "[]" : json),
            value_integer(said->good),
            said->reason == NULL ? value_null() : value_text(said->reason),
            said->resolution == NULL ? value_null()
                                     : value_text(said->resolution),
            value_integer(clock_wall_ms())}};
    int status = store_call_run(context, &call, &changed);
    json_decref(list);
    free(json);
    if (status == 0 && context->json)
        return print_json(json_pack("{s:I}", "pairs", (json_int_t)changed));
    if (status == 0)
        printf("%lld pair%s recorded\n", (long long)changed,
               changed == 1 ? "" : "s");
    return status;
}

int command_feedback_mixins(const struct command_context *context, int argc,
                            char **argv)
{
    static const struct option longs[] = {
        {"node-type", required_argument, NULL, 't'},
        {"good", no_argument, NULL, 'g'},
        {"bad", no_argument, NULL, 'b'},
        {"reason", required_argument, NULL, 'r'},
        {"resolution", required_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    struct mixins_said said = {.good = -1};
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == 't')
            said.node_type = optarg;
        else if (option == 'g' || option == 'b')
            said.good = option == 'g';
        else if (option == 'r')
            said.reason = optarg;
        else if (option == 's')
            said.resolution = optarg;
        else
            return print_usage_line(context);
    }
    if (argc == 1)
        return show_mixins(context);
    return say_mixins(context, &said, argv + optind, argc - optind);
}
