/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <event2/event.h>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/store/client.h"
#include "common/store/writer.h"
#include "workers/store/group_commit.h"

#define WAIT_MS 5000

struct fixture {
    char folder[64];
    char path[108];
    struct config config;
    int listener;
    pid_t server;
    struct arena arena;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    strcpy(f->folder, "/tmp/test_session.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/store.sock", f->folder);
    f->config.state_dir = f->config.runtime_dir = f->folder;
    f->config.system_id = "here";
    f->listener = -1;
    arena_init(&f->arena, 64u << 20);
    *state = f;
    return 0;
}

static void stop_server(struct fixture *f)
{
    if (f->server <= 0)
        return;
    kill(f->server, SIGKILL);
    waitpid(f->server, NULL, 0);
    f->server = 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    stop_server(f);
    if (f->listener >= 0)
        close(f->listener);
    arena_deinit(&f->arena);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void listen_now(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
    unlink(f->path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(
        bind(f->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(f->listener, 128), 0);
}

/* A store in a child, after delay_ms. */
static void start_server(struct fixture *f, unsigned delay_ms)
{
    f->server = fork();
    assert_true(f->server >= 0);
    if (f->server > 0)
        return;
    usleep(delay_ms * 1000);
    struct group_options options = {.base = event_base_new(),
                                    .listener = f->listener,
                                    .state_dir = f->folder};
    if (store_writer_open(&options.writer, f->folder, "here", &f->error) != 0 ||
        group_commit_new(&options, &f->error) == NULL)
        _exit(1);
    event_base_dispatch(options.base);
    _exit(0);
}

static struct store_session *open_session(struct fixture *f)
{
    struct store_session *session = NULL;
    if (store_session_open(&session, &f->config, WAIT_MS, &f->error) != 0)
        fail_msg("%s", f->error.text);
    return session;
}

static int append(struct fixture *f, struct store_session *session,
                  const char *operation, int64_t token)
{
    struct store_call call = {
        .statement = STATEMENT_OUTBOX_APPEND,
        .argument_count = 7,
        .arguments = {value_text(operation), value_text("tasks"),
                      value_text("t1"), value_text("{}"), value_integer(2),
                      value_null(), value_integer(token)}};
    struct store_answer answer;
    arena_reset(&f->arena);
    return store_session_call(session, &(struct store_request){&call, 1},
                              &f->arena, &answer, &f->error);
}

static void expect_appended(struct fixture *f, struct store_session *session)
{
    if (append(f, session, "INSERT", store_token()) != 0)
        fail_msg("%s", f->error.text);
}

static void expect_pending(struct fixture *f, int64_t pending)
{
    struct store_writer *writer = NULL;
    uint64_t deadline = clock_monotonic_ms() + WAIT_MS;
    while (store_writer_open(&writer, f->folder, "here", &f->error) != 0)
        assert_true(clock_monotonic_ms() < deadline);
    assert_int_equal(store_writer_totals(writer).pending, pending);
    store_writer_close(&writer);
}

static void test_without_a_daemon_it_writes_itself(void **state)
{
    struct fixture *f = *state;
    struct store_session *session = open_session(f);
    assert_true(store_session_is_direct(session));
    expect_appended(f, session);
    expect_appended(f, session);
    assert_int_equal(append(f, session, "EXPLODE", 1), -1);
    assert_int_equal(f->error.code, ERROR_DATA);
    expect_appended(f, session);
    assert_int_equal(store_session_wait(session, TOPIC_OUTBOX, 1, &f->error),
                     -1);
    store_session_close(&session);
    expect_pending(f, 3);
}

static void test_a_dead_daemons_socket_is_no_obstacle(void **state)
{
    struct fixture *f = *state;
    listen_now(f);
    close(f->listener);
    f->listener = -1;
    struct store_session *session = open_session(f);
    assert_true(store_session_is_direct(session));
    store_session_close(&session);
}

static void test_another_command_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct store_session *session = open_session(f);
    struct store_session *second = NULL;
    uint64_t start = clock_monotonic_ms();
    assert_int_equal(store_session_open(&second, &f->config, 100, &f->error),
                     -1);
    assert_int_equal(f->error.code, ERROR_TRY_AGAIN);
    assert_true(clock_monotonic_ms() - start >= 100);
    store_session_close(&session);
    session = open_session(f);
    store_session_close(&session);
}

static void test_through_the_socket(void **state)
{
    struct fixture *f = *state;
    listen_now(f);
    start_server(f, 0);
    struct store_session *session = open_session(f);
    assert_false(store_session_is_direct(session));
    for (int i = 0; i < 100; i++)
        expect_appended(f, session);
    assert_int_equal(append(f, session, "EXPLODE", 1), -1);
    assert_int_equal(f->error.code, ERROR_DATA);
    store_session_close(&session);
    stop_server(f);
    expect_pending(f, 100);
}

static void test_notifications_are_waited_for(void **state)
{
    struct fixture *f = *state;
    listen_now(f);
    start_server(f, 0);
    struct store_session *session = open_session(f);
    struct store_session *other = open_session(f);
    assert_int_equal(store_session_wait(session, TOPIC_OUTBOX, 50, &f->error),
                     -1);
    assert_int_equal(f->error.code, ERROR_TRY_AGAIN);
    expect_appended(f, other);
    assert_int_equal(
        store_session_wait(session, TOPIC_OUTBOX, WAIT_MS, &f->error), 0);
    assert_int_equal(store_session_wait(session, TOPIC_OUTBOX, 20, &f->error),
                     -1);
    store_session_close(&session);
    store_session_close(&other);
}

static void test_a_respawned_store_is_waited_for(void **state)
{
    struct fixture *f = *state;
    listen_now(f);
    start_server(f, 0);
    struct store_session *session = open_session(f);
    expect_appended(f, session);
    stop_server(f); /* the listener lives on, as the master's does */
    start_server(f, 100);
    expect_appended(f, session);
    stop_server(f);
    start_server(f, 0);
    /* Not safe to repeat: told so. */
    assert_int_equal(append(f, session, "INSERT", 0), -1);
    assert_int_equal(f->error.code, ERROR_TRY_AGAIN);
    expect_appended(f, session);
    store_session_close(&session);
}

static void test_a_daemon_that_ends_is_stood_in_for(void **state)
{
    struct fixture *f = *state;
    listen_now(f);
    start_server(f, 0);
    struct store_session *session = open_session(f);
    expect_appended(f, session);
    close(f->listener);
    f->listener = -1;
    stop_server(f);
    expect_appended(f, session);
    assert_true(store_session_is_direct(session));
    store_session_close(&session);
    expect_pending(f, 2);
}

static void test_what_is_too_large_is_refused(void **state)
{
    struct fixture *f = *state;
    listen_now(f);
    start_server(f, 0);
    struct store_session *session = open_session(f);
    char *big = calloc(1, 17u << 20);
    assert_non_null(big);
    memset(big, '1', (17u << 20) - 1);
    struct store_call call = {.statement = STATEMENT_OUTBOX_APPEND,
                              .argument_count = 4,
                              .arguments = {value_text("INSERT"),
                                            value_text("t"), value_text("r"),
                                            value_text(big)}};
    struct store_answer answer;
    assert_int_equal(store_session_call(session,
                                        &(struct store_request){&call, 1},
                                        &f->arena, &answer, &f->error),
                     -1);
    assert_int_equal(f->error.code, ERROR_DATA);
    expect_appended(f, session);
    store_session_close(&session);
    free(big);
}

static void test_tokens_differ(void **state)
{
    (void)state;
    int64_t first = store_token();
    assert_int_not_equal(first, 0);
    assert_int_not_equal(first, store_token());
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_without_a_daemon_it_writes_itself),
        TEST(test_a_dead_daemons_socket_is_no_obstacle),
        TEST(test_another_command_is_waited_for),
        TEST(test_through_the_socket),
        TEST(test_notifications_are_waited_for),
        TEST(test_a_respawned_store_is_waited_for),
        TEST(test_a_daemon_that_ends_is_stood_in_for),
        TEST(test_what_is_too_large_is_refused),
        cmocka_unit_test(test_tokens_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
