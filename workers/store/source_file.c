/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/source_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "workers/store/source_internal.h"

#define IDLE_CLOSE_MS  5000
#define FRESH_MS       50   /* a younger mtime may hide one more change */
#define NAME_BYTES_MAX 4096 /* of operation, names, ids: more is refused */

/* --- what stat says --- */

static struct signature signature_of(const struct sync_source *source)
{
    struct signature signature;
    memset(&signature, 0, sizeof(signature));
    signature.database = source_face(source->path, "");
    signature.wal = source_face(source->path, "-wal");
    return signature;
}

static bool same_signature(const struct signature *a, const struct signature *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Clocks of files tick in steps of some milliseconds. */
static bool is_fresh(const struct signature *signature)
{
    int64_t newest = signature->database.changed_ns > signature->wal.changed_ns
                         ? signature->database.changed_ns
                         : signature->wal.changed_ns;
    return clock_wall_ms() - newest / 1000000 < FRESH_MS;
}

/* --- is it the file that was read before? --- */

static uint64_t hash_text(uint64_t hash, sqlite3_stmt *statement, int column)
{
    const void *bytes = sqlite3_column_text(statement, column);
    size_t size = (size_t)sqlite3_column_bytes(statement, column);
    if (bytes != NULL)
        hash = text_hash(hash, bytes, size);
    return text_hash(hash, "", 1);
}

/* Of the first five columns of both statements. */
static uint64_t hash_row(sqlite3_stmt *statement)
{
    uint64_t hash = TEXT_HASH_START;
    for (int column = 0; column < 5; column++)
        hash = hash_text(hash, statement, column);
    return hash;
}

static void put_identity(char *identity, ino_t inode, uint64_t row_hash)
{
    snprintf(identity, SOURCE_IDENTITY_MAX, "inode %" PRIu64 " row %016" PRIx64,
             (uint64_t)inode, row_hash);
}

static enum source_verdict replaced(const struct source_file *file,
                                    int64_t cursor, const char *why,
                                    struct error *error)
{
    error_set(error, ERROR_DATA,
              "%s is not the file that was read up to row %" PRId64
              ": %s; nothing is read from it any more. Put the right file "
              "back, or, to read this one from its start, give the source "
              "another name than %s in the configuration; see `tidemill "
              "doctor`",
              file->source->path, cursor, why, file->source->name);
    return SOURCE_REPLACED;
}

/* The highest id ever given, by AUTOINCREMENT's own word or by the rows. */
static enum source_verdict highest_id(struct source_file *file,
                                      int64_t *highest, bool *empty,
                                      struct error *error)
{
    const char *sql =
        file->has_sequence
            ? "SELECT max(coalesce((SELECT max(id) FROM sync_queue), 0),"
              " coalesce((SELECT seq FROM sqlite_sequence"
              " WHERE name = 'sync_queue'), 0)),"
              " NOT EXISTS (SELECT 1 FROM sync_queue)"
            : "SELECT coalesce((SELECT max(id) FROM sync_queue), 0),"
              " NOT EXISTS (SELECT 1 FROM sync_queue)";
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(file->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return source_failed(file, "read its highest id", error);
    enum source_verdict verdict = SOURCE_OK;
    if (sqlite3_step(statement) == SQLITE_ROW) {
        *highest = sqlite3_column_int64(statement, 0);
        *empty = sqlite3_column_int(statement, 1) != 0;
    } else {
        verdict = source_failed(file, "read its highest id", error);
    }
    sqlite3_finalize(statement);
    return verdict;
}

/* The row at the cursor is gone.  An application may delete its old rows;
 * then the file is still the same one and its ids go on. */
static enum source_verdict check_without_row(struct source_file *file,
                                             int64_t cursor, bool same_inode,
                                             struct error *error)
{
    int64_t highest = 0;
    bool empty = false;
    if (!same_inode)
        return replaced(file, cursor,
                        "it is another file and does not have that row", error);
    enum source_verdict verdict = highest_id(file, &highest, &empty, error);
    if (verdict != SOURCE_OK || highest >= cursor || empty)
        return verdict;
    return replaced(file, cursor, "its ids have started again", error);
}

/* SQLITE_ROW and the row's hash, SQLITE_DONE when it is gone, or why not. */
static int hash_of_id(struct source_file *file, int64_t id, uint64_t *hash)
{
    sqlite3_stmt *statement = file->row_statement;
    sqlite3_bind_int64(statement, 1, id);
    int result = sqlite3_step(statement);
    *hash = result == SQLITE_ROW ? hash_row(statement) : 0;
    sqlite3_reset(statement);
    return result;
}

static enum source_verdict check_identity(struct source_file *file,
                                          int64_t cursor, const char *identity,
                                          uint64_t *row_hash,
                                          struct error *error)
{
    uint64_t inode = 0, expected = 0, found;
    *row_hash = 0;
    if (cursor == 0 || sscanf(identity, "inode %" SCNu64 " row %" SCNx64,
                              &inode, &expected) != 2)
        return SOURCE_OK;
    *row_hash = expected;
    int result = hash_of_id(file, cursor, &found);
    if (result == SQLITE_DONE)
        return check_without_row(file, cursor, inode == file->inode, error);
    if (result != SQLITE_ROW)
        return source_failed(file, "read its sync_queue", error);
    if (found == expected)
        return SOURCE_OK;
    return replaced(file, cursor, "that row is another one there", error);
}

/* --- reading --- */

enum { OPERATION, TABLE_NAME, RECORD_ID, DATA, PRIORITY, TEXTS };

struct row_text {
    const char *at; /* NULL: the column is */
    size_t size;
};

/* The columns' texts, for as long as the statement stands on the row. */
static size_t look_at_texts(sqlite3_stmt *statement,
                            struct row_text texts[TEXTS])
{
    static const int columns[TEXTS] = {1, 2, 3, 5, 6};
    size_t bytes = 0;
    for (int i = 0; i < TEXTS; i++) {
        size_t most = i == DATA ? OUTBOX_DATA_MAX : NAME_BYTES_MAX;
        struct row_text *text = &texts[i];
        text->at = (const char *)sqlite3_column_text(statement, columns[i]);
        text->size = (size_t)sqlite3_column_bytes(statement, columns[i]);
        /* One byte past the bound is enough to be refused for it. */
        if (text->size > most)
            text->size = most + 1;
        bytes += text->size + 1;
    }
    return bytes;
}

static const char *copy_text(char **to, const struct row_text *text,
                             size_t *size)
{
    char *copy = *to;
    *size = text->at == NULL ? 0 : text->size;
    if (text->at == NULL)
        return NULL;
    memcpy(copy, text->at, text->size);
    copy[text->size] = '\0';
    *to += text->size + 1;
    return copy;
}

static int64_t created_of(sqlite3_stmt *statement, int column)
{
    int64_t created_ms;
    if (sqlite3_column_type(statement, column) == SQLITE_INTEGER) {
        int64_t number = sqlite3_column_int64(statement, column);
        return number > 100000000000 ? number : number * 1000;
    }
    const char *text = (const char *)sqlite3_column_text(statement, column);
    size_t size = (size_t)sqlite3_column_bytes(statement, column);
    if (text != NULL && clock_parse(text, size, &created_ms) == 0)
        return created_ms;
    return clock_wall_ms();
}

/* -1 when the arena is full. */
static int take_row(struct arena *arena, sqlite3_stmt *statement,
                    struct source_row *row)
{
    struct row_text texts[TEXTS];
    char *to = arena_alloc(arena, look_at_texts(statement, texts));
    if (to == NULL)
        return -1;
    row->id = sqlite3_column_int64(statement, 0);
    row->created_ms = created_of(statement, 4);
    row->operation = copy_text(&to, &texts[OPERATION], &row->operation_size);
    row->table_name = copy_text(&to, &texts[TABLE_NAME], &row->table_name_size);
    row->record_id = copy_text(&to, &texts[RECORD_ID], &row->record_id_size);
    row->data = copy_text(&to, &texts[DATA], &row->data_size);
    row->priority = copy_text(&to, &texts[PRIORITY], &row->priority_size);
    return 0;
}

static enum source_verdict read_rows(struct source_file *file, int64_t cursor,
                                     struct arena *arena, uint64_t row_hash,
                                     struct source_batch *batch,
                                     struct error *error)
{
    sqlite3_stmt *statement = file->rows_statement;
    enum source_verdict verdict = SOURCE_OK;
    size_t before = arena->used_bytes;
    int result = SQLITE_DONE;
    sqlite3_bind_int64(statement, 1, cursor);
    sqlite3_bind_int64(statement, 2, SOURCE_ROWS_MAX);
    while (batch->count < SOURCE_ROWS_MAX &&
           arena->used_bytes - before < SOURCE_BYTES_MAX &&
           (result = sqlite3_step(statement)) == SQLITE_ROW) {
        if (take_row(arena, statement, &batch->rows[batch->count]) != 0)
            break;
        batch->count++;
    }
    batch->more = result == SQLITE_ROW;
    batch->bytes = arena->used_bytes - before;
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        verdict = source_failed(file, "read its sync_queue", error);
    sqlite3_reset(statement);
    if (verdict == SOURCE_OK && batch->count > 0 &&
        hash_of_id(file, batch->rows[batch->count - 1].id, &row_hash) !=
            SQLITE_ROW)
        verdict = source_failed(file, "read its sync_queue", error);
    put_identity(batch->identity, file->inode, row_hash);
    return verdict;
}

static enum source_verdict note_version(struct source_file *file,
                                        struct error *error)
{
    int result = sqlite3_step(file->version_statement);
    if (result == SQLITE_ROW) {
        file->version = sqlite3_column_int64(file->version_statement, 0);
        file->version_known = true;
    }
    sqlite3_reset(file->version_statement);
    return result == SQLITE_ROW
               ? SOURCE_OK
               : source_failed(file, "ask for its version", error);
}

static enum source_verdict
read_transaction(struct source_file *file, int64_t cursor, const char *identity,
                 struct arena *arena, struct source_batch *batch,
                 struct error *error)
{
    uint64_t row_hash = 0;
    enum source_verdict verdict = note_version(file, error);
    if (verdict != SOURCE_OK)
        return verdict;
    if (sqlite3_exec(file->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return source_failed(file, "begin to read", error);
    verdict = check_identity(file, cursor, identity, &row_hash, error);
    if (verdict == SOURCE_OK)
        verdict = read_rows(file, cursor, arena, row_hash, batch, error);
    if (sqlite3_exec(file->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        sqlite3_exec(file->db, "ROLLBACK", NULL, NULL, NULL);
    return verdict;
}

/* Still the file that stands at the path? */
static bool is_in_place(const struct source_file *file,
                        const struct signature *now)
{
    return now->database.inode == file->inode;
}

enum source_verdict source_file_read(struct source_file *file, int64_t cursor,
                                     const char *identity, struct arena *arena,
                                     struct source_batch *batch,
                                     struct error *error)
{
    struct signature before = signature_of(file->source);
    batch->count = batch->bytes = 0;
    batch->more = false;
    batch->identity[0] = '\0';
    file->deadline_ms = clock_monotonic_ms() + SOURCE_READ_MOST_MS;
    file->changed_ms = clock_monotonic_ms();
    file->seen_known = false;
    if (file->db != NULL &&
        !(file->immutable ? same_signature(&before, &file->seen)
                          : is_in_place(file, &before)))
        source_close(file);
    enum source_verdict verdict =
        file->db != NULL ? SOURCE_OK : source_open(file, error);
    if (verdict == SOURCE_OK)
        verdict = read_transaction(file, cursor, identity, arena, batch, error);
    if (verdict == SOURCE_OK && file->immutable) {
        struct signature after = signature_of(file->source);
        if (!same_signature(&before, &after)) {
            verdict = SOURCE_BUSY;
            error_set(error, ERROR_TRY_AGAIN, "%s is just being changed",
                      file->source->path);
        } else if (!is_fresh(&after)) {
            file->seen = after;
            file->seen_known = true;
        }
    }
    if (verdict != SOURCE_OK) {
        batch->count = 0;
        batch->more = false;
    }
    /* As it stands it stays open only while the next read goes on with it. */
    if (verdict != SOURCE_OK ||
        (file->immutable && !(batch->more && file->seen_known)))
        source_close(file);
    return verdict;
}

bool source_file_changed(struct source_file *file)
{
    struct signature now = signature_of(file->source);
    if (file->db == NULL)
        return !file->seen_known || !same_signature(&file->seen, &now);
    if (!is_in_place(file, &now))
        return true;
    int64_t before = file->version;
    file->deadline_ms = clock_monotonic_ms() + SOURCE_READ_MOST_MS;
    if (!file->version_known || note_version(file, NULL) != SOURCE_OK ||
        file->version != before) {
        file->version_known = false; /* until it was read */
        return true;
    }
    if (clock_monotonic_ms() - file->changed_ms > IDLE_CLOSE_MS &&
        !is_fresh(&now)) {
        file->seen = now;
        file->seen_known = true;
        source_close(file);
    }
    return false;
}

struct source_file *source_file_new(const struct sync_source *source)
{
    struct source_file *file = calloc(1, sizeof(*file));
    if (file != NULL)
        file->source = source;
    return file;
}

void source_file_free(struct source_file **file)
{
    if (*file == NULL)
        return;
    source_close(*file);
    free(*file);
    *file = NULL;
}
