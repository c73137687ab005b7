/* SPDX-License-Identifier: Apache-2.0
 *
 * Admission by memory: the rule, the board, the readings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/shm/memory_board.h"
#include "workers/generation/admission_rule.h"
#include "workers/generation/memory_pressure.h"
#include "workers/generation/process_tree.h"

static void one_may_always(void **state)
{
    const struct admission_facts facts = {.limit_bytes = 100,
                                          .used_bytes = 500,
                                          .job_bytes = 50,
                                          .pressure = 99,
                                          .most_pressure = 20};
    (void)state;
    assert_int_equal(admission_decide(&facts), ADMISSION_YES);
}

static void another_when_it_fits(void **state)
{
    struct admission_facts facts = {
        .limit_bytes = 100, .used_bytes = 60, .job_bytes = 40, .others = true};
    (void)state;
    assert_int_equal(admission_decide(&facts), ADMISSION_YES);
    facts.used_bytes = 61;
    assert_int_equal(admission_decide(&facts), ADMISSION_LIMIT);
    facts.used_bytes = UINT64_MAX;
    assert_int_equal(admission_decide(&facts), ADMISSION_LIMIT);
    facts.used_bytes = 0;
    facts.job_bytes = UINT64_MAX;
    assert_int_equal(admission_decide(&facts), ADMISSION_LIMIT);
    facts.limit_bytes = 0;
    assert_int_equal(admission_decide(&facts), ADMISSION_YES);
}

static void one_by_one_while_nothing_is_known(void **state)
{
    struct admission_facts facts = {.limit_bytes = 100,
                                    .used_bytes = 10,
                                    .others = true,
                                    .others_young = true};
    (void)state;
    assert_int_equal(admission_decide(&facts), ADMISSION_LIMIT);
    facts.others_young = false;
    assert_int_equal(admission_decide(&facts), ADMISSION_YES);
    facts.others_young = true;
    facts.job_bytes = 20;
    assert_int_equal(admission_decide(&facts), ADMISSION_YES);
}

static void under_pressure(void **state)
{
    struct admission_facts facts = {
        .others = true, .pressure = 20, .most_pressure = 20};
    (void)state;
    assert_int_equal(admission_decide(&facts), ADMISSION_PRESSURE);
    facts.pressure = 19.9;
    assert_int_equal(admission_decide(&facts), ADMISSION_YES);
    facts.pressure = -1; /* not known */
    assert_int_equal(admission_decide(&facts), ADMISSION_YES);
    facts.pressure = 100;
    facts.most_pressure = 0;
    assert_int_equal(admission_decide(&facts), ADMISSION_YES);
}

static void the_young_count_as_others_did(void **state)
{
    (void)state;
    assert_int_equal(admission_count(10, 50, 0), 50);
    assert_int_equal(admission_count(60, 50, 0), 60);
    assert_int_equal(admission_count(10, 50, ADMISSION_YOUNG_MS), 10);
}

static void the_largest_is_known_and_slowly_forgotten(void **state)
{
    struct memory_board *board = calloc(1, sizeof(*board));
    (void)state;
    assert_non_null(board);
    memory_board_learn(board, 0);
    assert_int_equal(atomic_load(&board->job_bytes), 1);
    memory_board_learn(board, 800);
    memory_board_learn(board, 0);
    assert_int_equal(atomic_load(&board->job_bytes), 700);
    memory_board_learn(board, 700);
    assert_int_equal(atomic_load(&board->job_bytes), 700);
    free(board);
}

static void a_dead_worker_leaves_nothing(void **state)
{
    struct memory_board *board = calloc(1, sizeof(*board));
    (void)state;
    assert_non_null(board);
    assert_true(memory_board_begin(board, 3));
    assert_false(memory_board_begin(board, 0));
    memory_board_end(board, 0); /* not its to end */
    assert_false(memory_board_begin(board, 0));
    atomic_store(&board->places[3].taken, 77);
    atomic_store(&board->places[3].held_since_ms, 9);
    atomic_store(&board->places[5].held_since_ms, 8);
    assert_int_equal(memory_board_held_since_ms(board), 8);
    memory_board_forget(board, 5);
    assert_int_equal(memory_board_held_since_ms(board), 9);
    memory_board_forget(board, 3);
    assert_int_equal(memory_board_held_since_ms(board), 0);
    assert_int_equal(atomic_load(&board->places[3].taken), 0);
    assert_true(memory_board_begin(board, 0));
    free(board);
}

static double pressure_of(const char *text)
{
    char path[] = "/tmp/tm-pressure-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    double pressure = memory_pressure(path);
    unlink(path);
    return pressure;
}

static void pressure_is_read(void **state)
{
    (void)state;
    assert_true(pressure_of("some avg10=12.50 avg60=1.00 avg300=0.00 "
                            "total=7\nfull avg10=1.00") == 12.5);
    assert_true(pressure_of("") < 0);
    assert_true(pressure_of("some avg60=1.0\n") < 0);
    assert_true(pressure_of("some avg10=x") < 0);
    assert_true(memory_pressure("/nonexistent/pressure") < 0);
}

#define CHILD_BYTES (64u << 20)

/* A grandchild that has written to its memory. */
static void trees_are_measured(void **state)
{
    int ready[2];
    char byte;
    (void)state;
    assert_true(process_tree_memory(getpid()) < CHILD_BYTES);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (fork() == 0) {
            volatile char *bytes = malloc(CHILD_BYTES);
            for (size_t i = 0; bytes != NULL && i < CHILD_BYTES; i += 4096)
                bytes[i] = 1;
            if (write(ready[1], "!", 1) == 1)
                pause();
            _exit(0);
        }
        pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    uint64_t bytes = process_tree_memory(getpid());
    assert_int_equal(process_tree_kill(10000), 0);
    assert_true(bytes >= CHILD_BYTES);
    close(ready[0]);
    close(ready[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_may_always),
        cmocka_unit_test(another_when_it_fits),
        cmocka_unit_test(one_by_one_while_nothing_is_known),
        cmocka_unit_test(under_pressure),
        cmocka_unit_test(the_young_count_as_others_did),
        cmocka_unit_test(the_largest_is_known_and_slowly_forgotten),
        cmocka_unit_test(a_dead_worker_leaves_nothing),
        cmocka_unit_test(pressure_is_read),
        cmocka_unit_test(trees_are_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
