/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/command_job.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/document/document.h"
#include "workers/generation/guardian.h"
#include "workers/generation/report.h"

#define SPEC_BYTES_MAX (16u << 20)
#define HALF           (COMMAND_OUTPUT_MAX / 2)
#define SLACK_MS       1000 /* for the guardian, beyond deadline and grace */
#define READS_AT_ONCE  16

/* What it printed: the head, then a ring with the tail. */
struct kept_output {
    char head[HALF];
    char tail[HALF];
    uint64_t size; /* of all that was printed */
};

struct command_job {
    struct arena arena; /* the specification */
    struct command command;
    struct guardian *guardian; /* lives longer */
    struct event *output_event;
    struct event *result_event;
    struct event *bound_event;
    const char *correlation;
    command_over over;
    void *self;
    bool cancelled;
    bool over_said; /* nothing of it is alive */
    struct kept_output kept;
};

/* --- what it prints --- */

static void keep(struct kept_output *kept, const char *bytes, size_t size)
{
    size_t head = kept->size < HALF ? HALF - (size_t)kept->size : 0;
    if (head > size)
        head = size;
    memcpy(kept->head + (kept->size < HALF ? kept->size : 0), bytes, head);
    kept->size += head;
    for (size_t i = head; i < size; i++, kept->size++)
        kept->tail[kept->size % HALF] = bytes[i];
}

/* Bounded, so that one who prints for ever does not hold the loop. */
static void read_output(struct command_job *job)
{
    char bytes[4096];
    for (int i = 0; i < READS_AT_ONCE; i++) {
        ssize_t size = read(job->guardian->output_fd, bytes, sizeof(bytes));
        if (size == 0)
            event_del(job->output_event);
        if (size <= 0)
            return;
        keep(&job->kept, bytes, (size_t)size);
    }
}

static void on_output(evutil_socket_t fd, short what, void *self)
{
    (void)fd, (void)what;
    read_output(self);
}

/* The store takes UTF-8: where it is none, all that is not ASCII goes. */
static void make_text(struct buffer *text)
{
    for (size_t i = 0; i < text->size; i++)
        if (text->bytes[i] == '\0')
            text->bytes[i] = '?';
    if (text_is_utf8(text->bytes, text->size))
        return;
    for (size_t i = 0; i < text->size; i++)
        if ((unsigned char)text->bytes[i] >= 0x80)
            text->bytes[i] = '?';
}

static void gather_output(const struct kept_output *kept, struct buffer *text)
{
    size_t tail = kept->size > HALF ? (size_t)(kept->size - HALF) : 0;
    buffer_init(text, COMMAND_OUTPUT_MAX + 256);
    buffer_append(text, kept->head, (size_t)(kept->size - tail));
    if (tail > HALF) {
        buffer_printf(text, "\n[... %llu bytes were not kept ...]\n",
                      (unsigned long long)(tail - HALF));
        tail = HALF;
    }
    for (uint64_t i = kept->size - tail; i < kept->size; i++)
        buffer_append_char(text, kept->tail[i % HALF]);
    if (!text->failed && text->size > 0)
        make_text(text);
}

/* --- its end --- */

static void judge(const struct command_job *job,
                  const struct command_result *result,
                  struct command_outcome *outcome, struct error *error)
{
    const char *name = job->command.argv[0];
    if (result->cancelled) {
        outcome->cancelled = true;
        error_set(error, ERROR_DATA, "cancelled");
    } else if (result->timed_out) {
        outcome->exit_code = COMMAND_EXIT_TIMED_OUT;
        error_set(error, ERROR_DATA, "it was not done after %.3f s",
                  (double)job->command.timeout_ms / 1000.0);
    } else if (result->end == COMMAND_NOT_STARTED) {
        error_set(error, ERROR_DATA, "%.200s cannot be started in %.200s: %s",
                  name, job->command.directory, strerror(result->detail));
    } else if (result->end == COMMAND_SIGNALLED) {
        outcome->signal = result->detail;
        error_set(error, ERROR_TRY_AGAIN, "%.200s was killed by signal %d",
                  name, result->detail);
    } else {
        outcome->exit_code = result->detail;
        if (result->detail == COMMAND_EXIT_TEMPORARY)
            error_set(error, ERROR_TRY_AGAIN, "%.200s asked to try later (111)",
                      name);
        else if (result->detail != 0)
            error_set(error, ERROR_DATA, "%.200s left with exit code %d", name,
                      result->detail);
    }
}

/* `result` is NULL when the guardian did not live to say it. */
static void end(struct command_job *job, const struct command_result *result)
{
    struct command_outcome outcome = {.exit_code = -1,
                                      .correlation = job->correlation};
    struct error error;
    struct buffer text;
    error_clear(&error);
    job->over_said = true;
    if (result == NULL)
        guardian_close_tree(job->guardian);
    for (uint64_t before = UINT64_MAX; before != job->kept.size;) {
        before = job->kept.size; /* all writers are dead: it has an end */
        read_output(job);
    }
    if (result != NULL) {
        judge(job, result, &outcome, &error);
    } else if (job->cancelled) {
        outcome.cancelled = true;
        error_set(&error, ERROR_DATA, "cancelled");
    } else {
        error_set(&error, ERROR_DATA,
                  "its guardian was killed or stopped; the command was killed");
    }
    gather_output(&job->kept, &text);
    buffer_append_char(&text, '\0');
    outcome.output = text.failed ? NULL : text.bytes;
    event_del(job->result_event);
    event_del(job->bound_event);
    event_del(job->output_event);
    job->over(job->self, &outcome, &error);
    buffer_deinit(&text);
}

static void on_result(evutil_socket_t fd, short what, void *self)
{
    struct command_job *job = self;
    struct command_result result;
    (void)what;
    ssize_t size = read(fd, &result, sizeof(result));
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    end(job, size == (ssize_t)sizeof(result) ? &result : NULL);
}

/* The guardian should have ended it by now: the job has stopped it. */
static void on_bound(evutil_socket_t fd, short what, void *self)
{
    (void)fd, (void)what;
    end(self, NULL);
}

/* --- its beginning --- */

static const char *text_of(const struct node *map, const char *key)
{
    const struct node *node = document_get(map, key);
    return node == NULL || node->kind != NODE_STRING ? NULL : node->text;
}

static uint64_t number_of(const struct node *map, const char *key,
                          uint64_t otherwise)
{
    const struct node *node = document_get(map, key);
    return node == NULL || node->kind != NODE_NUMBER
               ? otherwise
               : strtoull(node->text, NULL, 10);
}

static char **make_argv(struct arena *arena, const struct node *list)
{
    if (list == NULL || list->kind != NODE_LIST || list->count == 0)
        return NULL;
    char **argv = arena_calloc(arena, list->count + 1, sizeof(*argv));
    size_t count = 0;
    for (const struct node *item = list->first; item != NULL && argv != NULL;
         item = item->next) {
        if (item->kind != NODE_STRING ||
            (argv[count++] = arena_strdup(arena, item->text)) == NULL)
            return NULL;
    }
    return argv;
}

/* The next word of a list; NULL at its end. */
static const char *next_word(const char **list, size_t *size)
{
    const char *word = *list + strspn(*list, " ,");
    *size = strcspn(word, " ,");
    *list = word + *size;
    return *size > 0 ? word : NULL;
}

static const char *variable(const char *word, size_t size, char name[256])
{
    snprintf(name, 256, "%.*s", (int)size, word);
    return getenv(name);
}

/* Of the daemon's environment only what is allowed; then the job's own. */
static char **make_environment(struct arena *arena, const struct node *own,
                               const struct job *job, const char *allowed)
{
    size_t own_count = own != NULL ? own->count : 0;
    char **all =
        arena_calloc(arena, strlen(allowed) / 2 + own_count + 4, sizeof(*all));
    char name[256];
    size_t size;
    size_t count = 0;
    const char *word;
    if (all == NULL)
        return NULL;
    while ((word = next_word(&allowed, &size)) != NULL) {
        const char *value = variable(word, size, name);
        if (value != NULL && document_get(own, name) == NULL)
            all[count++] = arena_printf(arena, "%s=%s", name, value);
    }
    for (const struct node *item = own != NULL ? own->first : NULL;
         item != NULL; item = item->next) {
        if (item->kind != NODE_STRING || item->key == NULL)
            return NULL;
        all[count++] = arena_printf(arena, "%s=%s", item->key, item->text);
    }
    all[count++] = arena_printf(arena, "TIDEMILL_JOB=%lld", (long long)job->id);
    all[count++] =
        arena_printf(arena, "TIDEMILL_ATTEMPT=%lld", (long long)job->attempt);
    for (size_t i = 0; i < count; i++)
        if (all[i] == NULL)
            return NULL;
    return all;
}

static int read_spec(struct command_job *command, const struct job *job,
                     const struct command_defaults *defaults,
                     struct error *error)
{
    struct document_limits limits = document_limits_default;
    struct node *spec = NULL;
    limits.depth = 8;
    if (document_read_json(&command->arena, "job", job->spec, job->spec_size,
                           &limits, &spec, error) != 0)
        return error_prefix(error, "the job's specification cannot be read");
    const struct node *bounds = document_get(spec, "limits");
    struct command *what = &command->command;
    what->argv = make_argv(&command->arena, document_get(spec, "argv"));
    what->directory = text_of(spec, "directory");
    what->environment =
        make_environment(&command->arena, document_get(spec, "environment"),
                         job, defaults->environment);
    if (what->argv == NULL || what->directory == NULL ||
        what->environment == NULL)
        return error_set(error, ERROR_DATA,
                         "the job's specification lacks argv or directory, or "
                         "its environment is no map of texts; submit it with "
                         "tidemill run");
    const struct command_limits *most = &defaults->limits;
    what->limits = (struct command_limits){
        .cpu_seconds = number_of(bounds, "cpu_seconds", most->cpu_seconds),
        .memory_bytes = number_of(bounds, "memory_bytes", most->memory_bytes),
        .file_bytes = number_of(bounds, "file_bytes", most->file_bytes),
        .processes = number_of(bounds, "processes", most->processes),
        .open_files = number_of(bounds, "open_files", most->open_files),
    };
    const char *correlation = text_of(spec, "correlation_id");
    if (correlation != NULL && log_correlation_is_valid(correlation))
        command->correlation = correlation;
    return 0;
}

static int add_events(struct command_job *job, struct event_base *base,
                      struct error *error)
{
    uint64_t bound_ms =
        job->command.timeout_ms + job->command.grace_ms + SLACK_MS;
    struct timeval bound = clock_span((int64_t)bound_ms);
    job->output_event = event_new(base, job->guardian->output_fd,
                                  EV_READ | EV_PERSIST, on_output, job);
    job->result_event = event_new(base, job->guardian->result_fd,
                                  EV_READ | EV_PERSIST, on_result, job);
    job->bound_event = event_new(base, -1, 0, on_bound, job);
    if (job->output_event == NULL || job->result_event == NULL ||
        job->bound_event == NULL || event_add(job->output_event, NULL) != 0 ||
        event_add(job->result_event, NULL) != 0 ||
        event_add(job->bound_event, &bound) != 0)
        return error_set(error, ERROR_SYSTEM, "no memory to watch a command");
    return 0;
}

struct command_job *
command_job_start(struct event_base *base, struct guardian *guardian,
                  const struct command_defaults *defaults,
                  const struct job *job, uint64_t timeout_ms, uint64_t grace_ms,
                  command_over over, void *self, struct error *error)
{
    struct command_job *command = calloc(1, sizeof(*command));
    if (command == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for a command");
        return NULL;
    }
    arena_init(&command->arena, SPEC_BYTES_MAX);
    command->command.timeout_ms = timeout_ms;
    command->command.grace_ms = grace_ms;
    command->guardian = guardian;
    command->over = over;
    command->self = self;
    if (read_spec(command, job, defaults, error) != 0 ||
        guardian_run(guardian, &command->command, error) != 0 ||
        add_events(command, base, error) != 0)
        command_job_free(&command);
    return command;
}

void command_job_cancel(struct command_job *command)
{
    guardian_cancel(command->guardian);
    command->cancelled = true;
}

void command_job_free(struct command_job **command)
{
    struct command_job *old = *command;
    *command = NULL;
    if (old == NULL)
        return;
    if (old->output_event != NULL)
        event_free(old->output_event);
    if (old->result_event != NULL)
        event_free(old->result_event);
    if (old->bound_event != NULL)
        event_free(old->bound_event);
    if (!old->over_said)
        guardian_close(old->guardian);
    arena_deinit(&old->arena);
    free(old);
}
