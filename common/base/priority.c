/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/priority.h"

#include <string.h>

static const char *const words[PRIORITY_COUNT] = {
#define X(name, word) word,
    PRIORITY_LIST(X)
#undef X
};

const char *priority_word(unsigned priority)
{
    return priority < PRIORITY_COUNT ? words[priority] : "";
}

int priority_find(const char *text, size_t size)
{
    for (int i = 0; i < PRIORITY_COUNT; i++)
        if (strlen(words[i]) == size && memcmp(words[i], text, size) == 0)
            return i;
    return -1;
}
