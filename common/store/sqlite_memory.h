/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TIDEMILL_STORE_SQLITE_MEMORY_H
#define TIDEMILL_STORE_SQLITE_MEMORY_H

/* Sets SQLite up for a process of one thread; before its first use.  What
 * SQLite had at most of each size stays with the process.  With
 * AddressSanitizer the memory stays malloc's. */
void sqlite_memory_use(void);

#endif
