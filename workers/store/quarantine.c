/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/quarantine.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "common/base/log.h"
#include "common/shm/metrics.h"
#include "common/store/damage.h"
#include "common/store/lock.h"
#include "common/store/salvage.h"

#define PATH_BYTES     4200
#define KEPT_LOOKED_AT 1000
#define BYTES_PER_MS   10000 /* read and written again, on a slow disk */
#define GAPS_TOLD      20

static int64_t size_of(const char *state_dir, const char *suffix)
{
    char path[PATH_BYTES];
    struct stat status;
    snprintf(path, sizeof(path), "%s/" STORE_FILE_NAME "%s", state_dir, suffix);
    return stat(path, &status) == 0 ? (int64_t)status.st_size : 0;
}

/* Seconds since a damaged store was put aside last; INT64_MAX: never. */
static int64_t since_last_repair(const char *state_dir)
{
    int64_t least = INT64_MAX;
    for (int number = 1; number < KEPT_LOOKED_AT; number++) {
        char path[PATH_BYTES];
        struct stat status;
        snprintf(path, sizeof(path), "%s/" STORE_FILE_NAME ".damaged-%d",
                 state_dir, number);
        if (stat(path, &status) != 0)
            break;
        int64_t since = (int64_t)time(NULL) - (int64_t)status.st_ctim.tv_sec;
        if (since < least)
            least = since;
    }
    return least;
}

static int is_sensible(const char *state_dir, uint64_t most_ms,
                       struct error *error)
{
    static const char remedy[] = "stop the daemon and run 'tidemill store "
                                 "repair'";
    struct statvfs fs;
    int64_t bytes = size_of(state_dir, "") + size_of(state_dir, "-wal");
    int64_t since = since_last_repair(state_dir);
    if (since >= 0 && since < QUARANTINE_PAUSE_S)
        return error_set(error, ERROR_DAMAGED,
                         "the local store is damaged again, %" PRId64
                         " s after it was mended: look at the disk and the "
                         "memory of this machine, then %s",
                         since, remedy);
    if (bytes / BYTES_PER_MS > (int64_t)most_ms)
        return error_set(error, ERROR_DAMAGED,
                         "the local store is damaged, and too large (%" PRId64
                         " MB) to be mended while others wait: %s",
                         bytes / 1000000, remedy);
    if (statvfs(state_dir, &fs) == 0 &&
        (int64_t)fs.f_bavail * (int64_t)fs.f_frsize < 2 * bytes)
        return error_set(error, ERROR_FULL,
                         "the local store is damaged, and its disk has no "
                         "room for another: free %" PRId64 " MB in %s",
                         2 * bytes / 1000000, state_dir);
    return 0;
}

/* --- mending --- */

struct telling {
    unsigned told;
};

static void tell_gap(void *self, const char *table, int64_t after,
                     int64_t before)
{
    struct telling *telling = self;
    if (telling->told++ < GAPS_TOLD)
        log_event(LOG_ERROR_LEVEL, "rows of the damaged store are lost",
                  LOG_TEXT("table", table), LOG_INT("after", after),
                  LOG_INT("before", before));
}

int quarantine_mend(const char *state_dir, uint64_t most_ms,
                    struct error *error)
{
    struct telling telling = {0};
    struct salvage salvage = {.lost = tell_gap, .self = &telling};
    char kept[64];
    if (is_sensible(state_dir, most_ms, error) != 0 ||
        store_repair(state_dir, false, &salvage, kept, error) != 0)
        return -1;
    if (salvage.rows == 0)
        return error_set(error, ERROR_DAMAGED,
                         "nothing of %s/" STORE_FILE_NAME " can be read, as "
                         "if it were not a database of ours: put a backup in "
                         "its place with 'tidemill restore', or move it away "
                         "to begin anew",
                         state_dir);
    telling.told = GAPS_TOLD; /* all said */
    salvage = (struct salvage){.lost = tell_gap, .self = &telling};
    if (store_repair(state_dir, true, &salvage, kept, error) != 0)
        return -1;
    damage_unmark(state_dir);
    metric_add(METRIC_STORE_REPAIRS, 1);
    metric_add(METRIC_STORE_GAPS, (uint64_t)salvage.gaps);
    log_event(LOG_ERROR_LEVEL,
              "the local store was damaged; what could be read of it is in a "
              "new one",
              LOG_INT("rows", salvage.rows), LOG_INT("gaps", salvage.gaps),
              LOG_INT("pending", salvage.pending), LOG_TEXT("kept", kept));
    return 0;
}

static void tell_problem(void *self, const char *words)
{
    (void)self;
    log_event(LOG_ERROR_LEVEL, "the local store is damaged",
              LOG_TEXT("what", words));
}

int quarantine_look(const char *state_dir, uint64_t most_ms,
                    struct error *error)
{
    int64_t problems = 0;
    if (!damage_is_marked(state_dir))
        return 0;
    if (store_check(state_dir, &problems, tell_problem, NULL, error) != 0)
        return -1;
    if (problems > 0)
        return quarantine_mend(state_dir, most_ms, error);
    log_notice("the local store was suspected of damage; none was found");
    damage_unmark(state_dir);
    return 0;
}
