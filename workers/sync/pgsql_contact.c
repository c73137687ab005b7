/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/pgsql_contact.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "workers/sync/pgsql_arrays.h"

static const char contact_sql[] = "SELECT * FROM tidemill.contact($1,$2,$3)";
static const char epoch_sql[] =
    "SELECT * FROM tidemill.begin_epoch($1,$2,$3,$4) ORDER BY 1, 2";

static int64_t number_at(const struct pg_answer *answer, int row, int column,
                         int64_t otherwise)
{
    const char *text = pg_result_text(answer->result, row, column);
    return text != NULL ? strtoll(text, NULL, 10) : otherwise;
}

static void query(struct pgsql_contact *c, const char *sql, size_t count,
                  pg_done done)
{
    struct pg_parameter parameters[4] = {
        {.type = PG_OID_TEXT,
         .value = c->system_id,
         .size_bytes = (int)strlen(c->system_id)}};
    for (size_t i = 0; i < count; i++)
        parameters[i + 1] = (struct pg_parameter){
            .type = PG_OID_INT8, .value = &c->numbers[i], .size_bytes = 8};
    pg_connection_query(c->connection, sql, parameters, count + 1, done, c);
}

/* Rows of one kind, which stand together from *row on. */
static const int64_t *keys_read(struct pgsql_contact *c,
                                const struct pg_answer *answer, int kind,
                                int *row, size_t *count)
{
    int rows = pg_result_rows(answer->result);
    int64_t *keys =
        arena_calloc(c->arena, (size_t)(rows - *row) + 1, sizeof(*keys));
    *count = 0;
    while (keys != NULL && *row < rows && number_at(answer, *row, 0, 0) == kind)
        keys[(*count)++] = number_at(answer, (*row)++, 1, 0);
    return keys;
}

static void on_epoch(void *self, const struct pg_answer *answer)
{
    struct pgsql_contact *c = self;
    struct pg_answer told = *answer;
    struct sink_history history = {0};
    int row = 1;
    if (!answer->ok || pg_result_rows(answer->result) < 1) {
        c->done(c->self, answer, false);
        return;
    }
    arena_reset(c->arena);
    history.epoch = number_at(answer, 0, 1, 0);
    history.marks = keys_read(c, answer, 1, &row, &history.mark_count);
    history.missing = keys_read(c, answer, 2, &row, &history.missing_count);
    history.ahead = keys_read(c, answer, 3, &row, &history.ahead_count);
    if (history.marks != NULL && history.missing != NULL &&
        history.ahead != NULL) {
        told.error = c->reason;
        c->watch->begun(c->watch->self, &history);
        c->done(c->self, &told, true);
        return;
    }
    told.ok = false;
    error_set(&told.error, ERROR_SYSTEM,
              "no memory for what the centre knows of this store");
    c->done(c->self, &told, false);
}

static void epoch_begin(struct pgsql_contact *c)
{
    c->numbers[0] = htobe64((uint64_t)c->store.store_id);
    c->numbers[1] = htobe64((uint64_t)c->store.epoch);
    c->numbers[2] = htobe64((uint64_t)c->store.host);
    query(c, epoch_sql, 3, on_epoch);
}

static void on_contact(void *self, const struct pg_answer *answer)
{
    struct pgsql_contact *c = self;
    struct pg_answer told = *answer;
    struct sink_contact contact = {.highest = -1};
    if (!answer->ok) {
        c->done(c->self, answer, false);
        return;
    }
    if (pg_result_rows(answer->result) > 0)
        contact = (struct sink_contact){
            .known = true,
            .newest = {.epoch = number_at(answer, 0, 0, 0),
                       .store_id = number_at(answer, 0, 1, 0),
                       .host = number_at(answer, 0, 2, 0)},
            .idle_ms = number_at(answer, 0, 3, 0),
            .highest = number_at(answer, 0, 4, -1)};
    enum sink_verdict verdict =
        c->watch->check(c->watch->self, &contact, &told.error);
    c->reason = told.error;
    if (verdict == VERDICT_BEGIN)
        epoch_begin(c);
    else
        c->done(c->self, &told, verdict == VERDICT_REFUSE);
}

void pgsql_contact_make(struct pgsql_contact *contact, pgsql_contact_done done,
                        void *self)
{
    struct pg_answer answer = {.ok = true};
    contact->done = done;
    contact->self = self;
    if (contact->watch != NULL &&
        contact->watch->before(contact->watch->self, &contact->store,
                               &answer.error) != 0)
        answer.ok = false;
    if (contact->watch == NULL || !answer.ok) {
        done(self, &answer, false);
        return;
    }
    contact->numbers[0] = htobe64((uint64_t)contact->store.epoch);
    contact->numbers[1] = htobe64((uint64_t)contact->store.host);
    query(contact, contact_sql, 2, on_contact);
}
