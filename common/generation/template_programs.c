/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/template_programs.h"

#include <fcntl.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/generation/safe_path.h"
#include "common/shm/cache.h"
#include "common/shm/metrics.h"

#define BUCKETS   1024
#define KEPT_MAX  4096 /* known templates, between rounds */
#define PATH_MOST (CACHE_KEY_MAX - 2)

_Static_assert(sizeof(struct template_record) <= CACHE_HEAD_MAX,
               "a list has the whole record");

/* Since it was told last. */
struct news {
    uint64_t hits, misses;
    uint32_t load_us;
};

struct known {
    struct template_program seen; /* what the caller has */
    struct known *next;
    uint64_t round;               /* in which it is current */
    uint64_t uses;                /* in this round */
    struct cache_pin pin;         /* where the program is shared */
    struct mustache_program *own; /* where it is not */
    struct template_record record;
    struct news news;
    char key[]; /* letter and path */
};

struct template_programs {
    struct cache cache; /* region NULL: not shared */
    bool keeps_news;
    bool has_news;
    uint64_t round;
    size_t count;
    char *template_dir;
    struct known *buckets[BUCKETS];
};

struct template_programs *
template_programs_new(const struct template_sharing *sharing,
                      struct error *error)
{
    struct template_programs *programs = calloc(1, sizeof(*programs));
    if (programs == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for templates");
        return NULL;
    }
    programs->round = 1;
    if (sharing == NULL)
        return programs;
    programs->keeps_news = sharing->keeps_news;
    programs->template_dir = strdup(sharing->template_dir);
    if (programs->template_dir == NULL)
        error_set(error, ERROR_SYSTEM, "no memory for templates");
    if (programs->template_dir == NULL ||
        cache_open(&programs->cache, sharing->region, sharing->holder, error) !=
            0)
        template_programs_free(&programs);
    return programs;
}

static void count_cache(struct template_programs *programs)
{
    struct cache_counts *counts = &programs->cache.counts;
    metric_add(METRIC_TEMPLATE_EVICTIONS, counts->evictions);
    metric_add(METRIC_TEMPLATE_INVALIDATIONS, counts->expirations);
    metric_add(METRIC_TEMPLATE_REFUSALS, counts->refusals);
    metric_add(METRIC_TEMPLATE_RECOVERIES, counts->recoveries);
    if (counts->recoveries > 0)
        log_notice("a process died while it changed the template cache; that "
                   "part of it was emptied");
    *counts = (struct cache_counts){0};
}

static void let_go(struct template_programs *programs, struct known *known)
{
    if (known->pin.value != NULL)
        cache_unpin(&programs->cache, &known->pin, known->uses);
    mustache_program_free(&known->own);
    known->seen.program = NULL;
    known->uses = 0;
}

/* Forgets what has no news, or all. */
static void forget(struct template_programs *programs, bool all)
{
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct known **at = &programs->buckets[i]; *at != NULL;) {
            struct known *known = *at;
            if (!all && known->news.hits + known->news.misses > 0) {
                at = &known->next;
                continue;
            }
            let_go(programs, known);
            *at = known->next;
            free(known);
            programs->count--;
        }
}

void template_programs_free(struct template_programs **programs)
{
    if (*programs == NULL)
        return;
    forget(*programs, true);
    free((*programs)->template_dir);
    free(*programs);
    *programs = NULL;
}

uint64_t template_programs_round(const struct template_programs *programs)
{
    return programs->round;
}

void template_programs_begin(struct template_programs *programs)
{
    programs->round++;
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct known *at = programs->buckets[i]; at != NULL; at = at->next)
            let_go(programs, at);
    if (programs->count > KEPT_MAX)
        forget(programs, false);
    if (programs->cache.region != NULL) {
        cache_trim(&programs->cache); /* the bounds may be others now */
        count_cache(programs);
    }
}

/* --- one template --- */

static struct known *find(struct template_programs *programs,
                          enum mustache_syntax syntax, const char *path,
                          struct cache_key *key, struct error *error)
{
    char letter = syntax == MUSTACHE_SYNTAX_MUSTACHE ? 'm' : 'p';
    size_t size = strlen(path);
    uint64_t hash = text_hash(TEXT_HASH_START, path, size);
    struct known **bucket = &programs->buckets[hash % BUCKETS];
    struct known *known = *bucket;
    while (known != NULL &&
           (known->key[0] != letter || strcmp(known->key + 1, path) != 0))
        known = known->next;
    if (known == NULL && size <= PATH_MOST)
        known = calloc(1, sizeof(*known) + size + 2);
    if (known == NULL) {
        error_set(error, ERROR_DATA, "no room for the template %.200s", path);
        return NULL;
    }
    if (known->key[0] == '\0') {
        known->key[0] = letter;
        memcpy(known->key + 1, path, size + 1);
        known->next = *bucket;
        *bucket = known;
        programs->count++;
    }
    *key = cache_key(known->key, size + 1);
    return known;
}

static const char *path_of(const struct known *known)
{
    return known->key + 1;
}

/* The bytes of the file, malloc'ed, and their hash. */
static char *read_template(const char *path, size_t *size, char sha256[65],
                           struct error *error)
{
    char folder[CACHE_KEY_MAX];
    char *bytes = NULL;
    SHA2_CTX hashing;
    const char *slash = strrchr(path, '/');
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        error_set_errno(error, ERROR_NO_INPUT, "cannot open %s", folder);
        return NULL;
    }
    int result = safe_read_file(fd, slash + 1, MUSTACHE_TEMPLATE_MAX, &bytes,
                                size, error);
    close(fd);
    if (result != 0) {
        error_prefix(error, "template file %s", path);
        return NULL;
    }
    SHA256Init(&hashing);
    SHA256Update(&hashing, (const uint8_t *)bytes, *size);
    SHA256End(&hashing, sha256);
    return bytes;
}

static bool is_shared(const struct template_programs *programs)
{
    struct cache_totals totals;
    if (programs->cache.region == NULL)
        return false;
    cache_totals(programs->cache.region, &totals);
    return totals.items_limit > 0;
}

/* The program is shared where there is room, else it stays where it is. */
static void keep(struct template_programs *programs, struct known *known,
                 const struct cache_key *key,
                 const struct mustache_program *program)
{
    const struct cache_piece pieces[CACHE_PIECES] = {
        {&known->record, sizeof(known->record)},
        {program, mustache_program_size(program)}};
    struct cache_pin pin = {.value = NULL};
    if (is_shared(programs) &&
        cache_put(&programs->cache, key, pieces, clock_monotonic_ms(), &pin)) {
        let_go(programs, known);
        known->pin = pin;
        program = (const void *)((const char *)pin.value +
                                 sizeof(struct template_record));
    }
    known->seen.program = program;
}

static int compile(struct template_programs *programs, struct known *known,
                   const struct cache_key *key, const char *bytes, size_t size,
                   uint64_t start_ns, struct error *error)
{
    known->own = mustache_compile((enum mustache_syntax)known->record.syntax,
                                  path_of(known), bytes, size, error);
    if (known->own == NULL)
        return -1;
    uint64_t us = (clock_monotonic_ns() - start_ns) / 1000;
    known->record.load_us = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    metric_record_us(METRIC_TEMPLATE_LOAD_SECONDS, us);
    known->news.load_us = known->record.load_us;
    keep(programs, known, key, known->own);
    return 0;
}

/* Pins what the cache has; false: nothing. */
static bool pin_shared(struct template_programs *programs, struct known *known,
                       const struct cache_key *key)
{
    if (!is_shared(programs) ||
        !cache_pin(&programs->cache, key, clock_monotonic_ms(), &known->pin))
        return false;
    const char *value = known->pin.value;
    memcpy(&known->record, value, sizeof(known->record));
    known->seen.program = (const void *)(value + sizeof(known->record));
    return true;
}

/* Its file does not look as it did: 1 when the contents are the same, 0 when
 * they are not, -1 when they cannot be had. */
static int look_inside(struct template_programs *programs, struct known *known,
                       const struct cache_key *key,
                       const struct file_identity *now, char **bytes,
                       size_t *size, struct error *error)
{
    char sha256[65];
    *bytes = read_template(path_of(known), size, sha256, error);
    bool same = *bytes != NULL && strcmp(sha256, known->record.sha256) == 0;
    bool tells_more = !file_identity_same(now, &known->record.file) ||
                      file_identity_settled(now);
    known->record.file = *now;
    if (same && tells_more)
        keep(programs, known, key, known->seen.program);
    if (same)
        return 1;
    let_go(programs, known);
    cache_remove(&programs->cache, key);
    metric_add(METRIC_TEMPLATE_INVALIDATIONS, 1);
    if (*bytes == NULL)
        return -1;
    memcpy(known->record.sha256, sha256, sizeof(sha256));
    return 0;
}

static bool is_current(const struct known *known,
                       const struct file_identity *now)
{
    return file_identity_same(now, &known->record.file) &&
           file_identity_settled(&known->record.file);
}

/* Sets *hit; 0, or -1. */
static int load(struct template_programs *programs, struct known *known,
                const struct cache_key *key, bool *hit, struct error *error)
{
    struct file_identity now;
    char *bytes = NULL;
    size_t size = 0;
    uint64_t start_ns = clock_monotonic_ns();
    int inside = 1;
    file_identity_look(path_of(known), &now);
    if (!pin_shared(programs, known, key)) {
        known->record = (struct template_record){
            .file = now,
            .syntax = known->key[0] == 'm' ? MUSTACHE_SYNTAX_MUSTACHE
                                           : MUSTACHE_SYNTAX_PLACEHOLDER};
        bytes =
            read_template(path_of(known), &size, known->record.sha256, error);
        inside = bytes == NULL ? -1 : 0;
    } else if (!is_current(known, &now)) {
        inside = look_inside(programs, known, key, &now, &bytes, &size, error);
    }
    *hit = inside == 1;
    if (*hit)
        metric_record_us(METRIC_TEMPLATE_REUSE_SECONDS,
                         (clock_monotonic_ns() - start_ns) / 1000);
    else if (inside == 0)
        inside = compile(programs, known, key, bytes, size, start_ns, error);
    free(bytes);
    return inside < 0 ? -1 : 0;
}

static void count_use(struct template_programs *programs, struct known *known,
                      bool hit)
{
    known->uses++;
    metric_add(hit ? METRIC_TEMPLATE_HITS : METRIC_TEMPLATE_MISSES, 1);
    if (!programs->keeps_news)
        return;
    *(hit ? &known->news.hits : &known->news.misses) += 1;
    programs->has_news = true;
}

const struct template_program *
template_programs_get(struct template_programs *programs,
                      enum mustache_syntax syntax, const char *path,
                      bool *was_hit, struct error *error)
{
    struct cache_key key;
    struct known *known = find(programs, syntax, path, &key, error);
    *was_hit = true;
    if (known == NULL)
        return NULL;
    if (known->round != programs->round || known->seen.program == NULL) {
        let_go(programs, known);
        int failed = load(programs, known, &key, was_hit, error);
        count_cache(programs);
        if (failed != 0)
            return NULL;
        known->round = programs->round;
        known->seen.sha256 = known->record.sha256;
    }
    count_use(programs, known, *was_hit);
    return &known->seen;
}

void template_programs_use(struct template_programs *programs,
                           const struct template_program *program)
{
    count_use(programs, (struct known *)(uintptr_t)program, true);
}

/* --- news --- */

bool template_programs_have_news(const struct template_programs *programs)
{
    return programs->has_news;
}

static void put_text(struct buffer *json, const char *text)
{
    buffer_append_json(json, text, strlen(text));
    buffer_append_char(json, ',');
}

static void tell(const struct template_programs *programs, struct known *known,
                 struct buffer *json)
{
    char name[TEMPLATE_NAME_MAX];
    template_name(programs->template_dir, path_of(known), name);
    buffer_append_text(json, json->size > 1 ? ",[" : "[");
    put_text(json, name);
    put_text(json, template_type(name));
    put_text(json, known->key);
    put_text(json, path_of(known));
    put_text(json, known->record.sha256);
    buffer_printf(json, "%lld,", (long long)known->record.file.size);
    if (known->news.load_us > 0)
        buffer_printf(json, "%.3f", known->news.load_us / 1000.0);
    else
        buffer_append_text(json, "null");
    buffer_printf(json, ",%llu,%llu]", (unsigned long long)known->news.hits,
                  (unsigned long long)known->news.misses);
    known->news = (struct news){0};
}

void template_programs_take_news(struct template_programs *programs,
                                 unsigned most, struct buffer *json)
{
    unsigned told = 0;
    programs->has_news = false;
    buffer_append_char(json, '[');
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct known *at = programs->buckets[i]; at != NULL;
             at = at->next) {
            if (at->news.hits + at->news.misses == 0)
                continue;
            if (told++ < most)
                tell(programs, at, json);
            else
                programs->has_news = true;
        }
    buffer_append_char(json, ']');
}
