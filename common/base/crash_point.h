/* SPDX-License-Identifier: Apache-2.0
 *
 * Points at which a test stops a process as SIGKILL does.  Only in a build
 * with --enable-crash-points; elsewhere CRASH_POINT is nothing at all.
 *
 * The environment variable TIDEMILL_CRASH_FILE names a file whose first line
 * is "NAME COUNT": the process that passes the point NAME for the COUNT-th
 * time (counted in each process) renames the file to FILE.hit, so that it
 * dies only once, and kills itself.  tests/system/test_crash_points.py goes
 * through the whole list for all sinks.
 *
 * X(name, sinks that pass it, words)
 */
#ifndef TIDEMILL_BASE_CRASH_POINT_H
#define TIDEMILL_BASE_CRASH_POINT_H

/* clang-format off */
#define CRASH_POINT_LIST(X)                                                  \
X(CLAIM_ASKED, "sqlite pgsql http",                                          \
  "a sync worker has asked the store for a batch")                           \
X(CLAIM_STORED, "sqlite pgsql http",                                         \
  "the store has the claim in its transaction, which is not committed")      \
X(GROUP_COMMITTED, "sqlite pgsql http",                                      \
  "a group of the store is committed, nobody is answered")                   \
X(CLAIM_ANSWERED, "sqlite pgsql http",                                       \
  "the worker knows its batch and has read nothing")                         \
X(BATCH_READ, "sqlite pgsql http",                                           \
  "the batch is read and not sent")                                          \
X(SINK_SENT, "sqlite pgsql http",                                            \
  "the batch was given to the sink")                                         \
X(SQLITE_LEDGER, "sqlite",                                                   \
  "the ledger's row is in the transaction, the operations are not")          \
X(SQLITE_APPLIED, "sqlite",                                                  \
  "the operations are in the transaction, which is not committed")           \
X(SQLITE_COMMITTED, "sqlite",                                                \
  "the sink's transaction is committed and not told")                        \
X(PGSQL_FLUSHED, "pgsql",                                                    \
  "the request left for the server")                                         \
X(PGSQL_ANSWERED, "pgsql",                                                   \
  "the server's answer is here and not looked at")                           \
X(HTTP_SENT, "http",                                                         \
  "the request is on its way")                                               \
X(HTTP_ANSWERED, "http",                                                     \
  "the server's answer is here and not looked at")                           \
X(SINK_ANSWERED, "sqlite pgsql http",                                        \
  "the worker knows that its batch was applied")                             \
X(SETTLE_ASKED, "sqlite pgsql http",                                         \
  "the settlement left for the store")                                       \
X(SETTLE_STORED, "sqlite pgsql http",                                        \
  "the store has the settlement in its transaction")                         \
X(SETTLE_ANSWERED, "sqlite pgsql http",                                      \
  "the worker knows that its batch is settled")                              \
X(ADOPT_ASKED, "sqlite pgsql http",                                          \
  "a successor has asked for what its predecessor left")                     \
X(ADOPT_ANSWERED, "sqlite pgsql http",                                       \
  "it knows them and has done nothing")
/* clang-format on */

#ifdef TIDEMILL_CRASH_POINTS
enum crash_point {
#define X(name, sinks, words) CRASH_##name,
    CRASH_POINT_LIST(X)
#undef X
        CRASH_POINT_COUNT
};

void crash_point_pass(enum crash_point point);

#define CRASH_POINT(name)  crash_point_pass(CRASH_##name)
#define CRASH_POINTS_WORDS " (for tests: with crash points)"
#else
#define CRASH_POINT(name)  ((void)0)
#define CRASH_POINTS_WORDS ""
#endif

#endif
