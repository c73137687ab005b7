/* SPDX-License-Identifier: Apache-2.0
 *
 * A new configuration, read and checked aside, then applied as a whole or
 * not at all.
 */
#ifndef TIDEMILL_DAEMON_RELOAD_H
#define TIDEMILL_DAEMON_RELOAD_H

struct config;
struct master;

/* Reads the configuration again.  A bad one changes nothing: each error is
 * logged and stands in the daemon board until the next good one.  A good
 * one replaces the workers that it concerns. */
void reload(struct master *master);

/* Gives `after` the running values of the options that only a restart
 * changes.  0, or -1 without memory. */
int reload_keep_restart(const struct config *before, struct config *after);

#endif
