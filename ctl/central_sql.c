/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/central_sql.h"

#include <stdio.h>

/* Good whatever standard_conforming_strings is. */
static void put_literal(const char *text)
{
    fputs("E'", stdout);
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            putchar(*text);
        putchar(*text);
    }
    putchar('\'');
}

void central_sql_print(const struct job_options *options, const char *kind,
                       const char *spec, const char *key, int64_t own_ms)
{
    int64_t timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : own_ms;
    printf("SELECT tidemill.enqueue_job(kind => '%s', spec => ", kind);
    put_literal(spec);
    printf(", priority => %lld", (long long)options->priority);
    if (timeout_ms > 0)
        printf(", timeout => '%lld milliseconds'", (long long)timeout_ms);
    if (key != NULL) {
        fputs(", key => ", stdout);
        put_literal(key);
    }
    puts(");");
}
