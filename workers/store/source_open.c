/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/source_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"

#define BUSY_WAIT_MS     3
#define PROGRESS_OPCODES 4000
#define HEADER_BYTES     20
#define HEADER_WAL_BYTE  18

struct face source_face(const char *path, const char *suffix)
{
    char name[CONFIG_PATH_MAX];
    struct stat status;
    struct face face;
    memset(&face, 0, sizeof(face)); /* compared as bytes */
    snprintf(name, sizeof(name), "%s%s", path, suffix);
    if (stat(name, &status) != 0)
        return face;
    face.device = status.st_dev;
    face.inode = status.st_ino;
    face.size = status.st_size;
    face.changed_ns =
        (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
    return face;
}

void source_close(struct source_file *file)
{
    sqlite3_finalize(file->version_statement);
    sqlite3_finalize(file->row_statement);
    sqlite3_finalize(file->rows_statement);
    file->version_statement = file->row_statement = file->rows_statement = NULL;
    sqlite3_close(file->db);
    file->db = NULL;
    file->version_known = false;
}

enum source_verdict source_failed(struct source_file *file, const char *what,
                                  struct error *error)
{
    int code = file->db == NULL ? SQLITE_NOMEM : sqlite3_errcode(file->db);
    int extended = file->db == NULL ? code : sqlite3_extended_errcode(file->db);
    const char *path = file->source->path;
    switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        error_set(error, ERROR_TRY_AGAIN, "%s is locked by its application",
                  path);
        return SOURCE_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        error_set(error, ERROR_DATA,
                  "%s is damaged or no SQLite database (%s): check it with "
                  "`sqlite3 FILE 'PRAGMA integrity_check'`",
                  path, sqlite3_errstr(extended));
        return SOURCE_FAILED;
    case SQLITE_READONLY:
        error_set(error, ERROR_TRY_AGAIN,
                  "%s must be recovered by its application first: start that "
                  "once (%s)",
                  path, sqlite3_errstr(extended));
        return SOURCE_BUSY;
    case SQLITE_INTERRUPT:
        error_set(error, ERROR_IO, "%s: reading took longer than %d ms", path,
                  SOURCE_READ_MOST_MS);
        return SOURCE_FAILED;
    default:
        error_set(error, ERROR_NO_INPUT, "%s: cannot %s: %s", path, what,
                  file->db == NULL ? "no memory" : sqlite3_errmsg(file->db));
        return SOURCE_FAILED;
    }
}

static int on_progress(void *self)
{
    const struct source_file *file = self;
    return clock_monotonic_ms() > file->deadline_ms;
}

static enum source_verdict check_owner(const struct sync_source *source,
                                       uid_t owner, struct error *error)
{
    struct passwd entry, *found = NULL;
    char bytes[4096];
    if (source->user == NULL || source->user[0] == '\0')
        return SOURCE_OK;
    getpwnam_r(source->user, &entry, bytes, sizeof(bytes), &found);
    if (found == NULL) {
        error_set(error, ERROR_CONFIG, "the user %s of source %s is not known",
                  source->user, source->name);
        return SOURCE_FAILED;
    }
    if (found->pw_uid == owner)
        return SOURCE_OK;
    error_set(error, ERROR_NOT_ALLOWED,
              "%s belongs to uid %u, not to %s as the configuration says: "
              "correct `user` of source %s, or the file's owner",
              source->path, (unsigned)owner, source->user, source->name);
    return SOURCE_FAILED;
}

static enum source_verdict check_path(struct source_file *file,
                                      struct error *error)
{
    struct stat status;
    const char *path = file->source->path;
    if (stat(path, &status) != 0) {
        bool missing = errno == ENOENT || errno == ENOTDIR;
        error_set_errno(error, ERROR_NO_INPUT, "cannot read source %s at %s",
                        file->source->name, path);
        return missing ? SOURCE_MISSING : SOURCE_FAILED;
    }
    if (!S_ISREG(status.st_mode)) {
        error_set(error, ERROR_NO_INPUT, "%s is not a regular file", path);
        return SOURCE_FAILED;
    }
    file->inode = status.st_ino;
    return check_owner(file->source, status.st_uid, error);
}

static enum source_verdict is_in_wal_mode(const char *path, bool *wal,
                                          struct error *error)
{
    char header[HEADER_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        error_set_errno(error, ERROR_NO_INPUT, "cannot open %s", path);
        return SOURCE_FAILED;
    }
    ssize_t got = pread(fd, header, sizeof(header), 0);
    close(fd);
    *wal = got == HEADER_BYTES && header[HEADER_WAL_BYTE] == 2;
    if (got != 0)
        return SOURCE_OK;
    error_set(error, ERROR_NO_INPUT, "%s is empty so far", path);
    return SOURCE_MISSING;
}

/* Which of its faces a file shows; see the header. */
static enum source_verdict choose_face(struct source_file *file,
                                       struct error *error)
{
    const char *path = file->source->path;
    bool wal = false;
    enum source_verdict verdict = is_in_wal_mode(path, &wal, error);
    file->immutable = false;
    if (verdict != SOURCE_OK || !wal || source_face(path, "-shm").inode != 0)
        return verdict;
    if (source_face(path, "-wal").size > 0) {
        error_set(error, ERROR_TRY_AGAIN,
                  "%s-wal has no %s-shm beside it: start the application once, "
                  "so that it recovers its file",
                  path, path);
        return SOURCE_BUSY;
    }
    file->immutable = true;
    return SOURCE_OK;
}

static enum source_verdict open_db(struct source_file *file,
                                   struct error *error)
{
    char *uri = sqlite3_mprintf("%s", file->source->path);
    /* The characters that mean something in a URI. */
    char escaped[3 * CONFIG_PATH_MAX];
    size_t size = 0;
    for (const char *at = uri; at != NULL && *at != '\0'; at++) {
        if (*at == '%' || *at == '?' || *at == '#')
            size += (size_t)snprintf(escaped + size, sizeof(escaped) - size,
                                     "%%%02X", (unsigned char)*at);
        else
            escaped[size++] = *at;
        if (size > sizeof(escaped) - 4)
            break;
    }
    escaped[size] = '\0';
    sqlite3_free(uri);
    uri = sqlite3_mprintf("file:%s?mode=ro&%s=1", escaped,
                          file->immutable ? "immutable" : "readonly_shm");
    if (uri == NULL)
        return source_failed(file, "open it", error);
    int result = sqlite3_open_v2(
        uri, &file->db,
        SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    sqlite3_free(uri);
    if (result != SQLITE_OK)
        return source_failed(file, "open it", error);
    sqlite3_busy_timeout(file->db, BUSY_WAIT_MS);
    sqlite3_db_config(file->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(file->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(file->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_progress_handler(file->db, PROGRESS_OPCODES, on_progress, file);
    return SOURCE_OK;
}

/* --- the form of the table --- */

static const char *const columns[] = {
    "id",       "operation",  "table_name", "record_id",   "record_data",
    "priority", "created_at", "synced_at",  "retry_count", "error_message"};
#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))

static enum source_verdict check_is_table(struct source_file *file,
                                          struct error *error)
{
    static const char sql[] =
        "SELECT type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%',"
        " EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence')"
        " FROM sqlite_schema WHERE name = 'sync_queue'";
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(file->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return source_failed(file, "look for its sync_queue", error);
    int result = sqlite3_step(statement);
    bool good = result == SQLITE_ROW && sqlite3_column_int(statement, 0) != 0;
    if (result == SQLITE_ROW)
        file->has_sequence = sqlite3_column_int(statement, 1) != 0;
    sqlite3_finalize(statement);
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        return source_failed(file, "look for its sync_queue", error);
    if (good)
        return SOURCE_OK;
    error_set(error, ERROR_DATA,
              result == SQLITE_ROW
                  ? "%s: sync_queue is not an ordinary table"
                  : "%s has no table sync_queue: its application has not made "
                    "it yet, or the path is wrong",
              file->source->path);
    return SOURCE_FAILED;
}

static enum source_verdict check_columns(struct source_file *file,
                                         struct error *error)
{
    bool have[COLUMN_COUNT] = {false};
    bool is_key = false;
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(file->db, "PRAGMA table_xinfo(sync_queue)", -1,
                           &statement, NULL) != SQLITE_OK)
        return source_failed(file, "read the form of sync_queue", error);
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 1);
        const char *type = (const char *)sqlite3_column_text(statement, 2);
        for (size_t i = 0; i < COLUMN_COUNT; i++)
            if (name != NULL && sqlite3_stricmp(name, columns[i]) == 0)
                have[i] = true;
        if (name != NULL && sqlite3_stricmp(name, columns[0]) == 0)
            is_key = sqlite3_column_int(statement, 5) == 1 && type != NULL &&
                     sqlite3_stricmp(type, "INTEGER") == 0;
    }
    sqlite3_finalize(statement);
    if (result != SQLITE_DONE)
        return source_failed(file, "read the form of sync_queue", error);
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        if (!have[i]) {
            error_set(error, ERROR_DATA,
                      "%s: its sync_queue has no column %s; tidemill.yaml(5) "
                      "shows the form under `sources`",
                      file->source->path, columns[i]);
            return SOURCE_FAILED;
        }
    if (is_key)
        return SOURCE_OK;
    error_set(error, ERROR_DATA,
              "%s: the column id of its sync_queue is not INTEGER PRIMARY KEY "
              "AUTOINCREMENT",
              file->source->path);
    return SOURCE_FAILED;
}

static enum source_verdict prepare(struct source_file *file,
                                   struct error *error)
{
    static const char row[] = "SELECT id, operation, table_name, record_id,"
                              " created_at FROM sync_queue WHERE id = ?1";
    static const char rows[] =
        "SELECT id, operation, table_name, record_id, created_at, record_data,"
        " priority FROM sync_queue WHERE id > ?1 ORDER BY id LIMIT ?2";
    const unsigned persistent = SQLITE_PREPARE_PERSISTENT;
    if (sqlite3_prepare_v3(file->db, "PRAGMA data_version", -1, persistent,
                           &file->version_statement, NULL) != SQLITE_OK ||
        sqlite3_prepare_v3(file->db, row, -1, persistent, &file->row_statement,
                           NULL) != SQLITE_OK ||
        sqlite3_prepare_v3(file->db, rows, -1, persistent,
                           &file->rows_statement, NULL) != SQLITE_OK)
        return source_failed(file, "read its sync_queue", error);
    return SOURCE_OK;
}

enum source_verdict source_open(struct source_file *file, struct error *error)
{
    enum source_verdict verdict = check_path(file, error);
    if (verdict == SOURCE_OK)
        verdict = choose_face(file, error);
    if (verdict == SOURCE_OK)
        verdict = open_db(file, error);
    if (verdict == SOURCE_OK)
        verdict = check_is_table(file, error);
    if (verdict == SOURCE_OK)
        verdict = check_columns(file, error);
    if (verdict == SOURCE_OK)
        verdict = prepare(file, error);
    return verdict;
}
