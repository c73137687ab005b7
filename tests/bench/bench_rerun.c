/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_rerun PIPE MARK: a job that tells when it runs, by a byte into the
 * named pipe.  The first of two waits to be killed, the second is done at
 * once; the file MARK is there between them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: bench_rerun PIPE MARK\n", stderr);
        return 64;
    }
    int fd = open(argv[1], O_WRONLY | O_CLOEXEC);
    int mark = open(argv[2], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "r", 1) != 1)
        return 1;
    if (mark >= 0)
        pause();
    return unlink(argv[2]) == 0 ? 0 : 1;
}
