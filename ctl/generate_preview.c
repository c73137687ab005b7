/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/generate_preview.h"

#include <jansson.h>
#include <stdio.h>

#include "common/generation/contract.h"
#include "common/generation/line_diff.h"
#include "common/generation/node_render.h"
#include "ctl/arguments.h"
#include "ctl/contract_input.h"
#include "ctl/mixin_warnings.h"
#include "ctl/outbox.h"
#include "ctl/print.h"

#define ARENA_BYTES_MAX   (512u << 20)
#define PREVIEW_BYTES_MAX (128u << 20) /* of one contract */

struct previewing {
    const struct preview *preview;
    struct template_cache *cache;
    struct arena arena; /* of one contract */
    json_t *files;      /* NULL: text */
    size_t counts[OUTPUT_CHANGE_COUNT];
};

static const struct contract *read_contract(struct previewing *previewing,
                                            const char *path,
                                            struct error *error)
{
    struct arena *arena = &previewing->arena;
    struct contract_input input = {.contract = NULL};
    struct buffer errors;
    char *text;
    size_t size;
    char absolute[PATH_MAX]; /* the owner of what is there */
    if (argument_path(path, absolute, error) != 0 ||
        read_input(path, CONTRACT_BYTES_MAX, arena, &text, &size, error) != 0)
        return NULL;
    const char *name = arena_strdup(arena, absolute);
    buffer_init(&errors, CONTRACT_ERRORS_MAX);
    if (name == NULL ||
        contract_input_take(arena, name, text, size, &input, &errors) != 0)
        error_set(error, ERROR_DATA, "%s",
                  errors.bytes != NULL ? errors.bytes : path);
    buffer_deinit(&errors);
    return input.contract;
}

static int put_diff(struct previewing *previewing,
                    const struct output_file *file, struct buffer *out)
{
    struct arena *arena = &previewing->arena;
    struct lines old, new;
    struct line_changes changes;
    const char *bytes = file->merged != NULL ? file->merged : file->bytes;
    size_t size = file->merged != NULL ? file->merged_size : file->size;
    if (!output_change_writes(file->change))
        return 0;
    if (lines_split(arena, file->old, file->old_size, &old) != 0 ||
        lines_split(arena, bytes, size, &new) != 0 ||
        lines_compare(arena, &old, &new, &changes) != 0)
        return -1;
    lines_print_unified(&old, file->old != NULL ? file->path : NULL, &new,
                        file->path, &changes, out);
    return 0;
}

static json_t *file_json(struct previewing *previewing,
                         const struct output_file *file)
{
    struct buffer diff;
    json_t *row = json_pack("{s:s,s:s}", "path", file->path, "change",
                            output_change_name(file->change));
    buffer_init(&diff, PREVIEW_BYTES_MAX);
    if (previewing->preview->diff && put_diff(previewing, file, &diff) == 0 &&
        diff.size > 0)
        json_object_set_new(row, "diff", json_stringn(diff.bytes, diff.size));
    buffer_deinit(&diff);
    return row;
}

static int tell(struct previewing *previewing, const struct output *output,
                struct error *error)
{
    struct buffer out;
    int result = 0;
    for (size_t i = 0; i < OUTPUT_CHANGE_COUNT; i++)
        previewing->counts[i] += output->counts[i];
    if (previewing->files != NULL) {
        for (size_t i = 0; i < output->file_count; i++)
            json_array_append_new(previewing->files,
                                  file_json(previewing, &output->files[i]));
        return 0;
    }
    buffer_init(&out, PREVIEW_BYTES_MAX);
    for (size_t i = 0;
         previewing->preview->diff && result == 0 && i < output->file_count;
         i++)
        result = put_diff(previewing, &output->files[i], &out);
    if (!previewing->preview->diff)
        output_summary(output, false, &out);
    if (result != 0 || out.failed)
        result = error_set(error, ERROR_SYSTEM, "no memory for a preview");
    else if (out.size > 0)
        fwrite(out.bytes, 1, out.size, stdout);
    buffer_deinit(&out);
    return result;
}

static int preview_contract(struct previewing *previewing, const char *path,
                            struct error *error)
{
    const struct preview *preview = previewing->preview;
    struct output output = {.counts = {0}};
    bool hit;
    arena_reset(&previewing->arena);
    const struct contract *contract = read_contract(previewing, path, error);
    if (contract == NULL)
        return -1;
    if (node_render(previewing->cache, preview->template_dir, contract,
                    &previewing->arena, &output, &hit, error) != 0)
        return -1;
    output.directory = preview->output;
    output.force = preview->force;
    output.merge = preview->merge;
    output.keep_old = preview->diff;
    output.arena = &previewing->arena;
    if (output_plan(&output, error) != 0)
        return -1;
    return tell(previewing, &output, error);
}

/* The end of the report; the files go with it. */
static void tell_sum(struct previewing *previewing)
{
    json_t *sum = json_object();
    for (size_t i = 0; i < OUTPUT_CHANGE_COUNT; i++)
        json_object_set_new(sum, output_change_name((enum output_change)i),
                            json_integer((json_int_t)previewing->counts[i]));
    if (previewing->files != NULL)
        print_json(json_pack(
            "{s:o,s:o,s:o,s:O}", "counts", sum, "files", previewing->files,
            "warnings", mixin_warnings_json(previewing->preview->warnings),
            "requirements", previewing->preview->requirements));
    else
        json_decref(sum);
}

int preview_contracts(const struct preview *preview, char **paths, size_t count)
{
    struct error error;
    struct previewing previewing = {
        .preview = preview,
        .cache = template_cache_new(NULL, &error),
        .files = preview->json ? json_array() : NULL,
    };
    int status = 0;
    if (previewing.cache == NULL)
        return print_failure(&error);
    arena_init(&previewing.arena, ARENA_BYTES_MAX);
    for (size_t i = 0; i < count && status == 0; i++)
        if (preview_contract(&previewing, paths[i], &error) != 0)
            status = print_failure(&error);
    if (status == 0)
        tell_sum(&previewing);
    else
        json_decref(previewing.files);
    if (status == 0 && previewing.counts[OUTPUT_CONFLICT] > 0)
        status = error_exit_status(ERROR_NEGATIVE);
    arena_deinit(&previewing.arena);
    template_cache_free(&previewing.cache);
    return status;
}
