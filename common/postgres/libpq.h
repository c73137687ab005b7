/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions of libpq that are used.  The library comes with two dozen
 * others (TLS, Kerberos, LDAP).  It is loaded by who connects to a server and
 * by nobody else: the master forks in two thirds of the time without them.
 */
#ifndef TIDEMILL_POSTGRES_LIBPQ_H
#define TIDEMILL_POSTGRES_LIBPQ_H

#include <libpq-fe.h>

#include "common/base/error.h"

#define LIBPQ_LIBRARY "libpq.so.5"

/* name without PQ */
#define LIBPQ_LIST(X)                                                          \
    X(backendPID)                                                              \
    X(clear)                                                                   \
    X(connectPoll)                                                             \
    X(connectStartParams)                                                      \
    X(conninfoFree)                                                            \
    X(conninfoParse)                                                           \
    X(consumeInput)                                                            \
    X(enterPipelineMode)                                                       \
    X(errorMessage)                                                            \
    X(exitPipelineMode)                                                        \
    X(finish)                                                                  \
    X(flush)                                                                   \
    X(freemem)                                                                 \
    X(getResult)                                                               \
    X(getisnull)                                                               \
    X(getvalue)                                                                \
    X(isBusy)                                                                  \
    X(nfields)                                                                 \
    X(ntuples)                                                                 \
    X(pipelineSync)                                                            \
    X(resultErrorField)                                                        \
    X(resultErrorMessage)                                                      \
    X(resultStatus)                                                            \
    X(sendQuery)                                                               \
    X(sendQueryParams)                                                         \
    X(setErrorVerbosity)                                                       \
    X(setnonblocking)                                                          \
    X(socket)                                                                  \
    X(status)

struct libpq {
#define X(name) __typeof__(PQ##name) *name;
    LIBPQ_LIST(X)
#undef X
};

/* NULL until libpq_load has returned 0. */
extern const struct libpq *libpq;

/* A second call does nothing. */
int libpq_load(struct error *error);

#endif
