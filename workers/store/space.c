/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/store/space.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/store/statements.h"
#include "common/store/wire.h"
#include "common/store/writer.h"

/* Claims and settlements use the WAL's room again and again, and in the
 * database take some tens of bytes each: so much for the one and for the
 * other is enough for tens of thousands of batches. */
#define RESERVE_BYTES   (4 << 20)
#define RESERVE_PART    16 /* at most so small a part of the file system */
#define AGAIN_MS        500
#define READERS_WAIT_MS 20

struct space {
    struct space_options options;
    struct event *again_event;
    char path[4096];
    char wal_path[4096];
    int64_t reserve_bytes;
    bool held;
    bool is_short;
};

static int path_of(char path[4096], const char *state_dir, const char *name)
{
    int size = snprintf(path, 4096, "%s/%s", state_dir, name);
    return size > 0 && size < 4096 ? 0 : -1;
}

/* The file's blocks; 0 when there is none. */
static int64_t blocks_of(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISREG(status.st_mode)
               ? (int64_t)status.st_blocks * 512
               : 0;
}

bool space_give_up(const char *state_dir)
{
    char path[4096];
    if (path_of(path, state_dir, SPACE_FILE_NAME) != 0)
        return false;
    bool had = blocks_of(path) > 0;
    return unlink(path) == 0 && had;
}

int64_t space_free_bytes(const struct space *space)
{
    struct statvfs status;
    if (statvfs(space->options.state_dir, &status) != 0)
        return 0;
    return (int64_t)status.f_bavail * (int64_t)status.f_frsize;
}

/* 0, or what posix_fallocate says. */
static int make_reserve(const struct space *space)
{
    int fd =
        open(space->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return errno;
    int why;
    do
        why = posix_fallocate(fd, 0, space->reserve_bytes);
    while (why == EINTR);
    close(fd);
    if (why != 0)
        unlink(space->path);
    return why;
}

static bool is_full(int why)
{
    return why == ENOSPC || why == EDQUOT || why == EFBIG;
}

/* Whatever else keeps it from being made must not keep the store from
 * working. */
static void hold(struct space *space)
{
    if (space->held ||
        !store_writer_wal_room(space->options.writer, space->reserve_bytes))
        return;
    int why = make_reserve(space);
    space->held = !is_full(why);
    if (why != 0 && space->held)
        log_warning("no space can be reserved in %s: error %d; on a full "
                    "disk what was accepted may have to wait",
                    space->path, why);
}

static void set_short(struct space *space, bool is_short)
{
    if (is_short == space->is_short)
        return;
    space->is_short = is_short;
    if (is_short)
        log_error("the file system of %s is full: new operations are refused, "
                  "what was accepted goes on; free at least %lld KB there",
                  space->options.state_dir,
                  (long long)(2 * space->reserve_bytes / 1024));
    else
        log_notice("the file system of %s has space again: new operations "
                   "are accepted",
                   space->options.state_dir);
}

static void warn_of_checkpoint(const struct error *error)
{
    log_warning("checkpoint of the local store: %s", error->text);
}

/* The WAL is carried to the database, where its room is sure.  Its own is
 * kept for claims and settlements unless it ends the shortage. */
static void recover(struct space *space)
{
    static const struct timeval pause = {.tv_usec = AGAIN_MS * 1000};
    struct store_writer *writer = space->options.writer;
    struct error error;
    int64_t enough = 2 * space->reserve_bytes;
    int64_t wal = blocks_of(space->wal_path);
    int64_t left = space_free_bytes(space) + wal - space->reserve_bytes;
    if (space_free_bytes(space) < enough && left >= enough &&
        store_writer_empty_wal(writer, READERS_WAIT_MS, &error) != 0)
        warn_of_checkpoint(&error);
    if (space_free_bytes(space) >= enough && left >= enough)
        hold(space);
    set_short(space, !space->held);
    if (!space->held)
        event_add(space->again_event, &pause);
}

static void on_again(evutil_socket_t fd, short what, void *self)
{
    struct space *space = self;
    (void)fd;
    (void)what;
    recover(space);
    if (!space->is_short && space->options.recovered != NULL)
        space->options.recovered(space->options.self);
}

void space_met_full(struct space *space)
{
    /* Also one of an earlier store, which found no room for its WAL. */
    space_give_up(space->options.state_dir);
    space->held = false;
    struct error error;
    if (store_writer_restart_wal(space->options.writer, READERS_WAIT_MS,
                                 &error) != 0)
        warn_of_checkpoint(&error);
    recover(space);
}

bool space_is_short(const struct space *space)
{
    return space->is_short;
}

/* --- who may still add --- */

static bool adds(enum statement statement)
{
    return statement == STATEMENT_OUTBOX_APPEND ||
           statement == STATEMENT_HOOK_RECORD ||
           statement == STATEMENT_DETAILS_FOLD ||
           statement == STATEMENT_JOB_SUBMIT ||
           statement == STATEMENT_SAMPLE_RECORD;
}

int space_admit(const struct space *space, uint32_t caller,
                const struct store_request *request, struct error *error)
{
    if (!space->is_short || (caller & (CALLER_SYNC | CALLER_GENERATION)) != 0)
        return 0;
    for (size_t i = 0; i < request->call_count; i++)
        if (adds(request->calls[i].statement))
            return error_set(
                error, ERROR_FULL,
                "the disk is full: the local store in %s takes nothing new "
                "until at least %lld KB are free there; nothing of this was "
                "stored: free space on its file system and repeat",
                space->options.state_dir,
                (long long)(2 * space->reserve_bytes / 1024));
    return 0;
}

/* --- life --- */

static int64_t reserve_size(const char *state_dir)
{
    struct statvfs status;
    int64_t bytes = RESERVE_BYTES;
    if (statvfs(state_dir, &status) == 0) {
        int64_t part =
            (int64_t)status.f_blocks * (int64_t)status.f_frsize / RESERVE_PART;
        if (part > 0 && part < bytes)
            bytes = part;
    }
    return bytes;
}

struct space *space_new(const struct space_options *options,
                        struct error *error)
{
    struct space *space = calloc(1, sizeof(*space));
    if (space == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for the store's space");
        return NULL;
    }
    space->options = *options;
    space->again_event = event_new(options->base, -1, 0, on_again, space);
    if (space->again_event == NULL ||
        path_of(space->path, options->state_dir, SPACE_FILE_NAME) != 0 ||
        path_of(space->wal_path, options->state_dir, STORE_FILE_NAME "-wal") !=
            0) {
        error_set(error, ERROR_SYSTEM, "no memory for the store's space");
        space_free(&space);
        return NULL;
    }
    space->reserve_bytes = reserve_size(options->state_dir);
    hold(space);
    if (!space->held)
        recover(space);
    return space;
}

void space_free(struct space **space)
{
    struct space *gone = *space;
    if (gone == NULL)
        return;
    if (gone->again_event != NULL)
        event_free(gone->again_event);
    free(gone);
    *space = NULL;
}
