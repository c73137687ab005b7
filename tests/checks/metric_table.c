/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints the metrics as tidemill-metrics(7) lists them.
 */
#include <stdio.h>
#include <string.h>

#include "common/shm/metrics_text.h"

#define LINE_COLUMNS 76

/* Text of a manual page in lines of bearable length. */
static void print_wrapped(const char *text)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, " ");
        if (column > 0 && column + 1 + size > LINE_COLUMNS) {
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

static void print_metric(const char *kind, const char *name, const char *labels,
                         const char *unit, const char *meaning)
{
    printf(".It Li %s\n", name);
    print_wrapped(meaning);
    printf("Type: ");
    for (const char *c = kind; *c != '\0'; c++)
        putchar(*c | 0x20);
    printf("; unit: %s", unit);
    if (labels[0] != '\0')
        printf("; labels:\n.Li %s .\n", labels);
    else
        printf(".\n");
}

int main(void)
{
    puts(".Bl -tag -width Ds");
#define X(kind, name, outside, unit, meaning)                                  \
    print_metric(#kind, outside, "", unit, meaning);
    METRIC_LIST(X)
#undef X
#define X(kind, name, outside, labels, unit, meaning)                          \
    print_metric(#kind, outside, labels, unit, meaning);
    METRIC_VIEW_LIST(X)
#undef X
    puts(".El");
    return 0;
}
