/* SPDX-License-Identifier: Apache-2.0
 *
 * A process is killed at every step of every operation on the cache, and
 * then, so that no step is forgotten, before instructions all along them.
 * Each time the others must go on, find nothing that is half done, lose at
 * most the one shard, and get all of its room back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/cache_check.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#ifdef __SANITIZE_ADDRESS__
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

#define SURVIVOR  3 /* holders */
#define VICTIM    80
#define ITEMS     40
#define PINNED    5  /* by the survivor */
#define REMOVED   6  /* by the survivor, while it has it pinned */
#define LEFT      7  /* the same, and given back: to be swept */
#define STRIDE    97 /* instructions between two places to die at */
#define STEPS_MAX 200000

static struct cache_region *region;
static struct cache survivor;
static struct cache_pin pinned, removed;

static struct cache_key key_of(unsigned number, char text[24])
{
    int size = snprintf(text, 24, "key-%u", number);
    return cache_key(text, (size_t)size);
}

static size_t size_of(unsigned number)
{
    return 100 + number * 37 % 900;
}

static bool put(struct cache *cache, unsigned number)
{
    char text[24], value[1000];
    struct cache_key key = key_of(number, text);
    memset(value, (int)('a' + number % 26), sizeof(value));
    const struct cache_piece pieces[CACHE_PIECES] = {{&number, sizeof(number)},
                                                     {value, size_of(number)}};
    return cache_put(cache, &key, pieces, 0, NULL);
}

static void assert_whole(unsigned number, const void *value, size_t size)
{
    const char *bytes = value;
    assert_int_equal(size, sizeof(number) + size_of(number));
    assert_memory_equal(value, &number, sizeof(number));
    for (size_t i = sizeof(number); i < size; i++)
        assert_int_equal(bytes[i], 'a' + number % 26);
}

static bool is_there(unsigned number)
{
    char text[24], value[1200];
    struct cache_key key = key_of(number, text);
    int64_t size = cache_copy(&survivor, &key, 0, value, sizeof(value));
    if (size >= 0)
        assert_whole(number, value, (size_t)size);
    return size >= 0;
}

static void pin_one(struct cache *cache, unsigned number, struct cache_pin *pin)
{
    char text[24];
    struct cache_key key = key_of(number, text);
    assert_true(cache_pin(cache, &key, 0, pin));
}

static void remove_one(struct cache *cache, unsigned number)
{
    char text[24];
    struct cache_key key = key_of(number, text);
    cache_remove(cache, &key);
}

/* --- what the victim does --- */

static void op_put(struct cache *cache)
{
    put(cache, 1000);
}

static void op_put_again(struct cache *cache)
{
    put(cache, PINNED);
    put(cache, 8);
}

static void op_put_past_the_bound(struct cache *cache)
{
    for (unsigned i = 0; i < 4; i++)
        put(cache, 2000 + i);
}

static void op_put_pinned(struct cache *cache)
{
    char text[24];
    struct cache_key key = key_of(3000, text);
    struct cache_pin pin;
    const struct cache_piece pieces[CACHE_PIECES] = {{"abc", 3}};
    cache_put(cache, &key, pieces, 0, &pin);
}

static void op_copy(struct cache *cache)
{
    char text[24], value[1200];
    struct cache_key key = key_of(9, text);
    cache_copy(cache, &key, 0, value, sizeof(value));
}

static void op_copy_too_old(struct cache *cache)
{
    char text[24], value[1200];
    struct cache_key key = key_of(9, text);
    cache_copy(cache, &key, UINT64_MAX / 2, value, sizeof(value));
}

static void op_pin(struct cache *cache)
{
    struct cache_pin pin;
    pin_one(cache, 10, &pin);
    cache_unpin(cache, &pin, 1);
}

static void op_pin_and_lose(struct cache *cache)
{
    struct cache_pin pin;
    pin_one(cache, 10, &pin);
    remove_one(cache, 10);
    cache_unpin(cache, &pin, 1);
}

static void op_remove(struct cache *cache)
{
    remove_one(cache, 11);
    remove_one(cache, PINNED);
    remove_one(cache, 4000);
}

static void op_clear(struct cache *cache)
{
    cache_clear(cache);
}

static void op_trim(struct cache *cache)
{
    cache_limit(region, ITEMS / 2, 1u << 20, 1u << 30);
    cache_trim(cache);
}

static void op_list(struct cache *cache)
{
    struct arena arena;
    struct cache_item *list;
    size_t count;
    arena_init(&arena, 1u << 20);
    cache_list(cache, &arena, &list, &count);
    arena_deinit(&arena);
}

/* Of a shard whose owner is dead already. */
static void op_mend(struct cache *cache)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct cache_place at;
        struct cache dying = {.region = region, .holder = VICTIM};
        char text[24];
        struct cache_key key = key_of(PINNED, text);
        cache_lock(&dying, &at, cache_shard_of(region, key.hash));
        cache_begin_change(&dying, &at);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    put(cache, PINNED);
}

static const struct operation {
    const char *name;
    void (*run)(struct cache *cache);
} operations[] = {
    {"put", op_put},
    {"put again", op_put_again},
    {"put past the bound", op_put_past_the_bound},
    {"put pinned", op_put_pinned},
    {"copy", op_copy},
    {"copy what is too old", op_copy_too_old},
    {"pin", op_pin},
    {"pin and lose", op_pin_and_lose},
    {"remove", op_remove},
    {"clear", op_clear},
    {"trim", op_trim},
    {"list", op_list},
    {"mend", op_mend},
};

#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* --- before and after --- */

static void prepare(void)
{
    static const struct cache_shape shape = {4, 100, 1u << 20};
    struct error error;
    struct cache_pin left;
    region = cache_region_make(&shape);
    cache_limit(region, ITEMS, 1u << 20, 1u << 30);
    assert_int_equal(cache_open(&survivor, region, SURVIVOR, &error), 0);
    for (unsigned i = 0; i < ITEMS; i++)
        assert_true(put(&survivor, i));
    pin_one(&survivor, PINNED, &pinned);
    pin_one(&survivor, REMOVED, &removed);
    pin_one(&survivor, LEFT, &left);
    remove_one(&survivor, REMOVED);
    remove_one(&survivor, LEFT);
    cache_unpin(&survivor, &left, 0);
}

static bool was_emptied(uint32_t shard)
{
    return atomic_load(&cache_shard_at(region, shard)->items) == 0;
}

/* Others find all that was not in the victim's hands. */
static void verify(bool keeps)
{
    char text[24];
    unsigned emptied = 0;
    cache_forget_holder(region, VICTIM); /* as the master does */
    cache_check(&survivor);
    assert_whole(PINNED, pinned.value, pinned.size);
    assert_whole(REMOVED, removed.value, removed.size);
    for (uint32_t i = 0; i < region->shard_count; i++)
        emptied += was_emptied(i);
    assert_true(!keeps || emptied <= 1);
    for (unsigned i = 12; i < ITEMS && keeps; i++) {
        uint32_t shard = cache_shard_of(region, key_of(i, text).hash);
        assert_true(is_there(i) || was_emptied(shard));
    }
    for (unsigned i = 0; i < 3 * ITEMS; i++) {
        assert_true(put(&survivor, i));
        assert_true(is_there(i));
    }
    cache_check(&survivor);
    cache_unpin(&survivor, &pinned, 0);
    cache_unpin(&survivor, &removed, 0);
    assert_true(cache_clear(&survivor) > 0);
    assert_int_equal(cache_check_held(&survivor), 0); /* nothing leaked */
    cache_region_unmake(&region);
}

/* --- at every step --- */

struct countdown {
    unsigned left;
    enum cache_step *last;
};

static void count_down(void *context, enum cache_step step)
{
    struct countdown *countdown = context;
    *countdown->last = step;
    if (--countdown->left == 0)
        kill(getpid(), SIGKILL);
}

/* True when the operation came to its end before. */
static bool killed_at_step(const struct operation *operation, unsigned nth)
{
    enum cache_step last;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct countdown countdown = {nth, &last};
        struct cache cache = {.region = region,
                              .holder = VICTIM,
                              .step = count_down,
                              .step_context = &countdown};
        operation->run(&cache);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status);
}

/* Which change most of what there is. */
static bool keeps(const struct operation *operation)
{
    return operation->run != op_clear && operation->run != op_trim &&
           operation->run != op_put_past_the_bound && operation->run != op_mend;
}

static void killed_at_every_step(void **state)
{
    unsigned deaths = 0;
    (void)state;
    for (unsigned i = 0; i < OPERATIONS; i++) {
        bool over = false;
        for (unsigned nth = 1; !over; nth++) {
            prepare();
            over = killed_at_step(&operations[i], nth);
            verify(keeps(&operations[i]));
            deaths += !over;
        }
    }
    assert_true(deaths > 150);
}

static unsigned char passed[CACHE_STEP_COUNT];

static void note(void *context, enum cache_step step)
{
    (void)context;
    passed[step] = 1;
}

/* A step that no operation passes would not be tested. */
static void every_step_is_passed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < OPERATIONS; i++) {
        prepare();
        struct cache cache = {.region = region, .holder = VICTIM, .step = note};
        operations[i].run(&cache);
        verify(keeps(&operations[i]));
    }
    for (unsigned i = 0; i < CACHE_STEP_COUNT; i++)
        assert_true(passed[i]);
}

/* --- between instructions --- */

static pid_t traced(const struct operation *operation)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    struct cache cache = {.region = region, .holder = VICTIM};
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(1);
    raise(SIGSTOP);
    operation->run(&cache);
    _exit(0);
}

/* Killed after so many instructions; true when it came to its end. */
static bool killed_at_instruction(const struct operation *operation,
                                  unsigned nth)
{
    int status;
    pid_t pid = traced(operation);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        skip(); /* processes may not be traced here */
    for (unsigned i = 0; i < nth; i++) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0 ||
            waitpid(pid, &status, 0) != pid)
            fail();
        if (WIFEXITED(status))
            return true;
    }
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return false;
}

static void between_instructions(const struct operation *operation)
{
    bool over = false;
    for (unsigned nth = 1; !over && nth < STEPS_MAX; nth += STRIDE) {
        prepare();
        over = killed_at_instruction(operation, nth);
        verify(keeps(operation));
    }
}

static void killed_between_instructions(void **state)
{
    (void)state;
    if (RUNNING_ON_VALGRIND || IS_SANITIZED)
        skip(); /* far too many instructions, and not all of them ours */
    between_instructions(&operations[1]); /* put again: it does most */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_is_passed),
        cmocka_unit_test(killed_at_every_step),
        cmocka_unit_test(killed_between_instructions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
