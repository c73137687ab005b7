/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/directories.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config/config.h"

/* Makes what is missing of a path; the last part gets the mode and owner. */
static int make_all(const char *path, mode_t mode,
                    const struct identity *identity)
{
    char part[CONFIG_PATH_MAX];
    snprintf(part, sizeof(part), "%s", path);
    for (char *at = part + 1; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return -1;
        *at = '/';
    }
    if (mkdir(part, mode) != 0)
        return errno == EEXIST ? 0 : -1;
    if (identity->wanted && chown(part, identity->uid, identity->gid) != 0)
        return -1;
    return chmod(part, mode);
}

/* access(2) asks for the real user, who we may not be yet. */
static bool can_write(const struct stat *status,
                      const struct identity *identity, const char *path)
{
    if (!identity->wanted)
        return access(path, W_OK | X_OK) == 0;
    if (status->st_uid == identity->uid)
        return (status->st_mode & S_IWUSR) != 0;
    if (status->st_gid == identity->gid)
        return (status->st_mode & S_IWGRP) != 0;
    return (status->st_mode & S_IWOTH) != 0;
}

static int prepare(const char *option, const char *path, mode_t mode,
                   const struct identity *identity, struct error *error)
{
    struct stat status;
    if (stat(path, &status) != 0 && make_all(path, mode, identity) != 0)
        return error_set_errno(error, ERROR_CANT_CREATE,
                               "cannot make the directory %s (%s); make it, "
                               "or choose another",
                               path, option);
    if (stat(path, &status) != 0)
        return error_set_errno(error, ERROR_CANT_CREATE,
                               "cannot use the directory %s (%s)", path,
                               option);
    if (!S_ISDIR(status.st_mode))
        return error_set(error, ERROR_CANT_CREATE,
                         "%s (%s) is no directory; choose another", path,
                         option);
    if (!can_write(&status, identity, path))
        return error_set(error, ERROR_NOT_ALLOWED,
                         "the directory %s (%s) is not writable for user %u; "
                         "change its owner, or choose another",
                         path, option, (unsigned)identity->uid);
    return 0;
}

int directories_prepare(const struct config *config,
                        const struct identity *identity, struct error *error)
{
    if (prepare("paths.state_dir", config->state_dir, 0750, identity, error) !=
            0 ||
        prepare("paths.runtime_dir", config->runtime_dir, 0755, identity,
                error) != 0)
        return -1;
    return prepare("paths.log_dir", config->log_dir, 0750, identity, error);
}
