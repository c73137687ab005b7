/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TIDEMILL_CTL_SQLITE_MEMORY_H
#define TIDEMILL_CTL_SQLITE_MEMORY_H

/* Sets SQLite up for a short process of one thread; before its first use.
 * With AddressSanitizer the memory stays malloc's. */
void sqlite_memory_use(void);

#endif
