/* SPDX-License-Identifier: Apache-2.0
 *
 * Mixins: capabilities that a contract adds to a node.  Each is a template
 * of the set `mixins`; what is told here is the same for every place that
 * knows them.
 */
#ifndef TIDEMILL_GENERATION_MIXINS_H
#define TIDEMILL_GENERATION_MIXINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/generation/contract_check.h"
#include "common/generation/tree.h"

#define MIXIN_TEMPLATE_SET "mixins"

/* Name in a contract, module in Python, category, lifecycle hooks, whether it
 * changes state.  In the order in which they stand around the work, the
 * outermost first: who asks is checked before a cache answers, a cached
 * result costs no attempt, and every attempt has a transaction of its own. */
#define MIXIN_LIST(X)                                                          \
    X(LOGGING, "Logging", "call_logging", INFRASTRUCTURE, INIT, false)         \
    X(METRICS, "Metrics", "metrics", INFRASTRUCTURE, INIT | CLEANUP, false)    \
    X(AUDIT, "Audit", "audit", BUSINESS, INIT | CLEANUP, true)                 \
    X(SECURITY, "Security", "security", BUSINESS, INIT, false)                 \
    X(AUTHORIZATION, "Authorization", "authorization", BUSINESS, 0, false)     \
    X(RATE_LIMITER, "RateLimiter", "rate_limiter", RESILIENCE, INIT, true)     \
    X(VALIDATION, "Validation", "validation", BUSINESS, 0, false)              \
    X(CACHING, "Caching", "caching", INFRASTRUCTURE, INIT | CLEANUP, true)     \
    X(EVENT_BUS, "EventBus", "event_bus", INFRASTRUCTURE, INIT | CLEANUP,      \
      false)                                                                   \
    X(HEALTH_CHECK, "HealthCheck", "health_check", INFRASTRUCTURE, INIT,       \
      false)                                                                   \
    X(CIRCUIT_BREAKER, "CircuitBreaker", "circuit_breaker", RESILIENCE, INIT,  \
      true)                                                                    \
    X(TIMEOUT, "Timeout", "timeout", RESILIENCE, 0, false)                     \
    X(RETRY, "Retry", "retry", RESILIENCE, 0, false)                           \
    X(TRANSACTION, "Transaction", "transaction", DATA_ACCESS,                  \
      INIT | COMMIT | ROLLBACK, true)                                          \
    X(REPOSITORY, "Repository", "repository", DATA_ACCESS, INIT, true)         \
    X(CONNECTION, "Connection", "connection", DATA_ACCESS, INIT | CLEANUP,     \
      false)

enum mixin {
#define X(name, text, module, category, hooks, state) MIXIN_##name,
    MIXIN_LIST(X)
#undef X
        MIXIN_COUNT
};

#define MIXIN_CATEGORY_LIST(X)                                                 \
    X(INFRASTRUCTURE, "infrastructure")                                        \
    X(RESILIENCE, "resilience")                                                \
    X(BUSINESS, "business")                                                    \
    X(DATA_ACCESS, "data_access")

enum mixin_category {
#define X(name, text) MIXIN_CATEGORY_##name,
    MIXIN_CATEGORY_LIST(X)
#undef X
        MIXIN_CATEGORY_COUNT
};

struct mixin_about {
    const char *name;
    const char *module; /* of the generated Python; its class is NAMEMixin */
    enum mixin_category category;
    unsigned hooks; /* bits: init, cleanup, commit, rollback */
    bool changes_state;
};

const struct mixin_about *mixin_about(enum mixin mixin);

/* All names, NULL at the end. */
extern const char *const mixin_names[];

/* By name; -1 when there is none. */
int mixin_find(const char *name);

/* The name that was meant: one that differs in case, `_`, `-` and the word
 * mixin only, else the nearest; NULL. */
const char *mixin_nearest(const char *name);

/* Why a node of this type cannot have this mixin, and what to do instead;
 * NULL when it can. */
const char *mixin_refusal(enum mixin mixin, enum node_type type);

/* Complains of mixins that the node type refuses, and of operations and
 * settings that take the names of what the mixins bring; fills
 * contract->mixins.  The list's shape was checked. */
void mixins_check(struct contract_check *check, struct contract *contract);

/* Settings that a mixin brings; the first from *at on that the contract has,
 * and *at behind it; NULL at the end. */
const struct contract_builtin *mixin_setting_next(uint32_t mixins, size_t *at);

/* Adds what templates ask about the contract's mixins. */
void mixins_add_data(struct tree *tree, struct node *root,
                     const struct contract *contract);

/* The default of Caching's cached_operations, as a list in the arena: the
 * operations whose names say that they only read.  NULL without memory. */
const struct node *mixin_reading_operations(struct arena *arena,
                                            const struct contract *contract);

#endif
