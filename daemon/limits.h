/* SPDX-License-Identifier: Apache-2.0
 *
 * The limit of open files, which workers inherit.
 */
#ifndef TIDEMILL_DAEMON_LIMITS_H
#define TIDEMILL_DAEMON_LIMITS_H

/* What the fullest of our processes may have open: the master two pipes for
 * each of its workers, the store and the gateway their clients.  Programs that
 * use select() still work with it. */
#define LIMITS_FILES_WANTED 512u

/* Raises the limit to that where it is lower, as far as it may; the log tells
 * of one that stays too low, and what that means. */
void limits_raise(void);

#endif
