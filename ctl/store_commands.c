/* SPDX-License-Identifier: Apache-2.0
 *
 * backup, restore, store check|export|repair: the local store as a file.
 */
#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/store/lock.h"
#include "common/store/reader.h"
#include "common/store/salvage.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "ctl/report.h"

#define PATH_BYTES 4200

static int database_failed(sqlite3 *db, const char *what, const char *path)
{
    struct error error;
    error_set(&error, ERROR_IO, "cannot %s %s: %s", what, path,
              sqlite3_errmsg(db));
    return print_failure(&error);
}

static int take_ok(void *self, int count, char **values, char **names)
{
    bool *is = self;
    (void)names;
    *is = count == 1 && values[0] != NULL && strcmp(values[0], "ok") == 0;
    return 0;
}

static bool is_sound(const char *path)
{
    sqlite3 *db;
    bool sound = false;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK)
        sqlite3_exec(db, "PRAGMA integrity_check(1)", take_ok, &sound, NULL);
    sqlite3_close(db);
    return sound;
}

/* --- backup and restore --- */

static void backup_name(const char *argument, char path[PATH_BYTES])
{
    struct stat status;
    bool folder = stat(argument, &status) == 0 && S_ISDIR(status.st_mode);
    snprintf(path, PATH_BYTES, "%s%s%s", argument, folder ? "/" : "",
             folder ? STORE_FILE_NAME : "");
}

int command_backup(const struct command_context *context, int argc, char **argv)
{
    struct error error;
    struct store_reader *reader;
    sqlite3_stmt *vacuum = NULL;
    char path[PATH_BYTES];
    if (argc != 2)
        return print_usage(context, "FILE or DIR is missing");
    backup_name(argv[1], path);
    if (access(path, F_OK) == 0) {
        error_set(&error, ERROR_CANT_CREATE, "%s is there already", path);
        return print_failure(&error);
    }
    if (report_open(&reader, context->config, &error) != 0)
        return print_failure(&error);
    sqlite3 *db = store_reader_db(reader);
    int code = sqlite3_exec(db, "PRAGMA query_only=0", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &vacuum, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(vacuum, 1, path, -1, SQLITE_STATIC);
        code = sqlite3_step(vacuum);
    }
    sqlite3_finalize(vacuum);
    int status = code == SQLITE_DONE ? 0 : database_failed(db, "write", path);
    store_reader_close(&reader);
    if (status == 0 && !is_sound(path)) {
        error_set(&error, ERROR_IO,
                  "the backup %s is damaged: the store or the disk is; run "
                  "'tidemill store check'",
                  path);
        status = print_failure(&error);
    }
    if (status == 0 && !context->json)
        printf("backed up to %s\n", path);
    else if (status == 0)
        return print_json(json_pack("{s:s}", "file", path));
    return status;
}

/* Copies into a file beside the store, with the mark that begins an epoch. */
static int copy_backup(const char *from, const char *to)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *vacuum = NULL;
    unlink(to);
    int code = sqlite3_open_v2(from, &db, SQLITE_OPEN_READONLY, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &vacuum, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(vacuum, 1, to, -1, SQLITE_STATIC);
        code = sqlite3_step(vacuum);
    }
    sqlite3_finalize(vacuum);
    int status = code == SQLITE_DONE ? 0 : database_failed(db, "read", from);
    sqlite3_close(db);
    if (status != 0)
        return status;
    code = sqlite3_open_v2(to, &db, SQLITE_OPEN_READWRITE, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(
            db, "INSERT OR REPLACE INTO store_meta VALUES ('restored', 1)",
            NULL, NULL, NULL);
    status = code == SQLITE_OK ? 0 : database_failed(db, "write", to);
    sqlite3_close(db);
    return status;
}

static int put_in_place(const char *state_dir, const char *made)
{
    static const char *const beside[] = {"-wal", "-shm"};
    struct error error;
    char path[PATH_BYTES], kept[PATH_BYTES];
    snprintf(path, sizeof(path), "%s/%s", state_dir, STORE_FILE_NAME);
    snprintf(kept, sizeof(kept), "%s/%s.before-restore", state_dir,
             STORE_FILE_NAME);
    if (rename(path, kept) != 0 && errno != ENOENT) {
        error_set_errno(&error, ERROR_IO, "cannot rename %s", path);
        return print_failure(&error);
    }
    for (size_t i = 0; i < 2; i++) {
        char from[PATH_BYTES + 8], to[PATH_BYTES + 8];
        snprintf(from, sizeof(from), "%s%s", path, beside[i]);
        snprintf(to, sizeof(to), "%s%s", kept, beside[i]);
        if (rename(from, to) != 0)
            unlink(to);
    }
    if (rename(made, path) == 0)
        return 0;
    error_set_errno(&error, ERROR_IO, "cannot rename %s", made);
    return print_failure(&error);
}

int command_restore(const struct command_context *context, int argc,
                    char **argv)
{
    const char *state_dir = context->config->state_dir;
    struct error error;
    struct store_lock lock;
    char made[PATH_BYTES];
    if (argc != 2)
        return print_usage(context, "FILE is missing");
    if (!is_sound(argv[1])) {
        error_set(&error, ERROR_DATA,
                  "%s is no sound backup; nothing was "
                  "changed",
                  argv[1]);
        return print_failure(&error);
    }
    if (store_lock_take(&lock, state_dir, &error) != 0)
        return print_failure(&error);
    snprintf(made, sizeof(made), "%s/%s.restoring", state_dir, STORE_FILE_NAME);
    int status = copy_backup(argv[1], made);
    if (status == 0)
        status = put_in_place(state_dir, made);
    store_lock_leave(&lock);
    if (status == 0 && !context->json)
        printf("restored; the store before is kept as %s.before-restore; a new "
               "epoch begins with the first contact to the centre\n",
               STORE_FILE_NAME);
    else if (status == 0)
        return print_json(json_pack("{s:s}", "restored", argv[1]));
    return status;
}

/* --- store check --- */

static void tell_problem(void *self, const char *words)
{
    json_array_append_new(self, json_string(words));
}

int command_store_check(const struct command_context *context, int argc,
                        char **argv)
{
    struct error error;
    int64_t problems;
    int usage = take_no_arguments(context, argc, argv);
    if (usage != 0)
        return usage;
    json_t *list = json_array();
    if (store_check(context->config->state_dir, &problems, tell_problem, list,
                    &error) != 0) {
        json_decref(list);
        return print_failure(&error);
    }
    size_t i;
    json_t *words;
    if (!context->json) {
        json_array_foreach(list, i, words)
            printf("%s\n", json_string_value(words));
        puts(problems == 0 ? "the store is sound"
                           : "the store is damaged: stop the daemon and run "
                             "'tidemill store repair'");
        json_decref(list);
    } else {
        print_json(
            json_pack("{s:b,s:o}", "sound", problems == 0, "problems", list));
    }
    return problems == 0 ? 0 : 1;
}

/* --- store export --- */

/* ?1: only what was synced in batches after that one; -1: what is pending. */
static const char export_sql[] =
    "SELECT json_object('operation', operation, 'table', table_name,"
    " 'record_id', record_id, 'data', json(record_data), 'priority', priority)"
    " FROM sync_queue WHERE operation <> 'UNKNOWN' AND CASE WHEN ?1 < 0"
    " THEN status IN ('pending', 'in_flight')"
    " ELSE status = 'synced' AND batch_id > ?1 END ORDER BY id";

int command_store_export(const struct command_context *context, int argc,
                         char **argv)
{
    struct error error;
    struct store_reader *reader;
    sqlite3_stmt *rows = NULL;
    int64_t after = -1;
    if (argc == 3 && strcmp(argv[1], "--after-batch") == 0)
        after = strtoll(argv[2], NULL, 10);
    else if (argc != 1)
        return print_usage(context, "unexpected argument: %s", argv[1]);
    if (report_open(&reader, context->config, &error) != 0)
        return print_failure(&error);
    sqlite3 *db = store_reader_db(reader);
    int code = sqlite3_prepare_v2(db, export_sql, -1, &rows, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(rows, 1, after);
        while ((code = sqlite3_step(rows)) == SQLITE_ROW)
            printf("%s\n", (const char *)sqlite3_column_text(rows, 0));
    }
    sqlite3_finalize(rows);
    int status = code == SQLITE_DONE ? 0
                                     : database_failed(db, "read",
                                                       "the "
                                                       "whole store (run "
                                                       "'tidemill store "
                                                       "repair')");
    store_reader_close(&reader);
    return status;
}

/* --- store repair --- */

static void tell_lost(void *self, const char *table, int64_t after,
                      int64_t before)
{
    json_t *row = json_pack("{s:s,s:I,s:I}", "table", table, "after",
                            (json_int_t)after, "before", (json_int_t)before);
    bool outbox = strcmp(table, "outbox") == 0;
    if (outbox && after > 0)
        json_object_set_new(row, "after_id",
                            json_integer(after & ((INT64_C(1) << 55) - 1)));
    if (outbox && before != INT64_MAX)
        json_object_set_new(row, "before_id",
                            json_integer(before & ((INT64_C(1) << 55) - 1)));
    json_array_append_new(self, row);
}

static void print_repair(const struct salvage *salvage, const json_t *lost,
                         const char *kept)
{
    size_t i;
    json_t *row;
    json_array_foreach(lost, i, row) printf(
        "lost: %s, rows after %lld before %lld\n", report_text(row, "table"),
        report_number(row, "after"), report_number(row, "before"));
    printf("%" PRId64 " rows can be read, with %" PRId64 " gaps; %" PRId64
           " operations pend\n",
           salvage->rows, salvage->gaps, salvage->pending);
    if (kept[0] == '\0')
        puts("nothing was changed; 'tidemill store repair --apply' puts what "
             "can be read into a new store");
    else
        printf("repaired; the damaged store is kept as %s%s\n", STORE_FILE_NAME,
               kept);
}

int command_store_repair(const struct command_context *context, int argc,
                         char **argv)
{
    struct error error;
    char kept[64];
    bool apply = argc == 2 && strcmp(argv[1], "--apply") == 0;
    if (argc > 1 && !apply)
        return print_usage(context, "unexpected argument: %s", argv[1]);
    json_t *lost = json_array();
    struct salvage salvage = {.lost = tell_lost, .self = lost};
    if (store_repair(context->config->state_dir, apply, &salvage, kept,
                     &error) != 0) {
        json_decref(lost);
        return print_failure(&error);
    }
    if (context->json)
        return print_json(json_pack(
            "{s:I,s:I,s:b,s:o}", "rows", (json_int_t)salvage.rows, "pending",
            (json_int_t)salvage.pending, "applied", apply, "lost", lost));
    print_repair(&salvage, lost, kept);
    json_decref(lost);
    return 0;
}
