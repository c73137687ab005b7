/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TIDEMILL_TESTS_WRAPPED_H
#define TIDEMILL_TESTS_WRAPPED_H

#include <stdio.h>
#include <string.h>

#define WRAPPED_COLUMNS 76

/* Prints text of a manual page in lines of bearable length. */
static inline void print_wrapped(const char *text)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, " ");
        if (column > 0 && column + 1 + size > WRAPPED_COLUMNS) {
            putchar('\n');
            column = 0;
        } else if (column > 0) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)size, text);
        column += size;
        text += size;
        text += strspn(text, " ");
    }
    putchar('\n');
}

#endif
