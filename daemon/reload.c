/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reload.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "daemon/deadlines.h"
#include "daemon/master.h"
#include "daemon/rotation.h"
#include "daemon/upgrade.h"

#define ERRORS_MAX 65536u

static int keep_text(struct arena *arena, const char *before,
                     const char **after)
{
    *after = before == NULL ? NULL : arena_strdup(arena, before);
    return before != NULL && *after == NULL ? -1 : 0;
}

#define KEEP_BOOL(m)     (after->m = before->m, 0)
#define KEEP_INT(m)      (after->m = before->m, 0)
#define KEEP_REAL(m)     (after->m = before->m, 0)
#define KEEP_DURATION(m) (after->m = before->m, 0)
#define KEEP_SIZE(m)     (after->m = before->m, 0)
#define KEEP_MODE(m)     (after->m = before->m, 0)
#define KEEP_CHOICE(m)   (after->m = before->m, 0)
#define KEEP_TEXT(m)     keep_text(&after->arena, before->m, &after->m)
#define KEEP_PATH(m)     keep_text(&after->arena, before->m, &after->m)

int reload_keep_restart(const struct config *before, struct config *after)
{
    /* a default that was made of the new state_dir */
    if (after->origins[OPTION_INDEX_sync_sqlite_path] == ORIGIN_DEFAULT &&
        before->origins[OPTION_INDEX_sync_sqlite_path] == ORIGIN_DEFAULT &&
        KEEP_PATH(sync_sqlite_path) != 0)
        return -1;
#define X(path, member, type, text, least, most, cost, ...)                    \
    if (COST_##cost == COST_RESTART && KEEP_##type(member) != 0)               \
        return -1;
    OPTION_LIST(X)
#undef X
    return 0;
}

static void log_lines(const char *lines)
{
    while (*lines != '\0') {
        size_t size = strcspn(lines, "\n");
        if (size > 0)
            log_error("%.*s", (int)size, lines);
        lines += size + (lines[size] == '\n');
    }
}

static void finish_attempt(struct master *master, bool failed)
{
    struct daemon_board *board = &master->mapping->daemon;
    atomic_store(&board->reload_wall_ms, clock_wall_ms());
    atomic_store(&board->reload_failed, failed);
    atomic_fetch_add(&board->reload_attempts, 1);
    if (!master->ready)
        return; /* the start is not over yet */
    master_tell(master, "READY=1");
    master_say_status(master);
}

static void refuse(struct master *master, const struct buffer *errors)
{
    struct daemon_board *board = &master->mapping->daemon;
    const char *text =
        errors->size > 0 ? errors->bytes : "the configuration cannot be read";
    log_error("the new configuration is refused; going on with the old one");
    log_lines(text);
    daemon_board_set_texts(board, text, board->pending_restart);
    finish_attempt(master, true);
}

static void apply(struct master *master, struct config *after, unsigned cost,
                  const char *pending)
{
    struct daemon_board *board = &master->mapping->daemon;
    struct config *before = master->config;
    struct error error;
    master->config = after;
    master_show_config(master);
    uint32_t epoch = atomic_fetch_add(&board->config_epoch, 1) + 1;
    daemon_board_set_texts(board, "", pending);
    if (master_open_log(master, &error) != 0)
        trouble_note(master, TROUBLE_LOG, &error);
    log_event(LOG_NOTICE_LEVEL, "the new configuration is applied",
              LOG_UINT("epoch", epoch), LOG_TEXT("pending_restart", pending));
    rotation_tidy(master);
    if (master->begun) {
        slots_replace(master, cost & COST_RESPAWN_ALL);
        slots_fit_pools(master);
        pools_look(master);
    }
    deadlines_arm(master);
    config_free(&before);
    finish_attempt(master, false);
    master_check_ready(master);
}

void reload(struct master *master)
{
    struct buffer errors;
    struct buffer pending;
    if (master->stopping || upgrade_defers_reload(master))
        return;
    /* systemd wants the time beside it */
    master_tell(master,
                "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=reloading",
                clock_monotonic_ns() / 1000);
    buffer_init(&errors, ERRORS_MAX);
    buffer_init(&pending, ERRORS_MAX);
    struct config *after = config_load(&master->options->request, &errors);
    if (after == NULL) {
        refuse(master, &errors);
    } else {
        unsigned cost = config_diff(master->config, after, &pending);
        if (reload_keep_restart(master->config, after) == 0) {
            apply(master, after, cost, pending.size > 0 ? pending.bytes : "");
        } else {
            config_free(&after);
            buffer_append_text(&errors, "no memory for the configuration");
            refuse(master, &errors);
        }
    }
    buffer_deinit(&errors);
    buffer_deinit(&pending);
}
