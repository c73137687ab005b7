/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/contract_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/text.h"
#include "common/generation/mixins.h"
#include "common/generation/names.h"

enum map_name {
    MAP_NONE,
    MAP_CONTRACT,
    MAP_VERSION,
    MAP_MODELS,
    MAP_FIELD,
    MAP_OPERATION,
    MAP_DEPENDENCY,
    MAP_EVENTS,
};

enum shape {
    SHAPE_ANY,
    SHAPE_TEXT,
    SHAPE_NAME,
    SHAPE_NUMBER,
    SHAPE_NODE_TYPE,
    SHAPE_FIELD_TYPE,
    SHAPE_FOLD,
    SHAPE_TEXTS,
    SHAPE_NAMES,
    SHAPE_MIXINS,
    SHAPE_MAP,
    SHAPE_MAPS,
};

static const struct key_row {
    enum map_name map;
    const char *key;
    enum shape shape;
    bool required;
    enum map_name within;
    const char *words;
} key_rows[] = {
#define X(map, key, shape, required, within, words)                            \
    {MAP_##map, key, SHAPE_##shape, required, MAP_##within, words},
    CONTRACT_KEY_LIST(X)
#undef X
};
#define KEY_ROW_COUNT (sizeof(key_rows) / sizeof(key_rows[0]))

static const char *const node_type_words[] = {
#define X(name, folder, words) #name,
    NODE_TYPE_LIST(X)
#undef X
        NULL,
};

static const char *const field_type_words[] = {
#define X(name, text, annotation) text,
    FIELD_TYPE_LIST(X)
#undef X
        NULL,
};

static const char *const fold_words[] = {
#define X(name, text) text,
    FOLD_LIST(X)
#undef X
        NULL,
};

/* A path is for a person: an endless one is cut. */
#define PATH_ROOM 300
static void put_item_path(char room[PATH_ROOM], const char *path,
                          unsigned index)
{
    snprintf(room, PATH_ROOM, "%.280s[%u]", path, index);
}

void contract_complain(struct contract_check *check, const struct node *where,
                       const char *path, const char *format, ...)
{
    char text[1024];
    check->error_count++;
    if (check->errors->size > CONTRACT_ERRORS_MAX - 4096)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buffer_printf(check->errors, "%s:%u:%u: %s%s%s\n", check->name, where->line,
                  where->column, path, *path == '\0' ? "" : ": ", text);
}

void contract_check_name(struct contract_check *check, const struct node *value,
                         const char *path)
{
    if (name_is_snake(value->text)) {
        if (name_is_keyword(value->text))
            contract_complain(check, value, path,
                              "'%s' is a keyword of Python; write '%s_'",
                              value->text, value->text);
        return;
    }
    const char *snake = name_to_snake(check->arena, value->text);
    if (snake != NULL && strcmp(snake, value->text) != 0)
        contract_complain(check, value, path,
                          "'%.80s' is no identifier; write '%s'", value->text,
                          snake);
    else
        contract_complain(check, value, path,
                          "'%.80s' is no identifier; use 1 to %d small "
                          "letters, digits and _, a letter first",
                          value->text, NAME_SIZE_MAX);
}

static void check_word(struct contract_check *check, const struct node *value,
                       const char *path, const char *const *words)
{
    for (const char *const *word = words; *word != NULL; word++) {
        if (strcmp(*word, value->text) == 0)
            return;
    }
    const char *nearest = text_nearest(value->text, words);
    char list[200] = "";
    for (const char *const *word = words; *word != NULL; word++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s%s",
                 word == words ? "" : ", ", *word);
    }
    if (nearest != NULL)
        contract_complain(check, value, path,
                          "'%.80s' is unknown; did you mean '%s'?", value->text,
                          nearest);
    else
        contract_complain(check, value, path,
                          "'%.80s' is unknown; use one of %s", value->text,
                          list);
}

static bool is_kind(struct contract_check *check, const struct node *value,
                    const char *path, enum node_kind kind, const char *remedy)
{
    if (value->kind == kind)
        return true;
    contract_complain(check, value, path, "a %s where a %s is needed; %s",
                      node_kind_name(value->kind), node_kind_name(kind),
                      remedy);
    return false;
}

static bool check_text(struct contract_check *check, const struct node *value,
                       const char *path)
{
    if (!is_kind(check, value, path, NODE_STRING, "write it in quotes"))
        return false;
    if (value->text_size == 0)
        contract_complain(check, value, path,
                          "is empty; say something or leave the key out");
    else if (value->text_size > 4000)
        contract_complain(check, value, path,
                          "has %zu bytes; at most 4000 are allowed",
                          value->text_size);
    else if (strlen(value->text) != value->text_size)
        contract_complain(check, value, path,
                          "has a NUL character; take it out");
    else
        return true;
    return false;
}

static void check_list(struct contract_check *check, const struct node *value,
                       const char *path, bool names)
{
    if (!is_kind(check, value, path, NODE_LIST, "write [a, b] or '- ' lines"))
        return;
    if (value->count > CONTRACT_TEXTS_MAX) {
        contract_complain(check, value, path,
                          "has %u items; at most %d are allowed", value->count,
                          CONTRACT_TEXTS_MAX);
        return;
    }
    unsigned index = 0;
    for (const struct node *item = value->first; item != NULL;
         item = item->next, index++) {
        char item_path[PATH_ROOM];
        put_item_path(item_path, path, index);
        if (check_text(check, item, item_path) && names)
            contract_check_name(check, item, item_path);
    }
    const struct node *twice = contract_duplicate(value);
    if (twice != NULL)
        contract_complain(check, twice, path,
                          "'%.80s' is there twice; take one out", twice->text);
}

static void check_mixins(struct contract_check *check, const struct node *value,
                         const char *path)
{
    unsigned before = check->error_count;
    unsigned index = 0;
    check_list(check, value, path, false);
    if (check->error_count > before)
        return;
    for (const struct node *item = value->first; item != NULL;
         item = item->next, index++) {
        char item_path[PATH_ROOM];
        put_item_path(item_path, path, index);
        if (mixin_find(item->text) >= 0)
            continue;
        const char *nearest = mixin_nearest(item->text);
        if (nearest != NULL)
            contract_complain(check, item, item_path,
                              "'%.80s' is unknown; did you mean '%s'?",
                              item->text, nearest);
        else
            check_word(check, item, item_path, mixin_names);
    }
}

static void check_map(struct contract_check *check, const struct node *map,
                      enum map_name name, const char *path);

static void check_maps(struct contract_check *check, const struct node *value,
                       const struct key_row *row, const char *path)
{
    unsigned most = row->within == MAP_OPERATION ? CONTRACT_OPERATIONS_MAX
                                                 : CONTRACT_FIELDS_MAX / 2;
    if (!is_kind(check, value, path, NODE_LIST, "write a list of maps"))
        return;
    if (value->count > most) {
        contract_complain(check, value, path,
                          "has %u items; at most %u are allowed", value->count,
                          most);
        return;
    }
    if (value->count == 0 && row->within == MAP_OPERATION)
        contract_complain(check, value, path, "is empty; name at least one");
    unsigned index = 0;
    for (const struct node *item = value->first; item != NULL;
         item = item->next, index++) {
        char item_path[PATH_ROOM];
        put_item_path(item_path, path, index);
        if (is_kind(check, item, item_path, NODE_MAP, "write {name: ...}"))
            check_map(check, item, row->within, item_path);
    }
}

static void check_number(struct contract_check *check, const struct node *value,
                         const char *path)
{
    if (value->kind != NODE_NUMBER || !name_is_decimal(value->text, false) ||
        value->text[0] == '-' || value->text_size > 6)
        contract_complain(check, value, path,
                          "must be a whole number from 0 to 999999; write it "
                          "without quotes");
}

static void check_shape(struct contract_check *check, const struct node *value,
                        const struct key_row *row, const char *path)
{
    switch (row->shape) {
    case SHAPE_ANY:
        break;
    case SHAPE_TEXT:
        check_text(check, value, path);
        break;
    case SHAPE_NAME:
        if (check_text(check, value, path))
            contract_check_name(check, value, path);
        break;
    case SHAPE_NUMBER:
        check_number(check, value, path);
        break;
    case SHAPE_NODE_TYPE:
        if (check_text(check, value, path))
            check_word(check, value, path, node_type_words);
        break;
    case SHAPE_FIELD_TYPE:
        if (check_text(check, value, path))
            check_word(check, value, path, field_type_words);
        break;
    case SHAPE_FOLD:
        if (check_text(check, value, path))
            check_word(check, value, path, fold_words);
        break;
    case SHAPE_TEXTS:
    case SHAPE_NAMES:
        check_list(check, value, path, row->shape == SHAPE_NAMES);
        break;
    case SHAPE_MIXINS:
        check_mixins(check, value, path);
        break;
    case SHAPE_MAP:
        if (is_kind(check, value, path, NODE_MAP, "write keys below it"))
            check_map(check, value, row->within, path);
        break;
    case SHAPE_MAPS:
        check_maps(check, value, row, path);
        break;
    }
}

static const struct key_row *find_row(enum map_name map, const char *key)
{
    for (size_t i = 0; i < KEY_ROW_COUNT; i++) {
        if (key_rows[i].map == map && strcmp(key_rows[i].key, key) == 0)
            return &key_rows[i];
    }
    return NULL;
}

static void unknown_key(struct contract_check *check, const struct node *value,
                        enum map_name map, const char *path)
{
    const char *known[KEY_ROW_COUNT + 1];
    size_t count = 0;
    char list[300] = "";
    for (size_t i = 0; i < KEY_ROW_COUNT; i++) {
        if (key_rows[i].map != map)
            continue;
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s%s",
                 count == 0 ? "" : ", ", key_rows[i].key);
        known[count++] = key_rows[i].key;
    }
    known[count] = NULL;
    struct node where = *value;
    where.line = value->key_line;
    where.column = value->key_column;
    const char *nearest = text_nearest(value->key, known);
    if (nearest != NULL)
        contract_complain(check, &where, path,
                          "unknown key '%.80s'; did you mean '%s'?", value->key,
                          nearest);
    else
        contract_complain(check, &where, path,
                          "unknown key '%.80s'; the keys here are %s",
                          value->key, list);
}

static void check_map(struct contract_check *check, const struct node *map,
                      enum map_name name, const char *path)
{
    for (const struct node *value = map->first; value != NULL;
         value = value->next) {
        const struct key_row *row = find_row(name, value->key);
        char key_path[PATH_ROOM];
        snprintf(key_path, sizeof(key_path), "%.200s%s%.80s", path,
                 *path == '\0' ? "" : ".", value->key);
        if (row == NULL)
            unknown_key(check, value, name, path);
        else
            check_shape(check, value, row, key_path);
    }
    for (size_t i = 0; i < KEY_ROW_COUNT; i++) {
        if (key_rows[i].map == name && key_rows[i].required &&
            document_get(map, key_rows[i].key) == NULL)
            contract_complain(check, map, path,
                              "the key '%s' is missing; add it (%s)",
                              key_rows[i].key, key_rows[i].words);
    }
}

void contract_check_shapes(struct contract_check *check,
                           const struct node *root)
{
    if (root->kind == NODE_NULL)
        contract_complain(check, root, "",
                          "the contract is empty; write at least node_type, "
                          "domain, service, description, version, operations "
                          "and models");
    else if (is_kind(check, root, "", NODE_MAP,
                     "a contract is a map with the key node_type"))
        check_map(check, root, MAP_CONTRACT, "");
}

const struct node *contract_duplicate(const struct node *list)
{
    for (const struct node *item = list->first; item != NULL;
         item = item->next) {
        for (const struct node *earlier = list->first; earlier != item;
             earlier = earlier->next) {
            if (item->text != NULL && earlier->text != NULL &&
                strcmp(item->text, earlier->text) == 0)
                return item;
        }
    }
    return NULL;
}

const char *node_type_name(enum node_type type)
{
    return node_type_words[type];
}

const char *node_type_folder(enum node_type type)
{
    static const char *const folders[] = {
#define X(name, folder, words) folder,
        NODE_TYPE_LIST(X)
#undef X
    };
    return folders[type];
}

const char *field_type_name(enum field_type type)
{
    return field_type_words[type];
}

const char *field_type_annotation(enum field_type type)
{
    static const char *const annotations[] = {
#define X(name, text, annotation) annotation,
        FIELD_TYPE_LIST(X)
#undef X
    };
    return annotations[type];
}

const char *fold_name(enum fold fold)
{
    return fold_words[fold];
}
