/* SPDX-License-Identifier: Apache-2.0
 *
 * enqueue: one operation, or a batch as NDJSON.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "common/store/writer.h"
#include "ctl/command.h"
#include "ctl/ndjson.h"
#include "ctl/outbox.h"
#include "ctl/print.h"

/* Data may be padded, and escaped in the line around it; what is more is
 * not kept in memory. */
#define DATA_INPUT_MAX (5u << 20)
#define LINE_MAX_BYTES (6u << 20)

/* A request of the batch: what one commit takes. */
#define CHUNK_OPERATIONS 1000
#define CHUNK_BYTES      (2u << 20)

/* An atomic batch is one request. */
#define ATOMIC_OPERATIONS WIRE_CALLS_MAX
#define ATOMIC_BYTES      (15u << 20)

static struct new_operation with_texts(const char *operation, const char *table,
                                       const char *record_id, const char *data,
                                       const char *priority)
{
    return (struct new_operation){
        .operation = operation,
        .operation_size = strlen(operation),
        .table_name = table,
        .table_name_size = strlen(table),
        .record_id = record_id,
        .record_id_size = strlen(record_id),
        .data = data,
        .data_size = data != NULL ? strlen(data) : 0,
        .priority = priority,
        .priority_size = strlen(priority),
    };
}

static int enqueue_one(const struct command_context *context,
                       const struct new_operation *operation,
                       struct arena *arena)
{
    struct error error;
    struct store_session *session = NULL;
    struct store_call call;
    struct store_answer answer;
    const struct store_request request = {&call, 1};
    if (outbox_call(operation, clock_wall_ms(), &call, &error) != 0 ||
        outbox_call_check(&call, &error) != 0 ||
        store_session_open(&session, context->config, SESSION_TIMEOUT_MS,
                           &error) != 0)
        return print_failure(&error);
    int result = store_session_call(session, &request, arena, &answer, &error);
    store_session_close(&session);
    if (result != 0)
        return print_failure(&error);
    long long id = (long long)answer.results[0].changed;
    if (context->json)
        return print_json(json_pack("{s:I}", "id", (json_int_t)id));
    printf("%lld\n", id);
    return 0;
}

/* --- a batch --- */

struct batch {
    const struct command_context *context;
    const char *name; /* of the file, for messages */
    bool atomic;
    struct store_session *session;
    struct arena arena; /* of the chunk */
    struct store_call *calls;
    uint64_t *lines; /* of each call */
    size_t count;
    size_t bytes;
    uint64_t accepted;
    uint64_t refused;
    int status; /* of the first refusal */
};

/* Most refusals told in full; the rest is counted. */
#define REFUSALS_SHOWN 20

static void refuse_line(struct batch *batch, uint64_t line,
                        const struct error *error)
{
    batch->refused++;
    if (batch->status == 0)
        batch->status = error_exit_status(error->code);
    if (batch->refused <= REFUSALS_SHOWN)
        print_error("%s:%llu: %s", batch->name, (unsigned long long)line,
                    error->text);
}

static void chunk_reset(struct batch *batch)
{
    batch->count = 0;
    batch->bytes = 0;
    arena_reset(&batch->arena);
}

/* Where to go on when the store takes no more: nobody has to guess which
 * lines are in. */
static int stopped_at(const struct batch *batch, uint64_t line,
                      struct error *error)
{
    if (batch->atomic)
        return error_prefix(error, "%s: nothing was accepted (--atomic)",
                            batch->name);
    return error_prefix(error,
                        "%s:%llu: stopped before this line; go on with it "
                        "later",
                        batch->name, (unsigned long long)line);
}

/* Sends calls one by one: one of them is refused, and only that one may be
 * left out.  -1 when the store cannot take any more. */
static int send_singly(struct batch *batch, struct arena *arena,
                       struct error *error)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct store_request request = {&batch->calls[i], 1};
        struct store_answer answer;
        arena_reset(arena);
        if (store_session_call(batch->session, &request, arena, &answer,
                               error) == 0)
            batch->accepted++;
        else if (error->code == ERROR_DATA)
            refuse_line(batch, batch->lines[i], error);
        else
            return stopped_at(batch, batch->lines[i], error);
    }
    return 0;
}

static int chunk_send(struct batch *batch, struct error *error)
{
    if (batch->count == 0)
        return 0;
    const struct store_request request = {batch->calls, batch->count};
    struct store_answer answer;
    struct arena arena;
    arena_init(&arena, 64u << 20);
    int result =
        store_session_call(batch->session, &request, &arena, &answer, error);
    if (result == 0)
        batch->accepted += batch->count;
    else if (error->code == ERROR_DATA && !batch->atomic)
        result = send_singly(batch, &arena, error);
    else
        result = stopped_at(batch, batch->lines[0], error);
    arena_deinit(&arena);
    chunk_reset(batch);
    return result;
}

static int chunk_add(struct batch *batch, uint64_t number, const char *line,
                     size_t size, struct error *error)
{
    struct new_operation operation;
    /* The line is the caller's buffer: keep a copy until it is sent. */
    const char *copy = arena_copy(&batch->arena, line, size);
    if (copy == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for the batch");
    struct error why = {0};
    if (ndjson_parse(copy, size, &batch->arena, &operation, &why) != 0 ||
        outbox_call(&operation, clock_wall_ms(), &batch->calls[batch->count],
                    &why) != 0 ||
        outbox_call_check(&batch->calls[batch->count], &why) != 0) {
        refuse_line(batch, number, &why);
        return 0;
    }
    batch->lines[batch->count++] = number;
    batch->bytes += size;
    return 0;
}

static bool chunk_is_full(const struct batch *batch)
{
    return batch->count == CHUNK_OPERATIONS || batch->bytes >= CHUNK_BYTES;
}

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

/* An atomic batch holds all lines before it sends any. */
static int check_atomic(const struct batch *batch, struct error *error)
{
    if (batch->count < ATOMIC_OPERATIONS && batch->bytes < ATOMIC_BYTES)
        return 0;
    return error_set(error, ERROR_DATA,
                     "%s: an atomic batch has at most %d lines and %u MB; "
                     "split it, or leave --atomic out",
                     batch->name, ATOMIC_OPERATIONS - 1, ATOMIC_BYTES >> 20);
}

/* The next line without its end; of one that is too long only what fits is
 * kept, *size is past the bound.  False at the end of the file. */
static bool next_line(FILE *file, struct buffer *line, size_t *size)
{
    int c;
    line->size = 0;
    *size = 0;
    while ((c = getc_unlocked(file)) != EOF && c != '\n') {
        if (++*size > LINE_MAX_BYTES)
            continue;
        char *at = buffer_reserve(line, 1);
        if (at == NULL)
            return false;
        *at = (char)c;
        line->size++;
    }
    return c != EOF || *size > 0;
}

static void refuse_long(struct batch *batch, uint64_t number, size_t size)
{
    struct error why;
    error_set(&why, ERROR_DATA,
              "the line has %zu bytes, at most %u are taken; store the data "
              "elsewhere and record where",
              size, LINE_MAX_BYTES);
    refuse_line(batch, number, &why);
}

/* What editors put before the first line is no part of it. */
static size_t skip_byte_order_mark(const struct buffer *line, uint64_t number)
{
    static const char mark[] = "\xef\xbb\xbf";
    return number == 1 && line->size >= 3 && memcmp(line->bytes, mark, 3) == 0
               ? 3
               : 0;
}

static int batch_lines(struct batch *batch, FILE *file, struct buffer *line,
                       struct error *error)
{
    uint64_t number = 0;
    size_t size;
    int result = 0;
    while (result == 0 && next_line(file, line, &size)) {
        number++;
        if (size > LINE_MAX_BYTES) {
            refuse_long(batch, number, size);
            continue;
        }
        size_t start = skip_byte_order_mark(line, number);
        if (is_blank(line->bytes + start, size - start))
            continue;
        result =
            chunk_add(batch, number, line->bytes + start, size - start, error);
        if (result == 0 && batch->atomic)
            result = check_atomic(batch, error);
        else if (result == 0 && chunk_is_full(batch))
            result = chunk_send(batch, error);
    }
    if (result == 0 && line->failed)
        result = error_set(error, ERROR_SYSTEM, "no memory for the batch");
    if (result == 0 && ferror(file))
        result = error_set_errno(error, ERROR_NO_INPUT, "cannot read %s",
                                 batch->name);
    return result;
}

static int batch_read(struct batch *batch, FILE *file, struct error *error)
{
    struct buffer line;
    buffer_init(&line, LINE_MAX_BYTES + 1);
    int result = -1;
    if (buffer_reserve(&line, 1) == NULL)
        error_set(error, ERROR_SYSTEM, "no memory for the batch");
    else
        result = batch_lines(batch, file, &line, error);
    buffer_deinit(&line);
    return result;
}

static int batch_finish(struct batch *batch, struct error *error)
{
    if (batch->atomic && batch->refused > 0)
        return error_set(error, ERROR_DATA,
                         "%s: nothing was accepted (--atomic); correct the "
                         "lines named above",
                         batch->name);
    return chunk_send(batch, error);
}

static int batch_report(const struct batch *batch)
{
    if (batch->refused > REFUSALS_SHOWN)
        print_error("... and %llu more lines were refused",
                    (unsigned long long)(batch->refused - REFUSALS_SHOWN));
    if (batch->context->json)
        print_json(json_pack("{s:I,s:I}", "accepted",
                             (json_int_t)batch->accepted, "refused",
                             (json_int_t)batch->refused));
    else
        printf("%llu accepted, %llu refused\n",
               (unsigned long long)batch->accepted,
               (unsigned long long)batch->refused);
    return batch->status;
}

static int enqueue_batch(const struct command_context *context,
                         const char *path, bool atomic)
{
    struct error error;
    bool standard = strcmp(path, "-") == 0;
    struct batch batch = {.context = context,
                          .name = standard ? "standard input" : path,
                          .atomic = atomic};
    size_t room = atomic ? ATOMIC_OPERATIONS : CHUNK_OPERATIONS;
    FILE *file = standard ? stdin : fopen(path, "re");
    int result = -1;
    arena_init(&batch.arena, 128u << 20);
    batch.calls = calloc(room, sizeof(*batch.calls));
    batch.lines = calloc(room, sizeof(*batch.lines));
    if (file == NULL)
        error_set_errno(&error, ERROR_NO_INPUT, "cannot open %s", path);
    else if (batch.calls == NULL || batch.lines == NULL)
        error_set(&error, ERROR_SYSTEM, "no memory for the batch");
    else if (store_session_open(&batch.session, context->config,
                                SESSION_TIMEOUT_MS, &error) == 0)
        result = batch_read(&batch, file, &error);
    if (result == 0)
        result = batch_finish(&batch, &error);
    if (result != 0) {
        print_failure(&error);
        batch.status = error_exit_status(error.code);
    }
    if (batch.session != NULL)
        batch_report(&batch);
    store_session_close(&batch.session);
    if (file != NULL && !standard)
        fclose(file);
    arena_deinit(&batch.arena);
    free(batch.calls);
    free(batch.lines);
    return batch.status;
}

struct enqueue_options {
    const char *operation; /* NULL: not said */
    const char *priority;
    const char *batch;
    bool atomic;
};

static int parse_options(const struct command_context *context, int argc,
                         char **argv, struct enqueue_options *options)
{
    static const struct option longs[] = {
        {"operation", required_argument, NULL, 'o'},
        {"priority", required_argument, NULL, 'p'},
        {"batch", required_argument, NULL, 'b'},
        {"atomic", no_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == 'o')
            options->operation = optarg;
        else if (option == 'p')
            options->priority = optarg;
        else if (option == 'b')
            options->batch = optarg;
        else if (option == 'a')
            options->atomic = true;
        else
            return print_usage_line(context);
    }
    if (options->batch == NULL && options->atomic)
        return print_usage(context, "--atomic goes with --batch");
    if (options->batch != NULL &&
        (argc != optind || options->operation != NULL ||
         options->priority != NULL))
        return print_usage(context, "--batch takes all of an operation from "
                                    "its lines, nothing from the command");
    if (options->batch == NULL && (argc - optind < 2 || argc - optind > 3))
        return print_usage(context, "a table and a record id are needed");
    return 0;
}

int command_enqueue(const struct command_context *context, int argc,
                    char **argv)
{
    struct enqueue_options options = {0};
    int status = parse_options(context, argc, argv, &options);
    if (status != 0)
        return status;
    if (options.batch != NULL)
        return enqueue_batch(context, options.batch, options.atomic);
    struct arena arena;
    struct error error;
    arena_init(&arena, 32u << 20);
    const char *data = argc - optind == 3 ? argv[optind + 2] : NULL;
    struct new_operation operation =
        with_texts(options.operation != NULL ? options.operation : "INSERT",
                   argv[optind], argv[optind + 1], data,
                   options.priority != NULL ? options.priority : "normal");
    if (data != NULL && strcmp(data, "-") == 0) {
        char *text = NULL;
        if (read_input("-", DATA_INPUT_MAX, &arena, &text, &operation.data_size,
                       &error) != 0) {
            if (error.code == ERROR_DATA)
                error_set(&error, ERROR_DATA,
                          "the data has more than the %d bytes that are taken; "
                          "store it elsewhere and record where",
                          OUTBOX_DATA_MAX);
            status = print_failure(&error);
        }
        operation.data = text;
    }
    if (status == 0)
        status = enqueue_one(context, &operation, &arena);
    arena_deinit(&arena);
    return status;
}
