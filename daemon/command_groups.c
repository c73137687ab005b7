/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/command_groups.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LEAF     "tidemilld"
#define COMMANDS "commands"

static int put(const char *folder, const char *file, const char *text)
{
    char path[5000];
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t wrote = fd < 0 ? -1 : write(fd, text, strlen(text));
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return wrote < 0 ? -1 : 0;
}

/* Where the unified tree is mounted: a line of mountinfo ends in
 * "- cgroup2 SOURCE OPTIONS"; its fifth field is the place. */
static int find_mount(char mount[4096])
{
    char line[4096];
    bool found = false;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
        found = strstr(line, " - cgroup2 ") != NULL &&
                sscanf(line, "%*s %*s %*s %*s %4095s", mount) == 1;
    if (file != NULL)
        fclose(file);
    return found ? 0 : -1;
}

/* The group that we are in; the one above when that is our own leaf, as after
 * an upgrade. */
static int find_own(char path[4096])
{
    char mount[4096];
    char line[4096];
    char own[4096] = "";
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "0::/", 4) == 0)
            snprintf(own, sizeof(own), "%s", line + 3);
    if (file != NULL)
        fclose(file);
    own[strcspn(own, "\n")] = '\0';
    char *last = strrchr(own, '/');
    if (last == NULL || find_mount(mount) != 0)
        return -1;
    if (strcmp(last, "/" LEAF) == 0 || last[1] == '\0')
        *last = '\0';
    int size = snprintf(path, 4096, "%s%s", mount, own);
    return size < 4000 ? 0 : -1;
}

/* systemd marks what it delegates; else the folder's owner says whose it is. */
static bool is_delegated(const char *path, const struct identity *identity)
{
    char mark[4] = "";
    struct stat about;
    if ((getxattr(path, "user.delegate", mark, sizeof(mark)) == 1 ||
         getxattr(path, "trusted.delegate", mark, sizeof(mark)) == 1) &&
        mark[0] == '1')
        return true;
    return stat(path, &about) == 0 && about.st_uid != 0 &&
           (about.st_uid == geteuid() || about.st_uid == identity->uid);
}

static bool has_file(const char *folder, const char *file, int mode)
{
    char path[5000];
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    return access(path, mode) == 0;
}

static void give(const struct identity *identity, const char *folder)
{
    static const char *const files[] = {".", "cgroup.procs", "cgroup.kill",
                                        "cgroup.subtree_control"};
    char path[5000];
    struct error ignored; /* what is missing is found when it is used */
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        privileges_give(identity, path, &ignored);
    }
}

static void enable(struct command_groups *groups, const char *folder)
{
    if (put(folder, "cgroup.subtree_control", "+memory") != 0)
        snprintf(groups->why, sizeof(groups->why),
                 "without a bound on memory: that controller is not to be had");
    put(folder, "cgroup.subtree_control", "+pids");
}

/* No group with processes in it may have groups with controllers below. */
static int make_leaves(const char *own, const struct identity *identity,
                       struct command_groups *groups)
{
    char leaf[4200];
    snprintf(leaf, sizeof(leaf), "%s/" LEAF, own);
    snprintf(groups->path, sizeof(groups->path), "%.4000s/" COMMANDS, own);
    if ((mkdir(leaf, 0755) != 0 && errno != EEXIST) ||
        put(leaf, "cgroup.procs", "0") != 0 ||
        (mkdir(groups->path, 0755) != 0 && errno != EEXIST))
        return -1;
    enable(groups, own);
    enable(groups, groups->path);
    give(identity, own);
    give(identity, leaf);
    return 0;
}

static int use_own(const struct identity *identity,
                   struct command_groups *groups)
{
    char own[4096];
    const char *why = NULL;
    if (find_own(own) != 0)
        why = "there is no unified control group hierarchy";
    else if (!has_file(own, "cgroup.kill", F_OK))
        why = "the daemon is in the root group, or the kernel is older than "
              "5.14";
    else if (!is_delegated(own, identity))
        why = "the daemon's control group is not delegated to it (Delegate=)";
    else if (make_leaves(own, identity, groups) != 0)
        why = strerror(errno);
    if (why != NULL)
        snprintf(groups->why, sizeof(groups->why), "%s", why);
    return why == NULL ? 0 : -1;
}

void command_groups_prepare(const struct config *config,
                            const struct identity *identity,
                            struct command_groups *groups)
{
    const char *wanted = config->command_cgroup;
    *groups = (struct command_groups){.path = ""};
    if (strcmp(wanted, "none") == 0) {
        snprintf(groups->why, sizeof(groups->why),
                 "generation.command.cgroup is none");
    } else if (strcmp(wanted, "auto") == 0) {
        if (use_own(identity, groups) != 0)
            groups->path[0] = '\0';
    } else if (!has_file(wanted, "cgroup.kill", F_OK)) {
        snprintf(groups->why, sizeof(groups->why), "%.200s is no control group",
                 wanted);
    } else {
        snprintf(groups->path, sizeof(groups->path), "%s", wanted);
        enable(groups, wanted);
    }
    if (groups->path[0] != '\0')
        give(identity, groups->path);
    if (groups->path[0] != '\0' && identity->wanted == false &&
        access(groups->path, W_OK) != 0) {
        groups->path[0] = '\0';
        snprintf(groups->why, sizeof(groups->why),
                 "the control group cannot be written");
    }
}
