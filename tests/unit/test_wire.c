/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/store/wire.h"

#define ARENA_BYTES (64u << 20)

static void put_append(struct buffer *out, uint64_t number, size_t calls)
{
    struct store_call *call = calloc(calls, sizeof(*call));
    assert_non_null(call);
    for (size_t i = 0; i < calls; i++)
        call[i] = (struct store_call){
            .statement = STATEMENT_OUTBOX_APPEND,
            .argument_count = 7,
            .arguments = {value_text("INSERT"),
                          value_text("tasks"),
                          value_text_sized("a\0b", 3),
                          value_text(NULL),
                          value_integer(-2),
                          value_null(),
                          {.type = VALUE_REAL, .real = 0.5}}};
    wire_put_request(out, number, &(struct store_request){call, calls});
    free(call);
}

static void put_answer(struct buffer *out, uint64_t number)
{
    struct value values[] = {value_integer(1), value_text("x"),
                             value_integer(INT64_MIN), value_null()};
    struct store_result results[] = {
        {.changed = 7},
        {.changed = 0, .columns = 2, .rows = 2, .values = values}};
    wire_put_answer(out, number,
                    &(struct store_answer){.code = ERROR_FULL,
                                           .text = "no room",
                                           .results = results,
                                           .result_count = 2});
}

static int parse(const struct buffer *out, struct arena *arena,
                 struct wire_frame *frame)
{
    struct error error;
    int64_t size = wire_frame_size(out->bytes, out->size);
    if (size != (int64_t)out->size)
        return -1;
    int result = wire_parse(out->bytes, out->size, arena, frame, &error);
    if (result != 0)
        assert_int_equal(error.code, ERROR_PROTOCOL);
    return result;
}

static void test_request_comes_back(void **state)
{
    (void)state;
    struct buffer out;
    struct arena arena;
    struct wire_frame frame;
    buffer_init(&out, WIRE_FRAME_MAX);
    arena_init(&arena, ARENA_BYTES);
    put_append(&out, 42, 3);
    assert_false(out.failed);
    assert_int_equal(parse(&out, &arena, &frame), 0);
    assert_int_equal(frame.kind, WIRE_REQUEST);
    assert_int_equal(frame.number, 42);
    assert_int_equal(frame.request.call_count, 3);
    const struct store_call *call = &frame.request.calls[2];
    assert_int_equal(call->statement, STATEMENT_OUTBOX_APPEND);
    assert_int_equal(call->argument_count, 7);
    assert_int_equal(call->arguments[0].size, 6);
    assert_memory_equal(call->arguments[0].bytes, "INSERT", 6);
    assert_memory_equal(call->arguments[2].bytes, "a\0b", 3);
    assert_int_equal(call->arguments[3].type, VALUE_NULL);
    assert_int_equal(call->arguments[4].integer, -2);
    assert_true(call->arguments[6].real > 0.4 && call->arguments[6].real < 0.6);
    arena_deinit(&arena);
    buffer_deinit(&out);
}

static void test_answer_comes_back(void **state)
{
    (void)state;
    struct buffer out;
    struct arena arena;
    struct wire_frame frame;
    buffer_init(&out, WIRE_FRAME_MAX);
    arena_init(&arena, ARENA_BYTES);
    put_answer(&out, 9);
    assert_int_equal(parse(&out, &arena, &frame), 0);
    assert_int_equal(frame.kind, WIRE_ANSWER);
    assert_int_equal(frame.answer.code, ERROR_FULL);
    assert_string_equal(frame.answer.text, "no room");
    assert_int_equal(frame.answer.result_count, 2);
    assert_int_equal(frame.answer.results[0].changed, 7);
    assert_int_equal(frame.answer.results[1].rows, 2);
    assert_true(frame.answer.results[1].values[2].integer == INT64_MIN);
    arena_deinit(&arena);
    buffer_deinit(&out);
}

static void test_small_frames_come_back(void **state)
{
    (void)state;
    struct buffer out;
    struct arena arena;
    struct wire_frame frame;
    buffer_init(&out, 1000);
    arena_init(&arena, ARENA_BYTES);
    wire_put_subscribe(&out, TOPIC_URGENT);
    assert_int_equal(parse(&out, &arena, &frame), 0);
    assert_int_equal(frame.kind, WIRE_SUBSCRIBE);
    assert_int_equal(frame.topics, TOPIC_URGENT);
    buffer_reset(&out);
    wire_put_notify(&out, 5, TOPIC_OUTBOX | TOPIC_JOB_OVER);
    assert_int_equal(parse(&out, &arena, &frame), 0);
    assert_int_equal(frame.kind, WIRE_NOTIFY);
    assert_int_equal(frame.number, 5);
    assert_int_equal(frame.topics, TOPIC_OUTBOX | TOPIC_JOB_OVER);
    arena_deinit(&arena);
    buffer_deinit(&out);
}

static void test_frames_follow_each_other(void **state)
{
    (void)state;
    struct buffer out;
    struct arena arena;
    struct wire_frame frame;
    struct error error;
    buffer_init(&out, WIRE_FRAME_MAX);
    arena_init(&arena, ARENA_BYTES);
    for (uint64_t number = 1; number <= 3; number++)
        put_append(&out, number, number);
    size_t at = 0;
    for (uint64_t number = 1; number <= 3; number++) {
        int64_t size = wire_frame_size(out.bytes + at, out.size - at);
        assert_true(size > 0);
        assert_int_equal(
            wire_parse(out.bytes + at, (size_t)size, &arena, &frame, &error),
            0);
        assert_int_equal(frame.number, number);
        at += (size_t)size;
    }
    assert_int_equal(at, out.size);
    arena_deinit(&arena);
    buffer_deinit(&out);
}

static void test_what_does_not_fit_leaves_nothing(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, 200);
    wire_put_notify(&out, 1, 1);
    size_t before = out.size;
    put_append(&out, 1, 100);
    assert_true(out.failed);
    assert_int_equal(out.size, before);
    buffer_deinit(&out);

    char *big = calloc(1, WIRE_FRAME_MAX);
    assert_non_null(big);
    buffer_init(&out, 4u * WIRE_FRAME_MAX);
    struct store_call call = {
        .statement = STATEMENT_OUTBOX_APPEND,
        .argument_count = 1,
        .arguments = {value_text_sized(big, WIRE_FRAME_MAX)}};
    wire_put_request(&out, 1, &(struct store_request){&call, 1});
    assert_true(out.failed);
    assert_int_equal(out.size, 0);
    buffer_deinit(&out);
    free(big);
}

static void test_sizes_past_the_bound_are_refused(void **state)
{
    (void)state;
    assert_int_equal(wire_frame_size("\xff\xff\xff\xff", 4), -1);
    assert_int_equal(wire_frame_size("\0\0\0\0", 4), -1);
    assert_int_equal(wire_frame_size("\x10\0\0", 3), 0);
    assert_int_equal(wire_frame_size("\x10\0\0\0", 4), 0);
}

/* Each shorter and each longer frame must be refused, never read past. */
static void refuse_truncated(const struct buffer *whole)
{
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    for (size_t size = 0; size < whole->size; size++) {
        unsigned char *copy = malloc(size + 1);
        assert_non_null(copy);
        memcpy(copy, whole->bytes, size);
        if (size >= 4) {
            uint32_t follows = (uint32_t)(size - 4);
            for (unsigned i = 0; i < 4; i++)
                copy[i] = (unsigned char)(follows >> (8 * i));
        }
        struct wire_frame frame;
        struct error error;
        unsigned char *exact = realloc(copy, size == 0 ? 1 : size);
        assert_non_null(exact);
        assert_int_equal(wire_parse(exact, size, &arena, &frame, &error), -1);
        free(exact);
        arena_reset(&arena);
    }
    arena_deinit(&arena);
}

static void test_truncated_frames_are_refused(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, WIRE_FRAME_MAX);
    put_append(&out, 1, 3);
    refuse_truncated(&out);
    buffer_reset(&out);
    put_answer(&out, 2);
    refuse_truncated(&out);
    buffer_deinit(&out);
}

static uint32_t random_next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Frames with some bytes changed: parsed or refused, never a crash (run
 * under the sanitizers). */
static void test_damaged_frames_are_survived(void **state)
{
    (void)state;
    struct buffer out;
    struct arena arena;
    uint32_t seed = 20260101;
    buffer_init(&out, WIRE_FRAME_MAX);
    arena_init(&arena, ARENA_BYTES);
    for (unsigned round = 0; round < 100000; round++) {
        buffer_reset(&out);
        if (round % 2 == 0)
            put_append(&out, round, 1 + round % 4);
        else
            put_answer(&out, round);
        unsigned changes = 1 + random_next(&seed) % 4;
        for (unsigned i = 0; i < changes; i++)
            out.bytes[4 + random_next(&seed) % (out.size - 4)] =
                (char)random_next(&seed);
        struct wire_frame frame;
        parse(&out, &arena, &frame);
        arena_reset(&arena);
    }
    arena_deinit(&arena);
    buffer_deinit(&out);
}

static void test_memory_is_bounded(void **state)
{
    (void)state;
    struct buffer out;
    struct arena arena;
    struct wire_frame frame;
    buffer_init(&out, WIRE_FRAME_MAX);
    arena_init(&arena, 1u << 16);
    put_append(&out, 1, 1000);
    assert_int_equal(parse(&out, &arena, &frame), -1);
    assert_true(arena.used_bytes <= 1u << 16);
    arena_deinit(&arena);
    buffer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_comes_back),
        cmocka_unit_test(test_answer_comes_back),
        cmocka_unit_test(test_small_frames_come_back),
        cmocka_unit_test(test_frames_follow_each_other),
        cmocka_unit_test(test_what_does_not_fit_leaves_nothing),
        cmocka_unit_test(test_sizes_past_the_bound_are_refused),
        cmocka_unit_test(test_truncated_frames_are_refused),
        cmocka_unit_test(test_damaged_frames_are_survived),
        cmocka_unit_test(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
