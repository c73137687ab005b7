/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/damage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/store/lock.h"
#include "common/store/wal_check.h"

#define PATH_BYTES 4200

static void path_of(char path[PATH_BYTES], const char *dir, const char *name)
{
    snprintf(path, PATH_BYTES, "%s/%s", dir, name);
}

void damage_mark(const char *store_path)
{
    char path[PATH_BYTES];
    const char *slash = strrchr(store_path, '/');
    int size = slash == NULL ? 0 : (int)(slash - store_path);
    snprintf(path, sizeof(path), "%.*s/%s", size, store_path, DAMAGE_MARK_NAME);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd >= 0)
        close(fd);
}

bool damage_is_marked(const char *state_dir)
{
    char path[PATH_BYTES];
    path_of(path, state_dir, DAMAGE_MARK_NAME);
    return access(path, F_OK) == 0;
}

void damage_unmark(const char *state_dir)
{
    char path[PATH_BYTES];
    path_of(path, state_dir, DAMAGE_MARK_NAME);
    unlink(path);
}

int damage_check_wal(const char *state_dir, struct error *error)
{
    char path[PATH_BYTES];
    struct wal_damage damage;
    path_of(path, state_dir, STORE_FILE_NAME "-wal");
    if (wal_inspect(path, &damage, error) != 0)
        return -1;
    if (!wal_is_damaged(&damage))
        return 0;
    return error_set(error, ERROR_DAMAGED,
                     "%s is damaged at frame %u: %u transactions behind it "
                     "would be lost; start the daemon, which takes out of it "
                     "what can be read, or run 'tidemill store repair'",
                     path, damage.bad_frame, damage.commits_lost);
}
