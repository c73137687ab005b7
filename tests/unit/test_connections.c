/* SPDX-License-Identifier: Apache-2.0
 *
 * The connection budget, the policy above it, and what PostgreSQL's failures
 * mean.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/config/config.h"
#include "common/postgres/failure.h"
#include "common/postgres/hosts.h"
#include "common/postgres/resolver.h"
#include "common/shm/budget.h"
#include "workers/sync/pressure.h"

static struct budget budget;
static struct sync_view view;
static uint64_t chance;

static int empty(void **state)
{
    (void)state;
    memset(&budget, 0, sizeof(budget));
    memset(&view, 0, sizeof(view));
    chance = 1;
    return 0;
}

static void no_more_than_its_size(void **state)
{
    (void)state;
    for (unsigned holder = 0; holder < 3; holder++)
        assert_true(budget_take(&budget, holder, 3));
    assert_true(budget_take(&budget, 1, 3)); /* has one */
    assert_false(budget_is_wanted(&budget));
    assert_false(budget_take(&budget, 3, 3));
    assert_true(budget_is_wanted(&budget));
    assert_int_equal(budget_held(&budget), 3);
    budget_give_back(&budget, 1);
    assert_true(budget_take(&budget, 3, 3));
    assert_false(budget_is_wanted(&budget));
}

static void the_dead_hold_nothing(void **state)
{
    (void)state;
    assert_true(budget_take(&budget, 7, 1));
    assert_false(budget_take(&budget, 8, 1));
    budget_give_back(&budget, 7); /* as the master does */
    budget_give_back(&budget, 7);
    budget_give_back(&budget, 8); /* died while it waited */
    assert_false(budget_is_wanted(&budget));
    assert_int_equal(budget_held(&budget), 0);
    assert_true(budget_take(&budget, 9, 1));
}

static void resting_is_not_using(void **state)
{
    (void)state;
    assert_true(budget_take(&budget, 0, 10));
    assert_true(budget_take(&budget, 86, 10));
    assert_int_equal(budget_in_use(&budget, SLOTS_MAX), 2);
    assert_int_equal(budget_in_use(&budget, 86), 1);
    budget_rest(&budget, 0);
    assert_int_equal(budget_in_use(&budget, SLOTS_MAX), 1);
    assert_int_equal(budget_held(&budget), 2);
}

static void usage_is_the_larger(void **state)
{
    (void)state;
    struct budget_usage usage;
    for (unsigned holder = 0; holder < 5; holder++)
        assert_true(budget_take(&budget, holder, 10));
    budget_usage(&budget, SLOTS_MAX, 10, 5000, &usage);
    assert_true(usage.usage > 0.49 && usage.usage < 0.51);
    assert_false(usage.by_server);
    budget_sample(&budget, 90, 100, 5000);
    budget_usage(&budget, SLOTS_MAX, 10, 6000, &usage);
    assert_true(usage.by_server);
    assert_int_equal(usage.in_use, 90);
    assert_int_equal(usage.size, 100);
    budget_usage(&budget, SLOTS_MAX, 10, 5000 + BUDGET_SAMPLE_FRESH_MS, &usage);
    assert_false(usage.by_server);
}

/* 8 of 10 at 0.8 is not above it. */
static void threshold_is_strict(void **state)
{
    (void)state;
    struct config config = {.sync_pool_check = true,
                            .sync_pool_threshold = 0.8,
                            .sync_retry_base_ms = 1000,
                            .sync_retry_max_ms = 60000,
                            .database_pool_max = 10};
    struct pressure pressure;
    pressure_init(&pressure, &config, &budget, &view, 20, &chance);
    for (unsigned holder = 0; holder < 8; holder++)
        assert_true(budget_take(&budget, holder, 10));
    assert_int_equal(pressure_look(&pressure, 1000), PRESSURE_NONE);
    assert_true(budget_take(&budget, 8, 10));
    assert_int_equal(pressure_look(&pressure, 1000), PRESSURE_NEAR);
    config.sync_pool_check = false;
    assert_int_equal(pressure_look(&pressure, 1000), PRESSURE_NONE);
}

static void what_is_put_off_is_tried_again(void **state)
{
    (void)state;
    struct config config = {.sync_pool_check = true,
                            .sync_pool_threshold = 0.8,
                            .sync_retry_base_ms = 1000,
                            .sync_retry_max_ms = 60000,
                            .database_pool_max = 10};
    struct pressure pressure;
    pressure_init(&pressure, &config, &budget, &view, 20, &chance);
    budget_sample(&budget, 95, 97, 1000);
    assert_int_equal(pressure_look(&pressure, 1000), PRESSURE_NEAR);
    pressure_defer(&pressure, 1000);
    assert_int_equal(view.deferred, 1);
    assert_in_range(pressure.retry_at_ms, 1125, 2000);
    assert_int_equal(pressure_look(&pressure, 1100), PRESSURE_WAIT);
    /* What is known is too old: the server is asked, and answers. */
    uint64_t later_ms = 1000 + BUDGET_SAMPLE_FRESH_MS;
    assert_int_equal(pressure_look(&pressure, later_ms), PRESSURE_ASK);
    pressure_asked(&pressure);
    budget_sample(&budget, 96, 97, later_ms);
    assert_int_equal(pressure_look(&pressure, later_ms), PRESSURE_NEAR);
    pressure_defer(&pressure, later_ms);
    assert_int_equal(pressure.deferrals, 2);
    budget_sample(&budget, 50, 97, later_ms + 60000);
    assert_int_equal(pressure_look(&pressure, later_ms + 60000), PRESSURE_NONE);
    assert_int_equal(view.deferred, 0);
}

/* A server that does not let us count any more must not be asked forever. */
static void an_answer_without_figures_ends_it(void **state)
{
    (void)state;
    struct config config = {.sync_pool_check = true,
                            .sync_pool_threshold = 0.8,
                            .sync_retry_base_ms = 10,
                            .sync_retry_max_ms = 10,
                            .database_pool_max = 10};
    struct pressure pressure;
    pressure_init(&pressure, &config, &budget, &view, 20, &chance);
    budget_sample(&budget, 95, 97, 1000);
    assert_int_equal(pressure_look(&pressure, 1000), PRESSURE_NEAR);
    pressure_defer(&pressure, 1000);
    assert_int_equal(pressure_look(&pressure, 100000), PRESSURE_ASK);
    pressure_asked(&pressure);
    assert_int_equal(pressure_look(&pressure, 100000), PRESSURE_NONE);
}

static void busy_is_not_down(void **state)
{
    (void)state;
    assert_true(pg_failure_is_busy("53300", "in any language"));
    assert_true(pg_failure_is_busy("08P01", "query_wait_timeout"));
    assert_true(pg_failure_is_busy(
        "08P01", "no more connections allowed (max_client_conn)"));
    assert_true(pg_failure_is_busy(
        "08P01", "server login failed: FATAL sorry, too many clients already"));
    assert_false(pg_failure_is_busy("57P03", "too many clients already"));
    assert_false(pg_failure_is_busy("08P01", "server login has been failing, "
                                             "try again later"));
    assert_false(pg_failure_is_busy("", "connection refused"));
    assert_true(pg_failure_is_authorization("28P01"));
    assert_true(pg_failure_is_authorization("42501"));
    assert_false(pg_failure_is_authorization("42P01"));
}

static void words_of_a_failed_connection(void **state)
{
    (void)state;
    char sqlstate[PG_SQLSTATE_SIZE], words[200];
    pg_words_of_connect("connection to server at \"::1\", port 5432 failed: "
                        "FATAL:  53300: sorry, too many clients already\n"
                        "LOCATION:  InitProcess, proc.c:354\n",
                        sqlstate, words, sizeof(words));
    assert_string_equal(sqlstate, "53300");
    assert_string_equal(words,
                        "connection to server at \"::1\", port 5432 failed: "
                        "FATAL: sorry, too many clients already");
    pg_words_of_connect("connection refused\n\tIs the server running?\n",
                        sqlstate, words, sizeof(words));
    assert_string_equal(sqlstate, "");
    assert_string_equal(words, "connection refused  Is the server running?");
    pg_words_of_connect("FATAL:  28P01: x\nDETAIL:  y", sqlstate, words, 9);
    assert_string_equal(words, "FATAL: x");
}

static void hosts_in_their_order(void **state)
{
    (void)state;
    struct pg_hosts hosts;
    struct error error;
    assert_int_equal(
        pg_hosts_init(&hosts, "host=a,/run/pg,10.0.0.1 port=1,2,3", &error), 0);
    assert_int_equal(hosts.count, 3);
    assert_string_equal(hosts.names[2], "10.0.0.1");
    assert_string_equal(hosts.ports[1], "2");
    assert_true(pg_hosts_needs_lookup(&hosts, 0));
    assert_false(pg_hosts_needs_lookup(&hosts, 1));
    pg_hosts_deinit(&hosts);
    assert_int_equal(pg_hosts_init(&hosts, "host=a hostaddr=10.0.0.1", &error),
                     0);
    assert_false(pg_hosts_needs_lookup(&hosts, 0));
    pg_hosts_deinit(&hosts);
    assert_int_equal(pg_hosts_init(&hosts, "host=a,b port=1,2,3", &error), -1);
    pg_hosts_deinit(&hosts);
    assert_int_equal(pg_hosts_init(&hosts, "hots=a", &error), -1);
    pg_hosts_deinit(&hosts);
}

/* --- names --- */

struct found {
    unsigned calls;
    size_t count;
    char first[46];
    struct event_base *base;
};

static void on_found(void *self, char addresses[][46], size_t count,
                     const char *why)
{
    struct found *found = self;
    assert_non_null(why);
    found->calls++;
    found->count = count;
    if (count > 0)
        memcpy(found->first, addresses[0], sizeof(found->first));
    event_base_loopbreak(found->base);
}

static void stop(evutil_socket_t fd, short what, void *self)
{
    (void)fd, (void)what;
    event_base_loopbreak(self);
}

static void run_for(struct event_base *base, long ms)
{
    struct timeval wait = {.tv_usec = ms * 1000};
    event_base_once(base, -1, EV_TIMEOUT, stop, base, &wait);
    event_base_dispatch(base);
}

/* A resolv.conf whose server takes questions and never answers. */
static int silent_server(char *path)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(server, (struct sockaddr *)&at, &size), 0);
    int file = mkstemp(path);
    assert_true(dprintf(file, "nameserver 127.0.0.1:%u\n", ntohs(at.sin_port)) >
                0);
    close(file);
    return server;
}

static void names_without_a_server(void **state)
{
    (void)state;
    char path[] = "/tmp/tm-resolv-XXXXXX";
    struct found found = {.base = event_base_new()};
    struct error error;
    int server = silent_server(path);
    assert_non_null(pg_lookup_start(found.base, "127.0.0.5", path, on_found,
                                    &found, &error));
    assert_int_equal(found.calls, 0); /* never from within */
    event_base_dispatch(found.base);
    assert_int_equal(found.calls, 1);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.first, "127.0.0.5");
    assert_non_null(pg_lookup_start(found.base, "localhost", path, on_found,
                                    &found, &error));
    event_base_dispatch(found.base);
    assert_int_equal(found.calls, 2);
    assert_true(found.count >= 1);
    run_for(found.base, 20);
    event_base_free(found.base);
    close(server);
    unlink(path);
}

static void a_lookup_can_be_given_up(void **state)
{
    (void)state;
    char path[] = "/tmp/tm-resolv-XXXXXX";
    struct found found = {.base = event_base_new()};
    struct error error;
    int server = silent_server(path);
    struct pg_lookup *lookup = pg_lookup_start(found.base, "nobody.example",
                                               path, on_found, &found, &error);
    assert_non_null(lookup);
    run_for(found.base, 20);
    assert_int_equal(found.calls, 0);
    pg_lookup_cancel(&lookup);
    assert_null(lookup);
    lookup = pg_lookup_start(found.base, "127.0.0.5", path, on_found, &found,
                             &error);
    pg_lookup_cancel(&lookup); /* answered, but not told yet */
    run_for(found.base, 20);
    assert_int_equal(found.calls, 0);
    event_base_free(found.base);
    close(server);
    unlink(path);
}

#define T(test) cmocka_unit_test_setup(test, empty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(no_more_than_its_size),
        T(the_dead_hold_nothing),
        T(resting_is_not_using),
        T(usage_is_the_larger),
        T(threshold_is_strict),
        T(what_is_put_off_is_tried_again),
        T(an_answer_without_figures_ends_it),
        T(busy_is_not_down),
        T(words_of_a_failed_connection),
        T(hosts_in_their_order),
        T(names_without_a_server),
        T(a_lookup_can_be_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
