/* SPDX-License-Identifier: Apache-2.0
 *
 * A library for LD_PRELOAD: calls of one process fail as a test says.
 *
 * $TIDEMILL_FAILING_CALLS names a file of 64-bit numbers, mapped by the test
 * and by every process: the pid of the process whose calls fail, then a row
 * for each call of CALL_LIST, in its order (see failing_calls.py).  Only that
 * process fails, not what it forks.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALL_LIST(X)                                                           \
    X(FORK)                                                                    \
    X(PIPE)                                                                    \
    X(SOCKETPAIR)                                                              \
    X(MMAP)                                                                    \
    X(MALLOC)                                                                  \
    X(OPEN)                                                                    \
    X(READ)                                                                    \
    X(WRITE)                                                                   \
    X(EPOLL_CTL)                                                               \
    X(EPOLL_WAIT)                                                              \
    X(SEND)                                                                    \
    X(RECV)                                                                    \
    X(STAT)                                                                    \
    X(RENAME)                                                                  \
    X(WAITPID)

enum call {
#define X(name) CALL_##name,
    CALL_LIST(X)
#undef X
        CALL_COUNT
};

/* The calls number `after` to `after + times - 1` fail. */
struct row {
    _Atomic uint64_t after;
    _Atomic uint64_t times;
    _Atomic uint64_t error;
    _Atomic uint64_t calls;  /* so far */
    _Atomic uint64_t failed; /* of these */
};

/* for a pid: the master that the next upgrade starts */
#define AIM_AT_NEXT 1

struct sheet {
    _Atomic uint64_t pid;
    struct row rows[CALL_COUNT];
};

static struct sheet *sheet;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

__attribute__((constructor)) static void find_sheet(void)
{
    const char *path = getenv("TIDEMILL_FAILING_CALLS");
    void *(*map)(void *, size_t, int, int, int, off_t) =
        (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT,
                                                               "mmap");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || map == NULL)
        return;
    void *found =
        map(NULL, sizeof(*sheet), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found == MAP_FAILED)
        return;
    sheet = found;
    if (atomic_load(&sheet->pid) == AIM_AT_NEXT &&
        getenv("TIDEMILL_UPGRADE") != NULL)
        atomic_store(&sheet->pid, (uint64_t)getpid());
}

static int fails(enum call call)
{
    if (sheet == NULL || atomic_load(&sheet->pid) != (uint64_t)getpid())
        return 0;
    struct row *row = &sheet->rows[call];
    uint64_t number = atomic_fetch_add(&row->calls, 1);
    uint64_t after = atomic_load(&row->after);
    if (number < after || number - after >= atomic_load(&row->times))
        return 0;
    atomic_fetch_add(&row->failed, 1);
    errno = (int)atomic_load(&row->error);
    return 1;
}

/* Defines a function that calls the next one of its name. */
#define WRAP(result, name, parameters, arguments, call, failure)               \
    result name parameters;                                                    \
    result name parameters                                                     \
    {                                                                          \
        static result(*next) parameters;                                       \
        if (next == NULL)                                                      \
            *(void **)&next = dlsym(RTLD_NEXT, #name);                         \
        return fails(call) ? (failure) : next arguments;                       \
    }

#define OPEN_MODE(flags)                                                       \
    va_list list;                                                              \
    va_start(list, flags);                                                     \
    mode_t mode =                                                              \
        ((flags) & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;     \
    va_end(list)

int open(const char *path, int flags, ...)
{
    static int (*next)(const char *, int, ...);
    OPEN_MODE(flags);
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "open");
    return fails(CALL_OPEN) ? -1 : next(path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    static int (*next)(int, const char *, int, ...);
    OPEN_MODE(flags);
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "openat");
    return fails(CALL_OPEN) ? -1 : next(at, path, flags, mode);
}

void *malloc(size_t size)
{
    return fails(CALL_MALLOC) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(CALL_MALLOC) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails(CALL_MALLOC) ? NULL : __libc_realloc(old, size);
}

int epoll_ctl(int fd, int operation, int watched, struct epoll_event *event)
{
    static int (*next)(int, int, int, struct epoll_event *);
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "epoll_ctl");
    if (operation != EPOLL_CTL_DEL && fails(CALL_EPOLL_CTL))
        return -1; /* to take one out cannot fail */
    return next(fd, operation, watched, event);
}

/* renameat2 of the log, which a C library may not have */
long syscall(long number, ...)
{
    static long (*next)(long, ...);
    va_list list;
    long words[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        words[i] = va_arg(list, long);
    va_end(list);
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_renameat2 && fails(CALL_RENAME))
        return -1;
    return next(number, words[0], words[1], words[2], words[3], words[4],
                words[5]);
}

WRAP(FILE *, fopen, (const char *path, const char *mode), (path, mode),
     CALL_OPEN, NULL)
WRAP(pid_t, fork, (void), (), CALL_FORK, -1)
WRAP(int, pipe2, (int ends[2], int flags), (ends, flags), CALL_PIPE, -1)
WRAP(int, socketpair, (int domain, int type, int protocol, int ends[2]),
     (domain, type, protocol, ends), CALL_SOCKETPAIR, -1)
WRAP(void *, mmap,
     (void *at, size_t size, int access, int flags, int fd, off_t offset),
     (at, size, access, flags, fd, offset), CALL_MMAP, MAP_FAILED)
WRAP(ssize_t, read, (int fd, void *bytes, size_t size), (fd, bytes, size),
     CALL_READ, -1)
WRAP(ssize_t, write, (int fd, const void *bytes, size_t size),
     (fd, bytes, size), CALL_WRITE, -1)
WRAP(int, epoll_wait,
     (int fd, struct epoll_event *events, int most, int timeout_ms),
     (fd, events, most, timeout_ms), CALL_EPOLL_WAIT, -1)
WRAP(ssize_t, send, (int fd, const void *bytes, size_t size, int flags),
     (fd, bytes, size, flags), CALL_SEND, -1)
WRAP(ssize_t, sendto,
     (int fd, const void *bytes, size_t size, int flags,
      const struct sockaddr *address, socklen_t room),
     (fd, bytes, size, flags, address, room), CALL_SEND, -1)
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags),
     (fd, message, flags), CALL_SEND, -1)
WRAP(ssize_t, recv, (int fd, void *bytes, size_t size, int flags),
     (fd, bytes, size, flags), CALL_RECV, -1)
WRAP(int, stat, (const char *path, struct stat *status), (path, status),
     CALL_STAT, -1)
WRAP(int, fstat, (int fd, struct stat *status), (fd, status), CALL_STAT, -1)
WRAP(int, rename, (const char *from, const char *to), (from, to), CALL_RENAME,
     -1)
WRAP(int, renameat2,
     (int from_at, const char *from, int to_at, const char *to, unsigned flags),
     (from_at, from, to_at, to, flags), CALL_RENAME, -1)
WRAP(pid_t, waitpid, (pid_t pid, int *status, int options),
     (pid, status, options), CALL_WAITPID, -1)
