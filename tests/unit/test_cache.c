/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/cache_check.h"

#define TTL_MS 1000

struct fixture {
    struct cache_region *region;
    struct cache cache;
};

static int setup(void **state)
{
    static const struct cache_shape shape = {4, 400, 16u << 20};
    struct fixture *f = calloc(1, sizeof(*f));
    struct error error;
    assert_non_null(f);
    f->region = cache_region_make(&shape);
    cache_limit(f->region, 100, 1u << 20, TTL_MS);
    assert_int_equal(cache_open(&f->cache, f->region, 3, &error), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    cache_check(&f->cache);
    cache_region_unmake(&f->region);
    free(f);
    return 0;
}

static struct cache_key key_of(unsigned number, char text[24])
{
    int size = snprintf(text, 24, "key-%u", number);
    return cache_key(text, (size_t)size);
}

static bool put_sized(struct cache *cache, unsigned number, size_t size,
                      uint64_t now_ms)
{
    char text[24];
    struct cache_key key = key_of(number, text);
    char *value = malloc(size + 1);
    assert_non_null(value);
    memset(value, (int)('a' + number % 26), size);
    const struct cache_piece pieces[CACHE_PIECES] = {{&number, sizeof(number)},
                                                     {value, size}};
    bool kept = cache_put(cache, &key, pieces, now_ms, NULL);
    free(value);
    return kept;
}

/* Is it there, and whole? */
static bool has(struct cache *cache, unsigned number, uint64_t now_ms)
{
    char text[24], value[4096];
    struct cache_key key = key_of(number, text);
    int64_t size = cache_copy(cache, &key, now_ms, value, sizeof(value));
    if (size < 0)
        return false;
    unsigned head;
    memcpy(&head, value, sizeof(head));
    assert_int_equal(head, number);
    for (int64_t i = sizeof(head); i < size; i++)
        assert_int_equal(value[i], 'a' + number % 26);
    return true;
}

static bool drop(struct cache *cache, unsigned number)
{
    char text[24];
    struct cache_key key = key_of(number, text);
    return cache_remove(cache, &key) == 1;
}

static uint64_t items(const struct fixture *f)
{
    struct cache_totals totals;
    cache_totals(f->region, &totals);
    return totals.items;
}

static void what_is_put_is_there(void **state)
{
    struct fixture *f = *state;
    assert_false(has(&f->cache, 1, 0));
    assert_true(put_sized(&f->cache, 1, 200, 0));
    assert_true(put_sized(&f->cache, 2, 0, 0));
    assert_true(put_sized(&f->cache, 3, 4000, 0));
    assert_true(has(&f->cache, 1, 0) && has(&f->cache, 2, 0));
    assert_true(has(&f->cache, 3, 0));
    assert_true(put_sized(&f->cache, 1, 900, 0)); /* in place of the other */
    assert_true(has(&f->cache, 1, 0));
    assert_int_equal(items(f), 3);
    assert_true(drop(&f->cache, 1));
    assert_false(drop(&f->cache, 1));
    assert_false(has(&f->cache, 1, 0));
    assert_int_equal(cache_clear(&f->cache), 2);
    assert_int_equal(items(f), 0);
    assert_int_equal(cache_check_held(&f->cache), 0);
}

static void a_small_room_gets_nothing(void **state)
{
    struct fixture *f = *state;
    char text[24], value[8];
    struct cache_key key = key_of(1, text);
    put_sized(&f->cache, 1, 200, 0);
    assert_int_equal(cache_copy(&f->cache, &key, 0, value, 8), -1);
}

static void what_is_old_is_gone(void **state)
{
    struct fixture *f = *state;
    put_sized(&f->cache, 1, 200, 5000);
    assert_true(has(&f->cache, 1, 5000 + TTL_MS - 1));
    assert_false(has(&f->cache, 1, 5000 + TTL_MS));
    assert_int_equal(items(f), 0);
    cache_limit(f->region, 100, 1u << 20, 0); /* for ever */
    put_sized(&f->cache, 1, 200, 5000);
    assert_true(has(&f->cache, 1, UINT64_MAX));
}

static void bounds_hold_at_any_time(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 1000; i++) {
        struct cache_totals totals;
        put_sized(&f->cache, i, 200 + i % 5000 * 10, 0);
        cache_totals(f->region, &totals);
        assert_true(totals.items <= 100);
        assert_true(totals.bytes <= 1u << 20);
        assert_true(has(&f->cache, i, 0) || i % 5000 * 10 + 204 > 4096);
    }
    cache_check(&f->cache);
    assert_true(f->cache.counts.evictions > 800);
    cache_limit(f->region, 7, 1u << 20, 0); /* as a reload does */
    cache_trim(&f->cache);
    assert_int_equal(items(f), 7);
    cache_limit(f->region, 100, 1000, 0);
    cache_trim(&f->cache);
    assert_int_equal(items(f), 0);
}

static void one_bound_of_one(void **state)
{
    struct fixture *f = *state;
    cache_limit(f->region, 1, 1u << 20, 0);
    for (unsigned i = 0; i < 50; i++) {
        put_sized(&f->cache, i, 10, 0);
        assert_true(has(&f->cache, i, 0));
        assert_int_equal(items(f), 1);
    }
}

static void what_is_too_large_is_kept_alone(void **state)
{
    struct fixture *f = *state;
    struct cache_totals totals;
    for (unsigned i = 0; i < 50; i++)
        put_sized(&f->cache, i, 200, 0);
    assert_true(put_sized(&f->cache, 77, 2u << 20, 0)); /* bound: 1 MiB */
    cache_totals(f->region, &totals);
    assert_int_equal(totals.items, 1);
    assert_true(totals.bytes > 2u << 20);
    assert_true(put_sized(&f->cache, 1, 10, 0));
    assert_int_equal(items(f), 1);
    assert_true(has(&f->cache, 1, 0));
    assert_false(put_sized(&f->cache, 78, 5u << 20, 0)); /* a shard: 4 MiB */
    assert_int_equal(f->cache.counts.refusals, 1);
}

/* Things that are used now and then stay, however many pass by once. */
static void a_scan_passes_through(void **state)
{
    struct fixture *f = *state;
    unsigned found = 0;
    cache_limit(f->region, 100, 1u << 20, 0);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 50; i++)
            if (!has(&f->cache, i, 0))
                put_sized(&f->cache, i, 100, 0);
    for (unsigned i = 0; i < 2000; i++)
        put_sized(&f->cache, 1000 + i, 100, 0);
    for (unsigned i = 0; i < 50; i++)
        found += has(&f->cache, i, 0);
    assert_true(found >= 45);
}

/* What left a short while ago and is asked for again was no scan. */
static void what_comes_back_stays(void **state)
{
    struct fixture *f = *state;
    unsigned found = 0;
    cache_limit(f->region, 100, 1u << 20, 0);
    for (unsigned i = 0; i < 100; i++) { /* a main queue of others */
        put_sized(&f->cache, i, 100, 0);
        has(&f->cache, i, 0);
        has(&f->cache, i, 0);
    }
    for (unsigned i = 200; i < 240; i++)
        put_sized(&f->cache, i, 100, 0); /* leave at once */
    for (unsigned i = 200; i < 220; i++)
        if (!has(&f->cache, i, 0))
            put_sized(&f->cache, i, 100, 0);
    for (unsigned i = 0; i < 60; i++)
        put_sized(&f->cache, 500 + i, 100, 0);
    for (unsigned i = 200; i < 220; i++)
        found += has(&f->cache, i, 0);
    assert_true(found >= 15);
}

static void a_pinned_value_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    char text[24];
    struct cache_key key = key_of(1, text);
    struct cache_pin pin;
    struct cache_totals totals;
    put_sized(&f->cache, 1, 3000, 0);
    assert_true(cache_pin(&f->cache, &key, 0, &pin));
    assert_int_equal((uintptr_t)pin.value % 16, 0);
    assert_int_equal(pin.size, 3004);
    assert_true(drop(&f->cache, 1));
    for (unsigned i = 2; i < 2000; i++)
        put_sized(&f->cache, i, 3000, 0);
    const char *value = (const char *)pin.value + sizeof(unsigned);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(value[i], 'b');
    cache_totals(f->region, &totals);
    assert_int_equal(totals.retired_bytes, 3072);
    cache_check(&f->cache);
    cache_unpin(&f->cache, &pin, 2);
    cache_clear(&f->cache);
    assert_int_equal(cache_check_held(&f->cache), 0);
    cache_totals(f->region, &totals);
    assert_int_equal(totals.retired_bytes, 0);
}

static void pins_belong_to_their_holder(void **state)
{
    struct fixture *f = *state;
    char text[24];
    struct cache_key key = key_of(1, text);
    struct cache other;
    struct error error;
    struct cache_pin mine, again, theirs;
    assert_int_equal(cache_open(&other, f->region, 70, &error), 0);
    put_sized(&f->cache, 1, 300, 0);
    assert_true(cache_pin(&f->cache, &key, 0, &mine));
    assert_true(cache_pin(&f->cache, &key, 0, &again));
    assert_true(cache_pin(&other, &key, 0, &theirs));
    cache_clear(&f->cache);
    cache_unpin(&f->cache, &again, 0);
    cache_unpin(&f->cache, &mine, 0);
    assert_int_equal(cache_check_held(&f->cache), 1);
    cache_forget_holder(f->region, 3);
    assert_int_equal(cache_check_held(&f->cache), 1);
    cache_forget_holder(f->region, 70);
    assert_int_equal(cache_check_held(&f->cache), 0);
}

static void a_new_one_may_come_pinned(void **state)
{
    struct fixture *f = *state;
    char text[24];
    struct cache_key key = key_of(1, text);
    struct cache_pin pin;
    const struct cache_piece pieces[CACHE_PIECES] = {{"abc", 3}, {"de", 2}};
    cache_limit(f->region, 1, 1u << 20, 0);
    assert_true(cache_put(&f->cache, &key, pieces, 0, &pin));
    put_sized(&f->cache, 2, 100, 0);
    assert_memory_equal(pin.value, "abcde", 5);
    cache_unpin(&f->cache, &pin, 0);
}

static void a_list_tells_all(void **state)
{
    struct fixture *f = *state;
    struct arena arena;
    struct cache_item *list;
    struct cache_pin pin;
    size_t count;
    char text[24];
    struct cache_key key = key_of(2, text);
    for (unsigned i = 1; i <= 3; i++)
        put_sized(&f->cache, i, 500, 10 * i);
    assert_true(cache_pin(&f->cache, &key, 30, &pin));
    cache_unpin(&f->cache, &pin, 7);
    arena_init(&arena, 1u << 20);
    assert_int_equal(cache_list(&f->cache, &arena, &list, &count), 0);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        unsigned number;
        memcpy(&number, list[i].head, sizeof(number));
        key_of(number, text);
        assert_string_equal(list[i].key, text);
        assert_int_equal(list[i].value_size, 504);
        assert_int_equal(list[i].bytes, 768);
        assert_int_equal(list[i].put_ms, 10 * number);
        assert_int_equal(list[i].uses, number == 2 ? 7 : 0);
        assert_int_equal(list[i].head[CACHE_HEAD_MAX - 1], 'a' + number);
    }
    arena_deinit(&arena);
}

static void another_layout_is_refused(void **state)
{
    struct fixture *f = *state;
    struct cache cache;
    struct error error;
    f->region->version++;
    assert_int_equal(cache_open(&cache, f->region, 3, &error), -1);
    f->region->version--;
    f->region->magic++;
    assert_int_equal(cache_open(&cache, f->region, 3, &error), -1);
    f->region->magic--;
    f->region->entry_size++;
    assert_int_equal(cache_open(&cache, f->region, 3, &error), -1);
    f->region->entry_size--;
}

/* Who is stopped in a change holds nobody up for long. */
static void a_stopped_owner_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    struct cache_place at;
    char text[24];
    struct cache_key key = key_of(1, text);
    uint32_t shard = cache_shard_of(f->region, key.hash);
    put_sized(&f->cache, 1, 100, 0);
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        cache_lock(&f->cache, &at, shard);
        cache_begin_change(&f->cache, &at);
        if (write(ready[1], "x", 1) == 1)
            pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_false(has(&f->cache, 1, 0));
    assert_false(put_sized(&f->cache, 1, 100, 0));
    assert_int_equal(cache_remove(&f->cache, &key), -1);
    assert_int_equal(cache_clear(&f->cache), -1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_false(has(&f->cache, 1, 0)); /* emptied */
    assert_true(put_sized(&f->cache, 1, 100, 0));
    assert_true(has(&f->cache, 1, 0));
    assert_int_equal(f->cache.counts.recoveries, 1);
    close(ready[0]);
    close(ready[1]);
}

#define NUMBERS 300

/* One of several that do everything at once; what they read is whole. */
static void work(struct cache_region *region, unsigned holder, unsigned turns)
{
    struct cache cache;
    struct error error;
    uint64_t random = holder * UINT64_C(0x9e3779b97f4a7c15) + 1;
    assert_int_equal(cache_open(&cache, region, holder, &error), 0);
    for (unsigned i = 0; i < turns; i++) {
        char text[24];
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned number = (unsigned)(random >> 33) % NUMBERS;
        struct cache_key key = key_of(number, text);
        struct cache_pin pin;
        switch (random >> 60) {
        case 0:
            put_sized(&cache, number, 100 + number * 10, i);
            break;
        case 1:
            cache_remove(&cache, &key);
            break;
        case 2:
        case 3:
            if (cache_pin(&cache, &key, i, &pin)) {
                const char *bytes = pin.value;
                for (uint32_t j = sizeof(number); j < pin.size; j++)
                    assert_int_equal(bytes[j], 'a' + number % 26);
                cache_unpin(&cache, &pin, 1);
            }
            break;
        default:
            if (!has(&cache, number, i) && random >> 62 == 3)
                put_sized(&cache, number, 100 + number * 10, i);
        }
    }
}

static void many_processes_at_once(void **state)
{
    struct fixture *f = *state;
    pid_t pids[4];
    cache_limit(f->region, 100, 100000, 0);
    for (unsigned i = 0; i < 4; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            work(f->region, 4 + i, 20000);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        int status;
        waitpid(pids[i], &status, 0);
        assert_int_equal(status, 0);
    }
    cache_check(&f->cache);
    cache_trim(&f->cache);
    assert_true(items(f) <= 100);
    cache_clear(&f->cache);
    assert_int_equal(cache_check_held(&f->cache), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_put_is_there),
        TEST(a_small_room_gets_nothing),
        TEST(what_is_old_is_gone),
        TEST(bounds_hold_at_any_time),
        TEST(one_bound_of_one),
        TEST(what_is_too_large_is_kept_alone),
        TEST(a_scan_passes_through),
        TEST(what_comes_back_stays),
        TEST(a_pinned_value_stays_as_it_is),
        TEST(pins_belong_to_their_holder),
        TEST(a_new_one_may_come_pinned),
        TEST(a_list_tells_all),
        TEST(another_layout_is_refused),
        TEST(a_stopped_owner_is_not_waited_for),
        TEST(many_processes_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
