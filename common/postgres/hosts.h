/* SPDX-License-Identifier: Apache-2.0
 *
 * The servers that a connection string names, in their order.
 */
#ifndef TIDEMILL_POSTGRES_HOSTS_H
#define TIDEMILL_POSTGRES_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

#define PG_HOSTS_MAX 32

struct pg_hosts {
    size_t count; /* 0: libpq knows from elsewhere */
    char *names[PG_HOSTS_MAX];
    char *addresses[PG_HOSTS_MAX]; /* "" where the string gives none */
    char *ports[PG_HOSTS_MAX];     /* "" for libpq's own */
};

/* Checks the connection string, too. */
int pg_hosts_init(struct pg_hosts *hosts, const char *conninfo,
                  struct error *error);
void pg_hosts_deinit(struct pg_hosts *hosts);

/* Must this host's name be looked up before libpq gets it?  Not a socket's
 * folder, and not one with an address of its own. */
bool pg_hosts_needs_lookup(const struct pg_hosts *hosts, size_t host);

#endif
