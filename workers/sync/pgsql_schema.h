/* SPDX-License-Identifier: Apache-2.0
 *
 * The schema at the centre: is it there, is it ours, make what is missing.
 */
#ifndef TIDEMILL_SYNC_PGSQL_SCHEMA_H
#define TIDEMILL_SYNC_PGSQL_SCHEMA_H

#include "common/postgres/connection.h"

/* Checks on an open connection, and under an advisory lock makes what is
 * missing.  The answer given to done has ok, or says what is wrong: down as
 * the connection is, ERROR_CONFIG for a schema newer than this program, of
 * other checksums, or that this role may not make.  Where nothing is
 * missing, only reading rights are needed. */
struct pgsql_schema {
    struct pg_connection *connection;
    pg_done done;
    void *self;
};

void pgsql_schema_check(struct pgsql_schema *schema, pg_done done, void *self);

#endif
