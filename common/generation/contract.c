/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/contract.h"

#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/generation/contract_check.h"

static const char *text_of(const struct node *map, const char *key,
                           const char *otherwise)
{
    const struct node *value = document_get(map, key);
    return value == NULL ? otherwise : value->text;
}

static int word_index(const char *text, int count,
                      const char *(*word)(unsigned))
{
    for (int i = 0; i < count; i++) {
        if (strcmp(text, word((unsigned)i)) == 0)
            return i;
    }
    return 0; /* the shapes were checked */
}

static const char *node_type_word(unsigned i)
{
    return node_type_name((enum node_type)i);
}

static const char *field_type_word(unsigned i)
{
    return field_type_name((enum field_type)i);
}

static const char *fold_word(unsigned i)
{
    return fold_name((enum fold)i);
}

int contract_field_find(const struct contract_fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->count; i++) {
        if (strcmp(fields->items[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

int contract_operation_find(const struct contract *contract, const char *name)
{
    for (size_t i = 0; i < contract->operation_count; i++) {
        if (strcmp(contract->operations[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static int read_fields(struct contract_check *check, const struct node *list,
                       const char *path, struct contract_fields *fields)
{
    size_t count = list == NULL ? 0 : list->count;
    fields->items =
        arena_calloc(check->arena, count + 1, sizeof(*fields->items));
    if (fields->items == NULL)
        return -1;
    for (const struct node *item = list == NULL ? NULL : list->first;
         item != NULL; item = item->next) {
        struct contract_field field = {
            .name = text_of(item, "name", ""),
            .type = (enum field_type)word_index(
                text_of(item, "type", ""), FIELD_TYPE_COUNT, field_type_word),
            .description = text_of(item, "description", NULL),
            .source = item,
            .default_value = document_get(item, "default"),
            .example = document_get(item, "example"),
            .fold = (enum fold)word_index(text_of(item, "fold", "none"),
                                          FOLD_COUNT_OF_ALL, fold_word),
        };
        if (contract_field_find(fields, field.name) >= 0)
            contract_complain(check, item, path,
                              "the field '%s' is there twice; rename or "
                              "remove one",
                              field.name);
        else
            fields->items[fields->count++] = field;
    }
    return 0;
}

/* The fields that a list of names chooses; all of them without a list. */
static int choose_fields(struct contract_check *check,
                         const struct contract_fields *fields,
                         const struct node *names, const char *path,
                         const struct contract_field ***chosen, size_t *count)
{
    size_t most = names == NULL ? fields->count : names->count;
    *chosen = arena_calloc(check->arena, most + 1, sizeof(**chosen));
    *count = 0;
    if (*chosen == NULL)
        return -1;
    if (names == NULL) {
        while (*count < fields->count) {
            (*chosen)[*count] = &fields->items[*count];
            ++*count;
        }
        return 0;
    }
    for (const struct node *name = names->first; name != NULL;
         name = name->next) {
        int index = contract_field_find(fields, name->text);
        if (index >= 0)
            (*chosen)[(*count)++] = &fields->items[index];
        else
            contract_complain(check, name, path,
                              "there is no field '%s'; add it to the model or "
                              "correct the name",
                              name->text);
    }
    return 0;
}

static int read_operation(struct contract_check *check,
                          const struct contract *contract,
                          const struct node *item,
                          struct contract_operation *operation)
{
    char path[200];
    *operation = (struct contract_operation){
        .name = text_of(item, "name", ""),
        .description = text_of(item, "description", NULL),
        .source = item};
    snprintf(path, sizeof(path), "operations.%s.input", operation->name);
    if (choose_fields(check, &contract->input, document_get(item, "input"),
                      path, &operation->input, &operation->input_count) != 0)
        return -1;
    snprintf(path, sizeof(path), "operations.%s.output", operation->name);
    return choose_fields(check, &contract->output, document_get(item, "output"),
                         path, &operation->output, &operation->output_count);
}

static int read_operations(struct contract_check *check,
                           struct contract *contract)
{
    const struct node *list = document_get(contract->root, "operations");
    contract->operations = arena_calloc(check->arena, list->count + 1,
                                        sizeof(*contract->operations));
    if (contract->operations == NULL)
        return -1;
    for (const struct node *item = list->first; item != NULL;
         item = item->next) {
        const char *name = text_of(item, "name", "");
        if (contract_operation_find(contract, name) >= 0) {
            contract_complain(check, item, "operations",
                              "the operation '%s' is there twice; rename or "
                              "remove one",
                              name);
            continue;
        }
        struct contract_operation operation;
        if (read_operation(check, contract, item, &operation) != 0)
            return -1;
        contract->operations[contract->operation_count++] = operation;
    }
    return 0;
}

static int read_head(struct contract_check *check, struct contract *contract)
{
    static const char *const parts[] = {"major", "minor", "patch"};
    const struct node *root = contract->root;
    const struct node *version = document_get(root, "version");
    contract->node_type = (enum node_type)word_index(
        text_of(root, "node_type", ""), NODE_TYPE_COUNT, node_type_word);
    contract->domain = text_of(root, "domain", "");
    contract->service = text_of(root, "service", "");
    contract->description = text_of(root, "description", "");
    for (size_t i = 0; i < 3; i++)
        contract->version[i] = atoll(text_of(version, parts[i], "0"));
    contract->node_name =
        arena_printf(check->arena, "node_%s_%s_%s", contract->domain,
                     contract->service, node_type_folder(contract->node_type));
    contract->version_dir = arena_printf(
        check->arena, "v%lld_%lld_%lld", (long long)contract->version[0],
        (long long)contract->version[1], (long long)contract->version[2]);
    return contract->node_name == NULL || contract->version_dir == NULL ? -1
                                                                        : 0;
}

/* The shapes are right: fills the struct, complaining of what they could not
 * show. */
static int read_all(struct contract_check *check, struct contract *contract)
{
    const struct node *models = document_get(contract->root, "models");
    if (read_head(check, contract) != 0 ||
        read_fields(check, document_get(models, "input"), "models.input",
                    &contract->input) != 0 ||
        read_fields(check, document_get(models, "output"), "models.output",
                    &contract->output) != 0 ||
        read_fields(check, document_get(models, "config"), "models.config",
                    &contract->config) != 0 ||
        read_operations(check, contract) != 0)
        return -1;
    contract_check_meaning(check, contract);
    return 0;
}

static int parse(struct arena *arena, const char *name, const char *text,
                 size_t size, struct node **root, struct error *error)
{
    struct document_limits limits = document_limits_default;
    limits.bytes = CONTRACT_BYTES_MAX;
    limits.depth = 32;
    limits.nodes = 100000;
    size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".json") == 0)
        return document_read_json(arena, name, text, size, &limits, root,
                                  error);
    return document_read_yaml(arena, name, text, size, &limits, root, error);
}

struct contract *contract_read(struct arena *arena, const char *name,
                               const char *text, size_t size,
                               struct buffer *errors)
{
    struct contract_check check = {
        .arena = arena, .name = name, .errors = errors};
    struct node *root = NULL;
    struct error error;
    error_clear(&error);
    if (parse(arena, name, text, size, &root, &error) != 0) {
        buffer_printf(errors, "%s\n", error.text);
        return NULL;
    }
    struct contract *contract = arena_calloc(arena, 1, sizeof(*contract));
    if (contract == NULL) {
        buffer_printf(errors, "%s: no memory to read it\n", name);
        return NULL;
    }
    contract->name = name;
    contract->root = root;
    SHA256Data((const uint8_t *)text, size, contract->sha256);
    contract_check_shapes(&check, root);
    if (check.error_count == 0 && read_all(&check, contract) != 0) {
        buffer_printf(errors, "%s: no memory to read it\n", name);
        return NULL;
    }
    return check.error_count == 0 ? contract : NULL;
}
