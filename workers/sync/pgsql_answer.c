/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pgsql_answer.h"

#include <stdlib.h>
#include <string.h>

/* The columns of tidemill.told. */
enum column {
    OUTCOME,
    OPERATION_KEY,
    CODE,
    WORDS,
    RULE,
    LOCAL_STAMP,
    CENTRE_STAMP,
    CENTRE_SYSTEM,
    CENTRE_DELETED,
    CENTRE_DATA,
    VERSIONED,
};

/* "" for NULL. */
static const char *text(const struct pg_result *rows, int row,
                        enum column column)
{
    const char *value = pg_result_text(rows, row, (int)column);
    return value ? value : "";
}

static int64_t number(const struct pg_result *rows, int row, enum column column)
{
    return strtoll(text(rows, row, column), NULL, 10);
}

static void read_refusal(const struct pg_result *rows, int row, bool held,
                         struct sink_refusal *refusal)
{
    const char *code = text(rows, row, CODE);
    refusal->key = number(rows, row, OPERATION_KEY);
    refusal->held = held;
    for (size_t n = 0; code[n] && n < 5; n++)
        refusal->sqlstate[n] = code[n];
    refusal->message = text(rows, row, WORDS);
}

static bool read_conflict(const struct pg_result *rows, int row,
                          enum conflict_outcome outcome,
                          struct sink_conflict *conflict)
{
    const char *data = text(rows, row, CENTRE_DATA);
    int64_t rule = number(rows, row, RULE);
    if (rule <= CONFLICT_NONE || rule >= CONFLICT_RULE_COUNT)
        return false;
    *conflict = (struct sink_conflict){
        .key = number(rows, row, OPERATION_KEY),
        .outcome = outcome,
        .rule = (enum conflict_rule)rule,
        .stamp = number(rows, row, LOCAL_STAMP),
        .centre_stamp = number(rows, row, CENTRE_STAMP),
        .centre_system = text(rows, row, CENTRE_SYSTEM),
        .centre_deleted = *text(rows, row, CENTRE_DELETED) == 't',
        .centre_data = *data ? data : NULL,
        .centre_data_size = strlen(data),
        .versioned = *text(rows, row, VERSIONED) == 't'};
    return true;
}

/* The outcome of that name; CONFLICT_OUTCOME_COUNT: none. */
static enum conflict_outcome outcome_of(const char *word)
{
    int outcome = 0;
    while (outcome < CONFLICT_OUTCOME_COUNT &&
           strcmp(conflict_outcome_name((enum conflict_outcome)outcome),
                  word) != 0)
        outcome++;
    return (enum conflict_outcome)outcome;
}

static bool read_told(const struct pg_result *rows, int row,
                      struct sink_refusal *refusals,
                      struct sink_conflict *conflicts,
                      struct sink_result *result)
{
    const char *word = text(rows, row, OUTCOME);
    enum conflict_outcome outcome = outcome_of(word);
    bool held = strcmp(word, "held") == 0;
    if (outcome < CONFLICT_OUTCOME_COUNT)
        return read_conflict(rows, row, outcome,
                             &conflicts[result->conflict_count++]);
    if (!held && strcmp(word, "refused") != 0)
        return false;
    read_refusal(rows, row, held, &refusals[result->refusal_count++]);
    return true;
}

static int read_outcome(const struct pg_result *rows,
                        struct sink_result *result, struct error *error)
{
    const char *word = text(rows, 0, OUTCOME);
    if (strcmp(word, "repeated") == 0)
        result->outcome = SINK_REPEATED;
    else if (strcmp(word, "applied") == 0)
        result->outcome = SINK_APPLIED;
    else
        return error_set(error, ERROR_PROTOCOL,
                         "the centre told \"%.50s\" of a batch, which this "
                         "program does not know",
                         word);
    return 0;
}

int pgsql_answer_read(const struct pg_result *rows, struct arena *arena,
                      struct sink_result *result, struct error *error)
{
    int count = pg_result_rows(rows);
    size_t room = count > 0 ? (size_t)count : 1;
    struct sink_refusal *refusals = arena_calloc(arena, room, sizeof *refusals);
    struct sink_conflict *conflicts =
        arena_calloc(arena, room, sizeof *conflicts);
    if (count < 1 || !refusals || !conflicts)
        return error_set(error, ERROR_SYSTEM,
                         "no memory for the answer of the centre");
    for (int row = 1; row < count; row++)
        if (!read_told(rows, row, refusals, conflicts, result))
            return error_set(error, ERROR_PROTOCOL,
                             "the centre told \"%.50s\" of an operation, "
                             "which this program does not know",
                             text(rows, row, OUTCOME));
    result->refusals = refusals;
    result->conflicts = conflicts;
    return read_outcome(rows, result, error);
}
