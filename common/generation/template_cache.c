/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/template_cache.h"

#include <stdlib.h>
#include <string.h>

#define SETS_MAX 32

struct kept_set {
    char *template_dir;
    char *folder;
    struct template_set *set;
};

struct template_cache {
    struct template_programs *programs;
    struct kept_set sets[SETS_MAX]; /* newest use first */
    size_t set_count;
};

struct template_cache *
template_cache_new(const struct template_sharing *sharing, struct error *error)
{
    struct template_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for templates");
        return NULL;
    }
    cache->programs = template_programs_new(sharing, error);
    if (cache->programs == NULL)
        template_cache_free(&cache);
    return cache;
}

static void drop(struct template_cache *cache, size_t index)
{
    struct kept_set *kept = &cache->sets[index];
    free(kept->template_dir);
    free(kept->folder);
    template_set_free(&kept->set);
    cache->set_count--;
    memmove(kept, kept + 1, (cache->set_count - index) * sizeof(*kept));
}

void template_cache_free(struct template_cache **cache)
{
    if (*cache == NULL)
        return;
    while ((*cache)->set_count > 0)
        drop(*cache, (*cache)->set_count - 1);
    template_programs_free(&(*cache)->programs);
    free(*cache);
    *cache = NULL;
}

void template_cache_begin(struct template_cache *cache)
{
    template_programs_begin(cache->programs);
}

struct template_programs *template_cache_programs(struct template_cache *cache)
{
    return cache->programs;
}

/* The set first in its row; NULL: it is not there, or not current. */
static struct template_set *find(struct template_cache *cache,
                                 const char *template_dir, const char *folder)
{
    for (size_t i = 0; i < cache->set_count; i++) {
        struct kept_set kept = cache->sets[i];
        if (strcmp(kept.folder, folder) != 0 ||
            strcmp(kept.template_dir, template_dir) != 0)
            continue;
        if (!template_set_is_ready(kept.set, cache->programs) &&
            !template_set_is_current(kept.set)) {
            drop(cache, i);
            return NULL;
        }
        memmove(&cache->sets[1], &cache->sets[0], i * sizeof(kept));
        cache->sets[0] = kept;
        return kept.set;
    }
    return NULL;
}

static struct template_set *add(struct template_cache *cache,
                                const char *template_dir, const char *folder,
                                struct error *error)
{
    struct kept_set kept = {.set =
                                template_set_load(template_dir, folder, error)};
    if (kept.set == NULL)
        return NULL;
    kept.template_dir = strdup(template_dir);
    kept.folder = strdup(folder);
    if (kept.template_dir == NULL || kept.folder == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for templates");
        free(kept.template_dir);
        free(kept.folder);
        template_set_free(&kept.set);
        return NULL;
    }
    if (cache->set_count == SETS_MAX)
        drop(cache, SETS_MAX - 1);
    memmove(&cache->sets[1], &cache->sets[0], cache->set_count * sizeof(kept));
    cache->sets[0] = kept;
    cache->set_count++;
    return kept.set;
}

const struct template_set *template_cache_get(struct template_cache *cache,
                                              const char *template_dir,
                                              const char *folder, bool *was_hit,
                                              struct error *error)
{
    struct template_set *set = find(cache, template_dir, folder);
    *was_hit = false;
    if (set == NULL)
        set = add(cache, template_dir, folder, error);
    if (set == NULL ||
        template_set_ready(set, cache->programs, was_hit, error) != 0)
        return NULL;
    return set;
}
