/* SPDX-License-Identifier: Apache-2.0
 *
 * The terminal as a whole screen: keys one by one, the other screen, no
 * cursor.  Whatever ends the process but SIGKILL, also a crash, gives it back
 * as it was; so does a stop (^Z), until the process goes on.
 */
#ifndef TIDEMILL_CTL_TERMINAL_H
#define TIDEMILL_CTL_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

/* Are standard input and output terminals that know more than lines? */
bool terminal_is_there(void);

int terminal_open(struct error *error);
void terminal_close(void);

/* 80 by 24 when it does not say. */
void terminal_size(unsigned *columns, unsigned *rows);

/* Writes all of it. */
int terminal_write(const char *bytes, size_t size);

enum {
    TERMINAL_NOTHING = -1, /* the time is over, or the screen changed */
    TERMINAL_GONE = -2,    /* there is nobody any more */
    TERMINAL_UP = 256,     /* in the order of enum top_key */
    TERMINAL_DOWN,
    TERMINAL_PAGE_UP,
    TERMINAL_PAGE_DOWN,
    TERMINAL_HOME,
    TERMINAL_END,
    TERMINAL_ESCAPE,
};

/* The next key: a byte, or one of the above. */
int terminal_key(int timeout_ms);

#endif
