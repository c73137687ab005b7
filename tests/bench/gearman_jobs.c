/* SPDX-License-Identifier: Apache-2.0
 *
 * A peer of bench_jobs that keeps its queue in memory: gearmand with two
 * workers, and a client that has IN_FLIGHT jobs under way and waits for
 * their ends:
 *
 *     gearman_jobs PORT COUNT
 *
 * Prints jobs a second, from the first job to the last end.  Built by
 * tests/bench/jobs.py, with libgearman.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libgearman/gearman.h>

#define HOST      "127.0.0.1"
#define WORKERS   2
#define IN_FLIGHT 64

static gearman_return_t nothing(gearman_job_st *job, void *self)
{
    (void)job, (void)self;
    return GEARMAN_SUCCESS;
}

static void worker(int port)
{
    gearman_worker_st *worker = gearman_worker_create(NULL);
    gearman_function_t function = gearman_function_create(nothing);
    gearman_worker_add_server(worker, HOST, (in_port_t)port);
    gearman_worker_define_function(worker, "nothing", 7, function, 0, NULL);
    while (gearman_success(gearman_worker_work(worker)))
        ;
    _exit(1);
}

static void run(gearman_client_st *client, int count)
{
    gearman_return_t result;
    for (int i = 0; i < count; i++)
        if (gearman_client_add_task(client, NULL, NULL, "nothing", NULL, "x", 1,
                                    &result) == NULL)
            exit(1);
    if (!gearman_success(gearman_client_run_tasks(client)))
        exit(1);
    gearman_client_task_free_all(client);
}

int main(int argc, char **argv)
{
    struct timespec start;
    struct timespec end;
    pid_t pids[WORKERS];
    if (argc != 3)
        return 64;
    int port = atoi(argv[1]);
    int count = atoi(argv[2]);
    for (int i = 0; i < WORKERS; i++)
        if ((pids[i] = fork()) == 0)
            worker(port);
    gearman_client_st *client = gearman_client_create(NULL);
    gearman_client_add_server(client, HOST, (in_port_t)port);
    run(client, IN_FLIGHT); /* the workers are there */
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int done = 0; done < count; done += IN_FLIGHT)
        run(client, count - done < IN_FLIGHT ? count - done : IN_FLIGHT);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.1f\n", count / ((double)(end.tv_sec - start.tv_sec) +
                              (double)(end.tv_nsec - start.tv_nsec) / 1e9));
    gearman_client_free(client);
    for (int i = 0; i < WORKERS; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    return 0;
}
