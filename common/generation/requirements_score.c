/* SPDX-License-Identifier: Apache-2.0
 *
 * What the words of requirements say: figures only.
 */
#include <string.h>

#include "common/generation/mixins.h"
#include "common/generation/requirements.h"

#define HITS_FULL    10.0
#define HINT_LEAST   0.1
#define HINT_GUESS   0.5
#define WORDS_ENOUGH 100

/* How words begin that speak for a node type. */
static const char *const stems[NODE_TYPE_COUNT][24] = {
    [NODE_TYPE_EFFECT] = {"api", "http", "database", "file", "email", "mail",
                          "send", "store", "storage", "write", "fetch",
                          "extern", "webhook", "notif", "upload", "download",
                          "delete", "persist", "save"},
    [NODE_TYPE_COMPUTE] = {"calculat", "comput", "transform", "convert",
                           "parse", "format", "algorithm", "formula", "scor",
                           "pure", "deriv", "estimat", "round"},
    [NODE_TYPE_REDUCER] = {"aggregat", "sum", "count", "total", "statistic",
                           "fold", "reduc", "accumulat", "group", "averag",
                           "merg", "stream", "tally", "histogram"},
    [NODE_TYPE_ORCHESTRATOR] = {"workflow", "orchestrat", "coordinat",
                                "pipeline", "step", "sequenc", "stage",
                                "dispatch", "saga", "parallel", "schedul"},
};

static const struct {
    const char *stem;
    const char *before; /* the word before, or NULL */
    enum mixin mixin;
} capabilities[] = {
    {"cach", NULL, MIXIN_CACHING},
    {"logging", NULL, MIXIN_LOGGING},
    {"metric", NULL, MIXIN_METRICS},
    {"health", NULL, MIXIN_HEALTH_CHECK},
    {"event", NULL, MIXIN_EVENT_BUS},
    {"retr", NULL, MIXIN_RETRY},
    {"breaker", "circuit", MIXIN_CIRCUIT_BREAKER},
    {"validat", NULL, MIXIN_VALIDATION},
    {"secur", NULL, MIXIN_SECURITY},
    {"transaction", NULL, MIXIN_TRANSACTION},
};

static bool begins(const char *word, const char *stem)
{
    return strncmp(word, stem, strlen(stem)) == 0;
}

void requirements_count_word(struct requirements *requirements,
                             const char *word, const char *before,
                             bool asks_for_mixins)
{
    requirements->words++;
    for (int type = 0; type < NODE_TYPE_COUNT; type++) {
        for (const char *const *stem = stems[type]; *stem != NULL; stem++)
            requirements->hits[type] += begins(word, *stem);
    }
    size_t count = sizeof(capabilities) / sizeof(capabilities[0]);
    for (size_t i = 0; asks_for_mixins && i < count; i++) {
        if (begins(word, capabilities[i].stem) &&
            !begins(word, "retriev") && /* is no retry */
            (capabilities[i].before == NULL ||
             strcmp(before, capabilities[i].before) == 0))
            requirements->capabilities |= 1u << capabilities[i].mixin;
    }
}

void requirements_score(struct requirements *requirements)
{
    double *hints = requirements->hints;
    unsigned best = 0;
    unsigned sections = 0;
    for (unsigned type = 0; type < NODE_TYPE_COUNT; type++) {
        double hint = requirements->hits[type] / HITS_FULL;
        hints[type] = hint > 1.0 ? 1.0 : hint;
        if (hints[type] > hints[best])
            best = type;
    }
    if (hints[best] < HINT_LEAST) {
        best = NODE_TYPE_EFFECT;
        hints[best] = HINT_GUESS;
    }
    if (!requirements->type_given)
        requirements->node_type = (enum node_type)best;
    for (int i = 0; i < SECTION_COUNT; i++)
        sections += requirements->present[i];
    double quality = 0.5 + 0.1 * sections;
    requirements->quality = quality > 1.0 ? 1.0 : quality;
    requirements->confidence =
        (requirements->words > WORDS_ENOUGH ? 0.2 : 0.0) +
        (sections > 0 ? 0.1 : 0.0) + (requirements->type_given ? 0.2 : 0.0) +
        (requirements->sections[SECTION_FUNCTIONAL].count > 0 ? 0.1 : 0.0) +
        0.3 * hints[best] + (requirements->capabilities != 0 ? 0.1 : 0.0);
}
