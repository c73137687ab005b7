/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buffer.h"
#include "common/base/priority.h"

#define READ_STEP_BYTES 16384 /* most input is smaller */

int priority_rank(const char *word, size_t size, int64_t *rank,
                  struct error *error)
{
    *rank = priority_find(word, size);
    if (*rank >= 0)
        return 0;
    return error_set(error, ERROR_DATA,
                     "no such priority: '%.*s'; use urgent, high, normal or "
                     "low",
                     (int)(size > 40 ? 40 : size), word);
}

int outbox_call(const struct new_operation *operation, int64_t created_ms,
                struct store_call *call, struct error *error)
{
    int64_t rank;
    if (priority_rank(operation->priority, operation->priority_size, &rank,
                      error) != 0)
        return -1;
    call->statement = STATEMENT_OUTBOX_APPEND;
    call->argument_count = 7;
    call->arguments[0] =
        value_text_sized(operation->operation, operation->operation_size);
    call->arguments[1] =
        value_text_sized(operation->table_name, operation->table_name_size);
    call->arguments[2] =
        value_text_sized(operation->record_id, operation->record_id_size);
    call->arguments[3] =
        operation->data == NULL
            ? value_null()
            : value_text_sized(operation->data, operation->data_size);
    call->arguments[4] = value_integer(rank);
    call->arguments[5] = value_integer(created_ms);
    call->arguments[6] = value_integer(store_token());
    return 0;
}

static int read_all(int fd, const char *name, struct buffer *text,
                    struct error *error)
{
    for (;;) {
        char *at = buffer_reserve(text, READ_STEP_BYTES);
        if (at == NULL)
            return error_set(error, ERROR_DATA,
                             "%s has more than %zu bytes; split it", name,
                             text->limit - READ_STEP_BYTES);
        ssize_t got = read(fd, at, READ_STEP_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, ERROR_NO_INPUT, "cannot read %s",
                                   name);
        if (got == 0)
            return 0;
        text->size += (size_t)got;
    }
}

int read_input(const char *path, size_t limit, struct arena *arena, char **text,
               size_t *size, struct error *error)
{
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, ERROR_NO_INPUT, "cannot open %s", name);
    struct buffer bytes;
    buffer_init(&bytes, limit + READ_STEP_BYTES);
    int result = read_all(fd, name, &bytes, error);
    if (result == 0 && bytes.size > limit)
        result = error_set(error, ERROR_DATA,
                           "%s has more than %zu bytes; split it", name, limit);
    if (result == 0) {
        *size = bytes.size;
        *text = arena_copy(arena, bytes.bytes, bytes.size);
        if (*text == NULL)
            result = error_set(error, ERROR_SYSTEM, "no memory for %s", name);
    }
    buffer_deinit(&bytes);
    if (!standard)
        close(fd);
    return result;
}
