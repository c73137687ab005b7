/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs for the queue at the centre, as SQL on standard output: whoever pipes
 * it into psql submits them with a role of their own.  Not by way of the
 * daemon, whose role may do more than that, and whose socket is open to
 * people who shall decide what this host runs, not all of them.
 */
#ifndef TIDEMILL_CTL_CENTRAL_SQL_H
#define TIDEMILL_CTL_CENTRAL_SQL_H

#include <stdint.h>

#include "ctl/job_options.h"

/* One statement.  own_ms is the job's own timeout, which that of the options
 * precedes; 0: none.  key may be NULL. */
void central_sql_print(const struct job_options *options, const char *kind,
                       const char *spec, const char *key, int64_t own_ms);

#endif
