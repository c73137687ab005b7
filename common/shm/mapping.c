/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/mapping.h"

#include <sys/mman.h>

#define TEMPLATE_SHARDS 8

static size_t templates_begin(void)
{
    return (sizeof(struct mapping) + 4095u) & ~(size_t)4095u;
}

/* With as much room for templates as the system lets us have. */
static void *map(struct cache_shape *shape)
{
    void *bytes = MAP_FAILED;
    for (shape->room_bytes = MAPPING_TEMPLATES_ROOM;
         shape->room_bytes >= MAPPING_TEMPLATES_LEAST; shape->room_bytes /= 2) {
        bytes = mmap(NULL, templates_begin() + cache_region_size(shape),
                     PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (bytes != MAP_FAILED)
            break;
    }
    return bytes;
}

struct mapping *mapping_new(struct error *error)
{
    struct cache_shape shape = {.shards = TEMPLATE_SHARDS,
                                .items_most = MAPPING_TEMPLATES};
    struct mapping *mapping = map(&shape);
    if (mapping == MAP_FAILED) {
        error_set_errno(error, ERROR_SYSTEM,
                        "cannot map %zu bytes of shared memory",
                        sizeof(*mapping));
        return NULL;
    }
    mapping->magic = MAPPING_MAGIC;
    mapping->version = MAPPING_VERSION;
    mapping->slot_count = SLOTS_MAX;
    mapping->templates_at = templates_begin();
    mapping->size_bytes = mapping->templates_at + cache_region_size(&shape);
    log_board_init(&mapping->log);
    cache_region_init(mapping_templates(mapping), &shape);
    return mapping;
}

void mapping_free(struct mapping **mapping)
{
    if (*mapping != NULL)
        munmap(*mapping, (*mapping)->size_bytes);
    *mapping = NULL;
}

struct cache_region *mapping_templates(struct mapping *mapping)
{
    return (void *)((char *)mapping + mapping->templates_at);
}

void mapping_measure(struct mapping *mapping)
{
    struct cache_totals totals;
    struct metrics *metrics = &mapping->metrics;
    cache_totals(mapping_templates(mapping), &totals);
    metrics_set_shared(metrics, METRIC_TEMPLATE_ITEMS, (int64_t)totals.items);
    metrics_set_shared(metrics, METRIC_TEMPLATE_BYTES, (int64_t)totals.bytes);
}
