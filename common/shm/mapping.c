/* SPDX-License-Identifier: Apache-2.0 */
#include "common/shm/mapping.h"

#include <sys/mman.h>

struct mapping *mapping_new(struct error *error)
{
    struct mapping *mapping =
        mmap(NULL, sizeof(*mapping), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) {
        error_set_errno(error, ERROR_SYSTEM,
                        "cannot map %zu bytes of shared memory",
                        sizeof(*mapping));
        return NULL;
    }
    mapping->magic = MAPPING_MAGIC;
    mapping->version = MAPPING_VERSION;
    mapping->slot_count = SLOTS_MAX;
    mapping->size_bytes = sizeof(*mapping);
    log_board_init(&mapping->log);
    return mapping;
}

void mapping_free(struct mapping **mapping)
{
    if (*mapping != NULL)
        munmap(*mapping, sizeof(**mapping));
    *mapping = NULL;
}
