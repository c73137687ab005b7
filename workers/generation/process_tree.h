/* SPDX-License-Identifier: Apache-2.0
 *
 * All processes below one, found in /proc by their parents, so that nothing
 * escapes that was forked twice or has a session of its own, as long as the
 * root is a subreaper (PR_SET_CHILD_SUBREAPER).  A process is known by pid
 * and start time; nothing is ever killed by name.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_PROCESS_TREE_H
#define TIDEMILL_WORKERS_GENERATION_PROCESS_TREE_H

#include <stdint.h>
#include <sys/types.h>

/* Sends the signal to each process below root, root not among them.  A
 * process that was born or orphaned during the walk may be missed: repeat
 * it.  Returns how many there were, -1 when /proc cannot be read. */
int process_tree_signal(pid_t root, int signal);

/* The resident bytes of all below root, root not among them; pages that they
 * share count for each. */
uint64_t process_tree_memory(pid_t root);

/* Kills and reaps all that is below the caller, which is a subreaper: first
 * all are stopped, so that none forks while the others die.  0 when nothing
 * is left, -1 when something is after bound_ms. */
int process_tree_kill(unsigned bound_ms);

#endif
