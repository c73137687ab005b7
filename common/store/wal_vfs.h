/* SPDX-License-Identifier: Apache-2.0
 *
 * SQLite writes its WAL in pieces: 24 bytes and a page for each page that
 * changed, two system calls a page.  This VFS gathers what a transaction
 * appends and writes it at once, before its commit frame can be seen.
 * Before, it makes the database's file as long as its pages need, with
 * space taken from the disk: a commit succeeds only when a checkpoint can
 * carry it to the database.  All other files, and all reading, go to the
 * system's VFS.  Pages have 4096 bytes.
 */
#ifndef TIDEMILL_STORE_WAL_VFS_H
#define TIDEMILL_STORE_WAL_VFS_H

/* The name for sqlite3_open_v2, registered at the first call; NULL (the
 * system's VFS) when that fails. */
const char *wal_vfs_name(void);

#endif
