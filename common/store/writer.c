/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer's life: lock, opening, groups, checkpoints.
 */
#include "common/store/writer.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/store/damage.h"
#include "common/store/schema.h"
#include "common/store/wal_vfs.h"
#include "common/store/writer_internal.h"

#define WAL_CLOSE_BYTES (256 << 10) /* a longer one is emptied on closing */
#define WAL_CHUNK_BYTES (64 << 10)
#define BUSY_TIMEOUT_MS 2000

static int take_lock(struct store_writer *writer, const char *state_dir,
                     struct error *error)
{
    struct store_lock *lock = &writer->lock;
    if (store_lock_take(lock, state_dir, error) != 0)
        return -1;
    writer->tokens_until_ms = lock->repeats_until_ms != 0
                                  ? lock->repeats_until_ms
                                  : clock_wall_ms() + TOKENS_REPEAT_MS;
    writer->repeats = true;
    /* Without a seal until the store is known to be good. */
    if (store_lock_write(lock, 0, "") != 0)
        return error_set_errno(error, ERROR_CANT_CREATE,
                               "cannot write the lock file in %s", state_dir);
    return 0;
}

/* From now on requests may be acknowledged for this store unopened, as far
 * as its file stays as it is: again when we leave it. */
static void seal(struct store_writer *writer, int64_t repeats_until_ms)
{
    char seal[LOCK_SEAL_SIZE] = "";
    if (writer->system_id != NULL)
        store_seal_make(seal, writer->state_dir, writer->system_id);
    (void)!store_lock_write(&writer->lock, repeats_until_ms, seal);
}

/* Until when who had no answer, of us or of an earlier writer, may ask again;
 * never 0, which would say that we crashed. */
static int64_t repeats_until_ms(const struct store_writer *writer)
{
    int64_t now_ms = clock_wall_ms();
    int64_t until_ms = now_ms;
    if (writer->is_private)
        return writer->tokens_until_ms;
    if (!writer->has_told)
        return now_ms + TOKENS_REPEAT_MS;
    if (writer->repeats && writer->tokens_until_ms > until_ms)
        until_ms = writer->tokens_until_ms;
    if (writer->untold_ms != 0 &&
        writer->untold_ms + TOKENS_REPEAT_MS > until_ms)
        until_ms = writer->untold_ms + TOKENS_REPEAT_MS;
    return until_ms;
}

static void leave_lock(struct store_writer *writer)
{
    /* When this fails the next writer looks back in vain, no more. */
    if (writer->db != NULL)
        seal(writer, repeats_until_ms(writer));
    store_lock_leave(&writer->lock);
}

/* SQLite tells the pages of the WAL after each commit; taking this hook also
 * keeps it from checkpointing by itself. */
static int count_wal(void *self, sqlite3 *db, const char *name, int pages)
{
    struct store_writer *writer = self;
    (void)db;
    (void)name;
    if (pages <= writer->wal_pages) /* begun anew */
        writer->wal_checkpointed = 0;
    writer->wal_pages = pages;
    return SQLITE_OK;
}

static int open_database(struct store_writer *writer, struct error *error)
{
    /* On a store that is there already the second would be a commit. */
    static const char pragmas_new[] =
        "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL;";
    static const char pragmas[] =
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864;"
        "PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY;"
        "PRAGMA mmap_size=0; PRAGMA foreign_keys=OFF";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(writer->path, &writer->db, flags, wal_vfs_name()) !=
        SQLITE_OK) {
        if (writer->db == NULL)
            return error_set(error, ERROR_SYSTEM, "no memory for SQLite");
        return sql_failed(writer, error);
    }
    sqlite3_busy_timeout(writer->db, BUSY_TIMEOUT_MS);
    sqlite3_db_config(writer->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    struct stat status;
    bool is_new = stat(writer->path, &status) != 0 || status.st_size == 0;
    if (is_new) { /* nobody has asked anybody */
        writer->repeats = false;
        writer->tokens_until_ms = clock_wall_ms();
    }
    if ((is_new &&
         sqlite3_exec(writer->db, pragmas_new, NULL, NULL, NULL) != 0) ||
        sqlite3_exec(writer->db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
        return sql_failed(writer, error);
    sqlite3_wal_hook(writer->db, count_wal, writer);
    if (gathered_offer(writer) != SQLITE_OK)
        return sql_failed(writer, error);
    writer->page_size = 4096;
    unsigned applied;
    return schema_migrate_local(writer->db, &applied, error);
}

static int write_identity(struct store_writer *writer, const char *system_id,
                          struct error *error)
{
    int64_t dice[2] = {0};
    sqlite3_randomness(sizeof(dice), dice);
    /* Another store of the same system, made after this one was lost, must
     * never use its batch numbers in the centre's ledger again.  Should the
     * clock have gone back, the centre shows at first contact that it knows
     * a later epoch, and another begins (EPOCH_BEGIN). */
    int64_t epoch = clock_wall_ms() * 1024 + (dice[0] & 1023);
    if (SQL_RUN(writer, SQL_META_WRITE, error, value_text_sized("epoch", 5),
                value_integer(epoch)) != 0 ||
        SQL_RUN(writer, SQL_META_WRITE, error, value_text_sized("store_id", 8),
                value_integer(dice[1] & INT64_MAX)) != 0)
        return -1;
    return SQL_RUN(writer, SQL_META_WRITE, error,
                   value_text_sized("system_id", 9),
                   value_text_sized(system_id, strlen(system_id)));
}

static int check_identity(struct store_writer *writer, const char *system_id,
                          struct error *error)
{
    sqlite3_stmt *row = SQL_QUERY(writer, SQL_META_READ, error,
                                  value_text_sized("system_id", 9));
    if (row == NULL)
        return -1;
    int step = sql_step(writer, row, error);
    int result = step < 0 ? -1 : 0;
    if (step > 0) {
        const char *is = (const char *)sqlite3_column_text(row, 0);
        if (is == NULL || strcmp(is, system_id) != 0)
            result = error_set(
                error, ERROR_CONFIG,
                "the store %s belongs to system.id \"%s\", the configuration "
                "says \"%s\"; set system.id to the former, or use another "
                "paths.state_dir (nothing was changed)",
                writer->path, is != NULL ? is : "", system_id);
    }
    sqlite3_reset(row);
    if (result != 0)
        return -1;
    return step == 0 ? write_identity(writer, system_id, error) : 0;
}

static int load(struct store_writer *writer, const char *system_id,
                struct error *error)
{
    if (store_writer_begin(writer, error) != 0)
        return -1;
    if (check_identity(writer, system_id, error) != 0 ||
        outbox_state_load(writer, error) != 0 ||
        aggregates_load(writer, error) != 0 ||
        table_counts_load(writer, error) != 0) {
        sqlite3_exec(writer->db, "ROLLBACK", NULL, NULL, NULL);
        writer->in_group = false;
        return -1;
    }
    return store_writer_commit(writer, error);
}

/* What cannot be taken over now waits: the store is no worse for it. */
static void take_spool(struct store_writer *writer)
{
    struct error error;
    if (store_writer_replay(writer, &error) != 0)
        log_warning("the spool waits: %s", error.text);
}

int store_writer_open(struct store_writer **writer, const char *state_dir,
                      const char *system_id, struct error *error)
{
    struct store_writer *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for the store");
    made->lock.fd = -1;
    made->state_dir = strdup(state_dir);
    if (made->state_dir == NULL ||
        asprintf(&made->path, "%s/%s", state_dir, STORE_FILE_NAME) < 0) {
        free(made->state_dir);
        free(made);
        return error_set(error, ERROR_SYSTEM, "no memory for the store");
    }
    if (take_lock(made, state_dir, error) != 0 ||
        damage_check_wal(state_dir, error) != 0 ||
        open_database(made, error) != 0 || load(made, system_id, error) != 0) {
        store_writer_close(&made);
        return -1;
    }
    made->system_id = strdup(system_id); /* it may be sealed */
    seal(made, 0);
    take_spool(made);
    *writer = made;
    return 0;
}

void store_writer_private(struct store_writer *writer, bool asked_before)
{
    writer->is_private = true;
    writer->is_asked_once = !asked_before;
}

void store_writer_close(struct store_writer **writer)
{
    struct store_writer *old = *writer;
    if (old == NULL)
        return;
    *writer = NULL;
    if (old->in_group)
        store_writer_rollback(old);
    /* The next writer, maybe a short command, reads the whole WAL when it
     * opens the store: leave none when there are no readers. */
    if (old->db != NULL && store_writer_wal_length(old) > WAL_CLOSE_BYTES)
        store_writer_empty_wal(old, 0, NULL);
    sql_finalize(old);
    aggregates_deinit(old);
    sqlite3_close(old->db);
    lane_filters_forget(old);
    table_counts_deinit(&old->counts);
    sources_forget(old);
    recent_tokens_free(&old->tokens);
    recent_tokens_free(&old->old_tokens);
    free(old->gathered);
    free(old->request.releases);
    if (old->lock.fd >= 0)
        leave_lock(old);
    free(old->system_id);
    free(old->state_dir);
    free(old->path);
    free(old);
}

void store_writer_told(struct store_writer *writer, int64_t untold_ms)
{
    writer->has_told = true;
    writer->untold_ms = untold_ms;
}

int store_writer_begin(struct store_writer *writer, struct error *error)
{
    if (writer->in_group)
        return error_set(error, ERROR_SOFTWARE, "a group was begun already");
    sqlite3_stmt *begin = sql_get(writer, SQL_BEGIN, error);
    if (begin == NULL || sql_step(writer, begin, error) != 0)
        return -1;
    writer->in_group = true;
    writer->group_lost = false;
    writer->topics = 0;
    writer->jobs_claimed = false;
    writer->group_batches_touched = false;
    writer->filters_touched = false;
    writer->aggregates.touched = false;
    writer->group_saved = writer->state;
    writer->counts.change_count = 0;
    writer->request.saved_changes = 0;
    return 0;
}

/* Memory as it was before the group. */
static void group_undo(struct store_writer *writer)
{
    struct error error;
    table_counts_undo(writer, 0);
    writer->state = writer->group_saved;
    writer->no_edges = false;
    lane_filters_restore(writer);
    aggregates_restore(writer);
    if (writer->sources_touched)
        sources_forget(writer);
    if (writer->group_batches_touched)
        batches_load(writer, &error);
}

void store_writer_rollback(struct store_writer *writer)
{
    if (!writer->in_group)
        return;
    gathered_forget(writer);
    /* A statement that stopped at a full disk holds SQLite in that error
     * until it is reset. */
    for (sqlite3_stmt *each = sqlite3_next_stmt(writer->db, NULL); each != NULL;
         each = sqlite3_next_stmt(writer->db, each))
        sqlite3_reset(each);
    sqlite3_stmt *rollback = sql_get(writer, SQL_ROLLBACK, NULL);
    if (rollback != NULL && !sqlite3_get_autocommit(writer->db)) {
        sqlite3_step(rollback);
        sqlite3_reset(rollback);
    }
    writer->in_group = false;
    writer->group_lost = false;
    group_undo(writer);
}

int store_writer_commit(struct store_writer *writer, struct error *error)
{
    if (!writer->in_group)
        return error_set(error, ERROR_SOFTWARE, "no group was begun");
    if (writer->group_lost) {
        *error = writer->lost_error;
        store_writer_rollback(writer);
        return -1;
    }
    sqlite3_stmt *commit = sql_get(writer, SQL_COMMIT, error);
    if (commit == NULL || table_counts_write(writer, error) != 0 ||
        outbox_state_write(writer, error) != 0 ||
        sources_write(writer, error) != 0 ||
        sql_step(writer, commit, error) != 0) {
        store_writer_rollback(writer);
        return -1;
    }
    writer->in_group = false;
    writer->sources_touched = false;
    writer->committed_topics = writer->topics;
    /* a claim knows better what it leaves */
    if ((writer->topics & TOPIC_JOB_QUEUED) != 0 && !writer->jobs_claimed)
        writer->jobs_wait = true;
    return 0;
}

uint32_t store_writer_topics(const struct store_writer *writer)
{
    return writer->committed_topics;
}

static int64_t frames_bytes(const struct store_writer *writer, int64_t frames)
{
    return frames <= 0 ? 0 : frames * (writer->page_size + 24);
}

int64_t store_writer_wal_bytes(const struct store_writer *writer)
{
    return frames_bytes(writer, writer->wal_pages - writer->wal_checkpointed);
}

int64_t store_writer_wal_length(const struct store_writer *writer)
{
    return frames_bytes(writer, writer->wal_pages);
}

static int checkpoint(struct store_writer *writer, int mode, unsigned wait_ms,
                      struct error *error)
{
    int pages = -1;
    int done = -1;
    if (writer->in_group)
        return 0;
    sqlite3_busy_timeout(writer->db, (int)wait_ms);
    int code = sqlite3_wal_checkpoint_v2(writer->db, NULL, mode, &pages, &done);
    sqlite3_busy_timeout(writer->db, BUSY_TIMEOUT_MS);
    if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY)
        return sql_failed(writer, error);
    if (code == SQLITE_OK && mode != SQLITE_CHECKPOINT_PASSIVE)
        pages = done = 0; /* the next commit begins the WAL anew */
    if (pages >= 0) {     /* it is -1 when nothing could be tried */
        writer->wal_pages = pages;
        writer->wal_checkpointed = done;
    }
    return 0;
}

int store_writer_checkpoint(struct store_writer *writer, struct error *error)
{
    return checkpoint(writer, SQLITE_CHECKPOINT_PASSIVE, 0, error);
}

int store_writer_restart_wal(struct store_writer *writer, unsigned wait_ms,
                             struct error *error)
{
    return checkpoint(writer, SQLITE_CHECKPOINT_RESTART, wait_ms, error);
}

int store_writer_empty_wal(struct store_writer *writer, unsigned wait_ms,
                           struct error *error)
{
    return checkpoint(writer, SQLITE_CHECKPOINT_TRUNCATE, wait_ms, error);
}

void store_writer_hand_over(struct store_writer *writer)
{
    struct error error;
    if (store_writer_wal_length(writer) <= WAL_CLOSE_BYTES ||
        store_writer_restart_wal(writer, 0, &error) != 0 ||
        store_writer_wal_length(writer) != 0)
        return; /* closing tries again */
    /* The log begins anew with a commit, of something that changes: who opens
     * it reads only that. */
    if (store_writer_begin(writer, &error) == 0 &&
        (SQL_RUN(writer, SQL_META_WRITE, &error,
                 value_text_sized("handed_over_ms", 14),
                 value_integer(clock_wall_ms())) != 0 ||
         store_writer_commit(writer, &error) != 0))
        store_writer_rollback(writer);
    if (store_writer_wal_length(writer) == 0) /* nothing was written */
        store_writer_empty_wal(writer, 0, &error);
}

bool store_writer_wal_room(struct store_writer *writer, int64_t bytes)
{
    int chunk = WAL_CHUNK_BYTES;
    sqlite3_int64 size = bytes;
    sqlite3_file *file = NULL;
    if (sqlite3_file_control(writer->db, "main", SQLITE_FCNTL_JOURNAL_POINTER,
                             &file) != SQLITE_OK ||
        file == NULL || file->pMethods == NULL)
        return true;
    /* A log with a length counts as one whose folder was synced. */
    if (file->pMethods->xSync(file, SQLITE_SYNC_NORMAL) != SQLITE_OK)
        return true;
    file->pMethods->xFileControl(file, SQLITE_FCNTL_CHUNK_SIZE, &chunk);
    return file->pMethods->xFileControl(file, SQLITE_FCNTL_SIZE_HINT, &size) ==
           SQLITE_OK;
}

struct store_totals store_writer_totals(const struct store_writer *writer)
{
    struct store_totals totals = {.pending = writer->state.pending};
    memcpy(totals.pending_by, writer->state.pending_by,
           sizeof(totals.pending_by));
    for (unsigned lane = 0; lane < OUTBOX_LANES; lane++) {
        totals.dead += writer->state.states[lane][EXCEPTION_DEAD];
        totals.parked += writer->state.states[lane][EXCEPTION_CONFLICT];
    }
    return totals;
}
