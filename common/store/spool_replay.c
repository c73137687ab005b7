/* SPDX-License-Identifier: Apache-2.0
 *
 * The spool's requests into the store, each exactly once: how far the spool
 * of this id was taken over is committed with them.  When we die before it
 * is emptied the next writer finds nothing left to do, and takes up what
 * was appended meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/store/spool.h"
#include "common/store/writer_internal.h"

#define ARENA_BYTES       (4u << 20)
#define REFUSED_BYTES_MAX (16 << 20)

struct replay {
    struct store_writer *writer;
    struct spool spool;
    struct arena arena;
    size_t from;
    unsigned taken;
};

static int read_meta(struct store_writer *writer, const char *name,
                     int64_t *value, struct error *error)
{
    *value = 0;
    sqlite3_stmt *row =
        SQL_QUERY(writer, SQL_META_READ, error, value_text(name));
    int step = row == NULL ? -1 : sql_step(writer, row, error);
    if (step > 0) {
        *value = sqlite3_column_int64(row, 0);
        sqlite3_reset(row);
    }
    return step < 0 ? -1 : 0;
}

/* Where to go on in this spool. */
static int find_start(struct replay *replay, struct error *error)
{
    int64_t id, end;
    if (read_meta(replay->writer, "spool_id", &id, error) != 0 ||
        read_meta(replay->writer, "spool_end", &end, error) != 0)
        return -1;
    replay->from = (uint64_t)id == replay->spool.id ? (size_t)end : 0;
    return 0;
}

static int write_end(struct replay *replay, struct error *error)
{
    return SQL_RUN(replay->writer, SQL_META_WRITE, error,
                   value_text("spool_id"),
                   value_integer((int64_t)replay->spool.id)) != 0
               ? -1
               : SQL_RUN(replay->writer, SQL_META_WRITE, error,
                         value_text("spool_end"),
                         value_integer((int64_t)replay->spool.bytes.size));
}

/* Moves bytes aside that the store cannot take; they are durable there
 * before the spool counts as taken over. */
static int put_aside(struct replay *replay, size_t at, size_t end,
                     const char *why, struct error *error)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", replay->writer->state_dir,
             SPOOL_REFUSED_NAME);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                  0640);
    size_t size = end - at;
    bool room =
        fd >= 0 && lseek(fd, 0, SEEK_END) + (off_t)size <= REFUSED_BYTES_MAX;
    int result = fd < 0 ? -1 : 0;
    if (room &&
        (write(fd, replay->spool.bytes.bytes + at, size) != (ssize_t)size ||
         fdatasync(fd) != 0))
        result = -1;
    if (result != 0)
        error_set_errno(error, ERROR_IO, "cannot write %s", path);
    if (fd >= 0)
        close(fd);
    if (result != 0)
        return -1;
    log_error("the spool, %zu bytes at %zu: %s; %s %s", size, at, why,
              room ? "kept in" : "dropped, for there is no more room in", path);
    return 0;
}

/* Only what no other time or place would make acceptable is put aside. */
static bool is_refusal(const struct store_writer *writer, enum error_code code)
{
    return !writer->group_lost &&
           (code == ERROR_DATA || code == ERROR_PROTOCOL ||
            code == ERROR_NOT_ALLOWED);
}

static int take_entry(struct replay *replay, const struct spool_entry *entry,
                      struct error *error)
{
    struct store_writer *writer = replay->writer;
    struct store_request request;
    struct store_answer answer = {.code = ERROR_NONE};
    struct error wrong;
    arena_reset(&replay->arena);
    if (spool_parse(entry, &replay->arena, &request, &wrong) != 0)
        return put_aside(replay, entry->at, entry->end, wrong.text, error);
    store_writer_run(writer, CALLER_CLI, &request, &replay->arena, &answer);
    if (answer.code == ERROR_NONE) {
        replay->taken++;
        return 0;
    }
    if (!is_refusal(writer, answer.code))
        return error_set(error, answer.code, "%s", answer.text);
    return put_aside(replay, entry->at, entry->end, answer.text, error);
}

static int take_entries(struct replay *replay, struct error *error)
{
    struct spool_entry entry;
    if (find_start(replay, error) != 0)
        return -1;
    for (size_t at = replay->from; at < replay->spool.bytes.size;
         at = entry.end) {
        spool_next(&replay->spool, at, &entry);
        if (entry.at > entry.skipped_at &&
            put_aside(replay, entry.skipped_at, entry.at,
                      entry.at == entry.end
                          ? "no whole request, never acknowledged unless it "
                            "was damaged since"
                          : "damaged",
                      error) != 0)
            return -1;
        if (entry.at < entry.end && take_entry(replay, &entry, error) != 0)
            return -1;
    }
    return write_end(replay, error);
}

static int take_over(struct replay *replay, struct error *error)
{
    struct store_writer *writer = replay->writer;
    bool asked_once = writer->is_asked_once;
    if (store_writer_begin(writer, error) != 0)
        return -1;
    /* What is not taken over yet the store was never asked before; without
     * a head we do not know, and their tokens tell. */
    writer->is_asked_once = replay->spool.id != 0;
    int result = take_entries(replay, error);
    writer->is_asked_once = asked_once;
    if (result != 0) {
        store_writer_rollback(writer);
        return -1;
    }
    return store_writer_commit(writer, error);
}

int store_writer_replay(struct store_writer *writer, struct error *error)
{
    struct replay replay = {.writer = writer};
    if (writer->in_group)
        return error_set(error, ERROR_TRY_AGAIN, "a group is under way");
    int result = spool_open(&replay.spool, writer->state_dir, error);
    if (result == 0 && replay.spool.bytes.size > 0) {
        arena_init(&replay.arena, ARENA_BYTES);
        result = take_over(&replay, error);
        if (result == 0)
            result = spool_empty(&replay.spool, error);
        arena_deinit(&replay.arena);
    }
    spool_close(&replay.spool);
    writer->spool_waits = result != 0;
    if (result == 0 && replay.taken > 0)
        log_info("%u requests were taken over from the spool", replay.taken);
    return result;
}

bool store_writer_spool_waits(const struct store_writer *writer)
{
    return writer->spool_waits;
}
