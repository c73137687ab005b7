/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/listeners.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/config/config.h"

static int remove_stale(const char *path, struct error *error)
{
    struct stat status;
    if (lstat(path, &status) != 0)
        return 0;
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, ERROR_CANT_CREATE,
                         "%s is in the way: it is no socket; move it away",
                         path);
    if (unlink(path) != 0)
        return error_set_errno(error, ERROR_CANT_CREATE,
                               "cannot replace the old socket %s", path);
    return 0;
}

/* The socket has no permissions at all until it has the right ones. */
static int bind_at(int fd, const char *path, mode_t mode, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    mode_t umask_before = umask(0777);
    int result = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    int saved = errno;
    umask(umask_before);
    errno = saved;
    if (result != 0)
        return error_set_errno(error, ERROR_CANT_CREATE,
                               "cannot bind the socket %s", path);
    if (chmod(path, mode) != 0 || listen(fd, SOMAXCONN) != 0) {
        error_set_errno(error, ERROR_CANT_CREATE,
                        "cannot listen on the socket %s", path);
        unlink(path);
        return -1;
    }
    return 0;
}

static int listen_at(const char *path, mode_t mode, struct error *error)
{
    if (remove_stale(path, error) != 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, "cannot make a socket");
    if (bind_at(fd, path, mode, error) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int make_path(const struct config *config, const char *name, char *path,
                     size_t room, struct error *error)
{
    char text[CONFIG_PATH_MAX];
    config_runtime_path(config, name, text, sizeof(text));
    if (strlen(text) >= room)
        return error_set(error, ERROR_CONFIG,
                         "%s is too long for a socket; choose a shorter "
                         "paths.runtime_dir",
                         text);
    memcpy(path, text, strlen(text) + 1);
    return 0;
}

static int make_paths(struct listeners *listeners, const struct config *config,
                      struct error *error)
{
    listeners->store_fd = -1;
    listeners->control_fd = -1;
    if (make_path(config, "store.sock", listeners->store_path,
                  sizeof(listeners->store_path), error) != 0)
        return -1;
    return make_path(config, "control.sock", listeners->control_path,
                     sizeof(listeners->control_path), error);
}

int listeners_open(struct listeners *listeners, const struct config *config,
                   struct error *error)
{
    mode_t mode = (mode_t)config->control_mode;
    if (make_paths(listeners, config, error) != 0)
        return -1;
    listeners->store_fd = listen_at(listeners->store_path, mode, error);
    if (listeners->store_fd < 0)
        return -1;
    listeners->control_fd = listen_at(listeners->control_path, mode, error);
    if (listeners->control_fd < 0) {
        listeners_close(listeners);
        return -1;
    }
    return 0;
}

static int check_bound(int fd, const char *path, mode_t mode,
                       struct error *error)
{
    struct sockaddr_un address = {0};
    socklen_t size = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0 ||
        address.sun_family != AF_UNIX)
        return error_set(error, ERROR_PROTOCOL,
                         "the running daemon hands over what is no socket");
    if (strncmp(address.sun_path, path, sizeof(address.sun_path)) != 0)
        return error_set(error, ERROR_CONFIG,
                         "the running daemon listens on %.107s, the "
                         "configuration wants %s; paths.runtime_dir changes "
                         "by a restart only",
                         address.sun_path, path);
    if (chmod(path, mode) != 0)
        return error_set_errno(error, ERROR_CANT_CREATE,
                               "cannot set the permissions of %s", path);
    return 0;
}

int listeners_adopt(struct listeners *listeners, const struct config *config,
                    int store_fd, int control_fd, struct error *error)
{
    mode_t mode = (mode_t)config->control_mode;
    if (make_paths(listeners, config, error) != 0 ||
        check_bound(store_fd, listeners->store_path, mode, error) != 0 ||
        check_bound(control_fd, listeners->control_path, mode, error) != 0)
        return -1;
    listeners->store_fd = store_fd;
    listeners->control_fd = control_fd;
    return 0;
}

void listeners_leave(struct listeners *listeners)
{
    if (listeners->store_fd >= 0)
        close(listeners->store_fd);
    if (listeners->control_fd >= 0)
        close(listeners->control_fd);
    listeners->store_fd = -1;
    listeners->control_fd = -1;
}

void listeners_close(struct listeners *listeners)
{
    if (listeners->store_fd >= 0)
        unlink(listeners->store_path);
    if (listeners->control_fd >= 0)
        unlink(listeners->control_path);
    listeners_leave(listeners);
}
