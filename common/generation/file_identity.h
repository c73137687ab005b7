/* SPDX-License-Identifier: Apache-2.0
 *
 * Has a file changed since it was read?  What stat tells of it answers that
 * without reading it again, as git's index does, and with its care: a file
 * that was changed only just before it was read may change once more within
 * the same tick of its file system's clock.  Such a look is not settled, and
 * only the contents tell.
 */
#ifndef TIDEMILL_GENERATION_FILE_IDENTITY_H
#define TIDEMILL_GENERATION_FILE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* The coarsest clock of a file system that is in use: FAT's. */
#define FILE_SETTLED_NS INT64_C(2000000000)

struct file_identity {
    uint64_t device, inode;
    int64_t size;
    int64_t changed_ns, modified_ns; /* ctime, mtime */
    int64_t looked_ns;               /* wall clock: when it was looked at */
    uint64_t present;                /* 0 or 1: there was something */
    uint64_t mode;                   /* st_mode: its kind, too */
};

/* The wall clock, as looked_ns. */
int64_t file_identity_now_ns(void);

/* Looks at a file or folder; before it is read. */
void file_identity_look(const char *path, struct file_identity *identity);

/* The same below a folder, of a symbolic link itself. */
void file_identity_look_at(int folder, const char *path,
                           struct file_identity *identity);

/* What fstat told of an open file; looked at not before looked_ns. */
void file_identity_take(const struct stat *about, int64_t looked_ns,
                        struct file_identity *identity);

bool file_identity_same(const struct file_identity *a,
                        const struct file_identity *b);

/* Does the same identity later mean the same contents? */
bool file_identity_settled(const struct file_identity *identity);

#endif
