/* SPDX-License-Identifier: Apache-2.0
 *
 * Where lines go: one file that many processes append to, and its rotation.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log_internal.h"

#define RETRY_MS 1000u

void log_board_init(struct log_board *board)
{
    pthread_mutexattr_t attributes;
    memset(board, 0, sizeof(*board));
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&board->rotating, &attributes);
    pthread_mutexattr_destroy(&attributes);
    for (unsigned i = 0; i < LOG_COMPONENTS_MAX; i++)
        atomic_store(&board->levels[i], LOG_INFO_LEVEL);
}

/* --- the file --- */

static int open_file(const char *path, struct stat *status, struct error *error)
{
    int fd =
        open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
    if (fd >= 0 && fstat(fd, status) == 0)
        return fd;
    error_set_errno(error, ERROR_CANT_CREATE, "cannot open the log file %s",
                    path);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* generation is what the board said before the file was opened. */
static void use_file(int fd, const struct stat *status, uint32_t generation)
{
    if (log_state.fd > STDERR_FILENO)
        close(log_state.fd);
    log_state.fd = fd;
    log_state.device = status->st_dev;
    log_state.inode = status->st_ino;
    log_state.generation = generation;
    log_state.missing = false;
}

/* When the interval ends in which the file was begun; a file that was there
 * was begun no later than its last line was written. */
static int64_t interval_end(const struct log_board *board,
                            const struct stat *status)
{
    int64_t interval_ms = atomic_load(&board->interval_ms);
    int64_t begun_ms = clock_wall_ms();
    if (interval_ms <= 0)
        return 0;
    if (status->st_size > 0)
        begun_ms = (int64_t)status->st_mtim.tv_sec * 1000;
    return (begun_ms / interval_ms + 1) * interval_ms;
}

/* The path is a file that others may not have open yet: tells them. */
static void announce(struct log_board *board, const struct stat *status)
{
    atomic_store(&board->size_bytes, (uint64_t)status->st_size);
    atomic_store(&board->due_wall_ms, interval_end(board, status));
    atomic_store(&board->torn, 0);
    log_state.generation = atomic_fetch_add(&board->generation, 1) + 1;
}

void log_board_bound(struct log_board *board, uint64_t max_bytes,
                     int64_t interval_ms)
{
    struct stat status;
    atomic_store(&board->max_bytes, max_bytes);
    if (atomic_exchange(&board->interval_ms, interval_ms) == interval_ms)
        return;
    if (log_state.board != board || log_state.path[0] == '\0' ||
        fstat(log_state.fd, &status) != 0)
        status = (struct stat){0};
    atomic_store(&board->due_wall_ms, interval_end(board, &status));
}

static int open_by_name(const char *path, struct error *error)
{
    struct stat status;
    uint32_t generation = atomic_load(&log_state.board->generation);
    int fd = open_file(path, &status, error);
    if (fd < 0)
        return -1;
    use_file(fd, &status, generation);
    announce(log_state.board, &status);
    return 0;
}

int log_open(const struct log_options *options, struct error *error)
{
    if (options->path == NULL) {
        use_file(STDERR_FILENO, &(struct stat){0}, 0);
    } else {
        if (strlen(options->path) >= sizeof(log_state.path))
            return error_set(error, ERROR_CONFIG,
                             "the path of the log file is too long");
        if (open_by_name(options->path, error) != 0)
            return -1;
    }
    snprintf(log_state.path, sizeof(log_state.path), "%s",
             options->path == NULL ? "" : options->path);
    log_state.format = options->format;
    log_state.journal_prefix = options->journal_prefix;
    log_state.head_known = false;
    log_set_level(options->level);
    return 0;
}

int log_reopen(struct error *error)
{
    struct log_board *board = log_state.board;
    int result =
        log_state.path[0] == '\0' ? 0 : open_by_name(log_state.path, error);
    atomic_store(&board->reopen_failed, result != 0);
    atomic_fetch_add(&board->reopen_attempts, 1);
    return result;
}

int log_refresh(struct error *error)
{
    struct stat status;
    uint32_t generation = atomic_load(&log_state.board->generation);
    if (log_state.path[0] == '\0' || log_state.generation == generation)
        return 0;
    int fd = open_file(log_state.path, &status, error);
    if (fd < 0)
        return -1;
    use_file(fd, &status, generation);
    return 0;
}

/* -1 when it cannot be read, or the file is empty. */
static int last_byte(int fd, off_t *size)
{
    struct stat status;
    unsigned char last;
    if (fstat(fd, &status) != 0 || status.st_size == 0 ||
        pread(fd, &last, 1, status.st_size - 1) != 1)
        return -1;
    *size = status.st_size;
    return last;
}

void log_mend(void)
{
    struct stat status;
    off_t before = 0;
    off_t after = 0;
    int fd = log_state.path[0] == '\0'
                 ? -1
                 : open(log_state.path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return;
    int last = last_byte(fd, &before);
    /* a writer that is alive and between two pages is through when the
     * kernel has let us change the inode */
    if (last >= 0 && last != '\n' && fstat(fd, &status) == 0 &&
        fchmod(fd, status.st_mode & 07777) == 0 &&
        last_byte(fd, &after) == last && before == after)
        atomic_store(&log_state.board->torn, 1);
    close(fd);
}

/* --- rotation --- */

int log_backup_name(const char *path, int64_t wall_ms, char *name, size_t room)
{
    char time[CLOCK_TEXT_SIZE];
    char *to = time;
    for (const char *from = clock_format(wall_ms, time); *from != '\0'; from++)
        if (*from != '-' && *from != ':')
            *to++ = *from;
    *to = '\0';
    int size = snprintf(name, room, "%s-%s", path, time);
    if (size >= 0 && (size_t)size < room)
        return 0;
    errno = ENAMETOOLONG;
    return -1;
}

static int rename_new(const char *from, const char *to)
{
    long result = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to,
                          1 /* RENAME_NOREPLACE */);
    if (result == 0 || (errno != EINVAL && errno != ENOSYS))
        return (int)result;
    if (access(to, F_OK) == 0) { /* a file system that cannot */
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

/* Names follow each other, however often within a millisecond and whatever
 * the clock does. */
static int move_away(struct log_board *board)
{
    char backup[PATH_MAX];
    int64_t stamp_ms = clock_wall_ms();
    int64_t last_ms = atomic_load(&board->last_stamp_ms);
    if (stamp_ms <= last_ms && last_ms - stamp_ms < 86400000)
        stamp_ms = last_ms + 1;
    for (int tries = 0; tries < 1000; tries++, stamp_ms++) {
        if (log_backup_name(log_state.path, stamp_ms, backup, sizeof(backup)))
            return -1;
        if (rename_new(log_state.path, backup) == 0) {
            atomic_store(&board->last_stamp_ms, stamp_ms);
            return 0;
        }
        if (errno != EEXIST)
            return -1;
    }
    return -1;
}

static bool is_due(const struct log_board *board, uint64_t size_bytes,
                   size_t more, int64_t wall_ms)
{
    uint64_t max_bytes =
        atomic_load_explicit(&board->max_bytes, memory_order_relaxed);
    int64_t due_ms =
        atomic_load_explicit(&board->due_wall_ms, memory_order_relaxed);
    return size_bytes > 0 &&
           ((max_bytes != 0 && size_bytes + more > max_bytes) ||
            (due_ms != 0 && wall_ms >= due_ms));
}

/* With the lock.  Whoever held it before may have died at any place, and a
 * stranger may have moved, removed or truncated the file: only what the
 * path is now counts.  1: rotated, 0: there was no need, -1: failed. */
static int rotate_locked(struct log_board *board, size_t more, int64_t wall_ms)
{
    struct stat named;
    struct error error;
    bool there = stat(log_state.path, &named) == 0;
    bool ours = there && named.st_ino == log_state.inode &&
                named.st_dev == log_state.device;
    if (log_state.generation != atomic_load(&board->generation))
        return log_refresh(&error); /* someone was faster */
    if (ours && !is_due(board, (uint64_t)named.st_size, more, wall_ms)) {
        atomic_store(&board->size_bytes, (uint64_t)named.st_size);
        if (named.st_size == 0)
            atomic_store(&board->due_wall_ms, interval_end(board, &named));
        return 0;
    }
    if (ours && move_away(board) != 0)
        return -1;
    if (open_by_name(log_state.path, &error) != 0)
        return -1;
    return ours ? 1 : 0;
}

static void rotate(struct log_board *board, size_t more, int64_t wall_ms)
{
    uint64_t now_ms = clock_monotonic_ms();
    if (now_ms < atomic_load_explicit(&board->retry_ms, memory_order_relaxed))
        return;
    int locked = pthread_mutex_trylock(&board->rotating);
    if (locked == EOWNERDEAD)
        locked = pthread_mutex_consistent(&board->rotating);
    if (locked != 0)
        return; /* someone is at it; this line may still go to the old file */
    int result = rotate_locked(board, more, wall_ms);
    if (result < 0) {
        atomic_store(&board->retry_ms, now_ms + RETRY_MS);
        log_count(LOG_COUNT_ROTATION_FAILURE, 1);
    }
    pthread_mutex_unlock(&board->rotating);
    if (result <= 0)
        return;
    log_count(LOG_COUNT_ROTATION, 1);
    if (log_state.hooks.rotated != NULL &&
        atomic_exchange(&board->told, 1) == 0)
        log_state.hooks.rotated(log_state.hooks.self);
}

/* Once a second: is the path still our file?  logrotate without a signal, a
 * person with mv.  One that is missing gets the other a second to make a new
 * one. */
static void look_at_path(struct log_board *board, int64_t wall_ms)
{
    struct stat named;
    log_state.checked_s = wall_ms / 1000;
    bool there = stat(log_state.path, &named) == 0;
    bool was_missing = log_state.missing;
    log_state.missing = !there;
    if (there ? named.st_ino != log_state.inode ||
                    named.st_dev != log_state.device
              : was_missing)
        rotate(board, 0, wall_ms);
}

/* --- lines --- */

static void prepare_file(struct log_board *board, size_t size, int64_t wall_ms)
{
    struct error error;
    if (atomic_load_explicit(&board->generation, memory_order_acquire) !=
        log_state.generation)
        log_refresh(&error); /* or on with the old file */
    if (wall_ms / 1000 != log_state.checked_s)
        look_at_path(board, wall_ms);
    uint64_t size_bytes =
        atomic_load_explicit(&board->size_bytes, memory_order_relaxed);
    if (is_due(board, size_bytes, size, wall_ms))
        rotate(board, size, wall_ms);
}

void log_file_write(const struct log_line *line, int64_t wall_ms)
{
    struct log_board *board = log_state.board;
    bool is_file = log_state.path[0] != '\0';
    ssize_t wrote;
    if (is_file)
        prepare_file(board, line->size, wall_ms);
    do
        wrote = write(log_state.fd, line->bytes, line->size);
    while (wrote < 0 && errno == EINTR);
    if (wrote > 0 && is_file)
        atomic_fetch_add_explicit(&board->size_bytes, (uint64_t)wrote,
                                  memory_order_relaxed);
    if (wrote == (ssize_t)line->size)
        return;
    log_state.lost++;
    log_state.lost_untold++;
    log_count(LOG_COUNT_LOST, 1);
    if (wrote > 0)
        atomic_store(&board->torn, 1);
}
