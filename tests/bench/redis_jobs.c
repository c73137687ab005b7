/* SPDX-License-Identifier: Apache-2.0
 *
 * The peer of bench_jobs: Redis lists as a durable queue.  Two workers take
 * a job with BLMOVE into a list of their own and acknowledge it with LREM:
 *
 *     redis_jobs SOCKET COUNT
 *
 * Prints jobs a second, from the first push to the last acknowledgement.
 * Built by tests/bench/jobs.py, with libhiredis.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#define PUSH_GROUP 500

static redisContext *connect_or_die(const char *path)
{
    redisContext *redis = redisConnectUnix(path);
    if (redis == NULL || redis->err != 0)
        exit(1);
    return redis;
}

static void worker(const char *path, int number)
{
    redisContext *redis = connect_or_die(path);
    for (;;) {
        redisReply *job = redisCommand(
            redis, "BLMOVE queue taken%d LEFT RIGHT 0", number);
        if (job == NULL || job->type != REDIS_REPLY_STRING)
            exit(1);
        if (job->str[0] == 'x')
            _exit(0);
        freeReplyObject(redisCommand(redis, "LREM taken%d 1 %s", number,
                                     job->str));
        freeReplyObject(job);
    }
}

static void push(redisContext *redis, int count)
{
    for (int i = 0; i < count; i++) {
        redisAppendCommand(redis, "RPUSH queue %d", i);
        if (i % PUSH_GROUP == PUSH_GROUP - 1 || i == count - 1)
            for (int j = i % PUSH_GROUP; j >= 0; j--) {
                redisReply *reply;
                if (redisGetReply(redis, (void **)&reply) != REDIS_OK)
                    exit(1);
                freeReplyObject(reply);
            }
    }
    /* One end mark a worker, behind all jobs. */
    freeReplyObject(redisCommand(redis, "RPUSH queue x x"));
}

int main(int argc, char **argv)
{
    struct timespec start;
    struct timespec end;
    if (argc != 3)
        return 64;
    int count = atoi(argv[2]);
    pid_t pids[2];
    for (int i = 0; i < 2; i++)
        if ((pids[i] = fork()) == 0)
            worker(argv[1], i);
    redisContext *redis = connect_or_die(argv[1]);
    clock_gettime(CLOCK_MONOTONIC, &start);
    push(redis, count);
    for (int i = 0; i < 2; i++)
        waitpid(pids[i], NULL, 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.1f\n", count / ((double)(end.tv_sec - start.tv_sec) +
                              (double)(end.tv_nsec - start.tv_nsec) / 1e9));
    redisFree(redis);
    return 0;
}
