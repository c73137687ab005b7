/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/buffer.h"
#include "common/store/client.h"

#define UNDER_WAY_MAX       4096u
#define RETRY_FIRST_MS      20u
#define RETRY_MOST_MS       1000u
#define READ_STEP_BYTES     65536u
#define ARENA_BYTES         (4u * WIRE_FRAME_MAX)
#define KEPT_CAPACITY_BYTES (1u << 20)

struct call {
    uint64_t number;
    store_link_answer answer;
    void *self;
};

struct store_link {
    struct event_base *base;
    struct store_link_hooks hooks;
    void *self;
    struct sockaddr_un address;
    uint32_t topics;
    int fd; /* -1 while there is no connection */
    struct event *read_event;
    struct event *write_event; /* also made active to send what was put */
    struct event *retry_event;
    unsigned retry_ms;
    bool in_callback;
    bool freed; /* from within a callback */
    uint64_t number;
    struct buffer out;
    size_t sent; /* of out */
    struct buffer in;
    struct arena arena;
    struct call *calls; /* a ring: answers come in order */
    unsigned first;
    unsigned count;
};

bool store_link_connected(const struct store_link *link)
{
    return link->fd >= 0;
}

static void link_destroy(struct store_link *link)
{
    if (link->read_event != NULL)
        event_free(link->read_event);
    if (link->write_event != NULL)
        event_free(link->write_event);
    if (link->retry_event != NULL)
        event_free(link->retry_event);
    if (link->fd >= 0)
        close(link->fd);
    buffer_deinit(&link->out);
    buffer_deinit(&link->in);
    arena_deinit(&link->arena);
    free(link->calls);
    free(link);
}

/* --- losing and making the connection --- */

static void retry_later(struct store_link *link)
{
    struct timeval pause = clock_span(link->retry_ms);
    event_add(link->retry_event, &pause);
    link->retry_ms =
        link->retry_ms * 2 > RETRY_MOST_MS ? RETRY_MOST_MS : link->retry_ms * 2;
}

/* Tells every caller that waits; calls made meanwhile are put behind. */
static void answer_lost(struct store_link *link)
{
    const struct store_answer lost = {
        .code = ERROR_TRY_AGAIN,
        .text = "the connection to the store was lost before its answer; it "
                "is not known whether the request was carried out"};
    unsigned count = link->count;
    for (unsigned i = 0; i < count && !link->freed; i++) {
        struct call call = link->calls[link->first];
        link->first = (link->first + 1) % UNDER_WAY_MAX;
        link->count--;
        call.answer(call.self, &lost);
    }
}

static void link_lose(struct store_link *link)
{
    event_free(link->read_event);
    event_free(link->write_event);
    link->read_event = link->write_event = NULL;
    close(link->fd);
    link->fd = -1;
    buffer_reset(&link->out);
    buffer_reset(&link->in);
    link->sent = 0;
    answer_lost(link);
    if (!link->freed && link->hooks.lost != NULL)
        link->hooks.lost(link->self);
    if (!link->freed)
        retry_later(link);
}

static void on_readable(evutil_socket_t fd, short what, void *self);
static void on_writable(evutil_socket_t fd, short what, void *self);

/* What callers put while there was no connection stands in `out`; the
 * subscription goes in front of it. */
static void put_subscription(struct store_link *link)
{
    struct buffer first;
    buffer_init(&first, link->out.limit);
    wire_put_subscribe(&first, link->topics);
    buffer_append(&first, link->out.bytes, link->out.size);
    buffer_deinit(&link->out);
    link->out = first;
}

static int link_connect(struct store_link *link)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&link->address, sizeof(link->address)) !=
        0) {
        close(fd);
        return -1;
    }
    link->read_event =
        event_new(link->base, fd, EV_READ | EV_PERSIST, on_readable, link);
    link->write_event = event_new(link->base, fd, EV_WRITE, on_writable, link);
    if (link->read_event == NULL || link->write_event == NULL ||
        event_add(link->read_event, NULL) != 0) {
        if (link->read_event != NULL)
            event_free(link->read_event);
        if (link->write_event != NULL)
            event_free(link->write_event);
        link->read_event = link->write_event = NULL;
        close(fd);
        return -1;
    }
    link->fd = fd;
    if (link->topics != 0)
        put_subscription(link);
    event_active(link->write_event, EV_WRITE, 0);
    return 0;
}

static void on_retry(evutil_socket_t fd, short what, void *self)
{
    struct store_link *link = self;
    (void)fd;
    (void)what;
    if (link_connect(link) != 0) {
        retry_later(link);
        return;
    }
    link->in_callback = true;
    if (link->hooks.connected != NULL)
        link->hooks.connected(link->self);
    link->in_callback = false;
    if (link->freed)
        link_destroy(link);
}

/* --- sending --- */

static void on_writable(evutil_socket_t fd, short what, void *self)
{
    struct store_link *link = self;
    (void)what;
    while (link->sent < link->out.size) {
        ssize_t sent = send(fd, link->out.bytes + link->sent,
                            link->out.size - link->sent, MSG_NOSIGNAL);
        if (sent > 0)
            link->sent += (size_t)sent;
        else if (sent < 0 && errno == EAGAIN) {
            event_add(link->write_event, NULL);
            return;
        } else if (sent >= 0 || errno != EINTR) {
            /* The reader will find out, after the answers that came. */
            shutdown(fd, SHUT_WR);
            break;
        }
    }
    link->sent = 0;
    if (link->out.capacity > KEPT_CAPACITY_BYTES)
        buffer_deinit(&link->out);
    else
        buffer_reset(&link->out);
}

int store_link_call(struct store_link *link,
                    const struct store_request *request,
                    store_link_answer answer, void *self, struct error *error)
{
    if (link->count == UNDER_WAY_MAX)
        return error_set(error, ERROR_TRY_AGAIN,
                         "%u requests to the store are under way already",
                         UNDER_WAY_MAX);
    wire_put_request(&link->out, link->number + 1, request);
    if (link->out.failed) {
        link->out.failed = false;
        return error_set(error, ERROR_DATA,
                         "a request of %zu statements does not fit what may "
                         "be under way to the store",
                         request->call_count);
    }
    link->number++;
    unsigned last = (link->first + link->count) % UNDER_WAY_MAX;
    link->calls[last] =
        (struct call){.number = link->number, .answer = answer, .self = self};
    link->count++;
    if (link->fd >= 0 && event_pending(link->write_event, EV_WRITE, NULL) == 0)
        event_active(link->write_event, EV_WRITE, 0);
    return 0;
}

/* --- receiving --- */

/* -1 when it cannot be an answer to what was asked. */
static int take_frame(struct store_link *link, const char *bytes, size_t size)
{
    struct wire_frame frame;
    if (wire_parse(bytes, size, &link->arena, &frame, NULL) != 0)
        return -1;
    if (frame.kind == WIRE_NOTIFY) {
        if (link->hooks.notified != NULL)
            link->hooks.notified(link->self, frame.topics);
        return 0;
    }
    if (frame.kind != WIRE_ANSWER || link->count == 0 ||
        link->calls[link->first].number != frame.number)
        return -1;
    struct call call = link->calls[link->first];
    link->first = (link->first + 1) % UNDER_WAY_MAX;
    link->count--;
    call.answer(call.self, &frame.answer);
    return 0;
}

static int take_frames(struct store_link *link)
{
    size_t at = 0;
    while (!link->freed) {
        int64_t size = wire_frame_size(link->in.bytes + at, link->in.size - at);
        if (size == 0)
            break;
        if (size < 0 ||
            take_frame(link, link->in.bytes + at, (size_t)size) != 0)
            return -1;
        arena_reset(&link->arena);
        at += (size_t)size;
    }
    link->in.size -= at;
    if (at > 0 && link->in.size > 0)
        memmove(link->in.bytes, link->in.bytes + at, link->in.size);
    if (link->in.size == 0 && link->in.capacity > KEPT_CAPACITY_BYTES)
        buffer_deinit(&link->in);
    return 0;
}

static void on_readable(evutil_socket_t fd, short what, void *self)
{
    struct store_link *link = self;
    (void)what;
    char *at = buffer_reserve(&link->in, READ_STEP_BYTES);
    ssize_t got = at == NULL ? 0 : recv(fd, at, READ_STEP_BYTES, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    link->in_callback = true;
    if (got > 0) {
        link->in.size += (size_t)got;
        link->retry_ms = RETRY_FIRST_MS;
    }
    if (got <= 0 || take_frames(link) != 0) {
        if (!link->freed)
            link_lose(link);
    }
    link->in_callback = false;
    if (link->freed)
        link_destroy(link);
}

/* --- life --- */

struct store_link *store_link_new(struct event_base *base,
                                  const char *socket_path, uint32_t topics,
                                  const struct store_link_hooks *hooks,
                                  void *self, struct error *error)
{
    struct store_link *link = calloc(1, sizeof(*link));
    if (link == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for a link to the store");
        return NULL;
    }
    link->fd = -1;
    link->base = base;
    link->hooks = *hooks;
    link->self = self;
    link->topics = topics;
    link->retry_ms = RETRY_FIRST_MS;
    link->address.sun_family = AF_UNIX;
    buffer_init(&link->out, 2u * WIRE_FRAME_MAX);
    buffer_init(&link->in, 2u * WIRE_FRAME_MAX);
    arena_init(&link->arena, ARENA_BYTES);
    link->calls = calloc(UNDER_WAY_MAX, sizeof(*link->calls));
    link->retry_event = event_new(base, -1, 0, on_retry, link);
    size_t size = strlen(socket_path);
    if (size >= sizeof(link->address.sun_path)) {
        error_set(error, ERROR_CONFIG, "%s is too long for a socket's path",
                  socket_path);
    } else if (link->calls == NULL || link->retry_event == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for a link to the store");
    } else {
        memcpy(link->address.sun_path, socket_path, size + 1);
        /* Never from within this call: hooks->connected is the loop's. */
        event_active(link->retry_event, EV_TIMEOUT, 0);
        return link;
    }
    link_destroy(link);
    return NULL;
}

void store_link_free(struct store_link **link)
{
    if (*link == NULL)
        return;
    if ((*link)->in_callback)
        (*link)->freed = true;
    else
        link_destroy(*link);
    *link = NULL;
}
