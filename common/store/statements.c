/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/statements.h"

static const struct {
    const char *name;
    const char *arguments;
    uint32_t callers;
} statement_table[STATEMENT_COUNT] = {
#define X(name, callers, arguments, words) {#name, arguments, callers},
    STATEMENT_LIST(X)
#undef X
};

const char *statement_name(enum statement statement)
{
    return (unsigned)statement < STATEMENT_COUNT
               ? statement_table[statement].name
               : "unknown statement";
}

const char *statement_arguments(enum statement statement)
{
    return (unsigned)statement < STATEMENT_COUNT
               ? statement_table[statement].arguments
               : "";
}

uint32_t statement_callers(enum statement statement)
{
    return (unsigned)statement < STATEMENT_COUNT
               ? statement_table[statement].callers
               : 0;
}
