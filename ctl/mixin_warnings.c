/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/mixin_warnings.h"

#include <stdlib.h>
#include <string.h>

#include "common/generation/compatibility.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define PAIRS_MAX (MIXIN_COUNT * (MIXIN_COUNT - 1) / 2)

struct mixin_warnings {
    const struct config *config;
    json_t *matrix; /* rows; NULL until it was read */
    json_t *list;
};

/* Of one node type. */
struct seen {
    json_t *matrix;
    const char *node_type;
};

struct mixin_warnings *mixin_warnings_new(const struct config *config)
{
    struct mixin_warnings *warnings = calloc(1, sizeof(*warnings));
    if (warnings == NULL)
        return NULL;
    warnings->config = config;
    warnings->list = json_array();
    return warnings;
}

void mixin_warnings_free(struct mixin_warnings **warnings)
{
    if (*warnings == NULL)
        return;
    json_decref((*warnings)->matrix);
    json_decref((*warnings)->list);
    free(*warnings);
    *warnings = NULL;
}

/* A store that cannot be read now is no reason not to generate. */
static json_t *read_matrix(const struct config *config)
{
    struct error error;
    struct store_reader *reader = NULL;
    json_t *rows = NULL;
    if (store_reader_open(&reader, config->state_dir, &error) == 0)
        rows = report_rows(reader,
                           "SELECT mixin_a, mixin_b, node_type, success_count, "
                           "failure_count, conflict_reason, "
                           "resolution_pattern FROM mixin_compatibility_matrix",
                           NULL, 0, &error);
    store_reader_close(&reader);
    return rows == NULL ? json_array() : rows;
}

static const char *text_of(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text == NULL ? "" : text;
}

static json_t *find(json_t *rows, const char *node_type, const char *a,
                    const char *b)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (strcmp(text_of(row, "node_type"), node_type) == 0 &&
            strcmp(text_of(row, "mixin_a"), a) == 0 &&
            strcmp(text_of(row, "mixin_b"), b) == 0)
            return row;
    }
    return NULL;
}

static struct mixin_record look(const void *self, enum mixin a, enum mixin b)
{
    const struct seen *seen = self;
    const json_t *row = find(seen->matrix, seen->node_type,
                             mixin_about(a)->name, mixin_about(b)->name);
    return (struct mixin_record){
        json_integer_value(json_object_get(row, "success_count")),
        json_integer_value(json_object_get(row, "failure_count"))};
}

static void warn(struct mixin_warnings *warnings,
                 const struct contract *contract, const struct mixin_pair *pair)
{
    const char *type = node_type_name(contract->node_type);
    const char *a = mixin_about(pair->a)->name;
    const char *b = mixin_about(pair->b)->name;
    json_t *told = find(warnings->list, type, a, b);
    json_t *row = find(warnings->matrix, type, a, b);
    if (told != NULL) {
        json_t *contracts = json_object_get(told, "contracts");
        json_integer_set(contracts, json_integer_value(contracts) + 1);
        return;
    }
    json_array_append_new(
        warnings->list,
        json_pack("{s:s,s:s,s:s,s:s,s:f,s:f,s:I,s:I,s:s,s:O?,s:O?,s:i}",
                  "contract", contract->name, "node_type", type, "mixin_a", a,
                  "mixin_b", b, "score", pair->score, "rule_score", pair->rule,
                  "success_count", (json_int_t)pair->seen.successes,
                  "failure_count", (json_int_t)pair->seen.failures, "level",
                  mixin_level(pair->score), "conflict_reason",
                  json_object_get(row, "conflict_reason"), "resolution_pattern",
                  json_object_get(row, "resolution_pattern"), "contracts", 1));
}

void mixin_warnings_add(struct mixin_warnings *warnings,
                        const struct contract *contract)
{
    struct mixin_pair poor[PAIRS_MAX];
    size_t count;
    if ((contract->mixins & (contract->mixins - 1)) == 0)
        return; /* at most one */
    if (warnings->matrix == NULL)
        warnings->matrix = read_matrix(warnings->config);
    const struct seen seen = {warnings->matrix,
                              node_type_name(contract->node_type)};
    mixin_set_score(contract->mixins, look, &seen, poor, PAIRS_MAX, &count);
    for (size_t i = 0; i < count; i++)
        warn(warnings, contract, &poor[i]);
}

static void print_one(const json_t *row)
{
    long long good = json_integer_value(json_object_get(row, "success_count"));
    long long bad = json_integer_value(json_object_get(row, "failure_count"));
    long long more = json_integer_value(json_object_get(row, "contracts")) - 1;
    const char *reason = text_of(row, "conflict_reason");
    const char *remedy = text_of(row, "resolution_pattern");
    char others[40] = "";
    if (more > 0)
        snprintf(others, sizeof(others), " and %lld more", more);
    print_error("warning: %s%s: %s and %s go poorly together on %s nodes: "
                "%.2f of 1, less than %.2f (rules %.2f; %lld good, %lld bad "
                "so far)%s%s%s%s",
                text_of(row, "contract"), others, text_of(row, "mixin_a"),
                text_of(row, "mixin_b"), text_of(row, "node_type"),
                json_real_value(json_object_get(row, "score")),
                COMPATIBILITY_LEAST,
                json_real_value(json_object_get(row, "rule_score")), good, bad,
                *reason == '\0' ? "" : "; ", reason,
                *remedy == '\0' ? "" : "; ", remedy);
}

void mixin_warnings_print(const struct mixin_warnings *warnings)
{
    size_t i;
    json_t *row;
    json_array_foreach(warnings->list, i, row) print_one(row);
}

json_t *mixin_warnings_json(const struct mixin_warnings *warnings)
{
    return json_incref(warnings->list);
}
