/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pgsql_connect.h"

#include <string.h>

#include "common/base/buffer.h"
#include "common/config/config.h"
#include "common/postgres/connection.h"

#define CONNINFO_MAX 16384

int pgsql_connection_new(struct pg_connection **connection,
                         const struct config *config, struct event_base *base,
                         struct error *error)
{
    struct buffer conninfo;
    buffer_init(&conninfo, CONNINFO_MAX);
    int status = config_conninfo(config, &conninfo, error);
    if (status == 0 && conninfo.failed)
        status = error_set(error, ERROR_CONFIG,
                           "database: the connection string is too long");
    if (status == 0) {
        struct pg_settings settings = {
            .conninfo = conninfo.size ? conninfo.bytes : "",
            .application_name = config->database_application_name,
            .connect_timeout_ms = config->database_connect_timeout_ms,
            .statement_timeout_ms = config->database_statement_timeout_ms,
            .query_timeout_ms = config->database_query_timeout_ms};
        status = pg_connection_new(connection, base, &settings, error);
    }
    if (conninfo.bytes)
        explicit_bzero(conninfo.bytes, conninfo.size); /* the password */
    buffer_deinit(&conninfo);
    return status;
}
