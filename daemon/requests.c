/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/requests.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "daemon/channel.h"
#include "daemon/master.h"
#include "daemon/reload.h"
#include "daemon/shutdown.h"
#include "daemon/upgrade.h"

#define SYNC_ROLE (1u << ROLE_SYNC)

/* 0, or -1 when the argument is none for this request. */
typedef int (*request_action)(struct master *master, const char *argument);

void requests_reopen_logs(struct master *master)
{
    struct error error;
    if (log_reopen(&error) != 0)
        trouble_note(master, TROUBLE_LOG, &error);
    channel_send_roles(master, (1u << ROLE_COUNT) - 1, MESSAGE_REOPEN_LOGS, 0);
    upgrade_reopen_logs(master);
    log_notice("log files are open again");
}

static int do_reload(struct master *master, const char *argument)
{
    (void)argument;
    reload(master);
    return 0;
}

static int do_reopen_logs(struct master *master, const char *argument)
{
    (void)argument;
    requests_reopen_logs(master);
    return 0;
}

static int parse_number(const char *text, unsigned long long *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' ? 0 : -1;
}

static int do_sync_now(struct master *master, const char *argument)
{
    unsigned long long ticket;
    if (parse_number(argument, &ticket) != 0)
        return -1;
    channel_send_roles(master, SYNC_ROLE, MESSAGE_SYNC_NOW, ticket);
    return 0;
}

static int do_sync_pause(struct master *master, const char *argument)
{
    (void)argument;
    atomic_store(&master->mapping->sync.paused, 1);
    channel_send_roles(master, SYNC_ROLE, MESSAGE_PAUSE, 0);
    return 0;
}

static int do_sync_resume(struct master *master, const char *argument)
{
    (void)argument;
    atomic_store(&master->mapping->sync.paused, 0);
    channel_send_roles(master, SYNC_ROLE, MESSAGE_RESUME, 0);
    return 0;
}

static int do_sync_look(struct master *master, const char *argument)
{
    (void)argument;
    channel_send_roles(master, SYNC_ROLE, MESSAGE_WAKE, 0);
    return 0;
}

static int do_upgrade(struct master *master, const char *argument)
{
    (void)argument;
    upgrade_begin(master);
    return 0;
}

/* One that has ended meanwhile is nobody. */
static int do_kill(struct master *master, const char *argument)
{
    unsigned long long spawn;
    if (parse_number(argument, &spawn) != 0)
        return -1;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (slot_has_worker(&master->slots[i]) &&
            master->slots[i].spawn == spawn)
            kill(master->slots[i].pid, SIGKILL);
    return 0;
}

static int do_stop(struct master *master, const char *argument)
{
    (void)argument;
    shutdown_begin(master);
    return 0;
}

static const struct {
    const char *name;
    request_action action;
} request_rows[REQUEST_COUNT] = {
    [REQUEST_RELOAD] = {"reload", do_reload},
    [REQUEST_REOPEN_LOGS] = {"reopen logs", do_reopen_logs},
    [REQUEST_SYNC_NOW] = {"sync now", do_sync_now},
    [REQUEST_SYNC_PAUSE] = {"pause sync", do_sync_pause},
    [REQUEST_SYNC_RESUME] = {"resume sync", do_sync_resume},
    [REQUEST_SYNC_LOOK] = {"let sync look", do_sync_look},
    [REQUEST_UPGRADE] = {"upgrade", do_upgrade},
    [REQUEST_KILL] = {"kill a worker", do_kill},
    [REQUEST_STOP] = {"stop", do_stop},
};

static int run_request(struct master *master, const struct message *message)
{
    char argument[MESSAGE_TEXT_MAX];
    snprintf(argument, sizeof(argument), "%s", message->text);
    char *correlation = strchr(argument, '\t');
    if (correlation != NULL) {
        *correlation++ = '\0';
        if (!log_correlation_is_valid(correlation))
            return -1;
        log_set_correlation(correlation);
    }
    log_event(LOG_INFO_LEVEL, "an operator asks",
              LOG_TEXT("request", request_rows[message->number].name),
              LOG_TEXT("argument", argument));
    int result = request_rows[message->number].action(master, argument);
    log_set_correlation(NULL);
    return result;
}

void requests_take(struct master *master, struct slot *slot,
                   const struct message *message)
{
    bool known = slot->role == ROLE_GATEWAY &&
                 message->number < REQUEST_COUNT &&
                 request_rows[message->number].action != NULL;
    if (known && run_request(master, message) == 0)
        return;
    log_event(LOG_ERROR_LEVEL, "worker is killed for a request it may not make",
              LOG_TEXT("role", role_name(slot->role)),
              LOG_UINT("request", message->number));
    slot_condemn(master, slot, DEATH_BAD_MESSAGE);
}
