/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ipc/frame.h"
#include "common/ipc/messages.h"
#include "common/ipc/worker_contract.h"

static void fields_come_back(void **state)
{
    struct buffer out;
    struct frame_reader in;
    char text[8];
    size_t size;
    (void)state;
    buffer_init(&out, 1000);
    frame_put_u8(&out, 200);
    frame_put_u16(&out, 60000);
    frame_put_u32(&out, 4000000000u);
    frame_put_u64(&out, UINT64_MAX);
    frame_put_i64(&out, INT64_MIN);
    frame_put_real(&out, -1.5);
    frame_put_bytes(&out, "a\0b", 3);
    frame_put_text(&out, "seven77");
    assert_false(out.failed);
    assert_memory_equal(out.bytes, "\xc8\x60\xea\x00\x28\x6b\xee", 7);
    frame_reader_init(&in, out.bytes, out.size);
    assert_int_equal(frame_get_u8(&in), 200);
    assert_int_equal(frame_get_u16(&in), 60000);
    assert_int_equal(frame_get_u32(&in), 4000000000u);
    assert_true(frame_get_u64(&in) == UINT64_MAX);
    assert_true(frame_get_i64(&in) == INT64_MIN);
    assert_true(fabs(frame_get_real(&in) + 1.5) < 1e-12);
    assert_memory_equal(frame_get_bytes(&in, &size), "a\0b", 3);
    assert_int_equal(size, 3);
    assert_false(frame_reader_done(&in));
    frame_get_text(&in, text, sizeof(text));
    assert_string_equal(text, "seven77");
    assert_true(frame_reader_done(&in));
    buffer_deinit(&out);
}

static void reader_fails_and_stays_failed(void **state)
{
    struct frame_reader in;
    size_t size;
    char text[4];
    (void)state;
    frame_reader_init(&in, "\x05\0\0\0abc", 7);
    assert_null(frame_get_bytes(&in, &size));
    assert_int_equal(size, 0);
    assert_int_equal(frame_get_u8(&in), 0);
    assert_false(frame_reader_done(&in));

    frame_reader_init(&in, "\x04\0\0\0abcd", 8); /* no room for the NUL */
    frame_get_text(&in, text, sizeof(text));
    assert_true(in.failed);
    frame_reader_init(&in, "\x03\0\0\0a\0c", 7);
    frame_get_text(&in, text, sizeof(text));
    assert_true(in.failed);
    frame_reader_init(&in, "\xff\xff\xff\xff", 4);
    assert_null(frame_get_bytes(&in, &size));
}

static size_t through_a_pipe(const struct message *message, char *bytes,
                             size_t room)
{
    int pipes[2];
    struct error error;
    assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
    assert_int_equal(message_send(pipes[1], message, &error), 0);
    ssize_t size = read(pipes[0], bytes, room);
    close(pipes[0]);
    close(pipes[1]);
    assert_true(size > 0);
    return (size_t)size;
}

static void messages_come_back(void **state)
{
    static const struct {
        enum message_kind kind;
        enum message_direction direction;
        uint64_t number;
        const char *text;
    } rows[] = {
        {MESSAGE_DRAIN, MESSAGE_DOWN, 30000, ""},
        {MESSAGE_STOP, MESSAGE_DOWN, 0, ""},
        {MESSAGE_SYNC_NOW, MESSAGE_DOWN, UINT64_MAX, ""},
        {MESSAGE_READY, MESSAGE_UP, 0, ""},
        {MESSAGE_REQUEST, MESSAGE_UP, REQUEST_SYNC_NOW, "17"},
        {MESSAGE_FAILED, MESSAGE_UP, ERROR_IO, "cannot open the store: no file"},
    };
    char bytes[PIPE_BUF];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct message sent = {.kind = rows[i].kind,
                               .pid = 4321,
                               .spawn = 77,
                               .number = rows[i].number};
        struct message got;
        struct error error;
        strcpy(sent.text, rows[i].text);
        size_t size = through_a_pipe(&sent, bytes, sizeof(bytes));
        for (size_t part = 0; part < size; part++)
            assert_int_equal(
                message_parse(bytes, part, rows[i].direction, &got, &error), 0);
        assert_int_equal(
            message_parse(bytes, size, rows[i].direction, &got, &error), size);
        assert_int_equal(got.kind, rows[i].kind);
        assert_int_equal(got.pid, 4321);
        assert_int_equal(got.spawn, 77);
        assert_true(got.number == rows[i].number);
        assert_string_equal(got.text, rows[i].text);
        /* the other way it is no message */
        enum message_direction other =
            rows[i].direction == MESSAGE_UP ? MESSAGE_DOWN : MESSAGE_UP;
        assert_int_equal(message_parse(bytes, size, other, &got, &error), -1);
    }
}

static void longest_text_is_atomic(void **state)
{
    struct message sent = {.kind = MESSAGE_FAILED, .pid = 1};
    struct message got;
    struct error error;
    char bytes[PIPE_BUF];
    (void)state;
    memset(sent.text, 'x', sizeof(sent.text)); /* without an end */
    size_t size = through_a_pipe(&sent, bytes, sizeof(bytes));
    assert_int_equal(message_parse(bytes, size, MESSAGE_UP, &got, &error),
                     size);
    assert_int_equal(strlen(got.text), MESSAGE_TEXT_MAX - 1);
}

static void bad_messages_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } rows[] = {
        {"\x08\0", 2},                                  /* too short */
        {"\xff\xff", 2},                                /* too long */
        {"\x09\0\0\0\0\0\0\0\0\0\0", 11},               /* no kind */
        {"\x09\0\xff\0\0\0\0\0\0\0\0", 11},             /* unknown kind */
        {"\x0a\0\x08\0\0\0\0\0\0\0\0\0", 12},           /* READY, too much */
        {"\x09\0\x09\0\0\0\0\0\0\0\0", 11},             /* BUSY, no number */
        {"\x0d\0\x0c\0\0\0\0\0\0\0\0\x09\0\0\0", 15},   /* text too short */
        {"\x0e\0\x0c\0\0\0\0\0\0\0\0\x01\0\0\0\0", 16}, /* text with NUL */
    };
    struct message got;
    struct error error;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(message_parse(rows[i].bytes, rows[i].size, MESSAGE_UP,
                                       &got, &error),
                         -1);
}

/* Whatever comes, the reader stays within it and says one of its words. */
static void random_bytes_do_no_harm(void **state)
{
    uint64_t seed = 12345;
    (void)state;
    for (unsigned round = 0; round < 200000; round++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t size = (size_t)(seed >> 59);
        unsigned char *bytes = malloc(size + 1);
        struct message got;
        struct error error;
        for (size_t i = 0; i < size; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (unsigned char)(seed >> 56);
        }
        if (size > 3 && round % 2 == 0) {
            bytes[0] = (unsigned char)(size - 2);
            bytes[1] = 0;
            bytes[2] = (unsigned char)(bytes[2] % MESSAGE_KIND_COUNT);
        }
        int used = message_parse(bytes, size, MESSAGE_UP, &got, &error);
        assert_true(used >= -1 && used <= (int)size);
        free(bytes);
    }
}

static void full_and_broken_pipes_are_told_apart(void **state)
{
    struct message message = {.kind = MESSAGE_WAKE, .pid = 1, .spawn = 1};
    struct error error;
    int pipes[2];
    int result;
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
    do
        result = message_send(pipes[1], &message, &error);
    while (result == 0);
    assert_int_equal(error.code, ERROR_TRY_AGAIN);
    close(pipes[0]);
    assert_int_equal(message_send(pipes[1], &message, &error), -1);
    assert_int_equal(error.code, ERROR_IO);
    close(pipes[1]);
    message.kind = MESSAGE_NONE;
    assert_int_equal(message_send(1, &message, &error), -1);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(message_name(MESSAGE_SYNC_NOW), "SYNC_NOW");
    assert_string_equal(message_name(MESSAGE_KIND_COUNT), "unknown");
    assert_string_equal(role_name(ROLE_GENERATION), "generation");
    assert_string_equal(role_name(ROLE_COUNT), "unknown");
    assert_true(role_has_pool(ROLE_SYNC));
    assert_false(role_has_pool(ROLE_STORE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_come_back),
        cmocka_unit_test(reader_fails_and_stays_failed),
        cmocka_unit_test(messages_come_back),
        cmocka_unit_test(longest_text_is_atomic),
        cmocka_unit_test(bad_messages_are_refused),
        cmocka_unit_test(random_bytes_do_no_harm),
        cmocka_unit_test(full_and_broken_pipes_are_told_apart),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
