/* SPDX-License-Identifier: Apache-2.0
 *
 * Migrations of the local store: numbered SQL files of sql/local, compiled
 * in with their SHA-256.
 */
#ifndef TIDEMILL_STORE_SCHEMA_H
#define TIDEMILL_STORE_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct sqlite3;

struct migration {
    int version;             /* from the file's name: 0001_outbox.sql is 1 */
    const char *description; /* "outbox" */
    const char *sql;
    const char *checksum;    /* SHA-256 of the file, hex */
};

/* Made from the files at build time by build-aux/embed-sql. */
extern const struct migration local_migrations[];
extern const size_t local_migration_count;
extern const struct migration centre_migrations[];
extern const size_t centre_migration_count;

/* Applies what is missing, each in a transaction, in order.  An applied
 * file whose checksum differs, and a version that this binary does not
 * know, are ERROR_CONFIG and change nothing.  *applied counts. */
int schema_migrate_local(struct sqlite3 *db, unsigned *applied,
                         struct error *error);

#endif
