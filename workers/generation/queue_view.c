/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/generation/queue_view.h"

#include <sqlite3.h>
#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/shm/mapping.h"
#include "common/store/reader.h"

#define WAIT_MOST_MS 60000 /* the longest back-off of the store */

/* The one number that the query gives; -1 when there is none. */
static int64_t ask(struct store_reader **reader, const char *state_dir,
                   const char *sql, int64_t argument)
{
    sqlite3_stmt *statement = NULL;
    struct error error;
    int64_t number = -1;
    if (*reader == NULL && store_reader_open(reader, state_dir, &error) != 0)
        return -1;
    if (sqlite3_prepare_v2(store_reader_db(*reader), sql, -1, &statement,
                           NULL) == SQLITE_OK &&
        (sqlite3_bind_parameter_count(statement) == 0 ||
         sqlite3_bind_int64(statement, 1, argument) == SQLITE_OK) &&
        sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

int64_t queue_next_retry_ms(struct store_reader **reader, const char *state_dir)
{
    int64_t when_ms =
        ask(reader, state_dir,
            "SELECT coalesce(min(not_before_ms), 0) FROM generation_jobs "
            "WHERE state = 'queued'",
            0);
    /* the clock was set back since: JOB_CLAIM takes it for due */
    return when_ms > clock_wall_ms() + WAIT_MOST_MS ? 1 : when_ms;
}

bool queue_wants_cancel(struct store_reader **reader, const char *state_dir,
                        int64_t job_id)
{
    return ask(reader, state_dir,
               "SELECT cancel FROM generation_jobs WHERE id = ?1", job_id) == 1;
}

struct store_call queue_claim_call(const struct worker *worker, unsigned most)
{
    return (struct store_call){
        .statement = STATEMENT_JOB_CLAIM,
        .argument_count = 4,
        .arguments = {value_integer(worker->slot), value_integer(worker->spawn),
                      value_integer(most), value_integer(clock_wall_ms())}};
}

struct store_call queue_unclaim_call(const struct worker *worker,
                                     const char *ids)
{
    return (struct store_call){.statement = STATEMENT_JOB_UNCLAIM,
                               .argument_count = 3,
                               .arguments = {value_integer(worker->slot),
                                             value_integer(worker->spawn),
                                             value_text(ids)}};
}

/* The last spawn is read before the size: who takes a slot beyond it later
 * has a later one. */
static struct store_call adopt_call(const struct worker *worker, uint32_t spawn,
                                    int64_t died_on, const char *why)
{
    const struct config *config = worker->config;
    uint32_t last_spawn = atomic_load(&worker->mapping->daemon.last_spawn);
    unsigned size = scoreboard_pool_size(&worker->mapping->scoreboard,
                                         ROLE_GENERATION, GENERATION_SLOTS_MAX);
    return (struct store_call){
        .statement = STATEMENT_JOB_ADOPT,
        .argument_count = 8,
        .arguments = {value_integer(worker->slot), value_integer(spawn),
                      value_integer(size), value_integer(died_on),
                      value_integer(config->generation_max_retries),
                      value_text(why), value_integer(clock_wall_ms()),
                      value_integer(last_spawn)}};
}

struct store_call queue_adopt_call(const struct worker *worker, char why[64])
{
    const struct slot_entry *entry =
        &worker->mapping->scoreboard.slots[worker->board_index];
    death_words((enum death)atomic_load(&entry->death),
                atomic_load(&entry->death_detail), why);
    return adopt_call(worker, worker->spawn,
                      (int64_t)atomic_load(&entry->death_work_id), why);
}

struct store_call queue_give_back_call(const struct worker *worker)
{
    return adopt_call(worker, 0, 0, "not begun"); /* 0: no worker's spawn */
}
