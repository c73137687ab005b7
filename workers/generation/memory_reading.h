/* SPDX-License-Identifier: Apache-2.0
 *
 * What /proc says of memory.
 */
#ifndef TIDEMILL_GENERATION_MEMORY_READING_H
#define TIDEMILL_GENERATION_MEMORY_READING_H

#include <stdint.h>
#include <sys/types.h>

/* The resident bytes of one process, 0 when it cannot be told. */
uint64_t memory_of_process(pid_t pid);

/* The percentage of the last ten seconds in which some process stalled for
 * memory, out of a file in the form of /proc/pressure/memory; -1 when there
 * is none. */
double memory_pressure(const char *path);

#endif
