/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases that only a server knows: it stops, cuts, waits, refuses.
 */
#ifndef TIDEMILL_TESTS_TEST_SINKS_H
#define TIDEMILL_TESTS_TEST_SINKS_H

#include <stddef.h>
#include <sys/types.h>

struct fixture;

struct server_case {
    const char *name;
    void (*run)(struct fixture *f);
};

#define SERVER_CASES_MAX 32

extern const struct server_case server_cases[];
extern const size_t server_case_count;

/* Several batches under way on one connection. */
extern const struct server_case several_cases[];
extern const size_t several_case_count;

/* Puts a PgBouncer in transaction mode with one server connection before the
 * server and sends the fixture's sink through it; returns its process. */
pid_t pgbouncer_before(struct fixture *f);

#endif
