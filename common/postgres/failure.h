/* SPDX-License-Identifier: Apache-2.0
 *
 * What a failure that PostgreSQL, or a PgBouncer before it, tells means for
 * whoever has to decide what to do next.  Pure.
 */
#ifndef TIDEMILL_POSTGRES_FAILURE_H
#define TIDEMILL_POSTGRES_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

enum pg_failure {
    PG_TRANSIENT, /* again later, on this line */
    PG_DOWN,      /* again later, on a new line */
    PG_REFUSED,   /* never: these data are refused for good */
    PG_SETUP,     /* somebody has to set something right at the centre */
};

#define PG_SQLSTATE_SIZE 6

/* Sorts a SQLSTATE ("" is DOWN). */
enum pg_failure pg_failure_of(const char *sqlstate);

/* Is the server, or its pooler, there but without a connection for us?
 * PostgreSQL says so by SQLSTATE 53300, PgBouncer by its words. */
bool pg_failure_is_busy(const char *sqlstate, const char *words);

/* Does it say that we may not? (28xxx, 42501) */
bool pg_failure_is_authorization(const char *sqlstate);

/* Libpq's messages are lines; a message of ours is one. */
void pg_words_copy(char *out, size_t room, const char *words);

/* Of libpq's words on a failed connection, asked for with PQERRORS_VERBOSE:
 * takes out the SQLSTATE ("" when the server told none) and what stands
 * behind the first line, and makes one line of it. */
void pg_words_of_connect(const char *verbose, char sqlstate[PG_SQLSTATE_SIZE],
                         char *out, size_t room);

#endif
