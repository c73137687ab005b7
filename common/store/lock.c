/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/store/schema.h"

#define PID_BYTES     19 /* each with its newline */
#define REPEATS_BYTES 21

static void read_file(struct store_lock *lock, long *pid)
{
    char text[LOCK_FILE_BYTES + 1];
    long long repeats = 0;
    ssize_t n = pread(lock->fd, text, LOCK_FILE_BYTES, 0);
    text[n > 0 ? n : 0] = '\0';
    *pid = 0;
    sscanf(text, "%ld %lld", pid, &repeats);
    lock->repeats_until_ms = repeats;
    lock->seal[0] = '\0';
    if (n != LOCK_FILE_BYTES)
        return;
    size_t size = LOCK_SEAL_SIZE - 1;
    memcpy(lock->seal, text + PID_BYTES + REPEATS_BYTES, size);
    while (size > 0 && lock->seal[size - 1] == ' ')
        size--;
    lock->seal[size] = '\0';
}

int store_lock_write(const struct store_lock *lock, int64_t repeats_until_ms,
                     const char *seal)
{
    char text[LOCK_FILE_BYTES + 1];
    snprintf(text, sizeof(text), "%-18ld\n%-20lld\n%-23s\n", (long)getpid(),
             (long long)repeats_until_ms, seal);
    ssize_t n = pwrite(lock->fd, text, LOCK_FILE_BYTES, 0);
    if (n >= 0 && n != LOCK_FILE_BYTES)
        errno = ENOSPC;
    return n == LOCK_FILE_BYTES ? 0 : -1;
}

static int refuse(struct store_lock *lock, const char *path,
                  const char *state_dir, struct error *error)
{
    long pid;
    bool held = errno == EWOULDBLOCK;
    if (!held)
        error_set_errno(error, ERROR_SYSTEM, "cannot lock %s", path);
    read_file(lock, &pid);
    store_lock_leave(lock);
    return !held ? -1
                 : error_set(error, ERROR_TRY_AGAIN,
                             "the store in %s is in use by process %ld; stop "
                             "that, or ask it through its socket",
                             state_dir, pid);
}

int store_lock_take(struct store_lock *lock, const char *state_dir,
                    struct error *error)
{
    char path[4096];
    char own[PID_BYTES];
    long pid;
    snprintf(path, sizeof(path), "%s/%s", state_dir, STORE_LOCK_NAME);
    lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (lock->fd < 0)
        return error_set_errno(error, ERROR_CANT_CREATE,
                               "cannot open the store's lock file %s", path);
    if (flock(lock->fd, LOCK_EX | LOCK_NB) != 0)
        return refuse(lock, path, state_dir, error);
    read_file(lock, &pid);
    snprintf(own, sizeof(own), "%-18ld", (long)getpid());
    if (pwrite(lock->fd, own, PID_BYTES - 1, 0) == PID_BYTES - 1)
        return 0;
    error_set_errno(error, ERROR_CANT_CREATE, "cannot write %s", path);
    store_lock_leave(lock);
    return -1;
}

void store_lock_leave(struct store_lock *lock)
{
    if (lock->fd >= 0)
        close(lock->fd);
    lock->fd = -1;
}

static uint64_t add(uint64_t hash, uint64_t number)
{
    return text_hash(hash, &number, sizeof(number));
}

void store_seal_make(char seal[LOCK_SEAL_SIZE], const char *state_dir,
                     const char *system_id)
{
    char path[4096];
    struct stat file;
    uint64_t hash = TEXT_HASH_START;
    seal[0] = '\0';
    snprintf(path, sizeof(path), "%s/%s", state_dir, STORE_FILE_NAME);
    if (stat(path, &file) != 0)
        return;
    for (size_t i = 0; i < local_migration_count; i++)
        hash = text_hash(hash, local_migrations[i].checksum,
                         strlen(local_migrations[i].checksum));
    hash = text_hash(hash, system_id, strlen(system_id) + 1);
    hash = add(add(hash, file.st_dev), file.st_ino);
    hash =
        add(add(hash, (uint64_t)file.st_size), (uint64_t)file.st_mtim.tv_sec);
    hash = add(hash, (uint64_t)file.st_mtim.tv_nsec);
    snprintf(seal, LOCK_SEAL_SIZE, "%016llx", (unsigned long long)hash);
}
