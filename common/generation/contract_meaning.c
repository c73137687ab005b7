/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "common/generation/contract_check.h"
#include "common/generation/formula.h"
#include "common/generation/mixins.h"
#include "common/generation/names.h"

#define EFFECT_ONLY             (1u << NODE_TYPE_EFFECT)
#define COMPUTE_ONLY            (1u << NODE_TYPE_COMPUTE)
#define REDUCER_ONLY            (1u << NODE_TYPE_REDUCER)
#define ORCHESTRATOR_ONLY       (1u << NODE_TYPE_ORCHESTRATOR)
#define EFFECT_AND_ORCHESTRATOR (EFFECT_ONLY | ORCHESTRATOR_ONLY)

const struct contract_builtin contract_builtins[] = {
#define X(name, types, type, value, bound, words)                              \
    {name, types, FIELD_##type, value, BUILTIN_##bound, words},
    BUILTIN_LIST(X)
#undef X
};
const size_t contract_builtin_count =
    sizeof(contract_builtins) / sizeof(contract_builtins[0]);

/* Names that the generated classes use themselves. */
static const char *const reserved_fields[] = {
    "operation",   "correlation_id", "metadata", "success",
    "error",       "self",           "cls",      "events_applied",
    "steps",       "from_dict",      "to_dict",  "require_for",
    "from_values", "field",          "str",      "int",
    "float",       "bool",           "list",     "dict",
};
static const char *const reserved_operations[] = {
    "execute_effect",
    "execute_compute",
    "execute_reduction",
    "orchestrate_workflow",
    "apply",
    "initial_state",
    "states",
    "config",
    "clear_cache",
    "cache_info",
    "plan",
    "mro",
    "name",
    "value",
};

static bool among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}
#define AMONG(name, names) among(name, names, sizeof(names) / sizeof(*(names)))

static bool items_fit(const struct node *value)
{
    for (const struct node *item = value->first; item != NULL;
         item = item->next) {
        if (item->kind == NODE_NUMBER && !name_is_decimal(item->text, true))
            return false;
        if (item->text != NULL && strlen(item->text) != item->text_size)
            return false;
        if (!items_fit(item))
            return false;
    }
    return true;
}

void contract_check_value(struct contract_check *check,
                          const struct node *value, enum field_type type,
                          const char *path, const char *what)
{
    static const enum node_kind kinds[] = {
        [FIELD_STR] = NODE_STRING,   [FIELD_INT] = NODE_NUMBER,
        [FIELD_FLOAT] = NODE_NUMBER, [FIELD_BOOL] = NODE_BOOL,
        [FIELD_LIST] = NODE_LIST,    [FIELD_DICT] = NODE_MAP,
    };
    if (value->kind != kinds[type])
        contract_complain(check, value, path,
                          "the %s is a %s but the field is %s; change one of "
                          "them",
                          what, node_kind_name(value->kind),
                          field_type_name(type));
    else if (type == FIELD_INT && !name_is_decimal(value->text, false))
        contract_complain(check, value, path,
                          "the %s '%.60s' is no decimal whole number; write "
                          "it as 42",
                          what, value->text);
    else if (type == FIELD_FLOAT && !name_is_decimal(value->text, true))
        contract_complain(check, value, path,
                          "the %s '%.60s' is no decimal number; write it as "
                          "0.5",
                          what, value->text);
    else if (!items_fit(value))
        contract_complain(check, value, path,
                          "the %s has a number that is not decimal; write it "
                          "as 42 or 0.5",
                          what);
}

const struct contract_builtin *
contract_builtin_next(const struct contract *contract, size_t *at)
{
    while (*at < contract_builtin_count) {
        const struct contract_builtin *builtin = &contract_builtins[(*at)++];
        if ((builtin->node_types & 1u << contract->node_type) != 0)
            return builtin;
    }
    size_t index = *at - contract_builtin_count;
    const struct contract_builtin *builtin =
        mixin_setting_next(contract->mixins, &index);
    *at = contract_builtin_count + index;
    return builtin;
}

static const struct contract_builtin *
builtin_find(const struct contract *contract, const char *name)
{
    const struct contract_builtin *builtin;
    size_t at = 0;
    while ((builtin = contract_builtin_next(contract, &at)) != NULL) {
        if (strcmp(builtin->name, name) == 0)
            return builtin;
    }
    return NULL;
}

static void check_fields(struct contract_check *check,
                         const struct contract_fields *fields,
                         const char *model)
{
    char path[200];
    for (size_t i = 0; i < fields->count; i++) {
        const struct contract_field *field = &fields->items[i];
        snprintf(path, sizeof(path), "models.%s.%s", model, field->name);
        if (AMONG(field->name, reserved_fields))
            contract_complain(check, field->source, path,
                              "the generated code uses this name itself; "
                              "choose another, such as '%s_value'",
                              field->name);
        if (field->default_value != NULL)
            contract_check_value(check, field->default_value, field->type, path,
                                 "default");
        if (field->example != NULL)
            contract_check_value(check, field->example, field->type, path,
                                 "example");
    }
}

static void check_config(struct contract_check *check,
                         const struct contract *contract)
{
    char path[200];
    for (size_t i = 0; i < contract->config.count; i++) {
        const struct contract_field *field = &contract->config.items[i];
        const struct contract_builtin *builtin =
            builtin_find(contract, field->name);
        snprintf(path, sizeof(path), "models.config.%s", field->name);
        if (field->default_value == NULL)
            contract_complain(check, field->source, path,
                              "a setting without default; add one");
        if (builtin != NULL && builtin->type != field->type)
            contract_complain(check, field->source, path,
                              "the %s node has this setting already, as %s; "
                              "give it that type or another name",
                              node_type_name(contract->node_type),
                              field_type_name(builtin->type));
        if (builtin != NULL && builtin->bound != BUILTIN_NONE &&
            field->default_value != NULL &&
            (field->default_value->text == NULL ||
             field->default_value->text[0] == '-'))
            contract_complain(check, field->source, path,
                              "must not be negative; change its default");
    }
}

static bool operation_uses(const struct contract_field **fields, size_t count,
                           const struct contract_field *field)
{
    for (size_t i = 0; i < count; i++) {
        if (fields[i] == field)
            return true;
    }
    return false;
}

/* Every operation that gives `output` must take `input`, or it has a
 * default. */
static void check_taken(struct contract_check *check,
                        const struct contract *contract,
                        const struct contract_field *output,
                        const struct contract_field *input, const char *path)
{
    if (input->default_value != NULL)
        return;
    for (size_t i = 0; i < contract->operation_count; i++) {
        const struct contract_operation *operation = &contract->operations[i];
        if (operation_uses(operation->output, operation->output_count,
                           output) &&
            !operation_uses(operation->input, operation->input_count, input))
            contract_complain(check, operation->source, path,
                              "operation '%s' gives this field but does not "
                              "take '%s', which it is made from; add '%s' to "
                              "its input or give that field a default",
                              operation->name, input->name, input->name);
    }
}

static void check_formula(struct contract_check *check,
                          struct contract *contract,
                          struct contract_field *field, const char *path)
{
    const struct node *text = document_get(field->source, "formula");
    const struct formula_names names = {.input = &contract->input,
                                        .config = &contract->config};
    int same = contract_field_find(&contract->input, field->name);
    if (text == NULL && same < 0) {
        contract_complain(check, field->source, path,
                          "a COMPUTE output without a formula; add one, or an "
                          "input field of this name to hand on");
        return;
    }
    struct formula formula;
    struct error error;
    error_clear(&error);
    if (formula_compile(check->arena, text == NULL ? field->name : text->text,
                        field->type, &names, &formula, &error) != 0) {
        contract_complain(check, text == NULL ? field->source : text, path,
                          "%s", error.text);
        return;
    }
    field->formula = formula.python;
    field->formula_uses_math = formula.uses_math;
    for (size_t i = 0; i < contract->input.count; i++) {
        if (formula.used[i])
            check_taken(check, contract, field, &contract->input.items[i],
                        path);
    }
}

static bool fold_fits(const struct contract_field *field)
{
    enum field_type of = field->of == NULL ? field->type : field->of->type;
    bool number = of == FIELD_INT || of == FIELD_FLOAT;
    switch (field->fold) {
    case FOLD_COUNT:
        return field->type == FIELD_INT;
    case FOLD_SUM:
        return number && (field->type == of || field->type == FIELD_FLOAT);
    case FOLD_MIN:
    case FOLD_MAX:
        return field->type == of && (number || of == FIELD_STR);
    case FOLD_FIRST:
    case FOLD_LAST:
        return field->type == of;
    case FOLD_APPEND:
    case FOLD_DISTINCT:
        return field->type == FIELD_LIST;
    case FOLD_TALLY:
        return field->type == FIELD_DICT && of == FIELD_STR;
    default:
        return true;
    }
}

static void check_fold(struct contract_check *check, struct contract *contract,
                       struct contract_field *field, const char *path)
{
    const struct node *of = document_get(field->source, "of");
    if (field->fold == FOLD_NONE) {
        contract_complain(check, field->source, path,
                          "a REDUCER output without a fold; add one: count, "
                          "sum, min, max, first, last, append, distinct or "
                          "tally");
        return;
    }
    if (field->fold != FOLD_COUNT && of == NULL) {
        contract_complain(check, field->source, path,
                          "the fold '%s' needs 'of'; name the input field "
                          "that is folded",
                          fold_name(field->fold));
        return;
    }
    if (of != NULL) {
        int index = contract_field_find(&contract->input, of->text);
        if (index < 0) {
            contract_complain(check, of, path,
                              "there is no input field '%s'; add it to "
                              "models.input or correct the name",
                              of->text);
            return;
        }
        field->of = &contract->input.items[index];
        check_taken(check, contract, field, field->of, path);
    }
    if (!fold_fits(field))
        contract_complain(check, field->source, path,
                          "the fold '%s' does not fit a field of type %s%s%s; "
                          "see the folds in tidemill-templates(7)",
                          fold_name(field->fold), field_type_name(field->type),
                          of == NULL ? "" : " from one of type ",
                          of == NULL ? "" : field_type_name(field->of->type));
}

static void check_outputs(struct contract_check *check,
                          struct contract *contract)
{
    static const char *const keys[] = {"formula", "fold", "of"};
    char path[200];
    for (size_t i = 0; i < contract->output.count; i++) {
        struct contract_field *field = &contract->output.items[i];
        snprintf(path, sizeof(path), "models.output.%s", field->name);
        for (size_t k = 0; k < 3; k++) {
            const struct node *key = document_get(field->source, keys[k]);
            bool fits = k == 0 ? contract->node_type == NODE_TYPE_COMPUTE
                               : contract->node_type == NODE_TYPE_REDUCER;
            if (key != NULL && !fits)
                contract_complain(check, key, path,
                                  "'%s' is for a %s node only; take it out",
                                  keys[k], k == 0 ? "COMPUTE" : "REDUCER");
        }
        if (contract->node_type == NODE_TYPE_COMPUTE)
            check_formula(check, contract, field, path);
        else if (contract->node_type == NODE_TYPE_REDUCER)
            check_fold(check, contract, field, path);
    }
}

static void check_inputs(struct contract_check *check,
                         const struct contract_fields *fields,
                         const char *model)
{
    static const char *const keys[] = {"formula", "fold", "of"};
    char path[200];
    for (size_t i = 0; i < fields->count; i++) {
        for (size_t k = 0; k < 3; k++) {
            const struct node *key =
                document_get(fields->items[i].source, keys[k]);
            snprintf(path, sizeof(path), "models.%s.%s", model,
                     fields->items[i].name);
            if (key != NULL)
                contract_complain(check, key, path,
                                  "'%s' is for output fields only; take it "
                                  "out",
                                  keys[k]);
        }
    }
}

static void read_dependencies(struct contract_check *check,
                              struct contract *contract,
                              struct contract_operation *operation)
{
    const struct node *list = document_get(operation->source, "depends_on");
    char path[200];
    snprintf(path, sizeof(path), "operations.%s.depends_on", operation->name);
    if (list == NULL)
        return;
    if (contract->node_type != NODE_TYPE_ORCHESTRATOR) {
        contract_complain(check, list, path,
                          "is for an ORCHESTRATOR node only; take it out");
        return;
    }
    operation->depends_on = arena_calloc(check->arena, list->count + 1,
                                         sizeof(*operation->depends_on));
    if (operation->depends_on == NULL) {
        contract_complain(check, list, path, "no memory to read it");
        return;
    }
    for (const struct node *name = list->first; name != NULL;
         name = name->next) {
        int index = contract_operation_find(contract, name->text);
        if (index >= 0)
            operation->depends_on[operation->depends_on_count++] =
                (size_t)index;
        else
            contract_complain(check, name, path,
                              "there is no operation '%s'; add it or correct "
                              "the name",
                              name->text);
    }
}

static bool may_run(const struct contract_operation *operation,
                    const bool *done)
{
    for (size_t i = 0; i < operation->depends_on_count; i++) {
        if (!done[operation->depends_on[i]])
            return false;
    }
    return true;
}

/* Takes steps whose dependencies are done until none is left; what is left
 * then waits for itself. */
static void check_cycles(struct contract_check *check,
                         const struct contract *contract)
{
    bool done[CONTRACT_OPERATIONS_MAX] = {false};
    bool moved = true;
    while (moved) {
        moved = false;
        for (size_t i = 0; i < contract->operation_count; i++) {
            if (!done[i] && may_run(&contract->operations[i], done))
                moved = done[i] = true;
        }
    }
    for (size_t i = 0; i < contract->operation_count; i++) {
        if (!done[i]) {
            contract_complain(check, contract->operations[i].source,
                              "operations",
                              "'%s' waits for itself through depends_on; take "
                              "one of the dependencies out",
                              contract->operations[i].name);
            return;
        }
    }
}

static void check_operations(struct contract_check *check,
                             struct contract *contract)
{
    for (size_t i = 0; i < contract->operation_count; i++) {
        struct contract_operation *operation = &contract->operations[i];
        if (AMONG(operation->name, reserved_operations))
            contract_complain(check, operation->source, "operations",
                              "the generated code uses the name '%s' itself; "
                              "choose another",
                              operation->name);
        read_dependencies(check, contract, operation);
    }
    check_cycles(check, contract);
}

void contract_check_meaning(struct contract_check *check,
                            struct contract *contract)
{
    check_fields(check, &contract->input, "input");
    check_fields(check, &contract->output, "output");
    check_fields(check, &contract->config, "config");
    check_inputs(check, &contract->input, "input");
    check_inputs(check, &contract->config, "config");
    mixins_check(check, contract);
    check_config(check, contract);
    check_operations(check, contract);
    check_outputs(check, contract);
}
