/* SPDX-License-Identifier: Apache-2.0
 *
 * The pidfile, locked as long as the daemon lives.
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

/* Removes the file, gives the lock back. */
void pidfile_drop(struct pidfile *pidfile);

#endif
