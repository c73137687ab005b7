/* SPDX-License-Identifier: Apache-2.0
 *
 * The control group (v2) of a worker's commands, where the master found a
 * place for them: nothing that they start can leave it, and the kernel kills
 * all of it at once.  Beside the subreaper, not in its stead, since it is not
 * everywhere.
 */
#ifndef TIDEMILL_WORKERS_GENERATION_JOB_GROUP_H
#define TIDEMILL_WORKERS_GENERATION_JOB_GROUP_H

#include <stdint.h>

/* The group of a slot below `parent` ("": there is none), made where it is
 * missing; what a worker before left in it is killed, and whether it may be
 * entered is tried.  Of two daemons with the same parent each has its own by
 * its state directory.  Returns its descriptor, or -1. */
int job_group_open(const char *parent, const char *state_dir, unsigned slot);

/* Memory of all processes together and how many there may be; 0: as many as
 * there are.  Without effect where these controllers are not delegated. */
void job_group_limit(int fd, uint64_t memory_bytes, uint64_t processes);

/* Moves the caller into it.  Not CLONE_INTO_CGROUP: kernels up to 6.18 at least
 * kill what is born into a group that cgroup.kill was once used on. */
int job_group_enter(int fd);

/* Kills all that is in it.  Nothing happens with a descriptor that is none. */
void job_group_kill(int fd);

#endif
