/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int privileges_find(const char *user, struct identity *identity,
                    struct error *error)
{
    *identity = (struct identity){.uid = geteuid(), .gid = getegid()};
    if (user[0] == '\0')
        return 0;
    struct passwd *entry = getpwnam(user);
    if (entry == NULL)
        return error_set(error, ERROR_CONFIG,
                         "system.user: there is no user %s on this host; make "
                         "it, or choose another",
                         user);
    if (geteuid() != 0) {
        if (entry->pw_uid == geteuid())
            return 0;
        return error_set(error, ERROR_NOT_ALLOWED,
                         "only root can start the daemon as user %s; start it "
                         "as root or as that user",
                         user);
    }
    identity->wanted = entry->pw_uid != 0;
    identity->uid = entry->pw_uid;
    identity->gid = entry->pw_gid;
    snprintf(identity->user, sizeof(identity->user), "%s", user);
    return 0;
}

int privileges_give(const struct identity *identity, const char *path,
                    struct error *error)
{
    if (!identity->wanted)
        return 0;
    if (lchown(path, identity->uid, identity->gid) != 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot give %s to user %s",
                               path, identity->user);
    return 0;
}

/* Leaving uid 0 clears what is permitted and effective, but neither what a
 * starter made inheritable nor, before that, the ambient set (capabilities(7)).
 */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version =
                                                  _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return -1;
    return (int)syscall(SYS_capset, &header, none);
}

int privileges_drop(const struct identity *identity, struct error *error)
{
    if (!identity->wanted)
        return 0;
    if (initgroups(identity->user, identity->gid) != 0 ||
        setresgid(identity->gid, identity->gid, identity->gid) != 0 ||
        setresuid(identity->uid, identity->uid, identity->uid) != 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot become user %s",
                               identity->user);
    if (drop_capabilities() != 0)
        return error_set_errno(error, ERROR_SYSTEM,
                               "cannot give up the capabilities of root");
    if (setuid(0) == 0 || seteuid(0) == 0)
        return error_set(error, ERROR_SOFTWARE,
                         "became user %s, but could become root again",
                         identity->user);
    errno = 0;
    return 0;
}
