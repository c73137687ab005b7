/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/channel.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "daemon/deadlines.h"
#include "daemon/master.h"
#include "daemon/requests.h"
#include "daemon/rotation.h"

/* --- down --- */

static void expect_reading(struct slot *slot)
{
    slot->heard_bytes = slot->down_bytes;
    slot->heard_due_ms = clock_monotonic_ms() +
                         (uint64_t)slot->master->config->heartbeat_timeout_ms;
    deadlines_hasten(slot->master, slot);
}

static void note_sent(struct slot *slot, size_t bytes)
{
    slot->down_bytes += bytes;
    if (slot->heard_due_ms == 0)
        expect_reading(slot);
}

bool channel_is_deaf(struct slot *slot)
{
    int unread;
    slot->heard_due_ms = 0;
    if (slot->down_fd < 0 || ioctl(slot->down_fd, FIONREAD, &unread) != 0 ||
        unread == 0)
        return false;
    bool is_deaf = slot->down_bytes - (uint64_t)unread < slot->heard_bytes;
    expect_reading(slot);
    return is_deaf;
}

/* 0 when it was sent or can never be. */
static int send_now(struct slot *slot, enum message_kind kind, uint64_t number,
                    struct error *error)
{
    struct message message = {
        .kind = kind, .pid = slot->pid, .spawn = slot->spawn, .number = number};
    if (message_send(slot->down_fd, &message, error) == 0) {
        note_sent(slot, message_size(&message));
        return 0;
    }
    /* a worker that is gone is reaped soon */
    return errno == EPIPE ? 0 : -1;
}

/* The pipe tells when it has room; what else is missing nobody tells. */
static int wait_for_room(struct slot *slot, struct error *error)
{
    if (error->code != ERROR_TRY_AGAIN)
        return -1;
    if (event_add(slot->down_event, NULL) != 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot watch a pipe");
    return 0;
}

static int send_pending(struct slot *slot, struct error *error)
{
    for (unsigned kind = 1; kind < MESSAGE_KIND_COUNT; kind++) {
        if ((slot->pending & (1u << kind)) == 0)
            continue;
        if (send_now(slot, (enum message_kind)kind, slot->pending_numbers[kind],
                     error) != 0)
            return wait_for_room(slot, error);
        slot->pending &= ~(1u << kind);
    }
    return 0;
}

static void on_room(evutil_socket_t fd, short what, void *self)
{
    struct slot *slot = self;
    struct error error;
    (void)fd;
    (void)what;
    if (send_pending(slot, &error) != 0)
        trouble_note(slot->master, TROUBLE_SEND, &error);
}

int channel_send_again(struct master *master, struct error *error)
{
    int result = 0;
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &master->slots[i];
        if (slot->pending != 0 && slot->down_fd >= 0 &&
            send_pending(slot, error) != 0)
            result = -1;
    }
    return result;
}

void channel_send(struct master *master, struct slot *slot,
                  enum message_kind kind, uint64_t number)
{
    struct error error;
    if (slot->down_fd < 0)
        return;
    if (slot->pending == 0 && send_now(slot, kind, number, &error) == 0)
        return;
    bool first = slot->pending == 0;
    slot->pending |= 1u << kind;
    slot->pending_numbers[kind] = number;
    if (first && wait_for_room(slot, &error) != 0)
        trouble_note(master, TROUBLE_SEND, &error);
}

void channel_send_roles(struct master *master, unsigned roles,
                        enum message_kind kind, uint64_t number)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &master->slots[i];
        if (slot_has_worker(slot) && (roles & (1u << slot->role)) != 0)
            channel_send(master, slot, kind, number);
    }
}

/* --- up --- */

static void take_ready(struct master *master, struct slot *slot,
                       const struct message *message)
{
    (void)message;
    slot_event(master, slot, SLOT_EVENT_READY);
}

static void take_busy(struct master *master, struct slot *slot,
                      const struct message *message)
{
    (void)message;
    slot_event(master, slot, SLOT_EVENT_BUSY);
}

static void take_idle(struct master *master, struct slot *slot,
                      const struct message *message)
{
    (void)message;
    slot_event(master, slot, SLOT_EVENT_IDLE);
}

static void take_failed(struct master *master, struct slot *slot,
                        const struct message *message)
{
    char name[SLOT_NAME_SIZE];
    log_event(LOG_ERROR_LEVEL, "worker cannot go on",
              LOG_TEXT("worker", slot_name(slot, name)),
              LOG_INT("worker_pid", slot->pid), LOG_UINT("spawn", slot->spawn),
              LOG_TEXT("error", message->text));
    snprintf(master->last_failure, sizeof(master->last_failure), "%s",
             message->text);
    master->last_failure_role = slot->role;
    master->last_failure_code = message->number < ERROR_CODE_COUNT
                                    ? (enum error_code)message->number
                                    : ERROR_SOFTWARE;
}

static void take_log_rotated(struct master *master, struct slot *slot,
                             const struct message *message)
{
    (void)slot;
    (void)message;
    rotation_follow(master);
}

typedef void (*up_action)(struct master *master, struct slot *slot,
                          const struct message *message);

static const up_action up_actions[MESSAGE_KIND_COUNT] = {
    [MESSAGE_READY] = take_ready,
    [MESSAGE_BUSY] = take_busy,
    [MESSAGE_IDLE] = take_idle,
    [MESSAGE_REQUEST] = requests_take,
    [MESSAGE_FAILED] = take_failed,
    [MESSAGE_LOG_ROTATED] = take_log_rotated,
    [MESSAGE_WAITING] = pools_take_waiting,
};

static void bad_message(struct master *master, struct slot *slot,
                        const char *why)
{
    char name[SLOT_NAME_SIZE];
    log_event(LOG_ERROR_LEVEL, "worker is killed for a bad message",
              LOG_TEXT("worker", slot_name(slot, name)),
              LOG_INT("worker_pid", slot->pid), LOG_UINT("spawn", slot->spawn),
              LOG_TEXT("error", why));
    event_del(slot->up_event); /* nothing it says counts any more */
    slot->up_size = 0;
    slot_condemn(master, slot, DEATH_BAD_MESSAGE);
}

static bool too_many(struct slot *slot)
{
    uint64_t second = clock_monotonic_ms() / 1000;
    if (slot->message_second != second) {
        slot->message_second = second;
        slot->message_count = 0;
    }
    return ++slot->message_count > MESSAGES_A_SECOND_MAX;
}

/* Everything whole in up_bytes; NULL, or why the worker must die. */
static const char *take_messages(struct master *master, struct slot *slot,
                                 struct error *error)
{
    struct message message;
    size_t used = 0;
    while (slot->death != DEATH_BAD_MESSAGE) {
        int size = message_parse(slot->up_bytes + used, slot->up_size - used,
                                 MESSAGE_UP, &message, error);
        if (size < 0)
            return error->text;
        if (size == 0)
            break;
        used += (size_t)size;
        if (too_many(slot))
            return "it floods its pipe";
        if (message.pid == slot->pid && message.spawn == slot->spawn)
            up_actions[message.kind](master, slot, &message);
    }
    memmove(slot->up_bytes, slot->up_bytes + used, slot->up_size - used);
    slot->up_size -= used;
    return NULL;
}

/* One read.  1: something came; 0: nothing for now; -1: end of file. */
static int read_up(struct master *master, struct slot *slot)
{
    struct error error;
    ssize_t got = read(slot->up_fd, slot->up_bytes + slot->up_size,
                       UP_BYTES_MAX - slot->up_size);
    if (got < 0 && errno != EBADF && errno != EIO)
        return 0; /* and the event says so again */
    if (got <= 0)
        return -1;
    slot->up_size += (size_t)got;
    const char *why = take_messages(master, slot, &error);
    if (why != NULL)
        bad_message(master, slot, why);
    return 1;
}

static void on_up(evutil_socket_t fd, short what, void *self)
{
    struct slot *slot = self;
    (void)fd;
    (void)what;
    /* at end of file SIGCHLD says the rest */
    if (read_up(slot->master, slot) < 0)
        event_del(slot->up_event);
}

int channel_open(struct master *master, struct slot *slot, int down_fd,
                 int up_fd, struct error *error)
{
    slot->down_fd = down_fd;
    slot->up_fd = up_fd;
    slot->pending = 0;
    slot->down_bytes = 0;
    slot->heard_due_ms = 0;
    slot->up_size = 0;
    slot->message_count = 0;
    slot->up_bytes = malloc(UP_BYTES_MAX);
    slot->up_event =
        event_new(master->base, up_fd, EV_READ | EV_PERSIST, on_up, slot);
    slot->down_event =
        event_new(master->base, down_fd, EV_WRITE, on_room, slot);
    if (slot->up_bytes == NULL || slot->up_event == NULL ||
        slot->down_event == NULL || event_add(slot->up_event, NULL) != 0) {
        error_set_errno(error, ERROR_SYSTEM, "cannot watch a worker's pipe");
        channel_close(master, slot);
        return -1;
    }
    return 0;
}

void channel_close(struct master *master, struct slot *slot)
{
    if (slot->up_event != NULL && slot->up_bytes != NULL &&
        slot->death != DEATH_BAD_MESSAGE)
        read_up(master, slot);
    if (slot->up_event != NULL)
        event_free(slot->up_event);
    if (slot->down_event != NULL)
        event_free(slot->down_event);
    free(slot->up_bytes);
    slot->up_bytes = NULL;
    slot->up_event = NULL;
    slot->down_event = NULL;
    if (slot->down_fd >= 0)
        close(slot->down_fd);
    if (slot->up_fd >= 0)
        close(slot->up_fd);
    slot->down_fd = -1;
    slot->up_fd = -1;
}
