/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/render_job.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/log.h"
#include "common/document/document.h"
#include "common/generation/contract.h"
#include "common/generation/node_render.h"
#include "common/generation/output_seen.h"

const char *render_phase_name(enum render_phase phase)
{
    static const char *const names[] = {
#define X(name, text) text,
        RENDER_PHASE_LIST(X)
#undef X
    };
    return names[phase];
}

/* Ends a phase that began with the mark; the next begins now. */
static void phase_end(struct render_job *job, enum render_phase phase,
                      struct usage_mark *since)
{
    usage_add(&job->phases[phase], since);
}

static const char *text_of(const struct node *spec, const char *key,
                           const char *otherwise)
{
    const struct node *value = document_get(spec, key);
    return value == NULL || value->kind != NODE_STRING ? otherwise
                                                       : value->text;
}

/* What the command that submitted the job says of its own part. */
static void read_analysis(const struct node *spec, struct render_job *job)
{
    uint64_t figures[3];
    size_t count = 0;
    const struct node *list = document_get(spec, "prd_analysis");
    if (list == NULL || list->kind != NODE_LIST || list->count != 3)
        return;
    for (const struct node *at = list->first; at != NULL; at = at->next) {
        if (at->kind != NODE_NUMBER || at->text[0] == '-')
            return;
        figures[count++] = strtoull(at->text, NULL, 10);
    }
    job->analysed = true;
    job->phases[RENDER_PHASE_PRD_ANALYSIS] = (struct usage){
        .wall_us = figures[0], .cpu_us = figures[1], .peak_kb = figures[2]};
}

static int read_spec(const char *text, size_t size, struct arena *arena,
                     struct node **spec, struct error *error)
{
    struct document_limits limits = document_limits_default;
    limits.depth = 8;
    limits.nodes = 100;
    if (document_read_json(arena, "job", text, size, &limits, spec, error) != 0)
        return error_prefix(error, "the job's specification cannot be read");
    const struct node *contract_text = document_get(*spec, "contract_text");
    if (text_of(*spec, "contract", NULL) == NULL || contract_text == NULL ||
        contract_text->kind != NODE_STRING ||
        text_of(*spec, "output", NULL) == NULL)
        return error_set(error, ERROR_DATA,
                         "the job's specification lacks contract, "
                         "contract_text or output; submit it with tidemill "
                         "generate");
    return 0;
}

static struct contract *read_contract(const struct node *spec,
                                      struct arena *arena, struct error *error)
{
    struct buffer errors;
    const struct node *text = document_get(spec, "contract_text");
    buffer_init(&errors, 2 * CONTRACT_ERRORS_MAX);
    struct contract *contract =
        contract_read(arena, text_of(spec, "contract", ""), text->text,
                      text->text_size, &errors);
    if (contract == NULL) {
        while (errors.size > 0 && errors.bytes[errors.size - 1] == '\n')
            errors.bytes[--errors.size] = '\0';
        error_set(error, ERROR_DATA, "%s",
                  errors.bytes == NULL ? "no memory" : errors.bytes);
    }
    buffer_deinit(&errors);
    return contract;
}

/* The sets of one node, each asked for once. */
struct sets {
    const struct template_set *items[NODE_SETS_MAX];
    size_t count;
};

/* What stands beside a job's specification. */
struct rendering {
    const struct render_world *world;
    const struct node *spec;
    const char *template_dir;
    struct arena *arena;
    struct render_job *job;
    struct seen_inputs inputs;
    struct sets sets;
    struct usage_mark since; /* where the phase began */
};

/* Has the sets for a contract of this kind at hand. */
static int get_sets(struct rendering *rendering, enum node_type node_type,
                    uint32_t mixins, struct error *error)
{
    struct render_job *job = rendering->job;
    struct sets *sets = &rendering->sets;
    const char *folders[NODE_SETS_MAX];
    size_t count = node_sets(node_type, mixins, folders);
    if (sets->count > 0)
        return 0;
    job->template_hit = true;
    for (size_t i = 0; i < count; i++) {
        bool hit;
        sets->items[i] =
            template_cache_get(rendering->world->cache, rendering->template_dir,
                               folders[i], &hit, error);
        if (sets->items[i] == NULL)
            return -1;
        job->template_hit = job->template_hit && hit;
    }
    sets->count = count;
    return 0;
}

/* node_render, with its phases timed. */
static int render(struct rendering *rendering, const struct contract *contract,
                  struct error *error)
{
    struct render_job *job = rendering->job;
    int result =
        get_sets(rendering, contract->node_type, contract->mixins, error);
    phase_end(job, RENDER_PHASE_TEMPLATE_LOAD, &rendering->since);
    for (size_t i = 0; result == 0 && i < rendering->sets.count; i++)
        result = template_set_render(rendering->sets.items[i], contract,
                                     rendering->arena, &job->output, error);
    phase_end(job, RENDER_PHASE_CODE_GEN, &rendering->since);
    return result;
}

static bool has_option(const struct node *spec, const char *name)
{
    const struct node *option =
        document_get(document_get(spec, "options"), name);
    return option != NULL && option->boolean;
}

static void take_inputs(struct rendering *rendering)
{
    const struct node *spec = rendering->spec;
    const struct node *text = document_get(spec, "contract_text");
    rendering->inputs = (struct seen_inputs){
        .program = rendering->world->program,
        .contract = text_of(spec, "contract", ""),
        .contract_text = text->text,
        .contract_size = text->text_size,
        .directory = text_of(spec, "output", ""),
        .template_dir = rendering->template_dir,
        .force = has_option(spec, "force"),
        .merge = has_option(spec, "merge"),
    };
}

/* Whether all that the job has to do was done before. */
static bool is_done(struct rendering *rendering, const char *node)
{
    struct render_job *job = rendering->job;
    struct error ignored;
    bool same =
        seen_find(&rendering->inputs, node, rendering->arena, &job->output);
    phase_end(job, RENDER_PHASE_PERSISTENCE, &rendering->since);
    if (same) {
        same = get_sets(rendering, job->output.node_type, job->output.mixins,
                        &ignored) == 0 &&
               template_sets_have_hash(rendering->sets.items,
                                       rendering->sets.count,
                                       job->output.template_hash);
        phase_end(job, RENDER_PHASE_TEMPLATE_LOAD, &rendering->since);
    }
    if (!same) {
        job->output = (struct output){.directory = NULL};
        return false;
    }
    job->node_type = node_type_name(job->output.node_type);
    job->mixins = job->output.mixins;
    return true;
}

static int run(struct rendering *rendering, struct error *error)
{
    struct render_job *job = rendering->job;
    const char *node = text_of(rendering->spec, "node", NULL);
    take_inputs(rendering);
    if (node != NULL && is_done(rendering, node))
        return 0;
    struct contract *contract =
        read_contract(rendering->spec, rendering->arena, error);
    phase_end(job, RENDER_PHASE_VALIDATION, &rendering->since);
    if (contract == NULL)
        return -1;
    if (node == NULL && is_done(rendering, contract->node_name))
        return 0;
    job->node_type = node_type_name(contract->node_type);
    job->mixins = contract->mixins;
    job->output.directory = rendering->inputs.directory;
    job->output.inputs = &rendering->inputs;
    job->output.force = rendering->inputs.force;
    job->output.merge = rendering->inputs.merge;
    job->output.arena = rendering->arena;
    int result = render(rendering, contract, error);
    if (result == 0)
        result = output_write(&job->output, error);
    job->output.inputs = NULL;
    phase_end(job, RENDER_PHASE_PERSISTENCE, &rendering->since);
    return result;
}

int render_job_run(const struct render_world *world, const char *spec_text,
                   size_t spec_size, struct arena *arena,
                   struct render_job *job, struct error *error)
{
    struct node *spec = NULL;
    struct usage_mark start;
    usage_mark(&start);
    *job = (struct render_job){.contract = NULL};
    error_clear(error);
    if (read_spec(spec_text, spec_size, arena, &spec, error) != 0)
        return -1;
    job->contract = text_of(spec, "contract", NULL);
    read_analysis(spec, job);
    const char *correlation = text_of(spec, "correlation_id", "");
    if (log_correlation_is_valid(correlation)) {
        job->correlation = correlation;
        log_set_correlation(correlation);
    }
    struct rendering rendering = {
        .world = world,
        .spec = spec,
        .template_dir = text_of(spec, "template_dir", world->template_dir),
        .arena = arena,
        .job = job,
        .since = start,
    };
    int result = run(&rendering, error);
    usage_add_between(&job->phases[RENDER_PHASE_TOTAL], &start,
                      &rendering.since);
    return result;
}
