/* SPDX-License-Identifier: Apache-2.0
 *
 * One log file, many processes, rotations every millisecond: every line is
 * numbered, and each must be in one of the files, once and whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/log_backups.h"

#define WRITERS   4u
#define LINES_MAX 400000u
#define ROUNDS    40u

/* What the test and its writers share. */
struct shared {
    struct log_board board;
    _Atomic unsigned written[WRITERS]; /* lines whose call returned */
    _Atomic unsigned rotations;
    _Atomic unsigned failures;
    _Atomic bool paced;  /* writers take their time */
    _Atomic bool enough; /* and stop */
    _Atomic bool stop;   /* the tidier too */
};

struct place {
    char folder[32];
    char path[64];
    struct shared *shared;
    uint8_t seen[WRITERS][LINES_MAX]; /* how often each line was found */
    unsigned others;                  /* lines that no writer numbered */
    unsigned torn;                    /* lines of those who were killed */
    unsigned torn_max;
    unsigned plain; /* old files that are not compressed */
    unsigned compressed;
    off_t largest;
};

static struct shared *counting;

static void count(enum log_count what, uint64_t number)
{
    if (what == LOG_COUNT_ROTATION)
        atomic_fetch_add(&counting->rotations, (unsigned)number);
    if (what == LOG_COUNT_ROTATION_FAILURE)
        atomic_fetch_add(&counting->failures, (unsigned)number);
}

static void open_log(struct place *place)
{
    struct error error;
    static const struct log_hooks hooks = {.count = count};
    struct log_options options = {.path = place->path,
                                  .format = LOG_FORMAT_JSON,
                                  .level = LOG_INFO_LEVEL};
    log_share(&place->shared->board, 0, &hooks);
    assert_int_equal(log_open(&options, &error), 0);
}

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    strcpy(place->folder, "/tmp/tm-rotation-XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    snprintf(place->path, sizeof(place->path), "%s/t.log", place->folder);
    place->shared = mmap(NULL, sizeof(*place->shared), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    counting = place->shared;
    log_board_init(&place->shared->board);
    log_identify("test", -1);
    open_log(place);
    *state = place;
    return 0;
}

static void each_file(struct place *place,
                      void (*action)(struct place *place, const char *path))
{
    struct dirent **names;
    int count_of_files = scandir(place->folder, &names, NULL, alphasort);
    for (int i = 0; i < count_of_files; i++) {
        char path[400];
        snprintf(path, sizeof(path), "%s/%s", place->folder, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            action(place, path);
        free(names[i]);
    }
    free(names);
}

static void remove_file(struct place *place, const char *path)
{
    (void)place;
    unlink(path);
}

static int teardown(void **state)
{
    struct place *place = *state;
    struct log_options options = {.level = LOG_INFO_LEVEL};
    log_share(NULL, 0, NULL);
    log_open(&options, NULL);
    each_file(place, remove_file);
    rmdir(place->folder);
    munmap(place->shared, sizeof(*place->shared));
    free(place);
    return 0;
}

/* --- what is in the files --- */

static void take_line(struct place *place, const char *path, const char *line)
{
    unsigned writer;
    unsigned number;
    const char *at = strstr(line, "\"message\":\"line ");
    size_t size = strlen(line);
    if (strncmp(line, "{\"time\":\"20", 11) != 0 || size < 3 ||
        strcmp(line + size - 2, "}\n") != 0 ||
        strstr(line + 1, "{\"time\"") != NULL) {
        if (++place->torn > place->torn_max)
            fail_msg("%s has a torn line: %s", path, line);
        return;
    }
    if (at == NULL ||
        sscanf(at, "\"message\":\"line %u of %u", &number, &writer) != 2) {
        place->others++;
        return;
    }
    assert_true(writer < WRITERS && number < LINES_MAX);
    if (place->seen[writer][number]++ > 0)
        fail_msg("line %u of %u is there twice", number, writer);
}

/* gzread takes plain files as they are. */
static void take_file(struct place *place, const char *path)
{
    struct stat status;
    char line[LOG_LINE_MAX + 2];
    bool is_compressed = strstr(path, ".gz") != NULL;
    gzFile file = gzopen(path, "rb");
    assert_non_null(file);
    while (gzgets(file, line, sizeof(line)) != NULL)
        take_line(place, path, line);
    if (gzclose(file) != Z_OK)
        fail_msg("%s is damaged", path);
    if (strcmp(path, place->path) == 0)
        return;
    place->compressed += is_compressed;
    place->plain += !is_compressed;
    assert_int_equal(stat(path, &status), 0);
    if (!is_compressed && status.st_size > place->largest)
        place->largest = status.st_size;
}

static void read_all(struct place *place)
{
    memset(place->seen, 0, sizeof(place->seen));
    place->plain = place->compressed = place->others = place->torn = 0;
    each_file(place, take_file);
}

static void tidy(struct place *place, uint64_t keep, uint64_t bytes)
{
    struct error error;
    bool waiting;
    const struct log_backups backups = {.path = place->path,
                                        .count = keep,
                                        .total_bytes_max = bytes,
                                        .compress = true};
    log_refresh(&error);
    if (log_backups_tidy(&backups, &waiting, &error) != 0)
        fail_msg("%s", error.text);
    assert_false(waiting);
}

/* --- writers --- */

static _Noreturn void write_lines(struct place *place, unsigned writer,
                                  unsigned from, unsigned to)
{
    struct shared *shared = place->shared;
    log_identify("writer", (int)writer);
    /* a test that is held up for long does not make it run out of numbers */
    if (to == LINES_MAX && to - from > LINES_MAX / ROUNDS - 1)
        to = from + LINES_MAX / ROUNDS - 1;
    for (unsigned i = from; i < to && !atomic_load(&shared->enough); i++) {
        log_info("line %u of %u", i, writer);
        atomic_store(&shared->written[writer], i + 1);
        if (atomic_load(&shared->paced) && i % 20 == 0)
            usleep(1000);
    }
    _exit(log_lost() == 0 ? 0 : 1);
}

static pid_t start_writer(struct place *place, unsigned writer, unsigned from,
                          unsigned to)
{
    pid_t pid = fork();
    if (pid == 0)
        write_lines(place, writer, from, to);
    assert_true(pid > 0);
    return pid;
}

/* Compresses as fast as it can until it is told to stop. */
static pid_t start_tidier(struct place *place)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    const struct log_backups backups = {
        .path = place->path, .count = 100000, .compress = true};
    while (!atomic_load(&place->shared->stop)) {
        struct error error;
        bool waiting;
        log_refresh(&error);
        if (log_backups_tidy(&backups, &waiting, &error) != 0) {
            fprintf(stderr, "%s\n", error.text);
            _exit(1);
        }
    }
    _exit(0);
}

static void wait_good(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void no_line_is_lost_while_files_rotate(void **state)
{
    struct place *place = *state;
    struct shared *shared = place->shared;
    pid_t pids[WRITERS];
    uint64_t end_ms = clock_monotonic_ms() + 60000;
    log_board_bound(&shared->board, 20000, 0);
    atomic_store(&shared->paced, true);
    pid_t tidier = start_tidier(place);
    for (unsigned i = 0; i < WRITERS; i++)
        pids[i] = start_writer(place, i, 0, LINES_MAX - 1);
    while (atomic_load(&shared->rotations) < 60) {
        assert_true(clock_monotonic_ms() < end_ms);
        usleep(100);
    }
    atomic_store(&shared->enough, true);
    for (unsigned i = 0; i < WRITERS; i++)
        wait_good(pids[i]);
    atomic_store(&shared->stop, true);
    wait_good(tidier);
    assert_int_equal(atomic_load(&shared->failures), 0);
    tidy(place, 100000, 0);
    read_all(place);
    for (unsigned i = 0; i < WRITERS; i++)
        for (unsigned number = 0; number < atomic_load(&shared->written[i]);
             number++)
            if (place->seen[i][number] != 1)
                fail_msg("line %u of %u is lost", number, i);
    assert_int_equal(place->plain, 0);
    assert_int_equal(place->compressed, atomic_load(&shared->rotations));
}

static void files_keep_to_their_size(void **state)
{
    struct place *place = *state;
    log_board_bound(&place->shared->board, 20000, 0);
    wait_good(start_writer(place, 0, 0, 2000));
    read_all(place);
    assert_true(place->plain > 5);
    assert_true(place->largest <= 20000);
}

static unsigned lines_written(struct shared *shared)
{
    unsigned lines = 0;
    for (unsigned i = 0; i < WRITERS; i++)
        lines += atomic_load(&shared->written[i]);
    return lines;
}

static void wait_for_lines(struct shared *shared, unsigned lines)
{
    uint64_t end_ms = clock_monotonic_ms() + 60000;
    while (lines_written(shared) < lines) {
        assert_true(clock_monotonic_ms() < end_ms);
        usleep(20);
    }
}

/* Writers and tidier are killed wherever they are; all that was told to be
 * written must be there. */
static void who_is_killed_loses_nothing(void **state)
{
    struct place *place = *state;
    struct shared *shared = place->shared;
    unsigned doubtful[ROUNDS][WRITERS];
    unsigned rotations = 0;
    unsigned rounds_with_rotations = 0;
    srand(7);
    log_board_bound(&shared->board, 1000, 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        pid_t pids[WRITERS + 1];
        pids[WRITERS] = start_tidier(place);
        for (unsigned i = 0; i < WRITERS; i++)
            pids[i] = start_writer(place, i, atomic_load(&shared->written[i]),
                                   LINES_MAX);
        wait_for_lines(shared,
                       lines_written(shared) + 20 + (unsigned)rand() % 400);
        for (unsigned i = 0; i <= WRITERS; i++) {
            kill(pids[i], SIGKILL);
            assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
        }
        log_mend();
        /* a line may be there whose writer died before it could say so */
        for (unsigned i = 0; i < WRITERS; i++)
            doubtful[round][i] = atomic_fetch_add(&shared->written[i], 1);
        rounds_with_rotations += atomic_load(&shared->rotations) > rotations;
        rotations = atomic_load(&shared->rotations);
    }
    assert_true(rounds_with_rotations > 0);
    tidy(place, 100000, 0);
    place->torn_max = ROUNDS * WRITERS;
    read_all(place);
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < WRITERS; i++)
            place->seen[i][doubtful[round][i]] |= 2;
    unsigned missing = 0;
    for (unsigned i = 0; i < WRITERS; i++)
        for (unsigned n = 0; n < atomic_load(&shared->written[i]); n++)
            missing += place->seen[i][n] == 0;
    /* what was written right behind a torn line, before it was mended */
    assert_true(missing <= place->torn);
    assert_int_equal(place->plain, 0);
}

/* --- one process --- */

static void fill(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        log_info("line %u of 0", i);
}

static void expect_lines(struct place *place, unsigned number)
{
    read_all(place);
    for (unsigned i = 0; i < number; i++)
        if (place->seen[0][i] != 1)
            fail_msg("line %u is there %u times", i, place->seen[0][i]);
}

static void what_a_killed_one_began_is_ended(void **state)
{
    struct place *place = *state;
    fill(0, 3);
    assert_int_equal(write(log_descriptor(), "{\"time\":\"20", 11), 11);
    log_mend();
    fill(3, 6);
    log_mend();
    fill(6, 9);
    place->torn_max = 1;
    expect_lines(place, 9);
    assert_int_equal(place->torn, 1);
    assert_int_equal(place->others, 0);
}

static void moved_files_are_noticed(void **state)
{
    struct place *place = *state;
    struct error error;
    struct stat status;
    char aside[80];
    snprintf(aside, sizeof(aside), "%s.1", place->path);
    fill(0, 10);
    assert_int_equal(rename(place->path, aside), 0);
    assert_int_equal(log_reopen(&error), 0);
    fill(10, 20);
    /* and without a word, the other way: it is looked at once a second */
    assert_int_equal(stat(place->path, &status), 0);
    ino_t before = status.st_ino;
    assert_int_equal(rename(place->path, aside), 0);
    uint64_t end_ms = clock_monotonic_ms() + 60000;
    while (stat(place->path, &status) != 0 || status.st_ino == before) {
        log_info("something else");
        struct timespec pause = {0, 50000000};
        nanosleep(&pause, NULL);
        assert_true(clock_monotonic_ms() < end_ms);
    }
    fill(20, 30);
    read_all(place);
    for (unsigned i = 10; i < 30; i++)
        assert_int_equal(place->seen[0][i], 1);
}

static void a_truncated_file_goes_on_at_its_start(void **state)
{
    struct place *place = *state;
    struct stat status;
    log_board_bound(&place->shared->board, 10000, 0);
    fill(0, 60);
    assert_int_equal(truncate(place->path, 0), 0);
    fill(60, 90);
    assert_int_equal(stat(place->path, &status), 0);
    assert_in_range(status.st_size, 30 * 80, 30 * 160);
    read_all(place);
    assert_int_equal(place->plain, 0);
    assert_int_equal(atomic_load(&place->shared->rotations), 0);
}

static void an_interval_begins_a_new_file(void **state)
{
    struct place *place = *state;
    fill(0, 3);
    log_board_bound(&place->shared->board, 0, 86400000);
    fill(3, 6);
    assert_int_equal(atomic_load(&place->shared->rotations), 0);
    /* yesterday's file: as at the first start of a day */
    struct timespec yesterday[2] = {{.tv_sec = time(NULL) - 86400},
                                    {.tv_sec = time(NULL) - 86400}};
    assert_int_equal(utimensat(AT_FDCWD, place->path, yesterday, 0), 0);
    open_log(place);
    fill(6, 9);
    assert_int_equal(atomic_load(&place->shared->rotations), 1);
    fill(9, 12);
    assert_int_equal(atomic_load(&place->shared->rotations), 1);
    expect_lines(place, 12);
    assert_int_equal(place->plain, 1);
}

static void write_file(const struct place *place, const char *suffix,
                       const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s%s", place->path, suffix);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static bool exists(const struct place *place, const char *suffix)
{
    char path[128];
    snprintf(path, sizeof(path), "%s%s", place->path, suffix);
    return access(path, F_OK) == 0;
}

static void interrupted_compression_is_taken_up(void **state)
{
    struct place *place = *state;
    write_file(place, "-20260101T000000.000Z", "whole\n");
    write_file(place, "-20260101T000000.000Z.gz.part", "\x1f\x8b half");
    write_file(place, "-20260102T000000.000Z", "\x1f\x8b is whole");
    write_file(place, "-notes", "not ours");
    write_file(place, "-20260103T000000.000Z.mine", "nor this");
    tidy(place, 100, 0);
    assert_true(exists(place, "-20260101T000000.000Z.gz"));
    assert_false(exists(place, "-20260101T000000.000Z"));
    assert_false(exists(place, "-20260101T000000.000Z.gz.part"));
    assert_true(exists(place, "-20260102T000000.000Z.gz"));
    assert_false(exists(place, "-20260102T000000.000Z"));
    assert_true(exists(place, "-notes"));
    assert_true(exists(place, "-20260103T000000.000Z.mine"));
}

static void old_files_are_bounded(void **state)
{
    struct place *place = *state;
    char suffix[40];
    for (int i = 1; i <= 9; i++) {
        snprintf(suffix, sizeof(suffix), "-2026010%dT000000.000Z.gz", i);
        write_file(place, suffix, "0123456789");
    }
    tidy(place, 5, 0);
    assert_false(exists(place, "-20260104T000000.000Z.gz"));
    assert_true(exists(place, "-20260105T000000.000Z.gz"));
    tidy(place, 5, 30);
    assert_false(exists(place, "-20260106T000000.000Z.gz"));
    assert_true(exists(place, "-20260107T000000.000Z.gz"));
}

/* Two lines in the old file are all that its writer has to say, but it has
 * not let go. */
static void a_file_in_use_is_left_alone(void **state)
{
    struct place *place = *state;
    struct error error;
    bool waiting;
    char path[128];
    const struct log_backups backups = {
        .path = place->path, .count = 100, .compress = true};
    write_file(place, "-20260101T000000.000Z", "one\n");
    snprintf(path, sizeof(path), "%s-20260101T000000.000Z", place->path);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(log_backups_tidy(&backups, &waiting, &error), 0);
    assert_true(waiting);
    assert_true(exists(place, "-20260101T000000.000Z"));
    close(fd);
    assert_int_equal(log_backups_tidy(&backups, &waiting, &error), 0);
    assert_false(waiting);
    assert_true(exists(place, "-20260101T000000.000Z.gz"));
}

static void a_rotation_that_fails_goes_on_in_the_old_file(void **state)
{
    struct place *place = *state;
    char away[48];
    log_board_bound(&place->shared->board, 500, 0);
    snprintf(away, sizeof(away), "%s-away", place->folder);
    assert_int_equal(rename(place->folder, away), 0);
    fill(0, 10);
    assert_int_equal(log_lost(), 0);
    assert_int_equal(atomic_load(&place->shared->failures), 1);
    assert_int_equal(rename(away, place->folder), 0);
    atomic_store(&place->shared->board.retry_ms, 0); /* a second later */
    fill(10, 20);
    assert_true(atomic_load(&place->shared->rotations) >= 1);
    expect_lines(place, 20);
}

#define R(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        R(no_line_is_lost_while_files_rotate),
        R(files_keep_to_their_size),
        R(who_is_killed_loses_nothing),
        R(what_a_killed_one_began_is_ended),
        R(moved_files_are_noticed),
        R(a_truncated_file_goes_on_at_its_start),
        R(an_interval_begins_a_new_file),
        R(interrupted_compression_is_taken_up),
        R(old_files_are_bounded),
        R(a_file_in_use_is_left_alone),
        R(a_rotation_that_fails_goes_on_in_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
