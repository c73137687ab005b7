/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/queue_line.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "common/shm/mapping.h"
#include "workers/sync/pgsql_connect.h"
#include "workers/sync/pgsql_schema.h"

struct queue_line {
    const struct config *config;
    struct mapping *mapping;
    struct pg_connection *connection;
    struct pgsql_schema schema;
    pg_done done; /* of who opens it */
    void *self;
    bool ready;
    uint64_t opened_ms; /* monotonic */
};

static void on_checked(void *self, const struct pg_answer *answer)
{
    struct queue_line *line = self;
    line->ready = answer->ok;
    line->opened_ms = clock_monotonic_ms();
    line->done(line->self, answer);
}

static void on_connected(void *self, const struct pg_answer *answer)
{
    struct queue_line *line = self;
    if (answer->ok)
        pgsql_schema_check(&line->schema, on_checked, line);
    else
        line->done(line->self, answer);
}

int queue_line_open(struct queue_line *line, pg_done done, void *self)
{
    if (!budget_take(&line->mapping->budget, BUDGET_HOLDER_QUEUE,
                     line->config->database_pool_max))
        return -1;
    line->done = done;
    line->self = self;
    pg_connection_connect(line->connection, on_connected, line);
    return 0;
}

bool queue_line_is_cut(const struct queue_line *line)
{
    return clock_monotonic_ms() <
           atomic_load(&line->mapping->sync.cut_until_ms);
}

bool queue_line_is_open(const struct queue_line *line)
{
    return line->ready && pg_connection_is_open(line->connection);
}

void queue_line_ask(struct queue_line *line, const char *sql,
                    const struct pg_parameter *parameters, size_t count,
                    pg_done done, void *self)
{
    budget_take(&line->mapping->budget, BUDGET_HOLDER_QUEUE,
                line->config->database_pool_max);
    pg_connection_query(line->connection, sql, parameters, count, done, self);
}

void queue_line_rest(struct queue_line *line)
{
    struct budget *budget = &line->mapping->budget;
    uint64_t age_ms = clock_monotonic_ms() - line->opened_ms;
    budget_rest(budget, BUDGET_HOLDER_QUEUE);
    if (line->ready &&
        (budget_is_wanted(budget) ||
         age_ms > (uint64_t)line->config->database_pool_lifetime_ms))
        queue_line_close(line);
}

void queue_line_close(struct queue_line *line)
{
    pg_connection_rest(line->connection);
    line->ready = false;
    budget_give_back(&line->mapping->budget, BUDGET_HOLDER_QUEUE);
}

struct queue_line *queue_line_new(const struct worker *worker,
                                  struct event_base *base, struct error *error)
{
    struct queue_line *line = calloc(1, sizeof(*line));
    if (line == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for the central queue");
        return NULL;
    }
    line->config = worker->config;
    line->mapping = worker->mapping;
    /* What a predecessor that was killed held. */
    budget_give_back(&line->mapping->budget, BUDGET_HOLDER_QUEUE);
    if (pgsql_connection_new(&line->connection, line->config, base, error) !=
        0) {
        free(line);
        return NULL;
    }
    line->schema.connection = line->connection;
    return line;
}

void queue_line_free(struct queue_line **line)
{
    if (*line == NULL)
        return;
    queue_line_close(*line);
    pg_connection_free(&(*line)->connection);
    free(*line);
    *line = NULL;
}
