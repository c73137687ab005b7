/* SPDX-License-Identifier: Apache-2.0
 *
 * The id under which everything that this command sets going is logged.
 */
#ifndef TIDEMILL_CTL_CORRELATION_H
#define TIDEMILL_CTL_CORRELATION_H

/* That of $TIDEMILL_CORRELATION_ID when it may be one (log.h), else a random
 * one; always the same. */
const char *correlation_id(void);

#endif
