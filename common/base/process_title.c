/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/process_title.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kernel shows the bytes between the start of argv and the end of the
 * environment; there is one such place in a process. */
static struct {
    char *start; /* NULL: not taken over */
    size_t room;
    char **environment; /* the copy that environ points to */
} title;

/* The end of the run of strings that begins where `end` stands. */
static char *extend(char *end, char *const *strings)
{
    for (; *strings != NULL; strings++)
        if (*strings == end)
            end += strlen(*strings) + 1;
    return end;
}

/* One block, the pointers and behind them the strings: unsetenv() may drop
 * any of them. */
static char **copy_environment(void)
{
    size_t count = 0;
    size_t size = 0;
    for (; environ[count] != NULL; count++)
        size += strlen(environ[count]) + 1;
    char **copy = malloc((count + 1) * sizeof(*copy) + size);
    if (copy == NULL)
        return NULL;
    char *at = (char *)(copy + count + 1);
    for (size_t i = 0; i < count; i++) {
        copy[i] = at;
        at = stpcpy(at, environ[i]) + 1;
    }
    copy[count] = NULL;
    return copy;
}

void process_title_init(int argc, char **argv)
{
    if (title.start != NULL || argc < 1)
        return;
    char *end = extend(extend(argv[0], argv), environ);
    char *start = argv[0];
    char **environment = copy_environment();
    if (environment == NULL)
        return;
    for (int i = 0; i < argc; i++) {
        char *copy = strdup(argv[i]);
        if (copy == NULL)
            return;
        argv[i] = copy;
    }
    environ = environment;
    title.environment = environment;
    title.start = start;
    title.room = (size_t)(end - start);
}

void process_title_set(const char *format, ...)
{
    char text[256];
    if (title.start == NULL || title.room == 0)
        return;
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (wrote < 0)
        return;
    size_t size = strlen(text);
    if (size >= title.room)
        size = title.room - 1;
    memcpy(title.start, text, size);
    memset(title.start + size, 0, title.room - size);
}
