/* SPDX-License-Identifier: Apache-2.0
 *
 * The log's bounds, levels, and old files.  Whoever writes past a bound
 * rotates the file (common/base/log.h); the master then has everybody let go
 * of the old one, and starts a helper of low priority that compresses and
 * deletes old files.  It touches none of them itself.
 */
#ifndef TIDEMILL_DAEMON_ROTATION_H
#define TIDEMILL_DAEMON_ROTATION_H

#include <stdbool.h>
#include <sys/types.h>

struct error;
struct master;

/* The master writes with the shared board from now on. */
void rotation_init(struct master *master);

/* Puts the configuration's bounds and levels into shared memory; levels that
 * an operator set meanwhile are gone. */
void rotation_configure(struct master *master);

/* Somebody rotated the log: idle processes let go of the old file, the
 * helper runs. */
void rotation_follow(struct master *master);

/* A worker was killed: ends what it left half done. */
void rotation_mend(struct master *master);

/* Opens the log as the configuration says, after that failed, and tells the
 * workers; starts the helper.  0, or -1: once more, later. */
int rotation_open_again(struct master *master, struct error *error);
int rotation_help_again(struct master *master, struct error *error);

/* Looks after old files: at the start, when bounds have changed. */
void rotation_tidy(struct master *master);

/* Was this ended child the helper? */
bool rotation_reap(struct master *master, pid_t pid, int status);

#endif
