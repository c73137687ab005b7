/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/wal_vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define VFS_NAME "tidemill-wal"
/* https://www.sqlite.org/fileformat2.html#walformat */
#define WAL_HEADER_BYTES   32
#define FRAME_HEADER_BYTES 24
#define FRAME_COMMIT_AT    4    /* u32: pages of the database, 0 if no commit */
#define PAGE_BYTES         4096 /* as the writer makes them */
/* The unix VFS cannot write 128 KiB or more at once. */
#define GATHER_BYTES (120 << 10)
/* The database's file grows by so much at a time. */
#define ROOM_BYTES (64 << 10)
/* Where the database's descriptor is looked for. */
#define DESCRIPTORS_MAX 256

struct wal_file {
    sqlite3_file base;  /* what SQLite sees */
    sqlite3_file *real; /* behind this struct, in the same memory */
    char *bytes;        /* gathered, GATHER_BYTES of room */
    int size;
    sqlite3_int64 offset; /* in the file, of bytes */
    bool commit_follows;  /* the next write ends a commit frame */
    sqlite3_file *database;
    uint32_t room;   /* of the database's file, in ROOM_BYTES */
    int database_fd; /* SQLite's own, borrowed; -1: not known */
    dev_t device;    /* of the database's file */
    ino_t inode;     /* 0: not known */
};

static struct wal_file *wal(sqlite3_file *file)
{
    return (struct wal_file *)(void *)file;
}

/* What cannot be written is forgotten: the transaction fails, and its
 * frames were never valid. */
static int flush(struct wal_file *file)
{
    if (file->size == 0)
        return SQLITE_OK;
    int size = file->size;
    file->size = 0;
    return file->real->pMethods->xWrite(file->real, file->bytes, size,
                                        file->offset);
}

static uint32_t get_u32(const void *bytes)
{
    const unsigned char *b = bytes;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 |
           b[3];
}

static bool is_database(const struct wal_file *file, int fd,
                        struct stat *status)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) == O_RDWR &&
           fstat(fd, status) == 0 && status->st_ino == file->inode &&
           status->st_dev == file->device;
}

/* SQLite's descriptor of the database: one of our own must never be closed,
 * which would take the process's locks of the file away. */
static int find_descriptor(struct wal_file *file, struct stat *status)
{
    if (file->inode == 0)
        return -1;
    if (file->database_fd >= 0 && is_database(file, file->database_fd, status))
        return file->database_fd;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
        if (is_database(file, fd, status))
            return file->database_fd = fd;
    file->inode = 0;
    return -1;
}

/* The system's SQLite may be built without fallocate: its size hint then
 * writes to each block, which costs more than all else in a commit. */
static int allocate(struct wal_file *file, sqlite3_int64 bytes)
{
    struct stat status;
    int fd = find_descriptor(file, &status);
    if (fd < 0 || bytes <= status.st_size)
        return SQLITE_OK;
    sqlite3_int64 end = (bytes + ROOM_BYTES - 1) / ROOM_BYTES * ROOM_BYTES;
    if (fallocate(fd, 0, status.st_size, end - status.st_size) == 0)
        return SQLITE_OK;
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? SQLITE_FULL
                                                                : SQLITE_OK;
}

/* No commit without room in the database for its pages: so a checkpoint
 * never meets a full disk, and the WAL's own room can always be used again.
 * The size hint does what allocate could not. */
static int make_room(struct wal_file *file, uint32_t pages)
{
    sqlite3_int64 bytes = (sqlite3_int64)pages * PAGE_BYTES;
    uint32_t room = (uint32_t)((bytes + ROOM_BYTES - 1) / ROOM_BYTES);
    if (room == file->room || file->database == NULL)
        return SQLITE_OK;
    if (allocate(file, bytes) != SQLITE_OK ||
        file->database->pMethods->xFileControl(
            file->database, SQLITE_FCNTL_SIZE_HINT, &bytes) != SQLITE_OK)
        return SQLITE_FULL;
    file->room = room;
    return SQLITE_OK;
}

static int wal_write(sqlite3_file *base, const void *bytes, int size,
                     sqlite3_int64 offset)
{
    struct wal_file *file = wal(base);
    bool ends_commit = file->commit_follows;
    uint32_t pages = size == FRAME_HEADER_BYTES
                         ? get_u32((const char *)bytes + FRAME_COMMIT_AT)
                         : 0;
    file->commit_follows = pages != 0;
    if (pages != 0 && make_room(file, pages) != SQLITE_OK) {
        file->commit_follows = false;
        file->size = 0;
        return SQLITE_FULL;
    }
    if (file->size > 0 && (offset != file->offset + file->size ||
                           size > GATHER_BYTES - file->size)) {
        int result = flush(file);
        if (result != SQLITE_OK)
            return result;
    }
    if (size > GATHER_BYTES)
        return file->real->pMethods->xWrite(file->real, bytes, size, offset);
    if (file->size == 0)
        file->offset = offset;
    memcpy(file->bytes + file->size, bytes, (size_t)size);
    file->size += size;
    /* Readers look for the frames as soon as SQLite has published them. */
    return ends_commit ? flush(file) : SQLITE_OK;
}

static int wal_read(sqlite3_file *base, void *bytes, int size,
                    sqlite3_int64 offset)
{
    struct wal_file *file = wal(base);
    int result = flush(file);
    return result != SQLITE_OK
               ? result
               : file->real->pMethods->xRead(file->real, bytes, size, offset);
}

static int wal_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct wal_file *file = wal(base);
    int result = flush(file);
    return result != SQLITE_OK
               ? result
               : file->real->pMethods->xTruncate(file->real, size);
}

static int wal_sync(sqlite3_file *base, int flags)
{
    struct wal_file *file = wal(base);
    int result = flush(file);
    return result != SQLITE_OK ? result
                               : file->real->pMethods->xSync(file->real, flags);
}

static int wal_size(sqlite3_file *base, sqlite3_int64 *size)
{
    struct wal_file *file = wal(base);
    int result = flush(file);
    return result != SQLITE_OK
               ? result
               : file->real->pMethods->xFileSize(file->real, size);
}

static int wal_close(sqlite3_file *base)
{
    struct wal_file *file = wal(base);
    flush(file);
    free(file->bytes);
    file->bytes = NULL;
    return file->real->pMethods->xClose(file->real);
}

static int wal_lock(sqlite3_file *base, int level)
{
    return wal(base)->real->pMethods->xLock(wal(base)->real, level);
}

static int wal_unlock(sqlite3_file *base, int level)
{
    return wal(base)->real->pMethods->xUnlock(wal(base)->real, level);
}

static int wal_check_lock(sqlite3_file *base, int *reserved)
{
    return wal(base)->real->pMethods->xCheckReservedLock(wal(base)->real,
                                                         reserved);
}

static int wal_control(sqlite3_file *base, int operation, void *argument)
{
    struct wal_file *file = wal(base);
    int result = flush(file);
    return result != SQLITE_OK ? result
                               : file->real->pMethods->xFileControl(
                                     file->real, operation, argument);
}

static int wal_sector_size(sqlite3_file *base)
{
    return wal(base)->real->pMethods->xSectorSize(wal(base)->real);
}

static int wal_characteristics(sqlite3_file *base)
{
    return wal(base)->real->pMethods->xDeviceCharacteristics(wal(base)->real);
}

static const sqlite3_io_methods wal_methods = {
    .iVersion = 1,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_unlock,
    .xCheckReservedLock = wal_check_lock,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector_size,
    .xDeviceCharacteristics = wal_characteristics,
};

/* SQLite syncs the folder of a file that it may make at the first sync.  A
 * log that has more than its header had that: the header is synced before
 * the first frame is written. */
static bool is_made(const char *name)
{
    struct stat status;
    return name != NULL && stat(name, &status) == 0 &&
           status.st_size > WAL_HEADER_BYTES;
}

static void find_database(struct wal_file *file, sqlite3_filename name)
{
    int chunk = ROOM_BYTES;
    sqlite3_file *database = sqlite3_database_file_object(name);
    if (database->pMethods->xFileControl(database, SQLITE_FCNTL_CHUNK_SIZE,
                                         &chunk) == SQLITE_OK)
        file->database = database;
    struct stat status;
    file->database_fd = -1;
    if (stat(sqlite3_filename_database(name), &status) == 0) {
        file->device = status.st_dev;
        file->inode = status.st_ino;
    }
}

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *base,
                    int flags, int *out_flags)
{
    sqlite3_vfs *system = vfs->pAppData;
    if ((flags & SQLITE_OPEN_WAL) == 0)
        return system->xOpen(system, name, base, flags, out_flags);
    struct wal_file *file = wal(base);
    *file = (struct wal_file){.real = (sqlite3_file *)(void *)(file + 1)};
    file->bytes = malloc(GATHER_BYTES);
    if (file->bytes == NULL)
        return SQLITE_NOMEM;
    if (is_made(name))
        flags &= ~SQLITE_OPEN_CREATE;
    int result = system->xOpen(system, name, file->real, flags, out_flags);
    /* With methods SQLite closes it also after a failure. */
    if (file->real->pMethods != NULL)
        file->base.pMethods = &wal_methods;
    else
        free(file->bytes);
    if (result == SQLITE_OK)
        find_database(file, name);
    return result;
}

const char *wal_vfs_name(void)
{
    static sqlite3_vfs vfs;
    if (vfs.zName != NULL)
        return VFS_NAME;
    sqlite3_vfs *system = sqlite3_vfs_find(NULL);
    if (system == NULL)
        return NULL;
    /* All but opening is the system's own: it never looks at the vfs that
     * it is called with. */
    vfs = *system;
    vfs.pNext = NULL;
    vfs.zName = VFS_NAME;
    vfs.pAppData = system;
    vfs.szOsFile += (int)sizeof(struct wal_file);
    vfs.xOpen = vfs_open;
    if (sqlite3_vfs_register(&vfs, 0) == SQLITE_OK)
        return VFS_NAME;
    vfs.zName = NULL;
    return NULL;
}
