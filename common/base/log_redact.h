/* SPDX-License-Identifier: Apache-2.0
 *
 * What must not be read in a log: values that were named as secrets, and
 * what has the form of a password in a connection string
 * (password=..., scheme://user:...@host).  It is printed as ***.
 */
#ifndef TIDEMILL_BASE_LOG_REDACT_H
#define TIDEMILL_BASE_LOG_REDACT_H

#include <stddef.h>

#define LOG_SECRETS_MAX     32   /* the oldest is forgotten for another */
#define LOG_SECRET_SIZE_MAX 1024 /* of a longer one the start is hidden */
#define LOG_SECRET_SIZE_MIN 4    /* shorter ones would hide half the log */

/* From now on this value is ***, also in processes that are forked later. */
void log_hide(const char *secret);

/* The text as it may be written: text itself when there is nothing to hide,
 * else a copy in room, which is cut where room ends. */
const char *log_redact(const char *text, size_t *size, char *room,
                       size_t room_size);

#endif
