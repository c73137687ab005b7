/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <yaml.h>

#include "common/base/text.h"
#include "common/document/document.h"
#include "common/document/tree.h"

#define ANCHOR_BUCKETS 256u

/* A value that has a name. */
struct anchor {
    struct anchor *next; /* older in its bucket */
    const char *name;
    const struct node *node;
    unsigned nodes;  /* that a copy costs */
    unsigned height; /* levels of lists and maps; 0 for a scalar */
    bool open;       /* its list or map is still being read */
};

struct yaml_reader {
    struct tree tree;
    yaml_parser_t parser;
    const char *text;
    size_t size;
    struct anchor *buckets[ANCHOR_BUCKETS];
    struct anchor **open; /* the anchor of each open frame, or NULL */
    unsigned documents;
};

static uint32_t mark_line(const yaml_mark_t *mark)
{
    return (uint32_t)mark->line + 1;
}

static uint32_t mark_column(const yaml_mark_t *mark)
{
    return (uint32_t)mark->column + 1;
}

/* The byte at a place; NUL past the end. */
static char byte_at_mark(const struct yaml_reader *reader,
                         const yaml_mark_t *mark)
{
    const char *end = reader->text + reader->size;
    struct place place = {.at = reader->text, .line = 1, .column = 1};
    while (place.at < end &&
           (place.line < mark_line(mark) || (place.line == mark_line(mark) &&
                                             place.column < mark_column(mark))))
        place_advance(&place, place.at + 1);
    return place.at < end ? *place.at : '\0';
}

/* What to do about an error in words that libyaml does not have. */
static const char *find_remedy(const struct yaml_reader *reader)
{
    const char *problem = reader->parser.problem;
    if (strstr(problem, "cannot start any token") != NULL)
        return byte_at_mark(reader, &reader->parser.problem_mark) == '\t'
                   ? "; indent with spaces, not with tabs"
                   : "; put the value in quotes";
    if (strstr(problem, "mapping values are not allowed") != NULL)
        return "; check the indentation, and put a value that has ': ' in it "
               "in quotes";
    if (strstr(problem, "could not find expected ':'") != NULL)
        return "; a line must be \"key: value\" or \"- value\"";
    if (strstr(problem, "unexpected end of stream") != NULL)
        return "; the closing quote is missing";
    return "";
}

static int fail_parser(struct yaml_reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_MEMORY_ERROR || parser->problem == NULL)
        return tree_fail_memory(&reader->tree);
    if (parser->error == YAML_READER_ERROR) {
        struct place place = {.at = reader->text, .line = 1, .column = 1};
        size_t offset = parser->problem_offset;
        place_advance(&place,
                      reader->text +
                          (offset < reader->size ? offset : reader->size));
        return tree_fail(&reader->tree, place.line, place.column,
                         "%s (0x%02x); this is no YAML text", parser->problem,
                         (unsigned)parser->problem_value);
    }
    const char *remedy = find_remedy(reader);
    uint32_t line = mark_line(&parser->problem_mark);
    uint32_t column = mark_column(&parser->problem_mark);
    if (parser->context == NULL)
        return tree_fail(&reader->tree, line, column, "%s%s", parser->problem,
                         remedy);
    return tree_fail(&reader->tree, line, column,
                     "%s %s that begins in line %u%s", parser->problem,
                     parser->context, mark_line(&parser->context_mark), remedy);
}

static int fail_event(struct yaml_reader *reader, const yaml_event_t *event,
                      const char *what)
{
    return tree_fail(&reader->tree, mark_line(&event->start_mark),
                     mark_column(&event->start_mark), "%s", what);
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

static const char *skip_digits(const char *text, const char *digits)
{
    return text + strspn(text, digits);
}

/* A number of the core schema (YAML 1.2.2, 10.3.2). */
static bool is_number(const char *text)
{
    static const char *const specials[] = {".inf", ".Inf", ".INF", NULL};
    static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
    const char *after;
    if (strncmp(text, "0x", 2) == 0) {
        after = skip_digits(text + 2, "0123456789abcdefABCDEF");
        return after > text + 2 && *after == '\0';
    }
    if (strncmp(text, "0o", 2) == 0) {
        after = skip_digits(text + 2, "01234567");
        return after > text + 2 && *after == '\0';
    }
    if (is_one_of(text, nans))
        return true;
    if (*text == '-' || *text == '+')
        text++;
    if (is_one_of(text, specials))
        return true;
    after = skip_digits(text, "0123456789");
    bool digits = after > text;
    if (*after == '.') {
        text = after + 1;
        after = skip_digits(text, "0123456789");
        digits = digits || after > text;
    }
    if (!digits)
        return false;
    if (*after == 'e' || *after == 'E') {
        text = after[1] == '-' || after[1] == '+' ? after + 2 : after + 1;
        after = skip_digits(text, "0123456789");
        if (after == text)
            return false;
    }
    return *after == '\0';
}

static void resolve_plain(struct node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    node->kind = NODE_STRING;
    node->boolean = is_one_of(node->text, trues);
    if (is_one_of(node->text, nulls))
        node->kind = NODE_NULL;
    else if (node->boolean || is_one_of(node->text, falses))
        node->kind = NODE_BOOL;
    else if (is_number(node->text))
        node->kind = NODE_NUMBER;
}

#define TAG_PREFIX "tag:yaml.org,2002:"

/* The kind that a scalar's tag wants; -1 for one that is not known. */
static int find_tag_kind(const char *tag)
{
    static const struct {
        const char *name;
        enum node_kind kind;
    } kinds[] = {{"str", NODE_STRING},
                 {"int", NODE_NUMBER},
                 {"float", NODE_NUMBER},
                 {"bool", NODE_BOOL},
                 {"null", NODE_NULL}};
    if (strcmp(tag, "!") == 0)
        return NODE_STRING;
    if (strncmp(tag, TAG_PREFIX, strlen(TAG_PREFIX)) == 0)
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
            if (strcmp(tag + strlen(TAG_PREFIX), kinds[i].name) == 0)
                return (int)kinds[i].kind;
    return -1;
}

/* Gives the node the text and kind of a scalar event. */
static int fill_scalar(struct yaml_reader *reader, const yaml_event_t *event,
                       struct node *node)
{
    const char *value = (const char *)event->data.scalar.value;
    const char *tag = (const char *)event->data.scalar.tag;
    node->text_size = event->data.scalar.length;
    if (memchr(value, '\0', node->text_size) != NULL)
        return fail_event(reader, event, "a NUL (\\0) in a string");
    node->text = arena_copy(reader->tree.arena, value, node->text_size);
    if (node->text == NULL)
        return tree_fail_memory(&reader->tree);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->kind = NODE_STRING;
    if (tag == NULL && !node->quoted)
        resolve_plain(node);
    if (tag == NULL)
        return 0;
    int kind = find_tag_kind(tag);
    if (kind < 0)
        return fail_event(reader, event,
                          "unknown tag; only !!str, !!int, !!float, !!bool, "
                          "!!null, !!seq and !!map exist");
    if (kind == NODE_STRING)
        return 0;
    resolve_plain(node);
    if ((int)node->kind != kind)
        return fail_event(reader, event, "the value is not what its tag says");
    return 0;
}

static struct anchor **find_bucket(struct yaml_reader *reader, const char *name)
{
    uint64_t hash = text_hash(TEXT_HASH_START, name, strlen(name));
    return &reader->buckets[hash % ANCHOR_BUCKETS];
}

/* Names a value; NULL without memory. */
static struct anchor *add_anchor(struct yaml_reader *reader,
                                 const yaml_char_t *name,
                                 const struct node *node)
{
    struct arena *arena = reader->tree.arena;
    struct anchor **bucket = find_bucket(reader, (const char *)name);
    struct anchor *anchor = arena_calloc(arena, 1, sizeof(*anchor));
    if (anchor != NULL)
        anchor->name = arena_strdup(arena, (const char *)name);
    if (anchor == NULL || anchor->name == NULL) {
        tree_fail_memory(&reader->tree);
        return NULL;
    }
    anchor->node = node;
    anchor->nodes = 1;
    anchor->next = *bucket;
    *bucket = anchor;
    return anchor;
}

/* A key is no value of its own, but it may have an anchor. */
static int read_key(struct yaml_reader *reader, const yaml_event_t *event)
{
    struct node key = {.line = mark_line(&event->start_mark),
                       .column = mark_column(&event->start_mark)};
    if (fill_scalar(reader, event, &key) != 0)
        return -1;
    tree_set_key(&reader->tree, key.text, key.text_size, key.line, key.column);
    if (event->data.scalar.anchor == NULL)
        return 0;
    struct node *named = arena_alloc(reader->tree.arena, sizeof(*named));
    if (named == NULL)
        return tree_fail_memory(&reader->tree);
    *named = key;
    return add_anchor(reader, event->data.scalar.anchor, named) == NULL ? -1
                                                                        : 0;
}

static int read_scalar(struct yaml_reader *reader, const yaml_event_t *event)
{
    if (tree_wants_key(&reader->tree))
        return read_key(reader, event);
    struct node *node =
        tree_add(&reader->tree, NODE_STRING, mark_line(&event->start_mark),
                 mark_column(&event->start_mark));
    if (node == NULL || fill_scalar(reader, event, node) != 0)
        return -1;
    if (event->data.scalar.anchor != NULL &&
        add_anchor(reader, event->data.scalar.anchor, node) == NULL)
        return -1;
    return 0;
}

static int read_alias(struct yaml_reader *reader, const yaml_event_t *event)
{
    struct tree *tree = &reader->tree;
    const char *name = (const char *)event->data.alias.anchor;
    uint32_t line = mark_line(&event->start_mark);
    uint32_t column = mark_column(&event->start_mark);
    const struct anchor *anchor = *find_bucket(reader, name);
    while (anchor != NULL && strcmp(anchor->name, name) != 0)
        anchor = anchor->next;
    if (anchor == NULL)
        return tree_fail(tree, line, column,
                         "alias *%.100s has no anchor &%.100s before it", name,
                         name);
    if (anchor->open)
        return tree_fail(tree, line, column,
                         "alias *%.100s stands within its own anchor (line "
                         "%u), so the value would contain itself",
                         name, anchor->node->line);
    const struct node *from = anchor->node;
    if (tree_wants_key(tree)) {
        if (from->kind == NODE_LIST || from->kind == NODE_MAP)
            return tree_fail(tree, line, column, "a key must be plain text");
        tree_set_key(tree, from->text, from->text_size, line, column);
        return 0;
    }
    if (tree_count(tree, anchor->nodes - 1, anchor->height, line, column) != 0)
        return -1;
    struct node *copy = tree_add(tree, from->kind, line, column);
    if (copy == NULL)
        return -1;
    copy->boolean = from->boolean;
    copy->quoted = from->quoted;
    copy->text = from->text;
    copy->text_size = from->text_size;
    copy->first = from->first; /* shared: nothing changes a document */
    copy->count = from->count;
    return 0;
}

static int open_collection(struct yaml_reader *reader,
                           const yaml_event_t *event, enum node_kind kind)
{
    /* The two events have the same members in the same order, but C does
     * not promise it. */
    bool map = kind == NODE_MAP;
    const yaml_char_t *name = map ? event->data.mapping_start.anchor
                                  : event->data.sequence_start.anchor;
    const char *tag = (const char *)(map ? event->data.mapping_start.tag
                                         : event->data.sequence_start.tag);
    if (tree_wants_key(&reader->tree))
        return fail_event(reader, event, "a key must be plain text");
    if (tag != NULL && strcmp(tag, "!") != 0 &&
        strcmp(tag, map ? TAG_PREFIX "map" : TAG_PREFIX "seq") != 0)
        return fail_event(reader, event,
                          map ? "unknown tag; a map may only be !!map"
                              : "unknown tag; a list may only be !!seq");
    struct node *node =
        tree_add(&reader->tree, kind, mark_line(&event->start_mark),
                 mark_column(&event->start_mark));
    if (node == NULL || tree_open(&reader->tree, node) != 0)
        return -1;
    struct anchor *anchor = NULL;
    if (name != NULL) {
        anchor = add_anchor(reader, name, node);
        if (anchor == NULL)
            return -1;
        anchor->open = true;
    }
    reader->open[reader->tree.depth - 1] = anchor;
    return 0;
}

static int close_collection(struct yaml_reader *reader)
{
    struct tree *tree = &reader->tree;
    struct anchor *anchor = reader->open[tree->depth - 1];
    const struct tree_frame *frame = &tree->frames[tree->depth - 1];
    if (anchor != NULL) {
        anchor->open = false;
        anchor->nodes = tree->nodes - frame->nodes_before;
        anchor->height = frame->height;
    }
    return tree_close(tree);
}

static int read_event(struct yaml_reader *reader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (reader->documents++ > 0)
            return fail_event(reader, event,
                              "a second document; one file holds one (remove "
                              "the line \"---\")");
        return 0;
    case YAML_SCALAR_EVENT:
        return read_scalar(reader, event);
    case YAML_ALIAS_EVENT:
        return read_alias(reader, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_collection(reader, event, NODE_LIST);
    case YAML_MAPPING_START_EVENT:
        return open_collection(reader, event, NODE_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return close_collection(reader);
    default:
        return 0;
    }
}

static int read_stream(struct yaml_reader *reader)
{
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&reader->parser, &event))
            return fail_parser(reader);
        bool end = event.type == YAML_STREAM_END_EVENT;
        int result = read_event(reader, &event);
        yaml_event_delete(&event);
        if (result != 0 || end)
            return result;
    }
}

static int add_empty(struct tree *tree)
{
    struct node *node = tree_add(tree, NODE_NULL, 1, 1);
    if (node == NULL)
        return -1;
    node->text = "";
    return 0;
}

int document_read_yaml(struct arena *arena, const char *name, const char *text,
                       size_t size, const struct document_limits *limits,
                       struct node **root, struct error *error)
{
    struct yaml_reader reader = {0};
    if (tree_init(&reader.tree, arena, name, limits, error) != 0 ||
        tree_check_text(&reader.tree, &text, &size) != 0)
        return -1;
    reader.text = text;
    reader.size = size;
    reader.open =
        arena_calloc(arena, reader.tree.limits->depth, sizeof(struct anchor *));
    if (reader.open == NULL || !yaml_parser_initialize(&reader.parser))
        return tree_fail_memory(&reader.tree);
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text,
                                 size);
    int result = read_stream(&reader);
    yaml_parser_delete(&reader.parser);
    if (result == 0 && reader.tree.root == NULL)
        result = add_empty(&reader.tree);
    if (result == 0)
        *root = reader.tree.root;
    return result;
}
