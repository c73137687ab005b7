/* SPDX-License-Identifier: Apache-2.0
 *
 * A number in shared memory with one writer and any readers: a load and a
 * store suffice, which cost what they do on a number of one's own.
 */
#ifndef TIDEMILL_SHM_CELL_H
#define TIDEMILL_SHM_CELL_H

#include <stdatomic.h>
#include <stdint.h>

static inline void cell_add(_Atomic uint64_t *cell, uint64_t value)
{
    atomic_store_explicit(
        cell, atomic_load_explicit(cell, memory_order_relaxed) + value,
        memory_order_relaxed);
}

#endif
