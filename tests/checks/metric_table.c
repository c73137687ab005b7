/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints the metrics as tidemill-metrics(7) lists them.
 */
#include <stdio.h>
#include <string.h>

#include "common/shm/metrics_text.h"
#include "tests/checks/wrapped.h"

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
