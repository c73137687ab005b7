/* SPDX-License-Identifier: Apache-2.0
 *
 * Requirements in Markdown: what counts, the figures, and the places of
 * errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/generation/mixins.h"
#include "common/generation/requirements.h"

struct fixture {
    struct arena arena;
    struct buffer errors;
    struct requirements requirements;
    struct contract *contract;
};

static int init(void **state)
{
    static struct fixture fixture;
    memset(&fixture, 0, sizeof(fixture));
    arena_init(&fixture.arena, 64u << 20);
    buffer_init(&fixture.errors, 1u << 20);
    *state = &fixture;
    return 0;
}

static int deinit(void **state)
{
    struct fixture *fixture = *state;
    buffer_deinit(&fixture->errors);
    arena_deinit(&fixture->arena);
    return 0;
}

static void read_text(struct fixture *fixture, const char *text)
{
    buffer_reset(&fixture->errors);
    fixture->contract =
        requirements_read(&fixture->arena, "r.md", text, strlen(text),
                          &fixture->requirements, &fixture->errors);
}

static void good(struct fixture *fixture, const char *text)
{
    read_text(fixture, text);
    if (fixture->contract == NULL)
        fail_msg("%s", fixture->errors.bytes);
}

static void refused(struct fixture *fixture, const char *text,
                    const char *wanted)
{
    read_text(fixture, text);
    assert_null(fixture->contract);
    if (strstr(fixture->errors.bytes, wanted) == NULL)
        fail_msg("\"%s\" is not in: %s", wanted, fixture->errors.bytes);
}

static void near(double value, double wanted)
{
    assert_true(value > wanted - 1e-9 && value < wanted + 1e-9);
}

#define HEAD       "# Billing: Order mailer\n"
#define OPERATIONS "## Functional Requirements\n- send: Send it\n"
#define DETAILS    "## Technical Details\n"

static void test_names(void **state)
{
    struct fixture *fixture = *state;
    good(fixture, HEAD "## functional requirements:\n- **send_one**: Go\n"
                       "- Fetch the state of a mail\n- class: Teach\n");
    const struct contract *contract = fixture->contract;
    assert_string_equal(contract->node_name,
                        "node_billing_order_mailer_effect");
    assert_int_equal(contract->operation_count, 3);
    assert_string_equal(contract->operations[0].name, "send_one");
    assert_string_equal(contract->operations[0].description, "Go");
    assert_string_equal(contract->operations[1].name, "fetch_state_mail");
    assert_string_equal(contract->operations[2].name, "class_");
    good(fixture, "# Mailer\n" OPERATIONS DETAILS
                  "- Domain: Back Office\n- service: post\n- Version: 2.0.3\n");
    assert_string_equal(fixture->contract->domain, "back_office");
    assert_string_equal(fixture->contract->service, "post");
    assert_string_equal(fixture->contract->version_dir, "v2_0_3");
}

static void test_only_dash_bullets_count(void **state)
{
    struct fixture *fixture = *state;
    good(fixture, HEAD "## Overview\nFirst *line*,\nsecond.\n\nThird.\n"
                       "## Functional Requirements\nwords\n- one: a\n  b\n"
                       "  - not this\n\n- two: c\n```\n- code\n# title\n```\n"
                       "### Detail\n- three: d\n## Other\n- four\n");
    assert_string_equal(fixture->contract->description,
                        "First *line*, second.");
    assert_int_equal(fixture->contract->operation_count, 3);
    assert_string_equal(fixture->contract->operations[0].description,
                        "a b - not this");
    refused(fixture, HEAD "## Functional Requirements\n* one\n",
            "r.md:3: only dash bullets count");
}

static void test_fields(void **state)
{
    struct fixture *fixture = *state;
    good(fixture, HEAD OPERATIONS DETAILS
         "- Node type: compute\n- Input: net (float): Before tax.\n"
         "- Output: gross (float) = `net * (1 + tax) ** 2` -- After.\n"
         "- Setting: tax (float) = 0.19 -- The rate.\n");
    const struct contract *contract = fixture->contract;
    assert_int_equal(contract->node_type, NODE_TYPE_COMPUTE);
    assert_string_equal(contract->input.items[0].description, "Before tax.");
    assert_string_equal(contract->output.items[0].description, "After.");
    assert_non_null(strstr(contract->output.items[0].formula, "**"));
    assert_string_equal(contract->config.items[0].default_value->text, "0.19");
    good(fixture, HEAD OPERATIONS DETAILS
         "- Node type: REDUCER\n- Input: amount (int)\n"
         "- Output: total (int) = sum of amount\n- Output: n (int) = count\n");
    assert_int_equal(fixture->contract->output.items[0].fold, FOLD_SUM);
    assert_int_equal(fixture->contract->output.items[1].fold, FOLD_COUNT);
    good(fixture, HEAD "## Functional Requirements\n- a\n- b\n- c\n" DETAILS
                       "- Node type: ORCHESTRATOR\n");
}

static void test_figures(void **state)
{
    struct fixture *fixture = *state;
    struct requirements *r = &fixture->requirements;
    good(fixture, HEAD OPERATIONS);
    /* mailer, send, send: 3 of 10 */
    near(r->hints[NODE_TYPE_EFFECT], 0.3);
    near(r->hints[NODE_TYPE_COMPUTE], 0.0);
    near(r->quality, 0.6);
    /* a section, functional requirements, 0.3 of the hint */
    near(r->confidence, 0.1 + 0.1 + 0.09);
    good(fixture, "# A\n## Functional Requirements\n- go\n");
    assert_int_equal(r->node_type, NODE_TYPE_EFFECT);
    near(r->hints[NODE_TYPE_EFFECT], 0.5);
    good(fixture,
         "# Sums\n## Overview\nsum total count sum total count sum total "
         "count sum total\n## Features\n- Health metrics\n"
         "## Success Criteria\n## Dependencies\n" OPERATIONS DETAILS
         "- Node type: REDUCER\n");
    near(r->hints[NODE_TYPE_REDUCER], 1.0);
    near(r->quality, 1.0);
    near(r->confidence, 0.1 + 0.2 + 0.1 + 0.3 + 0.1);
}

#define BIT(name) (1u << MIXIN_##name)

static void test_capabilities(void **state)
{
    struct fixture *fixture = *state;
    good(fixture, HEAD OPERATIONS
         "## Features\n- Caching, metrics; retries\n- A circuit breaker\n"
         "- a breaker of circuits, retrieving logs\n");
    assert_int_equal(fixture->contract->mixins,
                     BIT(CACHING) | BIT(METRICS) | BIT(CIRCUIT_BREAKER));
    assert_int_equal(fixture->requirements.dropped, BIT(RETRY));
    good(fixture, HEAD OPERATIONS "## Features\n- Caching\n" DETAILS
                                  "- Mixins: Audit, RateLimiter\n");
    assert_int_equal(fixture->contract->mixins, BIT(AUDIT) | BIT(RATE_LIMITER));
}

static void test_errors_have_lines(void **state)
{
    struct fixture *fixture = *state;
    refused(fixture, "", "r.md:1: there is no title");
    refused(fixture, HEAD "## Features\n- a\n",
            "r.md:1: there are no requirements");
    refused(fixture, HEAD OPERATIONS OPERATIONS,
            "r.md:4: the section Functional Requirements is there twice "
            "(line 2)");
    refused(fixture, HEAD OPERATIONS "- send: again\n",
            "r.md:4: operations: the operation 'send' is there twice");
    refused(fixture, HEAD OPERATIONS DETAILS "- Node type: REDUCR\n",
            "r.md:5: 'REDUCR' is no node type; did you mean REDUCER");
    refused(fixture, HEAD OPERATIONS DETAILS "- Version: one\n",
            "r.md:5: is no version");
    refused(fixture, HEAD OPERATIONS DETAILS "- Input: x\n",
            "r.md:5: a field needs its type");
    refused(fixture, HEAD OPERATIONS DETAILS "\n- Input: x (strng)\n",
            "r.md:6: models.input[0].type: 'strng' is unknown; did you mean "
            "'str'?");
    refused(fixture, HEAD OPERATIONS DETAILS "- Setting: x (int) = [1\n",
            "r.md:5: the value behind '=' is none");
    refused(fixture, HEAD OPERATIONS DETAILS "- Setting: x (int) = one\n",
            "r.md:5: models.config.x: the default is a string");
    refused(fixture, HEAD OPERATIONS DETAILS "- Mixins: Audit, Cachin\n",
            "r.md:5: mixins[1]: 'Cachin' is unknown; did you mean 'Caching'?");
    refused(fixture, HEAD OPERATIONS DETAILS "- Mixins: Retry\n",
            "r.md:5: mixins[0]: Retry is not for EFFECT nodes");
    refused(fixture,
            HEAD OPERATIONS DETAILS "- Node type: COMPUTE\n- Input: a (int)\n"
                                    "- Output: b (int) = a * c\n",
            "r.md:7: models.output.b:");
    refused(fixture, "# !\n" OPERATIONS, "r.md:1: no name of a service");
    refused(fixture, HEAD "## Functional Requirements\n- 42\n",
            "r.md:3: no operation can be named");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, init, deinit)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_names),        TEST(test_only_dash_bullets_count),
        TEST(test_fields),       TEST(test_figures),
        TEST(test_capabilities), TEST(test_errors_have_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
