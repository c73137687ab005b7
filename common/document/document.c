/* SPDX-License-Identifier: Apache-2.0 */
#include "common/document/document.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/document/tree.h"

const struct document_limits document_limits_default = {
    .bytes = (size_t)16 << 20, .depth = 64, .nodes = 1000000};

const struct node *document_get(const struct node *map, const char *key)
{
    if (map == NULL || map->kind != NODE_MAP)
        return NULL;
    size_t size = strlen(key);
    for (const struct node *child = map->first; child != NULL;
         child = child->next)
        if (child->key_size == size && memcmp(child->key, key, size) == 0)
            return child;
    return NULL;
}

const char *node_kind_name(enum node_kind kind)
{
    static const char *const names[] = {
        [NODE_NULL] = "null",     [NODE_BOOL] = "boolean",
        [NODE_NUMBER] = "number", [NODE_STRING] = "string",
        [NODE_LIST] = "list",     [NODE_MAP] = "map",
    };
    return (unsigned)kind < sizeof(names) / sizeof(names[0]) ? names[kind]
                                                             : "unknown";
}

/* Reads at most one byte more than the limit, so that a file that grows, or
 * one that is endless, is noticed and not swallowed. */
static int read_descriptor(int fd, const char *path, size_t limit,
                           struct buffer *text, struct error *error)
{
    for (;;) {
        char chunk[16384];
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, ERROR_NO_INPUT, "cannot read %s",
                                   path);
        if (got == 0)
            return 0;
        if ((size_t)got > limit - text->size)
            return error_set(error, ERROR_DATA,
                             "%s: has more than the %zu bytes allowed; make "
                             "it smaller",
                             path, limit);
        buffer_append(text, chunk, (size_t)got);
        if (text->failed)
            return error_set(error, ERROR_SYSTEM, "no memory to read %s", path);
    }
}

static int read_text(const char *path, size_t limit, struct buffer *text,
                     struct error *error)
{
    /* Non-blocking, so that a FIFO by mistake cannot hold us up. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set_errno(error, ERROR_NO_INPUT, "cannot open %s", path);
    struct stat status;
    int result;
    if (fstat(fd, &status) != 0)
        result = error_set_errno(error, ERROR_NO_INPUT, "cannot stat %s", path);
    else if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode))
        result =
            error_set(error, ERROR_NO_INPUT, "%s is no ordinary file", path);
    else
        result = read_descriptor(fd, path, limit, text, error);
    close(fd);
    return result;
}

int document_read_file(struct arena *arena, const char *path,
                       const struct document_limits *limits, struct node **root,
                       struct error *error)
{
    if (limits == NULL)
        limits = &document_limits_default;
    struct buffer text;
    buffer_init(&text, limits->bytes);
    int result = read_text(path, limits->bytes, &text, error);
    if (result == 0) {
        size_t length = strlen(path);
        bool json = length >= 5 && strcmp(path + length - 5, ".json") == 0;
        result = (json ? document_read_json : document_read_yaml)(
            arena, path, text.size > 0 ? text.bytes : "", text.size, limits,
            root, error);
    }
    buffer_deinit(&text);
    return result;
}

static size_t skip_digits(const char *text, size_t size, size_t at)
{
    while (at < size && text[at] >= '0' && text[at] <= '9')
        at++;
    return at;
}

bool document_is_json_number(const char *text, size_t size)
{
    size_t at = size > 0 && text[0] == '-' ? 1 : 0;
    size_t after = skip_digits(text, size, at);
    if (after == at || (text[at] == '0' && after > at + 1))
        return false;
    at = after;
    if (at < size && text[at] == '.') {
        after = skip_digits(text, size, at + 1);
        if (after == at + 1)
            return false;
        at = after;
    }
    if (at < size && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < size && (text[at] == '+' || text[at] == '-'))
            at++;
        after = skip_digits(text, size, at);
        if (after == at)
            return false;
        at = after;
    }
    return at == size;
}

static void write_scalar(const struct node *node, struct buffer *out)
{
    if (node->kind == NODE_NULL)
        buffer_append_text(out, "null");
    else if (node->kind == NODE_BOOL)
        buffer_append_text(out, node->boolean ? "true" : "false");
    else if (node->kind == NODE_NUMBER &&
             document_is_json_number(node->text, node->text_size))
        buffer_append(out, node->text, node->text_size);
    else
        buffer_append_json(out, node->text, node->text_size);
}

/* Recursion is as deep as the limits let a document be. */
void document_write_json(const struct node *node, struct buffer *out)
{
    if (node->kind != NODE_LIST && node->kind != NODE_MAP) {
        write_scalar(node, out);
        return;
    }
    bool map = node->kind == NODE_MAP;
    buffer_append_char(out, map ? '{' : '[');
    for (const struct node *child = node->first; child != NULL && !out->failed;
         child = child->next) {
        if (child != node->first)
            buffer_append_char(out, ',');
        if (map) {
            buffer_append_json(out, child->key, child->key_size);
            buffer_append_char(out, ':');
        }
        document_write_json(child, out);
    }
    buffer_append_char(out, map ? '}' : ']');
}
