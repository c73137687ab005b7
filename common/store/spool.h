/* SPDX-License-Identifier: Apache-2.0
 *
 * The spool: requests acknowledged while no daemon runs, by commands that
 * must return at once.  Opening the store makes SQLite parse the whole
 * schema, which costs such a command more than all else it does; appending
 * to <state_dir>/tidemill.spool and syncing that costs one write.  Whoever
 * opens the store for writing next takes the requests over and empties the
 * spool (spool_replay.c); who reads the store while no daemon runs has that
 * done first (client.h).
 *
 * Only the holder of the store's lock touches it, and only behind a seal
 * that says that this binary can open this store (lock.h).
 *
 * The file: "TMSPOOL1", u64 id, random for each filling, u64 checksum; then
 * entries, each at a multiple of 8: u32 mark, u32 payload bytes, u64
 * checksum (of place and payload), payload.  A payload: u8 calls, the name of each
 * statement, and the request as in wire.h, whose statement numbers only
 * mean something to the binary that wrote them.  So a statement that may be
 * spooled keeps its name and its arguments; in another form it gets another
 * name.
 */
#ifndef TIDEMILL_STORE_SPOOL_H
#define TIDEMILL_STORE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/store/lock.h"
#include "common/store/wire.h"

#define SPOOL_FILE_NAME    "tidemill.spool"
#define SPOOL_REFUSED_NAME "tidemill.spool.refused"
/* Some 1,500 events: who finds it full takes it over, in tens of
 * milliseconds. */
#define SPOOL_BYTES_MAX    (1u << 20)

/* Does the seal of the lock that we hold vouch for the store? */
bool spool_is_usable(const struct store_lock *lock, const char *state_dir,
                     const char *system_id);

/* 0: checked as the store would, and durable.  1: not for the spool (its
 * statements, its size, a full spool): open the store.  -1: refused. */
int spool_append(const char *state_dir, const struct store_request *request,
                 struct error *error);

/* True when something was acknowledged that the store may not have yet. */
bool spool_is_filled(const char *state_dir);

struct spool {
    int fd; /* -1: there is none */
    uint64_t id; /* 0: its head is damaged */
    struct buffer bytes; /* all of the file */
};

/* Reads it whole; without entries bytes.size is 0. */
int spool_open(struct spool *spool, const char *state_dir,
               struct error *error);
void spool_close(struct spool *spool);
int spool_empty(const struct spool *spool, struct error *error);

struct spool_entry {
    size_t skipped_at; /* bytes before it that are no entry, from here on */
    size_t at, end;    /* of the entry; both at the file's end: no more */
    const char *payload;
    size_t payload_size;
};

/* The next whole entry from `from` on (0: the first one). */
void spool_next(const struct spool *spool, size_t from,
                struct spool_entry *entry);

/* The request of an entry; texts point into the spool. */
int spool_parse(const struct spool_entry *entry, struct arena *arena,
                struct store_request *request, struct error *error);

#endif
