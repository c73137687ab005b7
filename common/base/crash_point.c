/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/crash_point.h"

#ifdef TIDEMILL_CRASH_POINTS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {
#define X(name, sinks, words) [CRASH_##name] = #name,
    CRASH_POINT_LIST(X)
#undef X
};

/* Reads what is asked for; 0: nothing, or another point. */
static unsigned wanted_count(const char *path, const char *name)
{
    char wanted[64];
    unsigned count;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    int fields = fscanf(file, "%63s %u", wanted, &count);
    fclose(file);
    return fields == 2 && strcmp(wanted, name) == 0 ? count : 0;
}

void crash_point_pass(enum crash_point point)
{
    static unsigned passed[CRASH_POINT_COUNT];
    char hit[4096];
    const char *path = getenv("TIDEMILL_CRASH_FILE");
    unsigned count = path != NULL ? wanted_count(path, names[point]) : 0;
    if (count == 0) {
        passed[point] = 0;
        return;
    }
    if (++passed[point] < count)
        return;
    snprintf(hit, sizeof(hit), "%s.hit", path);
    if (rename(path, hit) == 0)
        kill(getpid(), SIGKILL);
}

#else
/* ISO C wants a translation unit to declare something. */
typedef int crash_points_are_off;
#endif
