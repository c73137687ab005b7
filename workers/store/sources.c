/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/sources.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/shm/metrics.h"

#define TURN_MOST_NS 5000000u /* of source work between two groups */
#define SETTLE_MS    10       /* news within it are copied together */
/* Of one group, while no request waits: longer ones hold up those that come
 * during their commit. */
#define GROUP_ROWS_MOST  8000
#define GROUP_BYTES_MOST (4u << 20)
#define BUSY_RETRY_MS    50
#define FAILED_RETRY_MS  5000
#define ARENA_BYTES      (16u << 20) /* SOURCE_BYTES_MAX and a row past it */
#define WATCH_EVENTS                                                           \
    (IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM)

struct source {
    const struct sync_source *config;
    struct source_file *file;
    int watch; /* of its directory; -1: none */
    int64_t cursor;
    char identity[SOURCE_IDENTITY_MAX];
    /* what the running group holds, if it is committed */
    bool moved;
    int64_t moved_cursor;
    char moved_identity[SOURCE_IDENTITY_MAX];
    size_t moved_rows;
    bool wants;        /* there may be rows behind the cursor */
    uint64_t retry_ms; /* monotonic; not before */
    enum source_verdict verdict;
    char words[ERROR_TEXT_MAX];
    bool words_unsaved; /* the store does not have them yet */
};

struct sources {
    struct store_writer *writer;
    sources_wake wake;
    void *self;
    int64_t poll_ms;
    int inotify_fd;
    struct event *inotify_event;
    struct event *settle_event; /* looks soon after news */
    struct event *poll_event;
    struct arena arena;
    struct source_batch *batch;
    size_t group_rows, group_bytes; /* copied to the running group */
    size_t next;                    /* by turns */
    size_t count;
    struct source *sources;
};

/* --- states --- */

/* Says once what is wrong, and once that it is well again. */
static void note_verdict(struct source *source, enum source_verdict verdict,
                         const struct error *error)
{
    const char *words = verdict == SOURCE_OK ? "" : error->text;
    bool changed = strcmp(words, source->words) != 0;
    if (verdict == SOURCE_FAILED || verdict == SOURCE_REPLACED)
        metric_add(METRIC_SOURCE_ERRORS, 1);
    /* A lock comes and goes; it is no news. */
    if (changed && verdict != SOURCE_BUSY && source->verdict != SOURCE_BUSY) {
        if (verdict == SOURCE_OK)
            log_event(LOG_NOTICE_LEVEL, "a source is well again",
                      LOG_TEXT("source", source->config->name));
        else
            log_event(verdict == SOURCE_MISSING ? LOG_WARNING_LEVEL
                                                : LOG_ERROR_LEVEL,
                      "a source cannot be read",
                      LOG_TEXT("source", source->config->name),
                      LOG_TEXT("reason", words));
    }
    source->words_unsaved = source->words_unsaved || changed;
    source->verdict = verdict;
    snprintf(source->words, sizeof(source->words), "%s", words);
}

static uint64_t retry_delay_ms(const struct sources *sources,
                               enum source_verdict verdict)
{
    uint64_t poll_ms = (uint64_t)sources->poll_ms;
    if (verdict == SOURCE_BUSY)
        return BUSY_RETRY_MS;
    if (verdict == SOURCE_MISSING)
        return poll_ms < FAILED_RETRY_MS ? poll_ms : FAILED_RETRY_MS;
    return FAILED_RETRY_MS;
}

enum source_verdict sources_state(const struct sources *sources, size_t index,
                                  const char **words)
{
    *words = sources->sources[index].words;
    return sources->sources[index].verdict;
}

/* --- noticing --- */

static void watch_directory(struct sources *sources, struct source *source)
{
    char directory[CONFIG_PATH_MAX];
    if (source->watch >= 0 || sources->inotify_fd < 0)
        return;
    snprintf(directory, sizeof(directory), "%s", source->config->path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        return;
    slash[slash == directory ? 1 : 0] = '\0';
    source->watch =
        inotify_add_watch(sources->inotify_fd, directory, WATCH_EVENTS);
}

/* Looks at the files without opening one that is closed. */
static void look(struct sources *sources)
{
    uint64_t now_ms = clock_monotonic_ms();
    bool wants = false;
    for (size_t i = 0; i < sources->count; i++) {
        struct source *source = &sources->sources[i];
        watch_directory(sources, source);
        if (now_ms >= source->retry_ms && !source->wants)
            source->wants = source_file_changed(source->file);
        wants = wants || source->wants;
    }
    if (wants)
        sources->wake(sources->self);
}

static void on_poll(evutil_socket_t fd, short what, void *self)
{
    (void)fd;
    (void)what;
    look(self);
}

static void on_settle(evutil_socket_t fd, short what, void *self)
{
    struct sources *sources = self;
    (void)fd;
    (void)what;
    if (sources->inotify_event != NULL)
        event_add(sources->inotify_event, NULL);
    look(sources);
}

static void look_after(struct sources *sources, unsigned delay_ms)
{
    struct timeval delay = {.tv_usec = delay_ms * 1000};
    if (event_pending(sources->settle_event, EV_TIMEOUT, NULL) == 0)
        event_add(sources->settle_event, &delay);
}

/* Is the name that of the file or of its journals? */
static bool is_of_source(const struct source *source, const char *name)
{
    const char *slash = strrchr(source->config->path, '/');
    const char *base = slash == NULL ? source->config->path : slash + 1;
    size_t size = strlen(base);
    return strncmp(name, base, size) == 0 &&
           (name[size] == '\0' || strcmp(name + size, "-wal") == 0 ||
            strcmp(name + size, "-journal") == 0);
}

static bool concerns_source(struct sources *sources,
                            const struct inotify_event *event)
{
    bool concerns = (event->mask & IN_Q_OVERFLOW) != 0;
    for (size_t i = 0; i < sources->count; i++) {
        struct source *source = &sources->sources[i];
        if (source->watch != event->wd)
            continue;
        if ((event->mask & IN_IGNORED) != 0)
            source->watch = -1;
        else if (event->len > 0)
            concerns = concerns || is_of_source(source, event->name);
    }
    return concerns;
}

/* A busy application makes thousands of events a second: after the first
 * one no more are read until SETTLE_MS later. */
static void on_inotify(evutil_socket_t fd, short what, void *self)
{
    struct sources *sources = self;
    char bytes[16384] __attribute__((aligned(8)));
    bool concerns = false;
    (void)what;
    ssize_t got;
    while ((got = read(fd, bytes, sizeof(bytes))) > 0) {
        for (char *at = bytes; at < bytes + got;) {
            struct inotify_event event;
            memcpy(&event, at, sizeof(event));
            concerns =
                concerns_source(sources, (struct inotify_event *)(void *)at) ||
                concerns;
            at += sizeof(event) + event.len;
        }
        if (concerns)
            break;
    }
    if (!concerns)
        return;
    event_del(sources->inotify_event);
    look_after(sources, SETTLE_MS);
}

/* --- copying --- */

bool sources_want(void *self)
{
    const struct sources *sources = self;
    uint64_t now_ms = clock_monotonic_ms();
    if (sources->group_rows >= GROUP_ROWS_MOST ||
        sources->group_bytes >= GROUP_BYTES_MOST)
        return false;
    for (size_t i = 0; i < sources->count; i++)
        if (sources->sources[i].wants && now_ms >= sources->sources[i].retry_ms)
            return true;
    return false;
}

static int append_rows(struct sources *sources, struct source *source,
                       struct error *error)
{
    struct source_batch *batch = sources->batch;
    const char *name = source->config->name;
    if (store_writer_source_append(sources->writer, name, batch->rows,
                                   batch->count, error) != 0)
        return -1;
    source->moved = true;
    source->moved_rows += batch->count;
    sources->group_rows += batch->count;
    sources->group_bytes += batch->bytes;
    source->moved_cursor = batch->rows[batch->count - 1].id;
    snprintf(source->moved_identity, sizeof(source->moved_identity), "%s",
             batch->identity);
    return store_writer_source_move(sources->writer, name, source->moved_cursor,
                                    source->moved_identity, error);
}

static int copy_source(struct sources *sources, struct source *source,
                       struct error *error)
{
    struct error trouble;
    struct source_batch *batch = sources->batch;
    arena_reset(&sources->arena);
    enum source_verdict verdict = source_file_read(
        source->file, source->moved ? source->moved_cursor : source->cursor,
        source->moved ? source->moved_identity : source->identity,
        &sources->arena, batch, &trouble);
    note_verdict(source, verdict, &trouble);
    if (verdict != SOURCE_OK) {
        uint64_t delay_ms = retry_delay_ms(sources, verdict);
        source->wants = verdict == SOURCE_BUSY;
        source->retry_ms = clock_monotonic_ms() + delay_ms;
        if (verdict == SOURCE_BUSY)
            look_after(sources, BUSY_RETRY_MS);
        return 0;
    }
    source->wants = batch->more;
    return batch->count == 0 ? 0 : append_rows(sources, source, error);
}

/* For `tidemill doctor`. */
static int save_words(struct sources *sources, struct error *error)
{
    for (size_t i = 0; i < sources->count; i++) {
        const struct source *source = &sources->sources[i];
        if (source->words_unsaved && source->verdict != SOURCE_BUSY &&
            store_writer_source_error(sources->writer, source->config->name,
                                      source->words, error) != 0)
            return -1;
    }
    return 0;
}

int sources_contribute(void *self, struct store_writer *writer,
                       struct error *error)
{
    struct sources *sources = self;
    uint64_t start_ns = clock_monotonic_ns();
    uint64_t now_ms = start_ns / 1000000;
    (void)writer; /* the one that we were made with */
    for (size_t i = 0; i < sources->count; i++) {
        struct source *source = &sources->sources[sources->next];
        sources->next = (sources->next + 1) % sources->count;
        if (!source->wants || now_ms < source->retry_ms)
            continue;
        if (copy_source(sources, source, error) != 0) {
            source->moved = true; /* settled puts it back */
            return -1;
        }
        if (clock_monotonic_ns() - start_ns > TURN_MOST_NS)
            break;
    }
    return save_words(sources, error);
}

void sources_settled(void *self, bool committed)
{
    struct sources *sources = self;
    sources->group_rows = sources->group_bytes = 0;
    for (size_t i = 0; i < sources->count; i++) {
        struct source *source = &sources->sources[i];
        if (committed && source->verdict != SOURCE_BUSY)
            source->words_unsaved = false;
        if (!source->moved)
            continue;
        source->moved = false;
        if (committed) {
            metric_add(METRIC_SOURCE_ROWS, source->moved_rows);
            metric_add(METRIC_OUTBOX_ACCEPTED, source->moved_rows);
            source->cursor = source->moved_cursor;
            memcpy(source->identity, source->moved_identity,
                   sizeof(source->identity));
        } else {
            source->wants = true;
            source->retry_ms = clock_monotonic_ms() + 500;
        }
        source->moved_rows = 0;
    }
}

/* --- life --- */

static int read_cursors(struct sources *sources, const struct config *config,
                        struct error *error)
{
    for (size_t i = 0; i < config->source_count; i++) {
        struct source *source = &sources->sources[i];
        source->config = &config->sources[i];
        source->watch = -1;
        source->wants = true;
        source->file = source_file_new(source->config);
        sources->count++;
        if (source->file == NULL)
            return error_set(error, ERROR_SYSTEM, "no memory for sources");
        if (store_writer_source_cursor(sources->writer, source->config->name,
                                       &source->cursor, source->identity,
                                       error) != 0)
            return -1;
    }
    return 0;
}

static int add_events(struct sources *sources, struct event_base *base,
                      struct error *error)
{
    struct timeval period = clock_span(sources->poll_ms);
    sources->poll_event = event_new(base, -1, EV_PERSIST, on_poll, sources);
    sources->settle_event = event_new(base, -1, 0, on_settle, sources);
    /* Without inotify (too many watches) the poll alone notices. */
    sources->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (sources->inotify_fd < 0)
        log_warning("sources are only polled: inotify: %s", strerror(errno));
    else
        sources->inotify_event =
            event_new(base, sources->inotify_fd, EV_READ | EV_PERSIST,
                      on_inotify, sources);
    if (sources->poll_event == NULL || sources->settle_event == NULL ||
        event_add(sources->poll_event, &period) != 0 ||
        (sources->inotify_event != NULL &&
         event_add(sources->inotify_event, NULL) != 0))
        return error_set(error, ERROR_SYSTEM, "no memory for sources");
    look_after(sources, 1);
    return 0;
}

struct sources *sources_new(struct event_base *base,
                            const struct config *config,
                            struct store_writer *writer, sources_wake wake,
                            void *self, struct error *error)
{
    struct sources *sources = calloc(1, sizeof(*sources));
    if (sources == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for sources");
        return NULL;
    }
    *sources = (struct sources){.writer = writer,
                                .wake = wake,
                                .self = self,
                                .poll_ms = config->sync_poll_interval_ms,
                                .inotify_fd = -1};
    arena_init(&sources->arena, ARENA_BYTES);
    sources->batch = malloc(sizeof(*sources->batch));
    sources->sources =
        calloc(config->source_count + 1, sizeof(*sources->sources));
    if (sources->batch == NULL || sources->sources == NULL)
        error_set(error, ERROR_SYSTEM, "no memory for sources");
    else if (read_cursors(sources, config, error) == 0 &&
             (config->source_count == 0 ||
              add_events(sources, base, error) == 0))
        return sources;
    sources_free(&sources);
    return NULL;
}

static void free_event(struct event *event)
{
    if (event != NULL)
        event_free(event);
}

void sources_free(struct sources **sources)
{
    struct sources *gone = *sources;
    if (gone == NULL)
        return;
    free_event(gone->poll_event);
    free_event(gone->settle_event);
    free_event(gone->inotify_event);
    if (gone->inotify_fd >= 0)
        close(gone->inotify_fd);
    for (size_t i = 0; i < gone->count; i++)
        source_file_free(&gone->sources[i].file);
    free(gone->sources);
    free(gone->batch);
    arena_deinit(&gone->arena);
    free(gone);
    *sources = NULL;
}
