/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/mixins.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/text.h"

enum { INIT = 1, CLEANUP = 2, COMMIT = 4, ROLLBACK = 8 };

#define BIT(type) (1u << NODE_TYPE_##type)

static const struct mixin_about mixins[MIXIN_COUNT] = {
#define X(id, text, module, category, hooks, state)                            \
    {text, module, MIXIN_CATEGORY_##category, hooks, state},
    MIXIN_LIST(X)
#undef X
};

const char *const mixin_names[] = {
#define X(id, text, module, category, hooks, state) text,
    MIXIN_LIST(X)
#undef X
        NULL,
};

static const struct {
    enum mixin mixin;
    unsigned types;
    const char *words;
} refusals[] = {
    {MIXIN_CACHING, BIT(COMPUTE),
     "every COMPUTE node keeps its results; set cache_size instead"},
    {MIXIN_CACHING, BIT(REDUCER),
     "the state after an event is never the same twice; take it out"},
    {MIXIN_RETRY, BIT(EFFECT),
     "every EFFECT node tries again by itself; set max_retries instead"},
    {MIXIN_RETRY, BIT(COMPUTE) | BIT(REDUCER),
     "the same input fails the same way; take it out"},
    {MIXIN_TIMEOUT, BIT(COMPUTE) | BIT(REDUCER),
     "there is no waiting that could be cut off; take it out"},
    {MIXIN_CIRCUIT_BREAKER, BIT(COMPUTE) | BIT(REDUCER),
     "there is nothing outside that could be broken; take it out"},
    {MIXIN_CONNECTION, BIT(COMPUTE) | BIT(REDUCER),
     "it talks to nobody; put the connection into an EFFECT node"},
    {MIXIN_EVENT_BUS, BIT(COMPUTE),
     "a pure function tells nobody; publish in the node that asks it"},
    {MIXIN_TRANSACTION, BIT(COMPUTE),
     "a pure function has nothing to undo; take it out"},
    {MIXIN_REPOSITORY, BIT(COMPUTE),
     "a pure function keeps nothing but its cache; take it out"},
};

/* Methods and attributes without underscore that a mixin's class has;
 * MIXIN_COUNT: all of them. */
static const struct {
    enum mixin mixin;
    const char *name;
} taken_names[] = {
    {MIXIN_COUNT, "perform_call"},
    {MIXIN_COUNT, "close_node"},
    {MIXIN_METRICS, "metrics_snapshot"},
    {MIXIN_METRICS, "metrics_reset"},
    {MIXIN_AUDIT, "audit_to"},
    {MIXIN_AUDIT, "audit_trail"},
    {MIXIN_SECURITY, "redact"},
    {MIXIN_AUTHORIZATION, "may_perform"},
    {MIXIN_VALIDATION, "add_rule"},
    {MIXIN_CACHING, "cache_clear"},
    {MIXIN_CACHING, "cache_hits"},
    {MIXIN_CACHING, "cache_misses"},
    {MIXIN_EVENT_BUS, "emit_event"},
    {MIXIN_EVENT_BUS, "on_event"},
    {MIXIN_EVENT_BUS, "event_failures"},
    {MIXIN_HEALTH_CHECK, "add_probe"},
    {MIXIN_HEALTH_CHECK, "health_status"},
    {MIXIN_CIRCUIT_BREAKER, "circuit_state"},
    {MIXIN_RETRY, "retried_errors"},
    {MIXIN_TRANSACTION, "on_commit"},
    {MIXIN_TRANSACTION, "on_rollback"},
    {MIXIN_REPOSITORY, "use_repository"},
    {MIXIN_REPOSITORY, "result_of"},
    {MIXIN_CONNECTION, "connect_with"},
    {MIXIN_CONNECTION, "connection"},
};

/* The settings of mixins, as contract_builtins has those of node types. */
static const struct {
    enum mixin mixin;
    struct contract_builtin setting;
} settings[] = {
#define SETTING(mixin, name, type, value, bound, words)                        \
    {                                                                          \
        MIXIN_##mixin,                                                         \
        {                                                                      \
            name, ~0u, FIELD_##type, value, BUILTIN_##bound, words             \
        }                                                                      \
    }
    SETTING(LOGGING, "slow_seconds", FLOAT, "1.0", NOT_NEGATIVE,
            "An operation that takes longer is a warning in the log."),
    SETTING(AUDIT, "audit_entries", INT, "1000", POSITIVE,
            "Audit records kept; the oldest go first."),
    SETTING(SECURITY, "max_request_bytes", INT, "4194304", POSITIVE,
            "Most bytes of a request, as JSON."),
    SETTING(SECURITY, "max_request_depth", INT, "40", POSITIVE,
            "Most levels of lists and mappings in a request."),
    SETTING(AUTHORIZATION, "required_roles", DICT, NULL, NONE,
            "For an operation the roles of which its caller needs one."),
    SETTING(RATE_LIMITER, "rate_per_second", FLOAT, "1000.0", POSITIVE,
            "Operations a second in the long run."),
    SETTING(RATE_LIMITER, "rate_burst", INT, "1000", POSITIVE,
            "Operations at once."),
    SETTING(VALIDATION, "max_text_chars", INT, "1048576", POSITIVE,
            "Most characters of a text in a request."),
    SETTING(VALIDATION, "max_container_items", INT, "100000", POSITIVE,
            "Most items of a list or mapping in a request."),
    SETTING(CACHING, "cached_operations", LIST, NULL, NONE,
            "Operations whose results are kept; they only read."),
    SETTING(CACHING, "cache_entries", INT, "256", POSITIVE,
            "Results kept; the one not used for longest goes first."),
    SETTING(CACHING, "cache_ttl_seconds", FLOAT, "60.0", POSITIVE,
            "How long a result is kept, in seconds."),
    SETTING(EVENT_BUS, "kept_event_failures", INT, "100", POSITIVE,
            "Errors of subscribers kept; the oldest go first."),
    SETTING(HEALTH_CHECK, "unhealthy_after", INT, "3", POSITIVE,
            "Failures in a row after which the node is not well."),
    SETTING(CIRCUIT_BREAKER, "breaker_failures", INT, "5", POSITIVE,
            "Failures in a row that open the circuit."),
    SETTING(CIRCUIT_BREAKER, "breaker_successes", INT, "2", POSITIVE,
            "Successes in a row that close it again."),
    SETTING(CIRCUIT_BREAKER, "breaker_reset_seconds", FLOAT, "10.0",
            NOT_NEGATIVE, "How long an open circuit refuses everything."),
    SETTING(TIMEOUT, "operation_timeout_seconds", FLOAT, "120.0", POSITIVE,
            "Longest time of an operation with all its attempts, in seconds."),
    SETTING(RETRY, "retry_attempts", INT, "3", POSITIVE,
            "Attempts in all when a failure may pass."),
    SETTING(RETRY, "retry_delay_seconds", FLOAT, "0.1", NOT_NEGATIVE,
            "Delay before the second attempt; it doubles each time."),
    SETTING(RETRY, "retry_max_delay_seconds", FLOAT, "5.0", NOT_NEGATIVE,
            "Longest delay between two attempts."),
    SETTING(REPOSITORY, "repository_entries", INT, "1000", POSITIVE,
            "Results kept in memory; the oldest go first."),
    SETTING(CONNECTION, "max_connections", INT, "10", POSITIVE,
            "Most connections at the same time."),
    SETTING(CONNECTION, "acquire_timeout_seconds", FLOAT, "30.0", POSITIVE,
            "How long to wait for a connection, in seconds."),
#undef SETTING
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct mixin_about *mixin_about(enum mixin mixin)
{
    return &mixins[mixin];
}

int mixin_find(const char *name)
{
    for (int i = 0; i < MIXIN_COUNT; i++) {
        if (strcmp(mixins[i].name, name) == 0)
            return i;
    }
    return -1;
}

/* "rate_limiter", "Rate-Limiter" and "RateLimiterMixin" become
 * "ratelimiter". */
static void put_plain(char room[64], const char *name)
{
    size_t size = 0;
    for (; *name != '\0' && size < 63; name++) {
        if (isalnum((unsigned char)*name))
            room[size++] = (char)tolower((unsigned char)*name);
    }
    if (size > 5 && strncmp(room + size - 5, "mixin", 5) == 0)
        size -= 5;
    room[size] = '\0';
}

const char *mixin_nearest(const char *name)
{
    char plain[64], known[64];
    put_plain(plain, name);
    for (int i = 0; i < MIXIN_COUNT; i++) {
        put_plain(known, mixins[i].name);
        if (strcmp(plain, known) == 0)
            return mixins[i].name;
    }
    return text_nearest(name, mixin_names);
}

const char *mixin_refusal(enum mixin mixin, enum node_type type)
{
    for (size_t i = 0; i < COUNT(refusals); i++) {
        if (refusals[i].mixin == mixin && (refusals[i].types & 1u << type) != 0)
            return refusals[i].words;
    }
    return NULL;
}

const struct contract_builtin *mixin_setting_next(uint32_t chosen, size_t *at)
{
    while (*at < COUNT(settings)) {
        size_t i = (*at)++;
        if ((chosen & 1u << settings[i].mixin) != 0)
            return &settings[i].setting;
    }
    return NULL;
}

/* An operation is a method of the node's class, which inherits the mixins. */
static void check_names(struct contract_check *check,
                        const struct contract *contract)
{
    for (size_t i = 0; i < COUNT(taken_names); i++) {
        enum mixin mixin = taken_names[i].mixin;
        int index = contract_operation_find(contract, taken_names[i].name);
        if (index < 0 ||
            (mixin != MIXIN_COUNT && (contract->mixins & 1u << mixin) == 0))
            continue;
        contract_complain(check, contract->operations[index].source,
                          "operations",
                          "%s%s use%s the name '%s' itself; choose another",
                          mixin == MIXIN_COUNT ? "" : "the mixin ",
                          mixin == MIXIN_COUNT ? "mixins" : mixins[mixin].name,
                          mixin == MIXIN_COUNT ? "" : "s", taken_names[i].name);
    }
}

void mixins_check(struct contract_check *check, struct contract *contract)
{
    const struct node *list = document_get(contract->root, "mixins");
    unsigned index = 0;
    for (const struct node *item = list == NULL ? NULL : list->first;
         item != NULL; item = item->next, index++) {
        char path[40];
        int mixin = mixin_find(item->text);
        snprintf(path, sizeof(path), "mixins[%u]", index);
        if (mixin < 0)
            continue; /* complained of with the shapes */
        const char *refusal =
            mixin_refusal((enum mixin)mixin, contract->node_type);
        if (refusal != NULL)
            contract_complain(check, item, path, "%s is not for %s nodes: %s",
                              item->text, node_type_name(contract->node_type),
                              refusal);
        contract->mixins |= 1u << mixin;
    }
    if (contract->mixins != 0)
        check_names(check, contract);
}

static void add_mixin(struct tree *tree, struct node *list,
                      const struct mixin_about *about)
{
    struct node *map = tree_add_map(tree, list, NULL);
    tree_add_text(tree, map, "name", about->name);
    tree_add_text(tree, map, "module", about->module);
    tree_add_text(tree, map, "class",
                  arena_printf(tree->arena, "%sMixin", about->name));
}

/* In the order of their modules, as imports are. */
static void add_by_module(struct tree *tree, struct node *root, uint32_t chosen)
{
    struct node *list = tree_add_list(tree, root, "mixins_by_module");
    const char *last = "";
    for (;;) {
        const struct mixin_about *next = NULL;
        for (int i = 0; i < MIXIN_COUNT; i++) {
            if ((chosen & 1u << i) != 0 && strcmp(mixins[i].module, last) > 0 &&
                (next == NULL || strcmp(mixins[i].module, next->module) < 0))
                next = &mixins[i];
        }
        if (next == NULL)
            return;
        add_mixin(tree, list, next);
        last = next->module;
    }
}

void mixins_add_data(struct tree *tree, struct node *root,
                     const struct contract *contract)
{
    static const char *const categories[] = {
#define X(name, text) text,
        MIXIN_CATEGORY_LIST(X)
#undef X
    };
    uint32_t chosen = contract->mixins;
    bool among[MIXIN_CATEGORY_COUNT] = {false};
    bool waits = contract->node_type == NODE_TYPE_EFFECT ||
                 contract->node_type == NODE_TYPE_ORCHESTRATOR;
    tree_add_bool(tree, root, "has_mixins", chosen != 0);
    struct node *list = tree_add_list(tree, root, "mixins");
    struct node *flags = tree_add_map(tree, root, "mixin");
    for (int i = 0; i < MIXIN_COUNT; i++) {
        bool has = (chosen & 1u << i) != 0;
        if (has)
            add_mixin(tree, list, &mixins[i]);
        among[mixins[i].category] = among[mixins[i].category] || has;
        tree_add_bool(tree, flags, mixins[i].name, has);
    }
    tree_mark_last(tree, list);
    if (chosen == 0)
        return;
    add_by_module(tree, root, chosen);
    struct node *map = tree_add_map(tree, root, "mixin_category");
    for (int i = 0; i < MIXIN_CATEGORY_COUNT; i++)
        tree_add_bool(tree, map, categories[i], among[i]);
    tree_add_bool(tree, root, "is_async", waits);
    tree_add_text(tree, root, "async_def", waits ? "async def" : "def");
    tree_add_text(tree, root, "await", waits ? "await " : "");
    tree_add_text(tree, root, "test_case",
                  waits ? "IsolatedAsyncioTestCase" : "TestCase");
}

static bool only_reads(const char *name)
{
    static const char *const verbs[] = {
        "get",   "read",   "fetch", "find",  "list",  "load",   "look",
        "query", "search", "show",  "check", "count", "lookup", "describe",
    };
    size_t length = strcspn(name, "_");
    for (size_t i = 0; i < COUNT(verbs); i++) {
        if (strlen(verbs[i]) == length && strncmp(verbs[i], name, length) == 0)
            return true;
    }
    return false;
}

const struct node *mixin_reading_operations(struct arena *arena,
                                            const struct contract *contract)
{
    struct tree tree = {.arena = arena};
    struct node *list = tree_add_list(&tree, tree_map(&tree), "list");
    for (size_t i = 0; i < contract->operation_count; i++) {
        if (only_reads(contract->operations[i].name))
            tree_add_text(&tree, list, NULL, contract->operations[i].name);
    }
    return tree.failed ? NULL : list;
}
