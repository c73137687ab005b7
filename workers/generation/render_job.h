/* SPDX-License-Identifier: Apache-2.0
 *
 * A job of kind `render`: from its specification to files.  The
 * specification is JSON:
 *
 *     {"contract": absolute path, "contract_text": its bytes when it was
 *      submitted, "output": absolute directory, "template_dir": absolute
 *      directory (optional), "options": {"force": false} (optional),
 *      "correlation_id": that of the command (optional), "node": that of
 *      the contract (optional: where to look whether it was done before),
 *      "prd_analysis": [microseconds, of them on the processor, peak KB],
 *      which the command took to make the contract of requirements
 *      (optional)}
 */
#ifndef TIDEMILL_WORKERS_GENERATION_RENDER_JOB_H
#define TIDEMILL_WORKERS_GENERATION_RENDER_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/usage.h"
#include "common/generation/output.h"

struct template_cache;

/* What all jobs of a worker share. */
struct render_world {
    struct template_cache *cache;
    const char *template_dir; /* for a job that names none */
    const char *program;      /* seen_program; "": all is done anew */
};

/* The phases that are timed, by the names of
 * generation_performance_metrics. */
#define RENDER_PHASE_LIST(X)                                                   \
    X(PRD_ANALYSIS, "prd_analysis")                                            \
    X(TEMPLATE_LOAD, "template_load")                                          \
    X(CODE_GEN, "code_gen")                                                    \
    X(VALIDATION, "validation")                                                \
    X(PERSISTENCE, "persistence")                                              \
    X(TOTAL, "total")

enum render_phase {
#define X(name, text) RENDER_PHASE_##name,
    RENDER_PHASE_LIST(X)
#undef X
        RENDER_PHASE_COUNT
};

const char *render_phase_name(enum render_phase phase);

struct render_job {
    const char *contract;     /* NULL when the specification has none */
    const char *correlation;  /* NULL when it has none, or none that is valid */
    const char *node_type;    /* NULL until the contract was read */
    uint32_t mixins;          /* of the contract: bits 1 << enum mixin */
    struct output output;     /* whole after success */
    bool template_hit;
    bool analysed; /* the contract was made of requirements: PRD_ANALYSIS */
    struct usage phases[RENDER_PHASE_COUNT];
};

/* Runs one.  Everything in `job` lives in the arena, but for template_set
 * and template_hash, which live until the cache is asked again.  Running it
 * again does no harm.  Errors keep their code: ERROR_TRY_AGAIN, ERROR_FULL,
 * ERROR_IO and ERROR_SYSTEM may pass, others will not. */
int render_job_run(const struct render_world *world, const char *spec,
                   size_t spec_size, struct arena *arena,
                   struct render_job *job, struct error *error);

#endif
