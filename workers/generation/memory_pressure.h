/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether this host is short of memory.
 */
#ifndef TIDEMILL_GENERATION_MEMORY_PRESSURE_H
#define TIDEMILL_GENERATION_MEMORY_PRESSURE_H

/* The percentage of the last ten seconds in which some process stalled for
 * memory, out of a file in the form of /proc/pressure/memory; -1 when there
 * is none. */
double memory_pressure(const char *path);

#endif
