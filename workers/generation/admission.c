/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/admission.h"

#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/process_stat.h"
#include "common/config/config.h"
#include "common/shm/mapping.h"
#include "workers/generation/admission_rule.h"
#include "workers/generation/memory_pressure.h"
#include "workers/generation/process_tree.h"

#define AGAIN_MS         50
#define AGAIN_MOST_MS    500
#define TURN_AGAIN_MS    1 /* another worker decides just now */
#define SAMPLE_FIRST_MS  50
#define SAMPLE_MS        250 /* of a command's processes, */
#define SAMPLE_SHARE     20  /* or so many times as long as a sample takes */
#define PRESSURE_KEPT_MS 500

struct admission {
    const struct worker *worker;
    const struct config *config;
    struct memory_board *board;
    struct memory_place *place;
    void (*again)(void *self);
    void *self;
    struct event *again_event;
    struct event *sample_event;
    unsigned again_ms;
    uint64_t command_since_ms;
    uint64_t peak_bytes; /* of the command that runs */
    double pressure;
    uint64_t pressure_ms; /* when it was read */
    bool said;
};

static void start_timer(struct event *event, uint64_t delay_ms)
{
    struct timeval delay = clock_span((int64_t)delay_ms);
    event_add(event, &delay);
}

/* --- what commands take --- */

static void take_place(struct admission *admission, uint64_t bytes)
{
    atomic_store(&admission->place->taken, bytes + 1);
}

static void sample(struct admission *admission)
{
    uint64_t began_ns = clock_monotonic_ns();
    uint64_t bytes = process_tree_memory(getpid());
    uint64_t age_ms = clock_monotonic_ms() - admission->command_since_ms;
    uint64_t known = atomic_load(&admission->board->job_bytes);
    if (bytes > admission->peak_bytes)
        admission->peak_bytes = bytes;
    take_place(admission, admission_count(bytes, known, age_ms));
    metric_set(METRIC_COMMAND_BYTES, (int64_t)bytes);
    if (age_ms >= ADMISSION_YOUNG_MS && admission->peak_bytes > known)
        memory_board_learn(admission->board, admission->peak_bytes);
    uint64_t spent_ms = (clock_monotonic_ns() - began_ns) / 1000000;
    uint64_t pause_ms = SAMPLE_SHARE * spent_ms;
    start_timer(admission->sample_event,
                pause_ms > SAMPLE_MS ? pause_ms : SAMPLE_MS);
}

static void on_sample(evutil_socket_t fd, short what, void *self)
{
    (void)fd, (void)what;
    sample(self);
}

void admission_command(struct admission *admission, bool begins)
{
    if (admission->config->generation_memory_limit == 0)
        return;
    if (begins) {
        admission->command_since_ms = clock_monotonic_ms();
        admission->peak_bytes = 0;
        atomic_store(&admission->place->since_ms, admission->command_since_ms);
        take_place(admission, atomic_load(&admission->board->job_bytes));
        start_timer(admission->sample_event, SAMPLE_FIRST_MS);
        return;
    }
    event_del(admission->sample_event);
    memory_board_learn(admission->board, admission->peak_bytes);
    take_place(admission, 0);
    metric_set(METRIC_COMMAND_BYTES, 0);
}

/* --- the facts --- */

/* The workers' own, and what counts for their commands. */
static void count_pool(struct admission *admission,
                       struct admission_facts *facts)
{
    const struct scoreboard *scoreboard =
        &admission->worker->mapping->scoreboard;
    uint64_t now_ms = clock_monotonic_ms();
    for (unsigned i = 0; i < GENERATION_SLOTS_MAX; i++) {
        const struct memory_place *place = &admission->board->places[i];
        const struct slot_entry *entry =
            &scoreboard->slots[scoreboard_index(ROLE_GENERATION, i)];
        uint64_t taken = atomic_load(&place->taken);
        pid_t pid = atomic_load(&entry->pid);
        struct process_stat process;
        if (facts->limit_bytes > 0 && process_stat_read(pid, &process) == 0)
            facts->used_bytes += (uint64_t)process.rss_bytes;
        if (taken == 0 || i == admission->worker->slot)
            continue;
        facts->others = true;
        facts->used_bytes += taken - 1;
        facts->others_young =
            facts->others_young ||
            now_ms < atomic_load(&place->since_ms) + ADMISSION_YOUNG_MS;
    }
}

static double read_pressure(struct admission *admission)
{
    uint64_t now_ms = clock_monotonic_ms();
    if (admission->pressure_ms == 0 ||
        now_ms >= admission->pressure_ms + PRESSURE_KEPT_MS) {
        admission->pressure =
            memory_pressure(admission->config->generation_pressure_file);
        admission->pressure_ms = now_ms;
    }
    return admission->pressure;
}

static void gather(struct admission *admission, struct admission_facts *facts)
{
    const struct config *config = admission->config;
    *facts = (struct admission_facts){
        .limit_bytes = (uint64_t)config->generation_memory_limit,
        .job_bytes = atomic_load(&admission->board->job_bytes),
        .pressure = read_pressure(admission),
        .most_pressure = config->generation_memory_pressure};
    count_pool(admission, facts);
}

static void show_pressure(struct admission *admission, double pressure)
{
    atomic_store(&admission->board->pressure_hundredths,
                 pressure < 0 ? -1 : (int32_t)(pressure * 100));
}

static void show(struct admission *admission,
                 const struct admission_facts *facts)
{
    atomic_store(&admission->board->used_bytes, facts->used_bytes);
    show_pressure(admission, facts->pressure);
}

/* --- waiting, so that everybody sees it --- */

static bool jobs_wait(const struct admission *admission)
{
    const struct pool_board *pool =
        &admission->worker->mapping->pools[ROLE_GENERATION];
    return atomic_load(&pool->waiting_since_ms) != 0;
}

static void begin_hold(struct admission *admission,
                       const struct admission_facts *facts,
                       enum admission_answer why)
{
    bool first = memory_board_held_since_ms(admission->board) == 0;
    if (!jobs_wait(admission) ||
        atomic_load(&admission->place->held_since_ms) != 0)
        return;
    atomic_store(&admission->place->held_since_ms, clock_monotonic_ms());
    metric_set(METRIC_WORKERS_HELD, 1);
    metric_add(METRIC_HOLDS, 1);
    if (first)
        log_event(LOG_NOTICE_LEVEL, "jobs wait for memory",
                  LOG_TEXT("why", why == ADMISSION_LIMIT
                                      ? "generation.memory_limit"
                                      : "generation.memory_pressure"),
                  LOG_UINT("used_bytes", facts->used_bytes),
                  LOG_UINT("job_bytes", facts->job_bytes),
                  LOG_UINT("limit_bytes", facts->limit_bytes));
}

static void end_hold(struct admission *admission)
{
    uint64_t since_ms = atomic_load(&admission->place->held_since_ms);
    if (since_ms == 0)
        return;
    atomic_store(&admission->place->held_since_ms, 0);
    metric_set(METRIC_WORKERS_HELD, 0);
    if (memory_board_held_since_ms(admission->board) == 0)
        log_event(LOG_NOTICE_LEVEL, "jobs wait for memory no more",
                  LOG_UINT("waited_ms", clock_monotonic_ms() - since_ms));
}

/* --- asking --- */

static bool hold(struct admission *admission, unsigned wait_ms)
{
    start_timer(admission->again_event, wait_ms);
    return false;
}

static bool decide(struct admission *admission)
{
    struct admission_facts facts;
    gather(admission, &facts);
    enum admission_answer answer = admission_decide(&facts);
    show(admission, &facts);
    if (answer != ADMISSION_YES) {
        begin_hold(admission, &facts, answer);
        return false;
    }
    if (atomic_load(&admission->place->taken) <= 1) {
        atomic_store(&admission->place->since_ms, clock_monotonic_ms());
        take_place(admission, facts.job_bytes);
    }
    end_hold(admission);
    return true;
}

/* Neither limit nor pressure: nothing is to be added up. */
static bool is_free(struct admission *admission)
{
    const struct config *config = admission->config;
    return config->generation_memory_limit == 0 &&
           (config->generation_memory_pressure <= 0 ||
            read_pressure(admission) < config->generation_memory_pressure);
}

/* One worker says it for all. */
static void say_pressure(struct admission *admission, double pressure)
{
    show_pressure(admission, pressure);
    if (pressure < 0 && admission->worker->slot == 0 &&
        admission->config->generation_memory_pressure > 0)
        log_event(
            LOG_INFO_LEVEL,
            "memory pressure cannot be told: jobs do not wait for it",
            LOG_TEXT("file", admission->config->generation_pressure_file));
}

bool admission_ask(struct admission *admission)
{
    unsigned slot = admission->worker->slot;
    if (!admission->said) /* not before the worker is ready */
        say_pressure(admission, read_pressure(admission));
    admission->said = true;
    if (event_pending(admission->again_event, EV_TIMEOUT, NULL) != 0)
        return false;
    if (is_free(admission)) {
        take_place(admission, 0);
        end_hold(admission);
        return true;
    }
    if (!memory_board_begin(admission->board, slot))
        return hold(admission, TURN_AGAIN_MS);
    bool may = decide(admission);
    memory_board_end(admission->board, slot);
    if (may) {
        admission->again_ms = AGAIN_MS;
        return true;
    }
    hold(admission, admission->again_ms);
    admission->again_ms *= 2;
    if (admission->again_ms > AGAIN_MOST_MS)
        admission->again_ms = AGAIN_MOST_MS;
    return false;
}

void admission_claimed(struct admission *admission, bool has_command)
{
    if (has_command || atomic_load(&admission->place->taken) <= 1)
        return;
    atomic_store(&admission->place->since_ms, 0);
    take_place(admission, 0);
}

void admission_rest(struct admission *admission)
{
    if (atomic_load(&admission->place->taken) != 0)
        atomic_store(&admission->place->taken, 0);
    if (!jobs_wait(admission))
        end_hold(admission);
}

static void on_again(evutil_socket_t fd, short what, void *self)
{
    struct admission *admission = self;
    (void)fd, (void)what;
    admission->again(admission->self);
}

/* --- life --- */

struct admission *admission_new(struct event_base *base,
                                const struct worker *worker,
                                void (*again)(void *self), void *self,
                                struct error *error)
{
    struct admission *admission = calloc(1, sizeof(*admission));
    if (admission != NULL) {
        *admission = (struct admission){
            .worker = worker,
            .config = worker->config,
            .board = &worker->mapping->memory,
            .place = &worker->mapping->memory.places[worker->slot],
            .again = again,
            .self = self,
            .again_ms = AGAIN_MS,
        };
        admission->again_event = event_new(base, -1, 0, on_again, admission);
        admission->sample_event = event_new(base, -1, 0, on_sample, admission);
    }
    if (admission == NULL || admission->again_event == NULL ||
        admission->sample_event == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory to ask for memory");
        admission_free(&admission);
    }
    return admission;
}

void admission_free(struct admission **admission)
{
    struct admission *old = *admission;
    *admission = NULL;
    if (old == NULL)
        return;
    memory_board_forget(old->board, old->worker->slot);
    if (old->again_event != NULL)
        event_free(old->again_event);
    if (old->sample_event != NULL)
        event_free(old->sample_event);
    free(old);
}
