/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/render_job.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/log.h"
#include "common/document/document.h"
#include "common/generation/contract.h"
#include "common/generation/node_render.h"

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

/* node_render, with its phases timed. */
static int render(struct template_cache *cache, const char *template_dir,
                  const struct contract *contract, struct arena *arena,
                  struct render_job *job, struct usage_mark *since,
                  struct error *error)
{
    const char *folders[NODE_SETS_MAX];
    size_t count = node_sets(contract, folders);
    int result = 0;
    job->template_hit = true;
    for (size_t i = 0; result == 0 && i < count; i++) {
        bool hit;
        const struct template_set *set =
            template_cache_get(cache, template_dir, folders[i], &hit, error);
        phase_end(job, RENDER_PHASE_TEMPLATE_LOAD, since);
        result = set == NULL ? -1
                             : template_set_render(set, contract, arena,
                                                   &job->output, error);
        job->template_hit = job->template_hit && hit;
        phase_end(job, RENDER_PHASE_CODE_GEN, since);
    }
    return result;
}

static int run(struct template_cache *cache, const char *default_template_dir,
               const struct node *spec, struct arena *arena,
               struct render_job *job, struct usage_mark *since,
               struct error *error)
{
    const struct node *options = document_get(spec, "options");
    const struct node *force = document_get(options, "force");
    const struct node *merge = document_get(options, "merge");
    struct contract *contract = read_contract(spec, arena, error);
    phase_end(job, RENDER_PHASE_VALIDATION, since);
    if (contract == NULL)
        return -1;
    job->node_type = node_type_name(contract->node_type);
    job->mixins = contract->mixins;
    job->output.directory = text_of(spec, "output", "");
    job->output.force = force != NULL && force->boolean;
    job->output.merge = merge != NULL && merge->boolean;
    job->output.arena = arena;
    int result =
        render(cache, text_of(spec, "template_dir", default_template_dir),
               contract, arena, job, since, error);
    if (result == 0)
        result = output_write(&job->output, error);
    phase_end(job, RENDER_PHASE_PERSISTENCE, since);
    return result;
}

int render_job_run(struct template_cache *cache,
                   const char *default_template_dir, const char *spec_text,
                   size_t spec_size, struct arena *arena,
                   struct render_job *job, struct error *error)
{
    struct node *spec = NULL;
    struct usage_mark start, since;
    usage_mark(&start);
    since = start;
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
    int result =
        run(cache, default_template_dir, spec, arena, job, &since, error);
    usage_add_between(&job->phases[RENDER_PHASE_TOTAL], &start, &since);
    return result;
}
