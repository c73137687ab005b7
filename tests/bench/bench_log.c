/* SPDX-License-Identifier: Apache-2.0
 *
 * What a line of the log costs beside write() of the same bytes:
 *
 *     bench_log FOLDER LINES
 *
 * Slices of both take turns.  The log is JSON, to a file that is rotated every
 * 10 MB; write() appends the very lines that the log had made.  Prints
 * seconds of each as JSON.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define SLICE     5000u
#define MAX_BYTES 10000000u

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* A line as the workers write them; no two are the same. */
static void log_slice(unsigned from)
{
    char message[] = "job 00000000 is done";
    for (unsigned i = from; i < from + SLICE; i++) {
        unsigned left = i;
        for (int digit = 11; digit > 3; digit--, left /= 10)
            message[digit] = (char)('0' + left % 10);
        log_event(LOG_INFO_LEVEL, message, LOG_UINT("job_id", i),
                  LOG_TEXT("contract", "contracts/user_registration.yaml"),
                  LOG_UINT("files", 12), LOG_INT("duration_ms", 3));
    }
}

struct lines {
    char *bytes;
    const char *at;
};

static void write_slice(int fd, struct lines *lines)
{
    for (unsigned i = 0; i < SLICE; i++) {
        const char *end = strchr(lines->at, '\n') + 1;
        size_t size = (size_t)(end - lines->at);
        if (write(fd, lines->at, size) != (ssize_t)size)
            fail("write");
        lines->at = end;
    }
}

static struct log_board *make_board(void)
{
    struct log_board *board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        fail("mmap");
    log_board_init(board);
    log_share(board, 0, NULL);
    return board;
}

static void open_log(const char *path)
{
    struct error error;
    const struct log_options options = {
        .path = path, .format = LOG_FORMAT_JSON, .level = LOG_INFO_LEVEL};
    if (log_open(&options, &error) != 0) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
}

/* What the log makes of all slices, for write(). */
static struct lines make_lines(const char *path, unsigned lines)
{
    struct stat status;
    open_log(path);
    for (unsigned i = 0; i < lines; i += SLICE)
        log_slice(i);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0)
        fail(path);
    size_t size = (size_t)status.st_size;
    char *bytes = malloc(size + 1);
    if (bytes == NULL || read(fd, bytes, size) != (ssize_t)size)
        fail(path);
    bytes[size] = '\0';
    close(fd);
    unlink(path);
    return (struct lines){bytes, bytes};
}

static void measure(const char *folder, unsigned lines)
{
    char made[300];
    char log[300];
    char plain[300];
    snprintf(made, sizeof(made), "%s/made", folder);
    snprintf(log, sizeof(log), "%s/bench.log", folder);
    snprintf(plain, sizeof(plain), "%s/plain", folder);
    struct log_board *board = make_board();
    log_identify("generation", 3);
    struct lines all = make_lines(made, lines);
    open_log(log);
    log_board_bound(board, MAX_BYTES, 0);
    int fd =
        open(plain, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_TRUNC, 0600);
    if (fd < 0)
        fail(plain);
    uint64_t write_ns = 0;
    uint64_t log_ns = 0;
    for (unsigned i = 0; i < lines; i += SLICE) {
        uint64_t start_ns = clock_monotonic_ns();
        write_slice(fd, &all);
        uint64_t middle_ns = clock_monotonic_ns();
        log_slice(i);
        write_ns += middle_ns - start_ns;
        log_ns += clock_monotonic_ns() - middle_ns;
    }
    printf("{\"lines\": %u, \"bytes\": %zu, \"rotations\": %u, "
           "\"lost\": %llu, \"write_seconds\": %.6f, \"log_seconds\": %.6f}\n",
           lines, (size_t)(all.at - all.bytes),
           atomic_load(&board->generation) - 2, (unsigned long long)log_lost(),
           (double)write_ns / 1e9, (double)log_ns / 1e9);
    close(fd);
    free(all.bytes);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: bench_log FOLDER LINES\n", stderr);
        return 64;
    }
    measure(argv[1], (unsigned)strtoul(argv[2], NULL, 10) / SLICE * SLICE);
    return 0;
}
