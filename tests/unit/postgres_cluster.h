/* SPDX-License-Identifier: Apache-2.0
 *
 * A PostgreSQL server of a test's own: in a temporary folder, on a Unix
 * socket there, default settings.
 */
#ifndef TIDEMILL_TESTS_POSTGRES_CLUSTER_H
#define TIDEMILL_TESTS_POSTGRES_CLUSTER_H

#include <stdbool.h>
#include <sys/types.h>

struct cluster {
    char folder[128];
    char conninfo[256];
    pid_t pid; /* 0 while stopped */
};

/* Makes and starts one.  1 when PostgreSQL is not installed, -1 on failure
 * (told on standard error). */
int cluster_make(struct cluster *cluster);
/* Starts it again; returns when it takes connections. */
int cluster_start(struct cluster *cluster);
/* SIGINT for the fast way, SIGQUIT for the immediate one; waits. */
void cluster_stop(struct cluster *cluster, int signal);
/* Starts another program as the server's user, in its folder; the caller
 * ends it. */
pid_t cluster_program(const struct cluster *cluster, const char *path,
                      char *const *arguments);
/* Stops it and removes its folder. */
void cluster_remove(struct cluster *cluster);

#endif
