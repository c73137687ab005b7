/* SPDX-License-Identifier: Apache-2.0
 *
 * What ps(1) shows: "tidemilld: sync[0] idle".
 */
#ifndef TIDEMILL_BASE_PROCESS_TITLE_H
#define TIDEMILL_BASE_PROCESS_TITLE_H

/* Takes over the memory of the strings of argv and environ (they are copied
 * first, and argv[i] and environ point to the copies afterwards).  Call
 * once, in main, before any fork and before pointers into them are kept. */
void process_title_init(int argc, char **argv);

/* Sets the title, cut to the room there is. */
void process_title_set(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

#endif
