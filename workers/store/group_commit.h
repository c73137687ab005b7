/* SPDX-License-Identifier: Apache-2.0
 *
 * Group commit: the requests that wait are run, each in its savepoint,
 * committed once, and then answered all.  While one group is being synced to
 * the disk the next one gathers in the sockets; gathering.h says when it is
 * worth a moment more.
 * While the store is short of space (space.h) only what was accepted before
 * goes on: new work is refused, and members have no turn.
 */
#ifndef TIDEMILL_STORE_GROUP_COMMIT_H
#define TIDEMILL_STORE_GROUP_COMMIT_H

#include <stdbool.h>

#include "common/base/error.h"

#define GROUP_REQUESTS_MAX 4096
#define GROUP_BYTES_MAX    (16u << 20)
#define GROUP_MEMBERS_MAX  3

struct event_base;
struct scoreboard;
struct store_writer;
struct group_commit;

/* Somebody in this process who adds to groups besides the requests. */
struct group_member {
    bool (*wants)(void *self); /* is there something to add? */
    /* Adds to the open group, for a few milliseconds at most.  -1: the
     * group is spoilt and is rolled back. */
    int (*contribute)(void *self, struct store_writer *writer,
                      struct error *error);
    /* The group was committed, or nothing of it is stored. */
    void (*settled)(void *self, bool committed);
    bool goes_on; /* it adds more to the same group, for as long as it wants
                     and no request has come; others once a group */
    void *self;
};

struct group_options {
    struct event_base *base;
    int listener; /* of store.sock; not owned */
    struct store_writer *writer;
    const char *state_dir; /* the writer's */
    struct scoreboard *scoreboard; /* NULL: every caller is a command */
    struct group_member members[GROUP_MEMBERS_MAX]; /* their turns in this
                                                       order */
    unsigned member_count;
    void (*committed)(void *self); /* after each group; may be NULL */
    void *self;
};

struct group_commit *group_commit_new(const struct group_options *options,
                                      struct error *error);
void group_commit_free(struct group_commit **group);

/* A member wants: a group is made as soon as the loop turns. */
void group_commit_wake(struct group_commit *group);

/* The requests in the group so far, and the rows that they add. */
void group_commit_load(const struct group_commit *group, unsigned *requests,
                       unsigned *added);

/* Takes no more connections, finishes what has come in, checkpoints, and
 * calls drained from the loop. */
void group_commit_drain(struct group_commit *group,
                        void (*drained)(void *self), void *self);

#endif
