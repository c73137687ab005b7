/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include <event2/event.h>

#include "common/base/clock.h"
#include "common/shm/mapping.h"
#include "common/store/client.h"
#include "common/store/writer.h"
#include "workers/store/connection.h"
#include "workers/store/group_commit.h"

#define WAIT_MS   10000
#define CLIENTS   20
#define PER_BURST 300

struct fixture {
    char folder[64];
    char path[108];
    int listener;
    struct event_base *base;
    struct store_writer *writer;
    struct mapping *mapping;
    struct group_commit *group;
    unsigned groups;
    unsigned answers, refused, lost, connects;
    uint32_t topics;
    bool drained;
};

static void on_committed(void *self)
{
    ((struct fixture *)self)->groups++;
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 128), 0);
    return fd;
}

static void serve(struct fixture *f)
{
    struct error error;
    const struct group_options options = {.base = f->base,
                                          .listener = f->listener,
                                          .writer = f->writer,
                                          .state_dir = f->folder,
                                          .scoreboard = &f->mapping->scoreboard,
                                          .committed = on_committed,
                                          .self = f};
    f->group = group_commit_new(&options, &error);
    assert_non_null(f->group);
}

static int setup(void **state)
{
    struct error error;
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    strcpy(f->folder, "/tmp/test_group.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/store.sock", f->folder);
    f->listener = listen_at(f->path);
    f->base = event_base_new();
    f->mapping = mapping_new(&error);
    assert_non_null(f->mapping);
    if (store_writer_open(&f->writer, f->folder, "here", &error) != 0)
        fail_msg("%s", error.text);
    serve(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    group_commit_free(&f->group);
    store_writer_close(&f->writer);
    mapping_free(&f->mapping);
    event_base_free(f->base);
    close(f->listener);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void turn(struct fixture *f)
{
    struct timeval step = {.tv_usec = 5000};
    event_base_loopexit(f->base, &step);
    event_base_loop(f->base, 0);
}

static void expect_answers(struct fixture *f, unsigned count)
{
    uint64_t deadline = clock_monotonic_ms() + WAIT_MS;
    while (f->answers < count && clock_monotonic_ms() < deadline)
        turn(f);
    assert_int_equal(f->answers, count);
}

static struct store_call append(const char *operation, const char *id,
                                int64_t priority)
{
    return (struct store_call){
        .statement = STATEMENT_OUTBOX_APPEND,
        .argument_count = 7,
        .arguments = {value_text(operation), value_text("tasks"),
                      value_text(id), value_text("{\"a\":1}"),
                      value_integer(priority), value_null(), value_integer(0)}};
}

static void on_answer(void *self, const struct store_answer *answer)
{
    struct fixture *f = self;
    f->answers++;
    f->refused += answer->code != ERROR_NONE;
    f->lost += answer->code == ERROR_TRY_AGAIN;
    if (answer->code == ERROR_NONE)
        assert_int_equal(answer->result_count, 1);
}

static void on_connected(void *self)
{
    ((struct fixture *)self)->connects++;
}

static void on_notified(void *self, uint32_t topics)
{
    ((struct fixture *)self)->topics |= topics;
}

static struct store_link *connect_link(struct fixture *f, uint32_t topics)
{
    static const struct store_link_hooks hooks = {.connected = on_connected,
                                                  .notified = on_notified};
    struct store_link *link =
        store_link_new(f->base, f->path, topics, &hooks, f, NULL);
    assert_non_null(link);
    return link;
}

static void call(struct fixture *f, struct store_link *link,
                 const char *operation, const char *id, int64_t priority)
{
    struct store_call one = append(operation, id, priority);
    struct error error;
    if (store_link_call(link, &(struct store_request){&one, 1}, on_answer, f,
                        &error) != 0)
        fail_msg("%s", error.text);
}

static void test_requests_are_grouped(void **state)
{
    struct fixture *f = *state;
    struct store_link *links[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++)
        links[i] = connect_link(f, 0);
    for (unsigned n = 0; n < PER_BURST; n++)
        for (unsigned i = 0; i < CLIENTS; i++) {
            char id[32];
            snprintf(id, sizeof(id), "t%u-%u", i, n);
            call(f, links[i], "INSERT", id, 2);
        }
    expect_answers(f, CLIENTS * PER_BURST);
    assert_int_equal(f->refused, 0);
    assert_int_equal(f->connects, CLIENTS);
    assert_true(f->groups < CLIENTS * PER_BURST / 20);
    assert_int_equal(store_writer_totals(f->writer).pending,
                     CLIENTS * PER_BURST);
    for (unsigned i = 0; i < CLIENTS; i++)
        store_link_free(&links[i]);
}

static void test_a_refusal_hurts_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct store_link *link = connect_link(f, 0);
    call(f, link, "INSERT", "a", 2);
    call(f, link, "EXPLODE", "b", 2);
    call(f, link, "UPDATE", "c", 2);
    expect_answers(f, 3);
    assert_int_equal(f->refused, 1);
    assert_int_equal(f->lost, 0);
    assert_int_equal(store_writer_totals(f->writer).pending, 2);
    store_link_free(&link);
}

static void test_subscribers_hear_of_it(void **state)
{
    struct fixture *f = *state;
    struct store_link *listening = connect_link(f, TOPIC_OUTBOX);
    struct store_link *link = connect_link(f, 0);
    while (f->connects < 2)
        turn(f);
    turn(f);
    assert_int_equal(f->topics, 0);
    call(f, link, "INSERT", "a", 2);
    uint64_t deadline = clock_monotonic_ms() + WAIT_MS;
    while (f->topics == 0 && clock_monotonic_ms() < deadline)
        turn(f);
    assert_int_equal(f->topics, TOPIC_OUTBOX);
    store_link_free(&listening);
    store_link_free(&link);
}

static int connect_raw(const struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)),
                     0);
    return fd;
}

static void expect_closed(struct fixture *f, int fd)
{
    uint64_t deadline = clock_monotonic_ms() + WAIT_MS;
    char byte;
    ssize_t got = -1;
    while (clock_monotonic_ms() < deadline) {
        turn(f);
        got = recv(fd, &byte, 1, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            break;
    }
    assert_true(got == 0 || errno == ECONNRESET);
    close(fd);
}

static void test_a_malformed_frame_costs_its_connection(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"\xff\xff\xff\x7f",
                                      "\x0a\0\0\0\x01        \x09",
                                      "\x0b\0\0\0\x63         "};
    static const size_t sizes[] = {4, 14, 15};
    struct store_link *link = connect_link(f, 0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int fd = connect_raw(f);
        assert_int_equal(send(fd, bad[i], sizes[i], 0), sizes[i]);
        call(f, link, "INSERT", "a", 2);
        expect_closed(f, fd);
    }
    expect_answers(f, 3);
    assert_int_equal(f->refused, 0);
    store_link_free(&link);
}

static void test_one_who_leaves_is_served_all_the_same(void **state)
{
    struct fixture *f = *state;
    struct buffer out;
    struct store_call one = append("INSERT", "a", 2);
    buffer_init(&out, 10000);
    wire_put_request(&out, 1, &(struct store_request){&one, 1});
    for (int i = 0; i < 50; i++) {
        int fd = connect_raw(f);
        assert_int_equal(send(fd, out.bytes, out.size, 0), out.size);
        close(fd);
    }
    buffer_deinit(&out);
    uint64_t deadline = clock_monotonic_ms() + WAIT_MS;
    while (store_writer_totals(f->writer).pending < 50 &&
           clock_monotonic_ms() < deadline)
        turn(f);
    assert_int_equal(store_writer_totals(f->writer).pending, 50);
}

/* Sends without reading: the store must stop reading, not grow; once the
 * answers are read every request is answered. */
static void test_one_who_does_not_read_is_held_back(void **state)
{
    struct fixture *f = *state;
    struct buffer out;
    struct store_call one = append("EXPLODE", "a", 2);
    buffer_init(&out, 1u << 20);
    for (uint64_t number = 1; number <= 500; number++)
        wire_put_request(&out, number, &(struct store_request){&one, 1});
    int fd = connect_raw(f);
    uint64_t sent_bytes = 0;
    size_t at = 0;
    unsigned idle = 0;
    while (idle < 20) {
        ssize_t sent = send(fd, out.bytes + at, out.size - at, MSG_NOSIGNAL);
        idle = sent > 0 ? 0 : idle + 1;
        if (sent > 0) {
            at = (at + (size_t)sent) % out.size;
            sent_bytes += (uint64_t)sent;
        }
        assert_true(sent_bytes < 64u << 20);
        turn(f);
    }
    uint64_t whole = sent_bytes / (out.size / 500);
    char bytes[65536];
    uint64_t got_bytes = 0;
    for (idle = 0; idle < 20; turn(f)) {
        ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
        idle = got > 0 ? 0 : idle + 1;
        got_bytes += got > 0 ? (uint64_t)got : 0;
    }
    assert_true(whole > 1000);
    assert_true(got_bytes > whole * 20); /* an answer's least size */
    close(fd);
    buffer_deinit(&out);
}

static void test_callers_are_known_by_their_process(void **state)
{
    struct fixture *f = *state;
    struct store_call claim = {
        .statement = STATEMENT_BATCH_CLAIM,
        .argument_count = 5,
        .arguments = {value_integer(0), value_integer(1), value_integer(10),
                      value_integer(3), value_integer(1)}};
    struct store_link *link = connect_link(f, 0);
    assert_int_equal(store_link_call(link, &(struct store_request){&claim, 1},
                                     on_answer, f, NULL),
                     0);
    expect_answers(f, 1);
    assert_int_equal(f->refused, 1); /* a command may not claim */
    store_link_free(&link);

    struct slot_entry *entry =
        &f->mapping->scoreboard.slots[scoreboard_index(ROLE_SYNC, 0)];
    atomic_store(&entry->role, ROLE_SYNC);
    atomic_store(&entry->in_use, 1);
    atomic_store(&entry->state, SLOT_IDLE);
    atomic_store(&entry->pid, getpid());
    link = connect_link(f, 0);
    assert_int_equal(store_link_call(link, &(struct store_request){&claim, 1},
                                     on_answer, f, NULL),
                     0);
    expect_answers(f, 2);
    assert_int_equal(f->refused, 1);
    store_link_free(&link);
}

static void test_a_link_survives_its_store(void **state)
{
    struct fixture *f = *state;
    struct store_link *link = connect_link(f, TOPIC_OUTBOX);
    call(f, link, "INSERT", "a", 2);
    expect_answers(f, 1);
    /* The store dies with a request under way; its listener lives on. */
    call(f, link, "INSERT", "b", 2);
    group_commit_free(&f->group);
    expect_answers(f, 2);
    assert_int_equal(f->lost, 1);
    call(f, link, "INSERT", "c", 2);
    serve(f);
    expect_answers(f, 3);
    assert_int_equal(f->lost, 1);
    assert_int_equal(f->connects, 2);
    store_link_free(&link);
}

static void on_drained(void *self)
{
    ((struct fixture *)self)->drained = true;
}

static void test_draining_answers_what_came(void **state)
{
    struct fixture *f = *state;
    struct store_link *link = connect_link(f, 0);
    call(f, link, "INSERT", "a", 2);
    expect_answers(f, 1);
    for (int i = 0; i < 100; i++)
        call(f, link, "INSERT", "b", 2);
    group_commit_drain(f->group, on_drained, f);
    uint64_t deadline = clock_monotonic_ms() + WAIT_MS;
    while (!f->drained && clock_monotonic_ms() < deadline)
        turn(f);
    assert_true(f->drained);
    expect_answers(f, 101);
    assert_int_equal(f->refused, 0);
    store_link_free(&link);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_requests_are_grouped),
        TEST(test_a_refusal_hurts_nobody_else),
        TEST(test_subscribers_hear_of_it),
        TEST(test_a_malformed_frame_costs_its_connection),
        TEST(test_one_who_leaves_is_served_all_the_same),
        TEST(test_one_who_does_not_read_is_held_back),
        TEST(test_callers_are_known_by_their_process),
        TEST(test_a_link_survives_its_store),
        TEST(test_draining_answers_what_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
