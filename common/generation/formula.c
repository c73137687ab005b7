/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/formula.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/text.h"
#include "common/generation/names.h"

#define FORMULA_TEXT_MAX  2000
#define FORMULA_DEPTH_MAX 50
#define FORMULA_ANY       FIELD_TYPE_COUNT /* an item of a list, say */

enum token_kind { TOKEN_END, TOKEN_NUMBER, TOKEN_TEXT, TOKEN_NAME, TOKEN_SIGN };

struct parser {
    const char *text;
    const char *at;    /* behind the token */
    const char *start; /* of the token */
    enum token_kind kind;
    char token[NAME_SIZE_MAX + 1]; /* of a name, number or sign */
    unsigned depth;
    const struct formula_names *names;
    struct formula *formula;
    struct buffer out;
    struct error *error;
    bool failed;
};

/* name, type of the result (SAME: that of its arguments), kinds of its
 * arguments, fewest, most, Python */
#define SAME (FIELD_TYPE_COUNT + 1)
static const struct function {
    const char *name;
    int result;
    const char *takes; /* n number, t text, s sized, l list, a anything */
    unsigned fewest, most;
    const char *python;
} functions[] = {
    {"abs", SAME, "n", 1, 1, "abs"},
    {"min", SAME, "n", 2, 20, "min"},
    {"max", SAME, "n", 2, 20, "max"},
    {"round", FIELD_INT, "n", 1, 2, "round"},
    {"floor", FIELD_INT, "n", 1, 1, "math.floor"},
    {"ceil", FIELD_INT, "n", 1, 1, "math.ceil"},
    {"sqrt", FIELD_FLOAT, "n", 1, 1, "math.sqrt"},
    {"int", FIELD_INT, "a", 1, 1, "int"},
    {"float", FIELD_FLOAT, "a", 1, 1, "float"},
    {"str", FIELD_STR, "a", 1, 1, "str"},
    {"bool", FIELD_BOOL, "a", 1, 1, "bool"},
    {"len", FIELD_INT, "s", 1, 1, "len"},
    {"sum", FORMULA_ANY, "l", 1, 1, "sum"},
    {"sorted", FIELD_LIST, "l", 1, 1, "sorted"},
    {"smallest", FORMULA_ANY, "l", 1, 1, "min"},
    {"largest", FORMULA_ANY, "l", 1, 1, "max"},
    {"upper", FIELD_STR, "t", 1, 1, "str.upper"},
    {"lower", FIELD_STR, "t", 1, 1, "str.lower"},
    {"strip", FIELD_STR, "t", 1, 1, "str.strip"},
    {"title", FIELD_STR, "t", 1, 1, "str.title"},
};
#define FUNCTION_COUNT (sizeof(functions) / sizeof(functions[0]))

static int parse_choice(struct parser *parser);

static int fail(struct parser *parser, const char *what, const char *remedy)
{
    if (!parser->failed)
        error_set(parser->error, ERROR_DATA,
                  "%s at character %zu of the formula; %s", what,
                  (size_t)(parser->start - parser->text) + 1, remedy);
    parser->failed = true;
    parser->kind = TOKEN_END;
    return FORMULA_ANY;
}

static const char *type_words(int type)
{
    return type < FIELD_TYPE_COUNT ? field_type_name((enum field_type)type)
                                   : "value";
}

static bool is_number(int type)
{
    return type == FIELD_INT || type == FIELD_FLOAT || type == FORMULA_ANY;
}

static bool fits(int type, char takes)
{
    switch (takes) {
    case 'n':
        return is_number(type);
    case 't':
        return type == FIELD_STR || type == FORMULA_ANY;
    case 's':
        return type == FIELD_STR || type == FIELD_LIST || type == FIELD_DICT ||
               type == FORMULA_ANY;
    case 'l':
        return type == FIELD_LIST || type == FORMULA_ANY;
    default:
        return true;
    }
}

static void take_token(struct parser *parser, size_t size)
{
    if (size >= sizeof(parser->token)) {
        fail(parser, "a word is too long", "use at most 64 characters");
        return;
    }
    memcpy(parser->token, parser->start, size);
    parser->token[size] = '\0';
    parser->at = parser->start + size;
}

static void next_text(struct parser *parser)
{
    const char *end = parser->start + 1;
    while (*end != '\0' && *end != *parser->start && *end != '\\')
        end++;
    if (*end == '\0')
        fail(parser, "a text is not closed", "close it with the same quote");
    else if (*end == '\\')
        fail(parser, "a backslash in a text", "leave it out");
    else
        parser->at = end + 1;
}

static void next(struct parser *parser)
{
    static const char *const signs[] = {"//", "**", "<=", ">=", "==", "!="};
    const char *digits = "0123456789";
    if (parser->failed)
        return;
    parser->start = parser->at + strspn(parser->at, " \t\r\n");
    const char *start = parser->start;
    parser->token[0] = '\0';
    if (*start == '\0') {
        parser->kind = TOKEN_END;
    } else if (isdigit((unsigned char)*start)) {
        size_t size = strspn(start, digits);
        if (start[size] == '.')
            size += 1 + strspn(start + size + 1, digits);
        parser->kind = TOKEN_NUMBER;
        take_token(parser, size);
        if (!name_is_decimal(parser->token, true))
            fail(parser, "not a decimal number", "write it as 12 or 0.5");
    } else if (*start == '"' || *start == '\'') {
        parser->kind = TOKEN_TEXT;
        next_text(parser);
    } else if (isalpha((unsigned char)*start) || *start == '_') {
        size_t size = 1;
        while (isalnum((unsigned char)start[size]) || start[size] == '_')
            size++;
        parser->kind = TOKEN_NAME;
        take_token(parser, size);
    } else {
        size_t size = 1;
        for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
            if (strncmp(start, signs[i], 2) == 0)
                size = 2;
        }
        parser->kind = TOKEN_SIGN;
        take_token(parser, size);
    }
}

static bool is(const struct parser *parser, const char *token)
{
    return (parser->kind == TOKEN_SIGN || parser->kind == TOKEN_NAME) &&
           strcmp(parser->token, token) == 0;
}

static void put_operator(struct parser *parser)
{
    buffer_printf(&parser->out, " %s ", parser->token);
    next(parser);
}

static const struct function *find_function(const char *name)
{
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        if (strcmp(functions[i].name, name) == 0)
            return &functions[i];
    }
    return NULL;
}

static int parse_call(struct parser *parser, const struct function *function)
{
    unsigned count = 0;
    int type = FIELD_INT;
    buffer_printf(&parser->out, "%s(", function->python);
    if (strncmp(function->python, "math.", 5) == 0)
        parser->formula->uses_math = true;
    next(parser);
    do {
        next(parser); /* the parenthesis or comma */
        if (count > 0)
            buffer_append_text(&parser->out, ", ");
        int argument = parse_choice(parser);
        if (!fits(argument, function->takes[0]))
            return fail(parser, "an argument has the wrong type",
                        "see the functions in tidemill-templates(7)");
        if (argument == FIELD_FLOAT || argument == FORMULA_ANY)
            type = argument;
        count++;
    } while (is(parser, ","));
    if (!is(parser, ")"))
        return fail(parser, "a parenthesis is not closed", "add )");
    if (count < function->fewest || count > function->most)
        return fail(parser, "wrong number of arguments",
                    "see the functions in tidemill-templates(7)");
    buffer_append_char(&parser->out, ')');
    next(parser);
    if (function->result == FIELD_INT && count == 2)
        return FIELD_FLOAT; /* round to some places */
    return function->result == SAME ? type : function->result;
}

static int unknown_name(struct parser *parser)
{
    const char *known[2 * CONTRACT_FIELDS_MAX + FUNCTION_COUNT + 1];
    size_t count = 0;
    const struct contract_fields *models[] = {parser->names->input,
                                              parser->names->config};
    for (size_t m = 0; m < 2; m++) {
        for (size_t i = 0; i < models[m]->count; i++)
            known[count++] = models[m]->items[i].name;
    }
    for (size_t i = 0; i < FUNCTION_COUNT; i++)
        known[count++] = functions[i].name;
    known[count] = NULL;
    const char *nearest = text_nearest(parser->token, known);
    char what[200], remedy[200];
    snprintf(what, sizeof(what), "unknown name '%s'", parser->token);
    if (nearest != NULL)
        snprintf(remedy, sizeof(remedy), "did you mean '%s'?", nearest);
    else
        snprintf(remedy, sizeof(remedy),
                 "use a field of models.input or models.config");
    return fail(parser, what, remedy);
}

static int parse_name(struct parser *parser)
{
    if (is(parser, "true") || is(parser, "false")) {
        buffer_append_text(&parser->out, is(parser, "true") ? "True" : "False");
        next(parser);
        return FIELD_BOOL;
    }
    const char *behind = parser->at + strspn(parser->at, " ");
    const struct function *function = find_function(parser->token);
    if (*behind == '(' && function != NULL)
        return parse_call(parser, function);
    const struct contract_fields *input = parser->names->input;
    for (size_t i = 0; i < input->count; i++) {
        if (strcmp(input->items[i].name, parser->token) == 0) {
            parser->formula->used[i] = true;
            buffer_printf(&parser->out, "request.%s", parser->token);
            next(parser);
            return (int)input->items[i].type;
        }
    }
    const struct contract_fields *config = parser->names->config;
    for (size_t i = 0; i < config->count; i++) {
        if (strcmp(config->items[i].name, parser->token) == 0) {
            buffer_printf(&parser->out, "self._config.%s", parser->token);
            next(parser);
            return (int)config->items[i].type;
        }
    }
    return unknown_name(parser);
}

static int parse_atom(struct parser *parser)
{
    if (parser->kind == TOKEN_NUMBER) {
        buffer_append_text(&parser->out, parser->token);
        int type = strchr(parser->token, '.') != NULL ? FIELD_FLOAT : FIELD_INT;
        next(parser);
        return type;
    }
    if (parser->kind == TOKEN_TEXT) {
        buffer_append_json(&parser->out, parser->start + 1,
                           (size_t)(parser->at - parser->start) - 2);
        next(parser);
        return FIELD_STR;
    }
    if (parser->kind == TOKEN_NAME)
        return parse_name(parser);
    if (!is(parser, "("))
        return fail(parser, "a value is missing",
                    "put a number, a text, a field or a function there");
    buffer_append_char(&parser->out, '(');
    next(parser);
    int type = parse_choice(parser);
    if (!is(parser, ")"))
        return fail(parser, "a parenthesis is not closed", "add )");
    buffer_append_char(&parser->out, ')');
    next(parser);
    return type;
}

static int need_number(struct parser *parser, int type)
{
    if (!is_number(type))
        return fail(parser, "a number is needed before this place",
                    "use int(...) or float(...) around it");
    return type;
}

static int parse_unary(struct parser *parser)
{
    if (++parser->depth > FORMULA_DEPTH_MAX)
        return fail(parser, "the formula is nested too deep",
                    "split it over two fields");
    int type;
    if (is(parser, "-")) {
        buffer_append_char(&parser->out, '-');
        next(parser);
        type = need_number(parser, parse_unary(parser));
    } else {
        type = parse_atom(parser);
        if (is(parser, "**")) {
            need_number(parser, type);
            put_operator(parser);
            need_number(parser, parse_unary(parser));
            type = FORMULA_ANY; /* int ** -1 is a float */
        }
    }
    parser->depth--;
    return type;
}

static int combine(int left, int right)
{
    if (left == FORMULA_ANY || right == FORMULA_ANY)
        return FORMULA_ANY;
    return left == FIELD_FLOAT || right == FIELD_FLOAT ? FIELD_FLOAT
                                                       : FIELD_INT;
}

static int parse_product(struct parser *parser)
{
    int type = parse_unary(parser);
    while (is(parser, "*") || is(parser, "/") || is(parser, "//") ||
           is(parser, "%")) {
        bool is_division = is(parser, "/");
        need_number(parser, type);
        put_operator(parser);
        type = combine(type, need_number(parser, parse_unary(parser)));
        if (is_division)
            type = FIELD_FLOAT;
    }
    return type;
}

static int parse_sum(struct parser *parser)
{
    int type = parse_product(parser);
    while (is(parser, "+") || is(parser, "-")) {
        bool joins =
            is(parser, "+") && (type == FIELD_STR || type == FIELD_LIST);
        if (!joins)
            need_number(parser, type);
        put_operator(parser);
        int right = parse_product(parser);
        if (joins && right != type && right != FORMULA_ANY)
            return fail(parser, "a text or list is joined with another type",
                        "use str(...) around the other value");
        if (!joins)
            type = combine(type, need_number(parser, right));
    }
    return type;
}

static int parse_not(struct parser *parser)
{
    if (++parser->depth > FORMULA_DEPTH_MAX)
        return fail(parser, "the formula is nested too deep",
                    "split it over two fields");
    int type;
    if (is(parser, "not")) {
        buffer_append_text(&parser->out, "not ");
        next(parser);
        parse_not(parser);
        type = FIELD_BOOL;
    } else {
        type = parse_sum(parser);
        if (is(parser, "<") || is(parser, "<=") || is(parser, ">") ||
            is(parser, ">=") || is(parser, "==") || is(parser, "!=")) {
            bool orders = parser->token[0] == '<' || parser->token[0] == '>';
            put_operator(parser);
            int right = parse_sum(parser);
            if (orders && is_number(type) != is_number(right))
                return fail(parser, "two types that have no order are compared",
                            "compare numbers with numbers");
            type = FIELD_BOOL;
        }
    }
    parser->depth--;
    return type;
}

static int parse_and(struct parser *parser)
{
    int type = parse_not(parser);
    while (is(parser, "and")) {
        put_operator(parser);
        parse_not(parser);
        type = FORMULA_ANY;
    }
    return type;
}

static int parse_or(struct parser *parser)
{
    int type = parse_and(parser);
    while (is(parser, "or")) {
        put_operator(parser);
        parse_and(parser);
        type = FORMULA_ANY;
    }
    return type;
}

static int parse_choice(struct parser *parser)
{
    int type = parse_or(parser);
    if (!is(parser, "if"))
        return type;
    if (++parser->depth > FORMULA_DEPTH_MAX)
        return fail(parser, "the formula is nested too deep",
                    "split it over two fields");
    put_operator(parser);
    parse_or(parser);
    if (!is(parser, "else"))
        return fail(parser, "an 'if' without 'else'",
                    "write A if CONDITION else B");
    put_operator(parser);
    int other = parse_choice(parser);
    parser->depth--;
    if (type == other)
        return type;
    return is_number(type) && is_number(other) ? combine(type, other)
                                               : FORMULA_ANY;
}

static bool assignable(int type, enum field_type wanted)
{
    return type >= FORMULA_ANY || type == (int)wanted ||
           (wanted == FIELD_FLOAT && type == FIELD_INT);
}

int formula_compile(struct arena *arena, const char *text,
                    enum field_type wanted, const struct formula_names *names,
                    struct formula *formula, struct error *error)
{
    *formula = (struct formula){.python = NULL};
    if (strlen(text) > FORMULA_TEXT_MAX)
        return error_set(error, ERROR_DATA,
                         "the formula is longer than %d bytes; split it over "
                         "two fields",
                         FORMULA_TEXT_MAX);
    struct parser parser = {.text = text,
                            .at = text,
                            .start = text,
                            .names = names,
                            .formula = formula,
                            .error = error};
    buffer_init(&parser.out, 16 * FORMULA_TEXT_MAX);
    next(&parser);
    int type = parse_choice(&parser);
    if (!parser.failed && parser.kind != TOKEN_END)
        fail(&parser, "something is left over", "put an operator before it");
    if (!parser.failed && !assignable(type, wanted)) {
        error_set(error, ERROR_DATA,
                  "the formula gives %s but the field is %s; write %s(...) "
                  "around it or change the field's type",
                  type_words(type), field_type_name(wanted),
                  field_type_name(wanted));
        parser.failed = true;
    }
    if (!parser.failed) {
        formula->python = arena_strdup(arena, parser.out.bytes);
        if (parser.out.failed || formula->python == NULL)
            parser.failed =
                error_set(error, ERROR_SYSTEM, "no memory for a formula") != 0;
    }
    buffer_deinit(&parser.out);
    return parser.failed ? -1 : 0;
}
