/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "common/generation/contract_check.h"
#include "common/generation/mixins.h"
#include "common/generation/names.h"
#include "common/generation/tree.h"

#define DOC_WIDTH 68 /* of a line of a docstring */

struct data {
    struct tree tree;
    const struct contract *contract;
};

/* description, as a sentence in lines (`key`) and as JSON (`key`_json, whose
 * name is given because keys are literals). */
static void add_description(struct data *data, struct node *map,
                            const char *lines_key, const char *json_key,
                            const char *text)
{
    struct tree *tree = &data->tree;
    const char *sentence = name_to_sentence(tree->arena, text);
    if (sentence == NULL) {
        tree->failed = true;
        return;
    }
    tree_add_text(tree, map, json_key, name_to_json(tree->arena, text));
    struct node *lines = tree_add_list(tree, map, lines_key);
    const char *start = sentence;
    while (*start != '\0') {
        size_t size = strlen(start);
        if (size > DOC_WIDTH) {
            size = DOC_WIDTH;
            while (size > 0 && start[size] != ' ')
                size--;
            if (size == 0)
                size = strcspn(start, " ");
        }
        char *line = arena_copy(tree->arena, start, size);
        struct node *item = tree_add_map(tree, lines, NULL);
        tree_add_text(tree, item, "text", line);
        tree_add_bool(tree, item, "first", start == sentence);
        start += size;
        start += *start == ' ';
    }
    tree_mark_last(tree, lines);
}

static void add_texts(struct data *data, struct node *map, const char *key,
                      const struct node *texts)
{
    struct tree *tree = &data->tree;
    struct node *list = tree_add_list(tree, map, key);
    for (const struct node *text = texts == NULL ? NULL : texts->first;
         text != NULL; text = text->next) {
        struct node *item = tree_add_map(tree, list, NULL);
        tree_add_text(tree, item, "json",
                      name_to_json(tree->arena, text->text));
        tree_add_text(tree, item, "sentence",
                      name_to_sentence(tree->arena, text->text));
    }
    tree_mark_last(tree, list);
}

static const char *literal(struct data *data, const struct node *value,
                           enum field_type type)
{
    struct buffer text;
    buffer_init(&text, 8u << 20);
    name_put_python(&text, value);
    if (type == FIELD_FLOAT && text.bytes != NULL &&
        strpbrk(text.bytes, ".eE") == NULL)
        buffer_append_text(&text, ".0");
    const char *copy =
        text.failed ? NULL
                    : arena_copy(data->tree.arena, text.bytes, text.size);
    buffer_deinit(&text);
    return copy;
}

/* A value for generated tests: the example, or one made from the type and
 * the field's place, so that two fields differ. */
static const char *sample(struct data *data, const struct contract_field *field,
                          size_t index, unsigned variant)
{
    struct arena *arena = data->tree.arena;
    unsigned number = (unsigned)index + 2 + variant;
    if (field->example != NULL)
        return literal(data, field->example, field->type);
    switch (field->type) {
    case FIELD_STR:
        return arena_printf(arena, "\"%s-%u\"", field->name, number);
    case FIELD_INT:
        return arena_printf(arena, "%u", number);
    case FIELD_FLOAT:
        return arena_printf(arena, "%u.5", number);
    case FIELD_BOOL:
        return arena_strdup(arena, "True");
    case FIELD_LIST:
        return arena_printf(arena, "[%u, %u]", number, number + 1);
    default:
        return arena_printf(arena, "{\"key\": %u}", number);
    }
}

static const char *wrong_sample(enum field_type type)
{
    return type == FIELD_STR ? "12345" : "\"no such value\"";
}

/* Is the field taken by every operation and without default? */
static bool is_required(const struct contract *contract,
                        const struct contract_field *field)
{
    if (field->default_value != NULL)
        return false;
    for (size_t i = 0; i < contract->operation_count; i++) {
        const struct contract_operation *operation = &contract->operations[i];
        bool taken = false;
        for (size_t f = 0; f < operation->input_count; f++)
            taken = taken || operation->input[f] == field;
        if (!taken)
            return false;
    }
    return true;
}

/* " = 5", or with a factory for what can be changed in place. */
static const char *assignment(struct data *data,
                              const struct contract_field *field)
{
    struct arena *arena = data->tree.arena;
    const struct node *value = field->default_value;
    const char *text = literal(data, value, field->type);
    bool grows = value->kind == NODE_LIST || value->kind == NODE_MAP;
    if (text == NULL)
        return NULL;
    if (grows && value->count == 0)
        return arena_printf(arena, " = field(default_factory=%s)",
                            field_type_name(field->type));
    if (grows)
        return arena_printf(arena, " = field(default_factory=lambda: %s)",
                            text);
    return arena_printf(arena, " = %s", text);
}

static void add_default(struct data *data, struct node *map,
                        const struct contract_field *field)
{
    struct tree *tree = &data->tree;
    const struct node *value = field->default_value;
    tree_add_bool(tree, map, "has_default", value != NULL);
    tree_add_bool(tree, map, "optional",
                  value == NULL && !is_required(data->contract, field));
    if (value == NULL) {
        tree_add_text(tree, map, "default", "None");
        tree_add_text(tree, map, "assignment", "");
        return;
    }
    tree_add_text(tree, map, "default", literal(data, value, field->type));
    tree_add_text(tree, map, "assignment", assignment(data, field));
    struct buffer json;
    buffer_init(&json, 8u << 20);
    document_write_json(value, &json);
    tree_add_text(tree, map, "default_json",
                  json.failed || json.bytes == NULL ? NULL : json.bytes);
    buffer_deinit(&json);
}

static const char *fold_expression(struct arena *arena,
                                   const struct contract_field *field)
{
    const char *name = field->name;
    const char *of = field->of == NULL ? "" : field->of->name;
    switch (field->fold) {
    case FOLD_COUNT:
        return arena_printf(arena, "state.%s + 1", name);
    case FOLD_SUM:
        return arena_printf(arena, "state.%s + event.%s", name, of);
    case FOLD_MIN:
    case FOLD_MAX:
        return arena_printf(arena, "_%s(state.%s, event.%s)",
                            field->fold == FOLD_MIN ? "smaller" : "larger",
                            name, of);
    case FOLD_FIRST:
        return arena_printf(arena, "event.%s if state.%s is None else state.%s",
                            of, name, name);
    case FOLD_LAST:
        return arena_printf(arena, "event.%s", of);
    case FOLD_APPEND:
        return arena_printf(arena, "self._append(state.%s, event.%s)", name,
                            of);
    case FOLD_DISTINCT:
        return arena_printf(arena, "self._include(state.%s, event.%s)", name,
                            of);
    default:
        return arena_printf(arena, "_tally(state.%s, event.%s)", name, of);
    }
}

/* What a state has before the first event. */
static void add_fold(struct data *data, struct node *map,
                     const struct contract_field *field)
{
    struct tree *tree = &data->tree;
    tree_add_bool(tree, map, "has_fold", field->fold != FOLD_NONE);
    tree_add_bool(tree, map, "has_of", field->of != NULL);
    if (field->fold == FOLD_NONE)
        return;
    tree_add_text(tree, map, "fold", fold_name(field->fold));
    tree_add_text(tree, map, "fold_expression",
                  fold_expression(tree->arena, field));
    tree_add_text(tree, map, "of", field->of == NULL ? "" : field->of->name);
    enum fold fold = field->fold;
    tree_add_bool(tree, map, "counts", fold == FOLD_COUNT);
    tree_add_bool(tree, map, "sums", fold == FOLD_SUM);
    tree_add_bool(tree, map, "settles",
                  fold == FOLD_MIN || fold == FOLD_MAX || fold == FOLD_FIRST);
    tree_add_bool(tree, map, "replaces", fold == FOLD_LAST);
    tree_add_bool(tree, map, "appends", fold == FOLD_APPEND);
    tree_add_bool(tree, map, "includes", fold == FOLD_DISTINCT);
    tree_add_bool(tree, map, "tallies", fold == FOLD_TALLY);
    bool from_nothing = field->fold == FOLD_MIN || field->fold == FOLD_MAX ||
                        field->fold == FOLD_FIRST || field->fold == FOLD_LAST;
    bool optional = from_nothing && field->default_value == NULL;
    tree_add_bool(tree, map, "state_optional", optional);
    static const char *const initial[] = {
        [FIELD_STR] = " = \"\"",
        [FIELD_INT] = " = 0",
        [FIELD_FLOAT] = " = 0.0",
        [FIELD_BOOL] = " = False",
        [FIELD_LIST] = " = field(default_factory=list)",
        [FIELD_DICT] = " = field(default_factory=dict)",
    };
    if (field->default_value == NULL)
        tree_add_text(tree, map, "state_assignment",
                      optional ? " = None" : initial[field->type]);
    else
        tree_add_text(tree, map, "state_assignment", assignment(data, field));
}

static struct node *add_field(struct data *data, struct node *list,
                              const struct contract_field *field, size_t index)
{
    struct tree *tree = &data->tree;
    struct node *map = tree_add_map(tree, list, NULL);
    tree_add_text(tree, map, "name", field->name);
    tree_add_text(tree, map, "type", field_type_name(field->type));
    tree_add_text(tree, map, "annotation", field_type_annotation(field->type));
    tree_add_bool(tree, map, "required", is_required(data->contract, field));
    const char *words = field->description;
    if (words == NULL)
        words = arena_printf(tree->arena, "The %s.", field->name);
    if (words == NULL)
        tree->failed = true;
    else
        add_description(data, map, "doc", "description_json", words);
    add_default(data, map, field);
    add_fold(data, map, field);
    tree_add_text(tree, map, "sample", sample(data, field, index, 0));
    tree_add_text(tree, map, "other_sample", sample(data, field, index, 7));
    tree_add_text(tree, map, "wrong_sample", wrong_sample(field->type));
    tree_add_bool(tree, map, "has_formula", field->formula != NULL);
    if (field->formula != NULL) {
        tree_add_text(tree, map, "formula", field->formula);
        const struct node *text = document_get(field->source, "formula");
        tree_add_text(
            tree, map, "formula_json",
            name_to_json(tree->arena, text == NULL ? field->name : text->text));
    }
    tree_add_bool(tree, map, "positive", false);
    tree_add_bool(tree, map, "not_negative", false);
    return map;
}

static void add_fields(struct data *data, struct node *map, const char *key,
                       const struct contract_fields *fields)
{
    struct node *list = tree_add_list(&data->tree, map, key);
    for (size_t i = 0; i < fields->count; i++)
        add_field(data, list, &fields->items[i], i);
    tree_mark_last(&data->tree, list);
}

static void add_chosen(struct data *data, struct node *map, const char *key,
                       const struct contract_field **chosen, size_t count,
                       const struct contract_fields *all)
{
    struct node *list = tree_add_list(&data->tree, map, key);
    for (size_t i = 0; i < count; i++)
        add_field(data, list, chosen[i], (size_t)(chosen[i] - all->items));
    tree_mark_last(&data->tree, list);
}

/* The default of a setting that comes without being asked for. */
static const struct node *builtin_value(struct data *data,
                                        const struct contract_builtin *builtin)
{
    struct tree *tree = &data->tree;
    if (builtin->value == NULL && builtin->type == FIELD_LIST)
        return mixin_reading_operations(tree->arena, data->contract);
    struct node *value = tree_map(tree);
    if (value != NULL && builtin->value != NULL)
        *value = (struct node){.kind = NODE_NUMBER,
                               .text = builtin->value,
                               .text_size = strlen(builtin->value)};
    return value;
}

static void add_builtin(struct data *data, struct node *list,
                        const struct contract_builtin *builtin, size_t index)
{
    const struct contract *contract = data->contract;
    int own = contract_field_find(&contract->config, builtin->name);
    struct contract_field field = {
        .name = builtin->name,
        .type = builtin->type,
        .description = builtin->words,
        .default_value = own < 0 ? builtin_value(data, builtin)
                                 : contract->config.items[own].default_value};
    if (field.default_value == NULL) {
        data->tree.failed = true;
        return;
    }
    struct node *map = add_field(data, list, &field, index);
    for (struct node *bit = map == NULL ? NULL : map->first; bit != NULL;
         bit = bit->next) {
        if (strcmp(bit->key, "positive") == 0)
            bit->boolean = builtin->bound == BUILTIN_POSITIVE;
        if (strcmp(bit->key, "not_negative") == 0)
            bit->boolean = builtin->bound == BUILTIN_NOT_NEGATIVE;
    }
}

/* The settings that come without being asked for, with the contract's own
 * defaults, then the contract's. */
static void add_config(struct data *data, struct node *root)
{
    const struct contract *contract = data->contract;
    const struct contract_builtin *builtin;
    bool is_builtin[CONTRACT_FIELDS_MAX] = {false};
    size_t at = 0;
    size_t count = 0;
    struct node *list = tree_add_list(&data->tree, root, "config");
    while ((builtin = contract_builtin_next(contract, &at)) != NULL) {
        int own = contract_field_find(&contract->config, builtin->name);
        if (own >= 0)
            is_builtin[own] = true;
        add_builtin(data, list, builtin, count++);
    }
    for (size_t i = 0; i < contract->config.count; i++) {
        if (!is_builtin[i])
            add_field(data, list, &contract->config.items[i], i);
    }
    tree_mark_last(&data->tree, list);
}

static void add_operation(struct data *data, struct node *list,
                          const struct contract_operation *operation)
{
    struct tree *tree = &data->tree;
    const struct contract *contract = data->contract;
    struct node *map = tree_add_map(tree, list, NULL);
    tree_add_text(tree, map, "name", operation->name);
    tree_add_text(tree, map, "operation_name", operation->name);
    tree_add_text(tree, map, "upper",
                  name_to_upper(tree->arena, operation->name));
    const char *words = operation->description;
    if (words == NULL)
        words = arena_printf(tree->arena, "Carry out %s.", operation->name);
    if (words == NULL)
        tree->failed = true;
    else
        add_description(data, map, "doc", "description_json", words);
    add_chosen(data, map, "input", operation->input, operation->input_count,
               &contract->input);
    add_chosen(data, map, "output", operation->output, operation->output_count,
               &contract->output);
    tree_add_bool(tree, map, "has_input", operation->input_count > 0);
    tree_add_bool(tree, map, "has_output", operation->output_count > 0);
    struct node *steps = tree_add_list(tree, map, "depends_on");
    for (size_t i = 0; i < operation->depends_on_count; i++) {
        const char *name = contract->operations[operation->depends_on[i]].name;
        struct node *step = tree_add_map(tree, steps, NULL);
        tree_add_text(tree, step, "name", name);
        tree_add_text(tree, step, "upper", name_to_upper(tree->arena, name));
    }
    tree_mark_last(tree, steps);
    tree_add_bool(tree, map, "has_depends_on", operation->depends_on_count > 0);
    struct node *needs = tree_add_list(tree, map, "needs");
    for (size_t i = 0; i < operation->input_count; i++) {
        if (operation->input[i]->default_value == NULL)
            add_field(data, needs, operation->input[i],
                      (size_t)(operation->input[i] - contract->input.items));
    }
    tree_mark_last(tree, needs);
    tree_add_bool(tree, map, "has_needs", needs != NULL && needs->count > 0);
}

static void add_dependencies(struct data *data, struct node *root)
{
    static const char *const keys[] = {"name", "version", "description"};
    struct tree *tree = &data->tree;
    const struct node *source =
        document_get(data->contract->root, "dependencies");
    struct node *list = tree_add_list(tree, root, "dependencies");
    for (const struct node *item = source == NULL ? NULL : source->first;
         item != NULL; item = item->next) {
        struct node *map = tree_add_map(tree, list, NULL);
        for (size_t i = 0; i < 3; i++) {
            const struct node *value = document_get(item, keys[i]);
            tree_add_text(
                tree, map, keys[i],
                name_to_json(tree->arena, value == NULL ? "" : value->text));
        }
    }
    tree_mark_last(tree, list);
    tree_add_bool(tree, root, "has_dependencies",
                  list != NULL && list->count > 0);
}

static void add_version(struct data *data, struct node *root)
{
    static const char *const parts[] = {"major", "minor", "patch"};
    struct tree *tree = &data->tree;
    const struct contract *contract = data->contract;
    struct node *version = tree_add_map(tree, root, "version");
    for (size_t i = 0; i < 3; i++)
        tree_add_number(tree, version, parts[i], contract->version[i]);
    tree_add_text(tree, version, "text",
                  arena_printf(tree->arena, "%lld.%lld.%lld",
                               (long long)contract->version[0],
                               (long long)contract->version[1],
                               (long long)contract->version[2]));
    tree_add_text(tree, root, "version_dir", contract->version_dir);
}

static void add_head(struct data *data, struct node *root)
{
    struct tree *tree = &data->tree;
    const struct contract *contract = data->contract;
    const struct node *author = document_get(contract->root, "author");
    tree_add_text(tree, root, "node_name", contract->node_name);
    tree_add_text(tree, root, "node_type", node_type_name(contract->node_type));
    tree_add_text(tree, root, "kind", node_type_folder(contract->node_type));
    for (int i = 0; i < NODE_TYPE_COUNT; i++) {
        static const char *const keys[] = {
#define X(name, folder, words) "is_" folder,
            NODE_TYPE_LIST(X)
#undef X
        };
        tree_add_bool(tree, root, keys[i], i == (int)contract->node_type);
    }
    tree_add_text(tree, root, "domain", contract->domain);
    tree_add_text(tree, root, "domain_pascal",
                  name_to_pascal(tree->arena, contract->domain));
    tree_add_text(tree, root, "service", contract->service);
    tree_add_text(tree, root, "pascal",
                  name_to_pascal(tree->arena, contract->service));
    tree_add_bool(tree, root, "has_author", author != NULL);
    tree_add_text(
        tree, root, "author",
        name_to_json(tree->arena, author == NULL ? "" : author->text));
    tree_add_text(tree, root, "contract_sha256", contract->sha256);
    add_description(data, root, "description", "description_json",
                    contract->description);
    add_version(data, root);
}

/* What REFERENCE calls the profile of a node type. */
static void add_profile(struct data *data, struct node *root)
{
    static const struct {
        const char *class_suffix, *entry_point;
        bool async, state, heavy, external, persistent;
    } profiles[] = {
        [NODE_TYPE_EFFECT] = {"Effect", "execute_effect", true, true, true,
                              true, false},
        [NODE_TYPE_COMPUTE] = {"Compute", "execute_compute", false, false,
                               false, false, false},
        [NODE_TYPE_REDUCER] = {"Reducer", "execute_reduction", true, true, true,
                               true, true},
        [NODE_TYPE_ORCHESTRATOR] = {"Orchestrator", "orchestrate_workflow",
                                    true, false, false, true, true},
    };
    struct tree *tree = &data->tree;
    const struct contract *contract = data->contract;
    enum node_type type = contract->node_type;
    const char *pascal = name_to_pascal(tree->arena, contract->service);
    const char *upper =
        name_to_upper(tree->arena, contract->operations[0].name);
    if (pascal == NULL || upper == NULL) {
        tree->failed = true;
        return;
    }
    tree_add_text(tree, root, "node_class",
                  arena_printf(tree->arena, "Node%s%s", pascal,
                               profiles[type].class_suffix));
    tree_add_text(tree, root, "entry_point", profiles[type].entry_point);
    tree_add_text(tree, root, "first_operation",
                  arena_printf(tree->arena, "%sOperation.%s", pascal, upper));
    tree_add_bool(tree, root, "profile_async", profiles[type].async);
    tree_add_bool(tree, root, "profile_state", profiles[type].state);
    tree_add_bool(tree, root, "profile_heavy", profiles[type].heavy);
    tree_add_bool(tree, root, "profile_external", profiles[type].external);
    tree_add_bool(tree, root, "is_persistent", profiles[type].persistent);
}

static void add_required_input(struct data *data, struct node *root)
{
    struct tree *tree = &data->tree;
    const struct contract *contract = data->contract;
    struct node *list = tree_add_list(tree, root, "required_input");
    for (size_t i = 0; i < contract->input.count; i++) {
        const struct contract_field *field = &contract->input.items[i];
        if (is_required(contract, field))
            tree_add_text(tree, tree_add_map(tree, list, NULL), "name",
                          field->name);
    }
    tree_mark_last(tree, list);
    tree_add_bool(tree, root, "has_required_input",
                  list != NULL && list->count > 0);
}

/* What decides the imports of the generated files. */
static void add_questions(struct data *data, struct node *root)
{
    struct tree *tree = &data->tree;
    const struct contract *contract = data->contract;
    bool math = false, any = false, grows = false, field_default = false;
    bool append = false, include = false, smaller = false, larger = false,
         tally = false;
    for (size_t i = 0; i < contract->output.count; i++) {
        const struct contract_field *field = &contract->output.items[i];
        math = math || field->formula_uses_math;
        any = any || field->type >= FIELD_LIST;
        field_default = field_default || (field->type >= FIELD_LIST &&
                                          field->default_value != NULL);
        append = append || field->fold == FOLD_APPEND;
        include = include || field->fold == FOLD_DISTINCT;
        smaller = smaller || field->fold == FOLD_MIN;
        larger = larger || field->fold == FOLD_MAX;
        tally = tally || field->fold == FOLD_TALLY;
    }
    const struct contract_builtin *builtin;
    size_t at = 0;
    while ((builtin = contract_builtin_next(contract, &at)) != NULL)
        grows = grows || builtin->type >= FIELD_LIST;
    for (size_t i = 0; i < contract->config.count; i++)
        grows = grows || contract->config.items[i].type >= FIELD_LIST;
    tree_add_bool(tree, root, "uses_math", math);
    tree_add_bool(tree, root, "output_has_containers", any);
    tree_add_bool(tree, root, "config_has_containers", grows);
    tree_add_bool(tree, root, "needs_field",
                  field_default ||
                      contract->node_type == NODE_TYPE_ORCHESTRATOR);
    tree_add_bool(tree, root, "state_needs_field", any);
    tree_add_bool(tree, root, "has_input", contract->input.count > 0);
    tree_add_bool(tree, root, "has_output", contract->output.count > 0);
    const struct node *features = document_get(contract->root, "features");
    tree_add_bool(tree, root, "has_features",
                  features != NULL && features->count > 0);
    tree_add_bool(tree, root, "folds_append", append);
    tree_add_bool(tree, root, "folds_distinct", include);
    tree_add_bool(tree, root, "folds_lists", append || include);
    tree_add_bool(tree, root, "folds_min", smaller);
    tree_add_bool(tree, root, "folds_max", larger);
    tree_add_bool(tree, root, "folds_tally", tally);
}

struct node *contract_data(struct arena *arena, const struct contract *contract)
{
    struct data data = {.tree = {.arena = arena}, .contract = contract};
    struct tree *tree = &data.tree;
    struct node *root = tree_map(tree);
    const struct node *events = document_get(contract->root, "events");
    add_head(&data, root);
    add_texts(&data, root, "features",
              document_get(contract->root, "features"));
    add_fields(&data, root, "input", &contract->input);
    add_fields(&data, root, "output", &contract->output);
    add_config(&data, root);
    struct node *operations = tree_add_list(tree, root, "operations");
    for (size_t i = 0; i < contract->operation_count; i++)
        add_operation(&data, operations, &contract->operations[i]);
    tree_mark_last(tree, operations);
    add_dependencies(&data, root);
    add_texts(&data, root, "publish",
              events == NULL ? NULL : document_get(events, "publish"));
    add_texts(&data, root, "subscribe",
              events == NULL ? NULL : document_get(events, "subscribe"));
    add_profile(&data, root);
    add_required_input(&data, root);
    add_questions(&data, root);
    mixins_add_data(tree, root, contract);
    return tree->failed ? NULL : root;
}
