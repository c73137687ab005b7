/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/generation/contract.h"
#include "common/generation/formula.h"
#include "common/generation/names.h"

struct fixture {
    struct arena arena;
    struct buffer errors;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    arena_init(&fixture->arena, 32u << 20);
    buffer_init(&fixture->errors, 1u << 20);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    arena_deinit(&fixture->arena);
    buffer_deinit(&fixture->errors);
    free(fixture);
    return 0;
}

static struct contract *read_as(struct fixture *fixture, const char *name,
                                const char *text)
{
    buffer_reset(&fixture->errors);
    return contract_read(&fixture->arena, name, text, strlen(text),
                         &fixture->errors);
}

static void refused(struct fixture *fixture, const char *text,
                    const char *words)
{
    assert_null(read_as(fixture, "c.yaml", text));
    if (fixture->errors.size == 0 ||
        strstr(fixture->errors.bytes, words) == NULL)
        fail_msg("expected \"%s\" in:\n%s", words,
                 fixture->errors.size == 0 ? "" : fixture->errors.bytes);
}

#define HEAD(type)                                                             \
    "node_type: " type "\n"                                                    \
    "domain: shop\n"                                                           \
    "service: cart\n"                                                          \
    "description: Keeps what is bought\n"                                      \
    "version: {major: 1, minor: 2, patch: 3}\n"
#define OPERATIONS "operations:\n  - {name: add}\n"
#define MODELS                                                                 \
    "models:\n"                                                                \
    "  input:\n    - {name: price, type: float}\n"                             \
    "  output:\n    - {name: total, type: float}\n"

static void test_a_whole_contract(void **state)
{
    struct fixture *fixture = *state;
    const struct contract *contract =
        read_as(fixture, "c.yaml", HEAD("EFFECT") OPERATIONS MODELS);
    assert_non_null(contract);
    assert_int_equal(fixture->errors.size, 0);
    assert_int_equal(contract->node_type, NODE_TYPE_EFFECT);
    assert_string_equal(contract->node_name, "node_shop_cart_effect");
    assert_string_equal(contract->version_dir, "v1_2_3");
    assert_int_equal(contract->operation_count, 1);
    assert_int_equal(contract->operations[0].input_count, 1);
    assert_int_equal(strlen(contract->sha256), 64);
    const struct node *data = contract_data(&fixture->arena, contract);
    assert_non_null(data);
    assert_string_equal(document_get(data, "node_class")->text,
                        "NodeCartEffect");
}

static void test_json_is_the_same(void **state)
{
    struct fixture *fixture = *state;
    const struct contract *contract =
        read_as(fixture, "c.json",
                "{\"node_type\": \"EFFECT\", \"domain\": \"shop\", "
                "\"service\": \"cart\", \"description\": \"d\", "
                "\"version\": {\"major\": 1, \"minor\": 0, \"patch\": 0}, "
                "\"operations\": [{\"name\": \"add\"}], "
                "\"models\": {\"input\": [], \"output\": []}}");
    assert_non_null(contract);
    assert_string_equal(contract->node_name, "node_shop_cart_effect");
}

static void test_all_errors_at_once(void **state)
{
    struct fixture *fixture = *state;
    const char *text = "node_type: EFECT\n"
                       "domain: 7up\n"
                       "service: class\n"
                       "descripton: x\n"
                       "version: {major: 1, minor: -1}\n"
                       "operations: []\n"
                       "models: 5\n";
    refused(fixture, text,
            "c.yaml:1:12: node_type: 'EFECT' is unknown; did "
            "you mean 'EFFECT'?");
    refused(fixture, text, "c.yaml:2:9: domain: '7up' is no identifier");
    refused(fixture, text, "'class' is a keyword of Python");
    refused(fixture, text,
            "c.yaml:4:1: unknown key 'descripton'; did you "
            "mean 'description'?");
    refused(fixture, text, "the key 'description' is missing");
    refused(fixture, text, "version.minor");
    refused(fixture, text, "the key 'patch' is missing");
    refused(fixture, text, "operations: is empty");
    refused(fixture, text, "models: a number where a map is needed");
}

static void test_odd_documents(void **state)
{
    struct fixture *fixture = *state;
    refused(fixture, "", "the contract is empty");
    refused(fixture, "- a\n", "a contract is a map");
    refused(fixture, "a: [", "c.yaml:");
    refused(fixture, "a: &x {b: *x}", "c.yaml:");
    refused(fixture, "node_type: EFFECT\nnode_type: EFFECT\n", "c.yaml:2");
}

static void test_names_and_values(void **state)
{
    struct fixture *fixture = *state;
    refused(fixture, HEAD("EFFECT") MODELS "operations: [{name: addItem}]\n",
            "write 'add_item'");
    refused(fixture, HEAD("EFFECT") MODELS "operations: [{name: a}, {name: a}]",
            "'a' is there twice");
    refused(fixture,
            HEAD("EFFECT") OPERATIONS "models: {input: [{name: a, type: "
                                      "int}, {name: a, type: str}], output: "
                                      "[]}",
            "'a' is there twice");
    refused(fixture,
            HEAD("EFFECT") OPERATIONS "models: {input: [{name: a, type: int, "
                                      "default: x}], output: []}",
            "the default is a string but the field is int");
    refused(fixture,
            HEAD("EFFECT") OPERATIONS "models: {input: [{name: metadata, "
                                      "type: int}], output: []}",
            "uses this name itself");
    refused(fixture,
            HEAD("EFFECT") OPERATIONS "models: {input: [], output: [], "
                                      "config: [{name: x, type: int}]}",
            "a setting without default");
    refused(fixture,
            HEAD("EFFECT") MODELS "operations: [{name: a, input: [prize]}]",
            "there is no field 'prize'");
}

static void test_mixins(void **state)
{
    struct fixture *fixture = *state;
    refused(fixture, HEAD("EFFECT") MODELS OPERATIONS "mixins: [Retry]\n",
            "mixins[0]: Retry is not for EFFECT nodes");
    refused(fixture,
            HEAD("EFFECT") MODELS OPERATIONS "mixins: [Audit, circuit-breaker]",
            "mixins[1]: 'circuit-breaker' is unknown; did you mean "
            "'CircuitBreaker'?");
    refused(fixture, HEAD("EFFECT") MODELS OPERATIONS "mixins: [Audit, Audit]",
            "'Audit' is there twice");
    refused(fixture, HEAD("EFFECT") MODELS OPERATIONS "mixins: Audit",
            "a string where a list is needed");
    refused(
        fixture,
        HEAD("EFFECT") "models: {input: [], output: [], config: [{name: "
                       "audit_entries, type: str, default: many}]}\n" OPERATIONS
                       "mixins: [Audit]",
        "has this setting already, as int");
}

static void test_steps(void **state)
{
    struct fixture *fixture = *state;
    refused(fixture,
            HEAD("ORCHESTRATOR") MODELS "operations: [{name: a, depends_on: "
                                        "[b]}, {name: b, depends_on: [a]}]",
            "'a' waits for itself");
    refused(fixture,
            HEAD("ORCHESTRATOR") MODELS
            "operations: [{name: a, depends_on: [c]}]",
            "there is no operation 'c'");
    refused(fixture,
            HEAD("EFFECT") MODELS "operations: [{name: b}, {name: a, "
                                  "depends_on: [b]}]",
            "for an ORCHESTRATOR node only");
}

static void test_folds(void **state)
{
    struct fixture *fixture = *state;
    refused(fixture, HEAD("REDUCER") OPERATIONS MODELS,
            "a REDUCER output without a fold");
    refused(fixture,
            HEAD("REDUCER") OPERATIONS
            "models: {input: [{name: a, type: str}], output: [{name: b, "
            "type: int, fold: sum, of: a}]}",
            "does not fit a field of type int from one of type str");
    refused(fixture,
            HEAD("REDUCER") OPERATIONS
            "models: {input: [], output: [{name: b, type: int, fold: sum}]}",
            "needs 'of'");
    assert_non_null(
        read_as(fixture, "c.yaml",
                HEAD("REDUCER") OPERATIONS
                "models: {input: [{name: a, type: int}], output: [{name: b, "
                "type: float, fold: sum, of: a}, {name: n, type: int, fold: "
                "count}]}"));
}

static void test_formulas(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *text;
        enum field_type type;
        const char *python; /* NULL: refused, with these words */
        const char *words;
    } rows[] = {
        {"a+b*2", FIELD_INT, "request.a + request.b * 2", NULL},
        {"round(x, 2)", FIELD_FLOAT, "round(request.x, 2)", NULL},
        {"sqrt(x)", FIELD_FLOAT, "math.sqrt(request.x)", NULL},
        {"-a ** 2", FIELD_INT, "-request.a ** 2", NULL},
        {"upper(s) + 'x'", FIELD_STR, "str.upper(request.s) + \"x\"", NULL},
        {"1 if a > b else 0", FIELD_INT, "1 if request.a > request.b else 0",
         NULL},
        {"not (a == b) and a < rate", FIELD_BOOL,
         "not (request.a == request.b) and request.a < self._config.rate",
         NULL},
        {"a / b", FIELD_INT, NULL, "gives float but the field is int"},
        {"a +", FIELD_INT, NULL, "a value is missing at character 4"},
        {"(a", FIELD_INT, NULL, "a parenthesis is not closed"},
        {"a b", FIELD_INT, NULL, "something is left over"},
        {"aa", FIELD_INT, NULL, "unknown name 'aa'"},
        {"__import__('os')", FIELD_INT, NULL, "unknown name '__import__'"},
        {"a.real", FIELD_INT, NULL, "left over"},
        {"s * 2", FIELD_STR, NULL, "a number is needed"},
        {"s + 1", FIELD_STR, NULL, "joined with another type"},
        {"'open", FIELD_STR, NULL, "not closed"},
        {"007", FIELD_INT, NULL, "not a decimal number"},
        {"len(a)", FIELD_INT, NULL, "wrong type"},
        {"abs(1, 2)", FIELD_INT, NULL, "wrong number of arguments"},
        {"", FIELD_INT, NULL, "a value is missing"},
    };
    struct contract_field input[] = {{.name = "a", .type = FIELD_INT},
                                     {.name = "b", .type = FIELD_INT},
                                     {.name = "x", .type = FIELD_FLOAT},
                                     {.name = "s", .type = FIELD_STR}};
    struct contract_field config[] = {{.name = "rate", .type = FIELD_FLOAT}};
    struct contract_fields inputs = {input, 4}, configs = {config, 1};
    struct formula_names names = {&inputs, &configs};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct formula formula;
        struct error error;
        int result = formula_compile(&fixture->arena, rows[i].text,
                                     rows[i].type, &names, &formula, &error);
        if (rows[i].python != NULL) {
            assert_int_equal(result, 0);
            assert_string_equal(formula.python, rows[i].python);
        } else {
            assert_int_equal(result, -1);
            if (strstr(error.text, rows[i].words) == NULL)
                fail_msg("%s: %s", rows[i].text, error.text);
        }
    }
}

static void test_a_deep_formula_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char text[1001];
    struct contract_fields none = {NULL, 0};
    struct formula_names names = {&none, &none};
    struct formula formula;
    struct error error;
    memset(text, '(', 1000);
    text[1000] = '\0';
    assert_int_equal(formula_compile(&fixture->arena, text, FIELD_INT, &names,
                                     &formula, &error),
                     -1);
    assert_non_null(strstr(error.text, "nested too deep"));
}

static void test_compute_needs_formulas(void **state)
{
    struct fixture *fixture = *state;
    refused(fixture, HEAD("COMPUTE") OPERATIONS MODELS,
            "a COMPUTE output without a formula");
    refused(fixture,
            HEAD("COMPUTE") "operations: [{name: a, input: []}]\n"
                            "models: {input: [{name: p, type: int}], output: "
                            "[{name: t, type: int, formula: p + 1}]}",
            "does not take 'p'");
    refused(fixture,
            HEAD("EFFECT") OPERATIONS "models: {input: [], output: [{name: "
                                      "t, type: int, formula: '1'}]}",
            "for a COMPUTE node only");
}

static void test_names(void **state)
{
    struct fixture *fixture = *state;
    struct arena *arena = &fixture->arena;
    assert_string_equal(name_to_pascal(arena, "order_line_2"), "OrderLine2");
    assert_string_equal(name_to_snake(arena, "OrderLine"), "order_line");
    assert_string_equal(name_to_snake(arena, "order-line "), "order_line");
    assert_null(name_to_snake(arena, "42"));
    assert_string_equal(name_to_sentence(arena, " a\n\"\"\" b\\ "),
                        "a \"\"' b\\\\.");
    assert_true(name_is_decimal("-1.5e3", true));
    assert_false(name_is_decimal("0x10", true));
    assert_false(name_is_decimal(".5", true));
    assert_false(name_is_decimal("1.5", false));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_whole_contract),
        TEST(test_json_is_the_same),
        TEST(test_all_errors_at_once),
        TEST(test_odd_documents),
        TEST(test_names_and_values),
        TEST(test_steps),
        TEST(test_mixins),
        TEST(test_folds),
        TEST(test_formulas),
        TEST(test_a_deep_formula_is_refused),
        TEST(test_compute_needs_formulas),
        TEST(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
