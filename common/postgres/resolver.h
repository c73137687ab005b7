/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks names of hosts up without blocking, by libevent's own DNS client:
 * /etc/hosts and the servers of /etc/resolv.conf, both read anew for each
 * lookup.  (Not nsswitch.conf: its modules block.)
 */
#ifndef TIDEMILL_POSTGRES_RESOLVER_H
#define TIDEMILL_POSTGRES_RESOLVER_H

#include <stddef.h>

#include "common/base/error.h"

struct event_base;
struct pg_lookup;

#define PG_ADDRESSES_MAX 16

/* The addresses as texts, in their order; count 0: `why` says why. */
typedef void (*pg_lookup_done)(void *self, char addresses[][46], size_t count,
                               const char *why);

/* Starts one; done is called once from the loop, never from within the call.
 * NULL with an error when it cannot even start. */
struct pg_lookup *pg_lookup_start(struct event_base *base, const char *name,
                                  const char *resolv_conf,
                                  pg_lookup_done done, void *self,
                                  struct error *error);

/* Done is not called any more; the loop frees what is left. */
void pg_lookup_cancel(struct pg_lookup **lookup);

#endif
