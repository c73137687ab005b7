/* SPDX-License-Identifier: Apache-2.0
 *
 * Who guards the commands of a slot: from its start to its end the guardian
 * holds a lock on the slot's byte of <state_dir>/commands.lock.  A guardian
 * outlives its killed worker, and even its daemon, until nothing of the
 * command is left; so whoever would start a command again looks here first.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_COMMAND_LOCK_H
#define TIDEMILL_WORKERS_GENERATION_COMMAND_LOCK_H

#define COMMAND_LOCK_NAME "commands.lock"

/* -1 with errno when there can be none. */
int command_lock_open(const char *state_dir);

/* Holds the slot's byte until the process ends; waits while another process
 * does.  Nothing happens without a file (0 or less). */
void command_lock_hold(int fd, unsigned slot);

/* A pidfd, the caller's, of a process that holds one of `count` bytes (0: all)
 * from the slot's on; it is woken, should it be stopped.  -1: none does. */
int command_lock_holder(int fd, unsigned slot, unsigned count);

#endif
