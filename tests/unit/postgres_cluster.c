/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/postgres_cluster.h"

#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* PostgreSQL refuses to run as root. */
static const struct passwd *server_user(void)
{
    return geteuid() == 0 ? getpwnam("postgres") : NULL;
}

static bool programs_find(char *folder, size_t room)
{
    glob_t found = {0};
    bool there = glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0;
    if (there) {
        snprintf(folder, room, "%s", found.gl_pathv[found.gl_pathc - 1]);
        *strrchr(folder, '/') = '\0';
    }
    globfree(&found);
    return there;
}

pid_t cluster_program(const struct cluster *cluster, const char *path,
                      char *const *arguments)
{
    char log[160];
    snprintf(log, sizeof log, "%s/log", cluster->folder);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    const struct passwd *user = server_user();
    if (user && (setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 ||
                 setuid(user->pw_uid) != 0))
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 ||
        chdir(cluster->folder) != 0)
        _exit(126);
    execv(path, arguments);
    _exit(127);
}

static pid_t program_start(const struct cluster *cluster, const char *name,
                           char *const *arguments)
{
    char folder[256], path[300];
    if (!programs_find(folder, sizeof folder))
        return -1;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return cluster_program(cluster, path, arguments);
}

int cluster_start(struct cluster *cluster)
{
    char data[160],
        *arguments[] = {
            "postgres",          "-D", data, "-k", cluster->folder, "-c",
            "listen_addresses=", NULL};
    snprintf(data, sizeof data, "%s/data", cluster->folder);
    cluster->pid = program_start(cluster, "postgres", arguments);
    for (int i = 0; cluster->pid > 0 && i < 1500; i++) {
        if (PQping(cluster->conninfo) == PQPING_OK)
            return 0;
        if (waitpid(cluster->pid, NULL, WNOHANG) == cluster->pid)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    fprintf(stderr, "PostgreSQL did not start: see %s/log\n", cluster->folder);
    return -1;
}

void cluster_stop(struct cluster *cluster, int signal)
{
    if (cluster->pid > 0 && kill(cluster->pid, signal) == 0)
        waitpid(cluster->pid, NULL, 0);
    cluster->pid = 0;
}

int cluster_make(struct cluster *cluster)
{
    char folder[256], data[160];
    char *arguments[] = {"initdb",
                         "-D",
                         data,
                         "-A",
                         "trust",
                         "-U",
                         "postgres",
                         "-N",
                         "-E",
                         "UTF8",
                         "--locale=C.UTF-8",
                         NULL};
    int status = -1;
    memset(cluster, 0, sizeof *cluster);
    const struct passwd *user = server_user();
    if (!programs_find(folder, sizeof folder) || (geteuid() == 0 && !user))
        return 1;
    snprintf(cluster->folder, sizeof cluster->folder,
             "/tmp/tidemill-pg-XXXXXX");
    if (!mkdtemp(cluster->folder) ||
        (user && chown(cluster->folder, user->pw_uid, user->pw_gid) != 0)) {
        perror(cluster->folder);
        return -1;
    }
    snprintf(data, sizeof data, "%s/data", cluster->folder);
    snprintf(cluster->conninfo, sizeof cluster->conninfo,
             "host=%s user=postgres dbname=postgres", cluster->folder);
    pid_t pid = program_start(cluster, "initdb", arguments);
    if (pid > 0)
        waitpid(pid, &status, 0);
    if (status != 0) {
        fprintf(stderr, "initdb failed: see %s/log\n", cluster->folder);
        return -1;
    }
    return cluster_start(cluster);
}

void cluster_remove(struct cluster *cluster)
{
    cluster_stop(cluster, SIGQUIT);
    if (strncmp(cluster->folder, "/tmp/tidemill-pg-", 17) != 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", cluster->folder, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
}
