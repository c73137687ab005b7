/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/usage.h"

/* --- error --- */

static void errors_carry_code_and_words(void **state)
{
    struct error error;
    (void)state;
    error_clear(&error);
    assert_int_equal(error.code, ERROR_NONE);
    errno = ENOENT;
    assert_int_equal(error_set(&error, ERROR_DATA, "line %d", 7), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(error.code, ERROR_DATA);
    assert_string_equal(error.text, "line 7");
    assert_int_equal(error_prefix(&error, "file %s", "x"), -1);
    assert_string_equal(error.text, "file x: line 7");
    assert_int_equal(error.code, ERROR_DATA);
    assert_int_equal(error_set(NULL, ERROR_DATA, "nobody listens"), -1);
}

static void errno_becomes_words(void **state)
{
    struct error error;
    (void)state;
    errno = EACCES;
    error_set_errno(&error, ERROR_IO, "cannot open %s", "f");
    assert_string_equal(error.text, "cannot open f: Permission denied");
    assert_int_equal(error.code, ERROR_IO);
    errno = ENOSPC;
    error_set_errno(&error, ERROR_IO, "cannot write");
    assert_int_equal(error.code, ERROR_FULL);
}

static void long_errors_are_cut(void **state)
{
    struct error error;
    char text[3000];
    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    error_set(&error, ERROR_DATA, "%s", text);
    assert_int_equal(strlen(error.text), ERROR_TEXT_MAX - 1);
    assert_string_equal(error.text + ERROR_TEXT_MAX - 4, "...");
}

static void exit_statuses(void **state)
{
    (void)state;
    assert_int_equal(error_exit_status(ERROR_NONE), 0);
    assert_int_equal(error_exit_status(ERROR_CONFIG), 78);
    assert_int_equal(error_exit_status(ERROR_FULL), 75);
    assert_int_equal(error_exit_status(ERROR_CODE_COUNT), 70);
    assert_string_equal(error_code_words(ERROR_USAGE), "wrong usage");
}

/* --- arena --- */

static void arena_aligns_and_bounds(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, 100000);
    for (size_t size = 1; size < 100; size++) {
        char *bytes = arena_alloc(&arena, size);
        assert_non_null(bytes);
        assert_int_equal((uintptr_t)bytes % _Alignof(max_align_t), 0);
        memset(bytes, 0xaa, size);
    }
    assert_null(arena_alloc(&arena, 200000));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_calloc(&arena, SIZE_MAX / 2, 4));
    unsigned count = 0;
    while (arena_alloc(&arena, 1000) != NULL)
        count++;
    assert_true(count > 50 && count < 100);
    assert_true(arena.used_bytes <= 100000);
    arena_reset(&arena);
    assert_true(arena.used_bytes < 20000);
    assert_non_null(arena_alloc(&arena, 50000));
    arena_deinit(&arena);
    assert_int_equal(arena.used_bytes, 0);
}

static void arena_copies(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, 1 << 20);
    assert_string_equal(arena_strdup(&arena, "text"), "text");
    assert_memory_equal(arena_copy(&arena, "a\0b", 3), "a\0b\0", 4);
    assert_string_equal(arena_copy(&arena, NULL, 0), "");
    assert_string_equal(arena_printf(&arena, "%d-%s", 5, "x"), "5-x");
    char *zeros = arena_calloc(&arena, 10, 10);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zeros[i], 0);
    arena_deinit(&arena);
}

/* --- buffer --- */

static void buffer_grows_to_its_bound(void **state)
{
    struct buffer buffer;
    (void)state;
    buffer_init(&buffer, 1000);
    for (int i = 0; i < 100; i++)
        buffer_append(&buffer, "0123456789", 10);
    assert_false(buffer.failed);
    assert_int_equal(buffer.size, 1000);
    assert_int_equal(buffer.bytes[1000], '\0');
    buffer_append_char(&buffer, 'x');
    assert_true(buffer.failed);
    assert_int_equal(buffer.size, 1000);
    buffer_reset(&buffer);
    buffer_printf(&buffer, "%s %d", "n", 1);
    buffer_append_text(&buffer, "!");
    assert_string_equal(buffer.bytes, "n 1!");
    buffer_append(&buffer, "", 0);
    assert_false(buffer.failed);
    buffer_deinit(&buffer);
}

static void buffer_escapes_json(void **state)
{
    struct buffer buffer;
    (void)state;
    buffer_init(&buffer, 1000);
    buffer_append_json(&buffer, "a\"\\\n\x01\x7f\0z\xc3\xa9", 10);
    assert_string_equal(buffer.bytes,
                        "\"a\\\"\\\\\\n\\u0001\\u007f\\u0000z\xc3\xa9\"");
    buffer_deinit(&buffer);
}

/* --- clock --- */

static void times_come_back(void **state)
{
    static const int64_t times[] = {
        0, 1, 999, 1700000000123, -1, -86400001, 253402300799999};
    char text[CLOCK_TEXT_SIZE];
    int64_t back;
    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        clock_format(times[i], text);
        assert_int_equal(clock_parse(text, strlen(text), &back), 0);
        assert_true(back == times[i]);
    }
    assert_string_equal(clock_format(0, text), "1970-01-01T00:00:00.000Z");
    assert_true(clock_monotonic_ns() <= clock_monotonic_ns());
    assert_true(clock_wall_ms() > 1600000000000);
}

static void times_in_other_forms(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"1970-01-02", 86400000},         {"1970-01-01 00:00:01", 1000},
        {"1970-01-01 00:00:01.5", 1500},  {"1970-01-01T00:00:01.123456Z", 1123},
        {"1970-01-01T01:00:00+01:00", 0}, {"1969-12-31T23:30:00-00:30", 0},
        {"2000-02-29", 951782400000},     {"0000-01-01", -62167219200000},
    };
    static const char *const bad[] = {
        "",
        "1970",
        "1970-13-01",
        "1970-00-01",
        "1970-01-32",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:00:00Zx",
        "1970-01-01X00:00:00",
        "1970-01-01T00:00:00+1",
    };
    int64_t ms;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(clock_parse(rows[i].text, strlen(rows[i].text), &ms),
                         0);
        assert_true(ms == rows[i].ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(clock_parse(bad[i], strlen(bad[i]), &ms), -1);
}

/* --- text --- */

static void utf8_is_judged(void **state)
{
    static const char *const good[] = {"",
                                       "plain",
                                       "\xc3\xa9",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x98\x80",
                                       "\xed\x9f\xbf",
                                       "\xf4\x8f\xbf\xbf",
                                       "eight by\xc3\xa9tes and more"};
    static const char *const bad[] = {
        "\x80",         "\xc3",         "\xc0\xaf",
        "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80", "abcdefg\xff",  "\xe2\x82"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(text_is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(text_is_utf8(bad[i], strlen(bad[i])));
}

static void nearest_is_found(void **state)
{
    static const char *const names[] = {"max_workers", "min_workers", "enabled",
                                        NULL};
    (void)state;
    assert_string_equal(text_nearest("max_worker", names), "max_workers");
    assert_string_equal(text_nearest("enabeld", names), "enabled");
    assert_null(text_nearest("password", names));
}

static void hash_is_stable(void **state)
{
    (void)state;
    assert_true(text_hash(TEXT_HASH_START, "", 0) == TEXT_HASH_START);
    assert_true(text_hash(TEXT_HASH_START, "a", 1) == 0xaf63dc4c8601ec8cu);
    assert_true(text_hash(TEXT_HASH_START, "foobar", 6) == 0x85944171f73967e8u);
}

static void bytes_for_people(void **state)
{
    char text[24];
    (void)state;
    assert_string_equal(text_bytes(321, text), "321 B");
    assert_string_equal(text_bytes(12345, text), "12.3 kB");
    assert_string_equal(text_bytes(1500000, text), "1.5 MB");
    assert_string_equal(text_bytes(UINT64_MAX, text), "18446744 TB");
}

static void usage_says(const struct usage *usage, const char *expected)
{
    struct buffer json;
    buffer_init(&json, 100);
    usage_write(usage, &json);
    assert_string_equal(json.bytes, expected);
    buffer_deinit(&json);
}

static void usage_adds_up(void **state)
{
    const struct usage_mark first = {1000000, 500, 4096},
                            then = {3000000, 2000, 8192},
                            last = {4000000, 2250, 12000};
    struct usage usage = {.wall_us = 0};
    (void)state;
    usage_says(&usage, "[0,null]");
    usage_add_between(&usage, &first, &then);
    usage_says(&usage, "[8,75.00]");
    usage_add_between(&usage, &then, &last);
    usage_says(&usage, "[12,58.33]");
}

static void usage_is_of_this_process(void **state)
{
    struct usage_mark start, since;
    struct usage usage = {.wall_us = 0};
    size_t size = 64u << 20;
    (void)state;
    usage_mark(&start);
    since = start;
    volatile char *bytes = malloc(size);
    assert_non_null(bytes);
    while (usage.cpu_us < 20000) { /* what it takes, in time and memory */
        for (size_t i = 0; i < size; i += 4096)
            bytes[i]++;
        usage_add(&usage, &since);
    }
    free((void *)(uintptr_t)bytes);
    assert_true(usage.wall_us > 0);
    assert_true(usage.peak_kb >= start.peak_kb + 32768);
    assert_true(since.cpu_us - start.cpu_us >= 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_carry_code_and_words),
        cmocka_unit_test(errno_becomes_words),
        cmocka_unit_test(long_errors_are_cut),
        cmocka_unit_test(exit_statuses),
        cmocka_unit_test(arena_aligns_and_bounds),
        cmocka_unit_test(arena_copies),
        cmocka_unit_test(buffer_grows_to_its_bound),
        cmocka_unit_test(buffer_escapes_json),
        cmocka_unit_test(times_come_back),
        cmocka_unit_test(times_in_other_forms),
        cmocka_unit_test(utf8_is_judged),
        cmocka_unit_test(nearest_is_found),
        cmocka_unit_test(hash_is_stable),
        cmocka_unit_test(bytes_for_people),
        cmocka_unit_test(usage_adds_up),
        cmocka_unit_test(usage_is_of_this_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
