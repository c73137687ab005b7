/* SPDX-License-Identifier: Apache-2.0
 *
 * Sources: rows that applications put into outboxes of their own files are
 * copied into the local store, rows and cursor in one group: exactly once.
 * News are noticed by inotify, and at the latest by a look at each file
 * every sync.poll_interval.  A source in trouble holds up no other.
 */
#ifndef TIDEMILL_STORE_SOURCES_H
#define TIDEMILL_STORE_SOURCES_H

#include <stdbool.h>

#include "common/base/error.h"
#include "workers/store/source_file.h"

struct config;
struct event_base;
struct store_writer;
struct sources;

/* Called when there is something to copy; then sources_contribute within a
 * group, and sources_settled after it. */
typedef void (*sources_wake)(void *self);

/* NULL also when the cursors cannot be read. The configuration must outlive
 * it. */
struct sources *sources_new(struct event_base *base,
                            const struct config *config,
                            struct store_writer *writer, sources_wake wake,
                            void *self, struct error *error);
void sources_free(struct sources **sources);

/* As struct group_member wants them; self is the struct sources. */
bool sources_want(void *self);
int sources_contribute(void *self, struct store_writer *writer,
                       struct error *error);
void sources_settled(void *self, bool committed);

/* How a source does: SOURCE_OK or why not, and the words ("" when well). */
enum source_verdict sources_state(const struct sources *sources, size_t index,
                                  const char **words);

#endif
