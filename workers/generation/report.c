/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/report.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "common/generation/mixins.h"

#define REPORT_BYTES_MAX (8u << 20)
#define RESULT_BYTES_MAX (1u << 20)
#define MIXINS_BYTES_MAX 4096
#define CALLS_MOST       3   /* of one report */
#define KEPT_NAMED_MAX   100 /* kept files named in a result */

static bool may_pass(enum error_code code)
{
    return code == ERROR_TRY_AGAIN || code == ERROR_FULL || code == ERROR_IO ||
           code == ERROR_DAMAGED || code == ERROR_SYSTEM;
}

static struct store_call *add(struct report *report, enum statement statement)
{
    struct store_call *call = &report->calls[report->call_count++];
    call->statement = statement;
    return call;
}

static void put(struct store_call *call, struct value value)
{
    call->arguments[call->argument_count++] = value;
}

static void put_member(struct buffer *json, const char *key, const char *text)
{
    buffer_printf(json, ",\"%s\":", key);
    buffer_append_json(json, text, strlen(text));
}

/* The files of which a person may want to know, by what happened to them. */
static void put_files_of(struct buffer *json, const struct output *output,
                         enum output_change change)
{
    size_t named = 0;
    if (output->counts[change] == 0)
        return;
    buffer_printf(json, ",\"%s_files\":[", output_change_name(change));
    for (size_t i = 0; i < output->file_count && named < KEPT_NAMED_MAX; i++) {
        const char *path = output->files[i].path;
        if (output->files[i].change != change)
            continue;
        if (named++ > 0)
            buffer_append_char(json, ',');
        buffer_append_json(json, path, strlen(path));
    }
    buffer_append_char(json, ']');
}

static void put_command(struct buffer *json,
                        const struct command_outcome *command)
{
    if (command->correlation != NULL)
        put_member(json, "correlation_id", command->correlation);
    if (command->exit_code >= 0)
        buffer_printf(json, ",\"exit_code\":%d", command->exit_code);
    if (command->signal != 0)
        buffer_printf(json, ",\"signal\":%d", command->signal);
}

/* Has the job shown how its mixins go together?  When it wrote nothing new,
 * or failed for another reason than what it was to make, it has not. */
static bool tried_mixins(const struct render_job *render,
                         const struct error *error)
{
    const size_t *counts = render->output.counts;
    if ((render->mixins & (render->mixins - 1)) == 0)
        return false; /* at most one */
    return error->code == ERROR_NONE
               ? counts[OUTPUT_CREATED] + counts[OUTPUT_CHANGED] > 0
               : error->code == ERROR_DATA;
}

/* The names of a job's mixins as a JSON list. */
static void put_mixins(struct buffer *json, uint32_t mixins)
{
    const char *comma = "";
    buffer_append_char(json, '[');
    for (int i = 0; i < MIXIN_COUNT; i++) {
        if ((mixins & 1u << i) == 0)
            continue;
        buffer_printf(json, "%s\"%s\"", comma,
                      mixin_about((enum mixin)i)->name);
        comma = ",";
    }
    buffer_append_char(json, ']');
}

/* Of these generation_performance_metrics is made, here and at the centre. */
static void put_phases(struct buffer *json, const struct reporter *reporter,
                       const struct render_job *render)
{
    int first = render->analysed ? 0 : RENDER_PHASE_PRD_ANALYSIS + 1;
    for (int i = first; i < RENDER_PHASE_COUNT; i++)
        buffer_printf(json, "%s\"%s\":%llu", i == first ? ",\"phases\":{" : ",",
                      render_phase_name((enum render_phase)i),
                      (unsigned long long)(render->phases[i].wall_us + 500) /
                          1000);
    for (int i = first; i < RENDER_PHASE_COUNT; i++) {
        buffer_printf(json, "%s\"%s\":", i == first ? "},\"usage\":{" : ",",
                      render_phase_name((enum render_phase)i));
        usage_write(&render->phases[i], json);
    }
    buffer_printf(json, "},\"cache_hit\":%s,\"workers\":%u",
                  render->template_hit ? "true" : "false",
                  reporter->worker_count > 0 ? reporter->worker_count : 1);
}

static void put_inputs(struct buffer *json, const struct render_job *render,
                       const struct error *error)
{
    if (render->correlation != NULL)
        put_member(json, "correlation_id", render->correlation);
    if (render->contract != NULL)
        put_member(json, "contract", render->contract);
    if (render->node_type != NULL)
        put_member(json, "node_type", render->node_type);
    if (render->mixins != 0) {
        buffer_append_text(json, ",\"mixins\":");
        put_mixins(json, render->mixins);
        if (tried_mixins(render, error)) /* for the centre's matrix */
            buffer_append_text(json, ",\"mixins_tried\":true");
    }
}

static void put_output(struct buffer *json, const struct reporter *reporter,
                       const struct render_job *render)
{
    const struct output *output = &render->output;
    const size_t *counts = output->counts;
    put_member(json, "output", output->directory);
    put_member(json, "node", output->node);
    put_member(json, "template_hash", output->template_hash);
    buffer_printf(json,
                  ",\"files\":%zu,\"written\":%zu,\"unchanged\":%zu,"
                  "\"kept\":%zu,\"gone\":%zu,\"merged\":%zu,"
                  "\"conflicts\":%zu",
                  output->file_count,
                  counts[OUTPUT_CREATED] + counts[OUTPUT_CHANGED] +
                      counts[OUTPUT_MERGED] + counts[OUTPUT_CONFLICT],
                  counts[OUTPUT_UNCHANGED], counts[OUTPUT_KEPT],
                  counts[OUTPUT_GONE], counts[OUTPUT_MERGED],
                  counts[OUTPUT_CONFLICT]);
    put_files_of(json, output, OUTPUT_KEPT);
    put_files_of(json, output, OUTPUT_GONE);
    put_files_of(json, output, OUTPUT_CONFLICT);
    put_phases(json, reporter, render);
}

/* What a person and the centre see of a job. */
static void put_result(struct buffer *json, const struct reporter *reporter,
                       const struct job *job, const struct render_job *render,
                       const struct command_outcome *command,
                       const struct error *error, const char *outcome,
                       uint64_t duration_us)
{
    char now[CLOCK_TEXT_SIZE];
    buffer_printf(json, "{\"job\":%lld,\"attempt\":%lld,\"duration_ms\":%.3f",
                  (long long)job->id, (long long)job->attempt,
                  (double)duration_us / 1000.0);
    put_member(json, "kind", job->kind);
    put_member(json, "state", outcome);
    put_member(json, "finished_at", clock_format(clock_wall_ms(), now));
    if (error->code != ERROR_NONE)
        put_member(json, "error", error->text);
    if (error->code != ERROR_NONE)
        buffer_printf(json, ",\"temporary\":%s",
                      may_pass(error->code) ? "true" : "false");
    if (command != NULL)
        put_command(json, command);
    if (render != NULL)
        put_inputs(json, render, error);
    if (render != NULL && error->code == ERROR_NONE)
        put_output(json, reporter, render);
    buffer_append_char(json, '}');
}

static struct value copied(struct report *report, const char *text)
{
    return value_text(arena_strdup(&report->arena, text));
}

static void add_finish(struct report *report, const struct reporter *reporter,
                       const struct job *job, const char *outcome,
                       const char *result, const char *output,
                       const struct error *error, uint64_t duration_us)
{
    struct store_call *call = add(report, STATEMENT_JOB_FINISH);
    put(call, value_integer(job->id));
    put(call, value_integer(reporter->slot));
    put(call, value_integer(reporter->spawn));
    put(call, value_text(outcome));
    put(call, value_text(result));
    put(call,
        error->code == ERROR_NONE ? value_null() : copied(report, error->text));
    put(call, output == NULL ? value_null() : copied(report, output));
    put(call, value_integer((int64_t)((duration_us + 500) / 1000)));
    put(call, value_integer(clock_wall_ms()));
}

/* All files of the job as one value: 0, or -1 without memory. */
static int add_files(struct report *report, const struct job *job,
                     const struct render_job *render)
{
    const struct output *output = &render->output;
    const char *comma = "[";
    struct buffer json;
    buffer_init(&json, RESULT_BYTES_MAX);
    buffer_append_char(&json, '[');
    for (size_t i = 0; i < output->file_count; i++) {
        const struct output_file *file = &output->files[i];
        if (file->change == OUTPUT_KEPT || file->change == OUTPUT_GONE)
            continue;
        bool merged = file->merged != NULL; /* what is on the disk */
        buffer_append_text(&json, comma);
        buffer_append_json(&json, file->path, strlen(file->path));
        buffer_append_text(&json, ",\"");
        buffer_append_text(&json, merged ? file->merged_sha256 : file->sha256);
        buffer_append_text(&json, "\",");
        buffer_append_number(&json, merged ? file->merged_size : file->size);
        buffer_append_char(&json, ']');
        comma = ",[";
    }
    buffer_append_char(&json, ']');
    const char *files =
        json.failed ? NULL : arena_copy(&report->arena, json.bytes, json.size);
    buffer_deinit(&json);
    if (files == NULL)
        return -1;
    struct store_call *call = add(report, STATEMENT_FILES_RECORD);
    put(call, value_integer(job->id));
    put(call, value_text(files));
    put(call, copied(report, output->template_set));
    put(call, copied(report, output->template_hash));
    put(call, copied(report, output->contract));
    put(call, value_integer(clock_wall_ms()));
    return 0;
}

static void add_mixins(struct report *report, const struct render_job *render,
                       const struct error *error)
{
    struct buffer json;
    bool done = error->code == ERROR_NONE;
    buffer_init(&json, MIXINS_BYTES_MAX);
    put_mixins(&json, render->mixins);
    struct store_call *call = add(report, STATEMENT_MIXINS_RECORD);
    put(call, value_text(render->node_type));
    put(call, copied(report, json.failed ? "[]" : json.bytes));
    put(call, value_integer(done));
    put(call, done ? value_null() : copied(report, error->text));
    put(call, value_null());
    put(call, value_integer(clock_wall_ms()));
    buffer_deinit(&json);
}

static struct report *report_make(int64_t job_id, size_t most_calls)
{
    struct report *report = calloc(1, sizeof(*report));
    if (report == NULL)
        return NULL;
    report->job_id = job_id;
    arena_init(&report->arena, REPORT_BYTES_MAX);
    report->calls =
        arena_calloc(&report->arena, most_calls, sizeof(*report->calls));
    if (report->calls == NULL)
        report_free(&report);
    return report;
}

struct report *report_new(const struct reporter *reporter,
                          const struct job *job,
                          const struct render_job *render,
                          const struct command_outcome *command,
                          const struct error *error, uint64_t duration_us,
                          const char **outcome)
{
    bool done = error->code == ERROR_NONE;
    struct buffer json;
    *outcome = command != NULL && command->cancelled ? "cancelled"
               : done                                ? "done"
               : may_pass(error->code) && job->attempt <= reporter->max_retries
                   ? "retry"
                   : "failed";
    struct report *report = report_make(job->id, CALLS_MOST);
    if (report == NULL)
        return NULL;
    buffer_init(&json, RESULT_BYTES_MAX);
    put_result(&json, reporter, job, render, command, error, *outcome,
               duration_us);
    const char *result =
        json.failed ? NULL : arena_copy(&report->arena, json.bytes, json.size);
    buffer_deinit(&json);
    if (result == NULL) {
        report_free(&report);
        return NULL;
    }
    add_finish(report, reporter, job, *outcome, result,
               command != NULL ? command->output : NULL, error, duration_us);
    if (done && render != NULL && render->output.file_count > 0 &&
        add_files(report, job, render) != 0) {
        report_free(&report);
        return NULL;
    }
    if (render != NULL && tried_mixins(render, error))
        add_mixins(report, render, error);
    return report;
}

void report_free(struct report **report)
{
    if (*report == NULL)
        return;
    arena_deinit(&(*report)->arena);
    free(*report);
    *report = NULL;
}
