/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection to the centre as the options of `database` say.
 */
#ifndef TIDEMILL_SYNC_PGSQL_CONNECT_H
#define TIDEMILL_SYNC_PGSQL_CONNECT_H

#include "common/base/error.h"

struct config;
struct event_base;
struct pg_connection;

/* As pg_connection_new; the password is read now. */
int pgsql_connection_new(struct pg_connection **connection,
                         const struct config *config, struct event_base *base,
                         struct error *error);

#endif
