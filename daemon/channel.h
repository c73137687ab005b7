/* SPDX-License-Identifier: Apache-2.0
 *
 * The two pipes of a worker, the master's ends.  Never blocks: what a full
 * pipe does not take waits, one message a kind.  Reading is bounded: one
 * read a turn, so that a flood from one worker does not hold up the others,
 * and MESSAGES_A_SECOND_MAX, past which the worker is killed.
 */
#ifndef TIDEMILL_DAEMON_CHANNEL_H
#define TIDEMILL_DAEMON_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ipc/messages.h"

struct error;
struct master;
struct slot;

#define MESSAGES_A_SECOND_MAX 2000u

/* Takes over both descriptors.  After -1 they are closed. */
int channel_open(struct master *master, struct slot *slot, int down_fd,
                 int up_fd, struct error *error);

/* Reads what the worker said last (so that its FAILED is heard), closes. */
void channel_close(struct master *master, struct slot *slot);

/* Sends a message down, or keeps it until there is room, or memory. */
void channel_send(struct master *master, struct slot *slot,
                  enum message_kind kind, uint64_t number);

/* Has the worker, at slot.heard_due_ms, not read what it was sent
 * supervisor.heartbeat_timeout before? */
bool channel_is_deaf(struct slot *slot);

/* To all workers of the roles (bits 1 << enum role). */
void channel_send_roles(struct master *master, unsigned roles,
                        enum message_kind kind, uint64_t number);

/* Sends what could not be sent for want of memory; -1: once more, later. */
int channel_send_again(struct master *master, struct error *error);

#endif
