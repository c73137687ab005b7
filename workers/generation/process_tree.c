/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/process_tree.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/process_stat.h"

#define PROCESSES_MAX 65536
#define STOP_ROUNDS   16
#define PAUSE_NS      2000000

struct process {
    pid_t pid;
    struct process_stat stat;
    bool below;
};

struct process_list {
    struct process *all;
    size_t count, room;
};

static int list_add(struct process_list *list, const struct process *process)
{
    if (list->count == list->room) {
        size_t room = list->room * 2 + 256;
        struct process *all =
            room > PROCESSES_MAX
                ? NULL
                : realloc(list->all, room * sizeof(*list->all));
        if (all == NULL)
            return -1;
        list->all = all;
        list->room = room;
    }
    list->all[list->count++] = *process;
    return 0;
}

static int list_read(struct process_list *list)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int result = proc == NULL ? -1 : 0;
    while (result == 0 && (entry = readdir(proc)) != NULL) {
        struct process process = {.pid =
                                      (pid_t)strtol(entry->d_name, NULL, 10)};
        if (process_stat_read(process.pid, &process.stat) == 0)
            result = list_add(list, &process);
    }
    if (proc != NULL)
        closedir(proc);
    return result;
}

static int compare_pids(const void *a, const void *b)
{
    const struct process *x = a, *y = b;
    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* Children mostly come after their parents, so this takes few rounds. */
static void mark_below(struct process_list *list, pid_t root)
{
    bool more = list->count > 0;
    if (more)
        qsort(list->all, list->count, sizeof(*list->all), compare_pids);
    while (more) {
        more = false;
        for (size_t i = 0; i < list->count; i++) {
            struct process *process = &list->all[i];
            const struct process key = {.pid = process->stat.parent};
            if (process->below)
                continue;
            const struct process *parent = bsearch(&key, list->all, list->count,
                                                   sizeof(key), compare_pids);
            process->below = process->stat.parent == root ||
                             (parent != NULL && parent->below);
            more |= process->below;
        }
    }
}

/* The descriptor holds the process, and the start time says that it is the
 * one that was listed.  Where there is none to be had (no descriptor left, an
 * old kernel), the start time alone must do. */
static void send_signal(const struct process *process, int signal)
{
    struct process_stat now;
    int fd = pidfd_open(process->pid, 0);
    if (fd < 0 && errno == ESRCH)
        return;
    if (process_stat_read(process->pid, &now) == 0 &&
        now.start == process->stat.start &&
        (fd < 0 || pidfd_send_signal(fd, signal, NULL, 0) != 0))
        kill(process->pid, signal);
    if (fd >= 0)
        close(fd);
}

int process_tree_signal(pid_t root, int signal)
{
    struct process_list list = {.all = NULL};
    int found = list_read(&list);
    if (found == 0)
        mark_below(&list, root);
    for (size_t i = 0; found >= 0 && i < list.count; i++) {
        if (!list.all[i].below)
            continue;
        found++;
        send_signal(&list.all[i], signal);
    }
    free(list.all);
    return found;
}

uint64_t process_tree_memory(pid_t root)
{
    struct process_list list = {.all = NULL};
    uint64_t bytes = 0;
    if (list_read(&list) == 0)
        mark_below(&list, root);
    for (size_t i = 0; i < list.count; i++)
        bytes += list.all[i].below ? (uint64_t)list.all[i].stat.rss_bytes : 0;
    free(list.all);
    return bytes;
}

/* True when the caller has no child any more: as all orphans below it become
 * its own, it then has no descendant either. */
static bool reap_all(void)
{
    pid_t pid;
    do
        pid = waitpid(-1, NULL, WNOHANG);
    while (pid > 0);
    return pid < 0;
}

/* Stopped processes fork no more; it converges when a round finds none new. */
static void stop_all(void)
{
    int before = -1;
    for (int i = 0; i < STOP_ROUNDS; i++) {
        int found = process_tree_signal(getpid(), SIGSTOP);
        if (found == before)
            return;
        before = found;
    }
}

int process_tree_kill(unsigned bound_ms)
{
    static const struct timespec pause = {.tv_nsec = PAUSE_NS};
    uint64_t until_ms = clock_monotonic_ms() + bound_ms;
    while (!reap_all()) {
        if (clock_monotonic_ms() > until_ms)
            return -1;
        stop_all();
        process_tree_signal(getpid(), SIGKILL);
        nanosleep(&pause, NULL);
    }
    return 0;
}
