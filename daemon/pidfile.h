/* SPDX-License-Identifier: Apache-2.0
 *
 * The pidfile, locked as long as the daemon lives.  The lock belongs to the
 * open file: in an upgrade the new master inherits it, so that it is never
 * free.
 */
#ifndef TIDEMILL_DAEMON_PIDFILE_H
#define TIDEMILL_DAEMON_PIDFILE_H

#include "common/base/error.h"

struct pidfile {
    int fd; /* -1: none */
    char path[4200];
};

/* Takes the lock and writes our pid.  ERROR_TRY_AGAIN, with the pid of the
 * other in the text, when another daemon holds it. */
int pidfile_take(struct pidfile *pidfile, const char *path,
                 struct error *error);

/* Takes over the locked descriptor of a daemon that hands over; the lock is
 * shared until one of us leaves.  The file still names the other one. */
int pidfile_adopt(struct pidfile *pidfile, const char *path, int fd,
                  struct error *error);

/* Writes our pid, over another one. */
int pidfile_write(struct pidfile *pidfile, struct error *error);

/* Closes it: the file, and the lock, are another process's. */
void pidfile_leave(struct pidfile *pidfile);

/* Removes the file, gives the lock back. */
void pidfile_drop(struct pidfile *pidfile);

#endif
