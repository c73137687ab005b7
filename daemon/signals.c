/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/signals.h"

#include <event2/event.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/log.h"
#include "daemon/master.h"
#include "daemon/reap.h"
#include "daemon/reload.h"
#include "daemon/requests.h"
#include "daemon/shutdown.h"
#include "daemon/upgrade.h"

static const struct {
    int number;
    void (*action)(struct master *master);
} signal_rows[] = {
    {SIGCHLD, reap_workers},         {SIGHUP, reload},
    {SIGUSR1, requests_reopen_logs}, {SIGTERM, shutdown_begin},
    {SIGINT, shutdown_now},          {SIGUSR2, upgrade_begin},
};

#define SIGNAL_ROWS (sizeof(signal_rows) / sizeof(signal_rows[0]))

static void on_signal(evutil_socket_t fd, short what, void *self)
{
    struct master *master = self;
    struct signalfd_siginfo info;
    (void)what;
    if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo != SIGCHLD)
        log_event(LOG_INFO_LEVEL, "signal received",
                  LOG_TEXT("signal", sigabbrev_np((int)info.ssi_signo)),
                  LOG_UINT("from_pid", info.ssi_pid),
                  LOG_UINT("from_uid", info.ssi_uid));
    for (size_t i = 0; i < SIGNAL_ROWS; i++)
        if (signal_rows[i].number == (int)info.ssi_signo)
            signal_rows[i].action(master);
}

int signals_init(struct master *master, struct error *error)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < SIGNAL_ROWS; i++)
        sigaddset(&set, signal_rows[i].number);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot block signals");
    master->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (master->signal_fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot make a signalfd");
    master->signal_event = event_new(master->base, master->signal_fd,
                                     EV_READ | EV_PERSIST, on_signal, master);
    if (master->signal_event == NULL ||
        event_add(master->signal_event, NULL) != 0)
        return error_set(error, ERROR_SYSTEM, "cannot watch signals");
    return 0;
}

void signals_deinit(struct master *master)
{
    if (master->signal_event != NULL)
        event_free(master->signal_event);
    if (master->signal_fd >= 0)
        close(master->signal_fd);
    master->signal_event = NULL;
    master->signal_fd = -1;
}
