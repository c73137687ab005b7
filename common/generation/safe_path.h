/* SPDX-License-Identifier: Apache-2.0
 *
 * Files below a directory and nowhere else: no "..", no absolute path, no
 * symbolic link on the way, whatever is swapped while we walk (openat2 with
 * RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS).
 */
#ifndef TIDEMILL_GENERATION_SAFE_PATH_H
#define TIDEMILL_GENERATION_SAFE_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "common/base/error.h"

#define SAFE_PATH_MAX 1000

/* May this be a path below a directory?  Else -1 with ERROR_NOT_ALLOWED and
 * words: absolute, "..", a NUL, an empty part, too long, control bytes. */
int safe_path_check(const char *path, size_t size, struct error *error);

/* Opens an absolute directory, the root of all that follows; with create,
 * makes what is missing.  Its own path may hold symbolic links: it is the
 * caller's word.  A missing one without create is -1 with ERROR_NO_INPUT. */
int safe_open_root(const char *path, bool create, struct error *error);

/* Opens a directory below root ("" is root itself); with create, makes what
 * is missing.  -1: ERROR_NO_INPUT when it is missing, ERROR_NOT_ALLOWED when
 * a symbolic link or another kind of file is on the way. */
int safe_open_directory(int root, const char *path, bool create,
                        struct error *error);

/* Opens a regular file below root for reading; errors as above. */
int safe_open_file(int root, const char *path, struct error *error);

/* Reads a file below root whole, at most limit bytes, into a malloc'ed
 * block with a NUL behind it. */
int safe_read_file(int root, const char *path, size_t limit, char **bytes,
                   size_t *size, struct error *error);

/* The same, and what fstat told of it before it was read. */
int safe_read_file_about(int root, const char *path, size_t limit,
                         char **bytes, size_t *size, struct stat *about,
                         struct error *error);

#endif
