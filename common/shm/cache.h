/* SPDX-License-Identifier: Apache-2.0
 *
 * A cache in shared memory: keys and values of bytes, bounded by items and
 * bytes, with a time to live.
 *
 * Reading takes no lock.  A short value is copied out (cache_copy); a long
 * one is pinned (cache_pin) and used where it lies: measured, a pin and its
 * return cost as much as a copy of 200 bytes, 60 ns, and a fifth of one of
 * 12 kB (scripts/bench cache).  Writers take the lock of the key's shard: a
 * robust mutex, waited for at most CACHE_WAIT_MS.
 *
 * Whoever is killed:
 * - in a change: the next to take the lock empties that shard.  Its index,
 *   queues and map of space are made anew from nothing; only what others
 *   have pinned stays where it is until they let go.
 * - with pins: they are bits of its holder (an index of the scoreboard), so
 *   the master gives them back with cache_forget_holder, without a lock.
 * - stopped, not killed: others do without the shard, and go on.
 *
 * Eviction is S3-FIFO (Yang et al., "FIFO Queues are All You Need for Cache
 * Eviction", SOSP 2023): what comes new waits in a small queue of a tenth and
 * leaves from there unless it was used again; what was used, or comes back
 * soon after it left, goes to the main queue.  A scan passes through the
 * small queue and leaves the rest alone; and a use changes one counter and
 * no list, which is why reading needs no lock.
 *
 * The bounds hold for all shards together: past one, the fullest shard gives
 * up what its queues say.  A value larger than the whole bound is kept, alone.
 */
#ifndef TIDEMILL_SHM_CACHE_H
#define TIDEMILL_SHM_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"

#define CACHE_WAIT_MS  100 /* for a lock, at most */
#define CACHE_KEY_MAX  8192
#define CACHE_HEAD_MAX 256 /* bytes of a value that a list has */
#define CACHE_PIECES   2

struct cache_region; /* in shared memory: cache_layout.h */

/* How a region is laid out; what it may hold is set apart (cache_limit). */
struct cache_shape {
    uint32_t shards;
    uint32_t items_most;
    uint64_t room_bytes; /* of keys and values; untouched pages cost nothing */
};

size_t cache_region_size(const struct cache_shape *shape);

/* Of memory that is all zero.  Before the first fork. */
void cache_region_init(struct cache_region *region,
                       const struct cache_shape *shape);

/* Sets what it may hold; anybody, at any time.  Puts keep to it; who lowers
 * it has somebody call cache_trim. */
void cache_limit(struct cache_region *region, uint64_t items, uint64_t bytes,
                 uint64_t ttl_ms);

/* Gives back all pins of a dead process; takes no lock and waits for none. */
void cache_forget_holder(struct cache_region *region, unsigned holder);

struct cache_totals {
    uint64_t items, items_limit;
    uint64_t bytes, bytes_limit; /* of blocks: keys, values, rounded up */
    uint64_t retired_bytes; /* removed, and still pinned by somebody */
    uint64_t ttl_ms;
};

void cache_totals(const struct cache_region *region,
                  struct cache_totals *totals);

/* --- a process's view --- */

/* The steps of the changes, for a test that stops at each. */
#define CACHE_STEP_LIST(X)                                                     \
    X(LOCKED)       /* the shard is ours, nothing changed */                   \
    X(MENDING)      /* a dead owner's shard: readers are kept out */           \
    X(MENDED_INDEX) /* its index and queues are empty */                       \
    X(MENDED)       /* all but the lock's word */                              \
    X(SWEPT)        /* what nobody pins any more is free */                    \
    X(TAKEN)        /* an entry and its space are taken */                     \
    X(COPIED)       /* key and value are there */                              \
    X(CHANGING)     /* readers are kept out */                                 \
    X(UNCHAINED)    /* an entry is out of the index */                         \
    X(UNQUEUED)     /* and out of its queue */                                 \
    X(RETIRED)      /* no longer alive, its space not yet free */              \
    X(FREED)        /* its space is free, the entry not yet */                 \
    X(CHAINED)      /* a new entry is in the index */                          \
    X(QUEUED)       /* and in its queue */                                     \
    X(ALIVE)        /* and alive */                                            \
    X(CHANGED)      /* readers are let in */                                   \
    X(UNLOCKED)     /* a change is over; the bounds may be passed */           \
    X(FOUND)        /* a reader found an entry and has no pin */               \
    X(PINNED)       /* it has, and has not looked again */                     \
    X(UNPINNED)     /* it has given it back */

enum cache_step {
#define X(name) CACHE_STEP_##name,
    CACHE_STEP_LIST(X)
#undef X
        CACHE_STEP_COUNT
};

/* What this process did, since whoever counts took it. */
struct cache_counts {
    uint64_t evictions;
    uint64_t expirations; /* values past their time to live, removed */
    uint64_t recoveries; /* shards of dead owners, emptied */
    uint64_t refusals;   /* values that were not kept: no room, no lock */
};

struct cache {
    struct cache_region *region;
    unsigned holder;
    struct cache_counts counts;
    void (*step)(void *context, enum cache_step step); /* NULL but in tests */
    void *step_context;
};

/* holder: this process's index in the scoreboard.  Refuses a region of
 * another version or layout. */
int cache_open(struct cache *cache, struct cache_region *region,
               unsigned holder, struct error *error);

struct cache_key {
    const void *bytes;
    uint32_t size; /* 1 to CACHE_KEY_MAX */
    uint64_t hash;
};

struct cache_key cache_key(const void *bytes, size_t size);

/* A pinned value.  It stays as it is until cache_unpin, whatever becomes of
 * its key. */
struct cache_pin {
    const void *value; /* aligned to 16 bytes */
    uint32_t size;
    uint32_t entry;
    uint32_t shard;
    bool counts; /* false: the same process has it pinned already */
};

/* Pins a key's value.  False: not there, or too old (then it is removed).
 * Who pins a value twice gives the first pin back last. */
bool cache_pin(struct cache *cache, const struct cache_key *key,
               uint64_t now_ms, struct cache_pin *pin);

/* Gives a pin back, and counts how often the value was used. */
void cache_unpin(struct cache *cache, struct cache_pin *pin, uint64_t uses);

/* Copies a value into room bytes.  Its size; -1: not there, too old, or
 * larger. */
int64_t cache_copy(struct cache *cache, const struct cache_key *key,
                   uint64_t now_ms, void *value, size_t room);

/* A value is given in pieces. */
struct cache_piece {
    const void *bytes;
    size_t size;
};

/* Puts a value, in the place of an older one, and pins it when pin is not
 * NULL.  False: it is not kept (no room or no lock); the caller goes on
 * without. */
bool cache_put(struct cache *cache, const struct cache_key *key,
               const struct cache_piece pieces[CACHE_PIECES], uint64_t now_ms,
               struct cache_pin *pin);

/* 1: removed; 0: not there; -1: the shard is busy. */
int cache_remove(struct cache *cache, const struct cache_key *key);

/* Removes all; how many, or -1 when a shard stayed because it is busy. */
int64_t cache_clear(struct cache *cache);

/* Gives up what is past the bounds. */
void cache_trim(struct cache *cache);

struct cache_item {
    const char *key; /* with a NUL behind it */
    uint32_t key_size;
    uint32_t value_size;
    uint64_t bytes; /* that it takes of the bound */
    uint64_t uses;
    uint64_t put_ms;
    bool pinned;
    unsigned char head[CACHE_HEAD_MAX]; /* of the value, then zeros */
};

/* What is there now, in the arena.  A shard that is busy is left out.
 * -1: no memory. */
int cache_list(struct cache *cache, struct arena *arena,
               struct cache_item **items, size_t *count);

#endif
