/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log_redact.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define SPANS_MAX 32u
#define BLANKS    " \t\r\n"

struct secret {
    size_t size;
    char bytes[LOG_SECRET_SIZE_MAX];
};

static struct {
    struct secret list[LOG_SECRETS_MAX];
    unsigned count;
    unsigned next;
} secrets;

void log_hide(const char *secret)
{
    size_t size = strlen(secret);
    if (size < LOG_SECRET_SIZE_MIN)
        return;
    if (size > LOG_SECRET_SIZE_MAX)
        size = LOG_SECRET_SIZE_MAX;
    for (unsigned i = 0; i < secrets.count; i++)
        if (secrets.list[i].size == size &&
            memcmp(secrets.list[i].bytes, secret, size) == 0)
            return;
    struct secret *place = &secrets.list[secrets.next];
    memcpy(place->bytes, secret, size);
    place->size = size;
    secrets.next = (secrets.next + 1) % LOG_SECRETS_MAX;
    if (secrets.count < LOG_SECRETS_MAX)
        secrets.count++;
}

/* --- what is to be hidden --- */

struct span {
    size_t from;
    size_t to;
};

struct spans {
    struct span list[SPANS_MAX];
    unsigned count;
};

/* In the order of their beginnings.  Past the bound all that follows is
 * hidden. */
static void add_span(struct spans *spans, size_t from, size_t to)
{
    if (spans->count == SPANS_MAX) {
        spans->list[SPANS_MAX - 1].to = SIZE_MAX;
        return;
    }
    unsigned at = spans->count++;
    for (; at > 0 && spans->list[at - 1].from > from; at--)
        spans->list[at] = spans->list[at - 1];
    spans->list[at] = (struct span){from, to};
}

static void find_values(const char *text, size_t size, struct spans *spans)
{
    for (unsigned i = 0; i < secrets.count; i++) {
        const struct secret *secret = &secrets.list[i];
        const char *at = text;
        while ((at = memmem(at, size - (size_t)(at - text), secret->bytes,
                            secret->size)) != NULL) {
            size_t from = (size_t)(at - text);
            add_span(spans, from, from + secret->size);
            at += secret->size;
        }
    }
}

/* The end of a value as libpq reads it, or of a parameter of a URI. */
static const char *value_end(const char *at, const char *end)
{
    bool quoted = at < end && *at == '\'';
    for (at += quoted; at < end; at++) {
        if (*at == '\\' && at + 1 < end)
            at++;
        else if (quoted ? *at == '\'' : strchr(BLANKS "&\"',;", *at) != NULL)
            break;
    }
    return at;
}

static bool ends_with(const char *from, const char *to, const char *word)
{
    size_t size = strlen(word);
    return (size_t)(to - from) >= size &&
           strncasecmp(to - size, word, size) == 0;
}

/* password = 'a b', sslpassword=x, PGPASSWORD=x */
static void find_keywords(const char *text, size_t size, struct spans *spans)
{
    const char *end = text + size;
    const char *equals = text;
    while ((equals = memchr(equals, '=', (size_t)(end - equals))) != NULL) {
        const char *key_end = equals;
        equals++;
        while (key_end > text && strchr(BLANKS, key_end[-1]) != NULL)
            key_end--;
        if (!ends_with(text, key_end, "password") &&
            !ends_with(text, key_end, "passwd") &&
            !ends_with(text, key_end, "secret") &&
            !ends_with(text, key_end, "token"))
            continue;
        const char *value = equals;
        while (value < end && strchr(BLANKS, *value) != NULL)
            value++;
        equals = value_end(value, end);
        add_span(spans, (size_t)(value - text), (size_t)(equals - text));
    }
}

/* scheme://user:password@host; up to the last '@' before a blank, since a
 * password may have one in it. */
static void find_uris(const char *text, size_t size, struct spans *spans)
{
    const char *end = text + size;
    const char *at = text;
    while ((at = memmem(at, (size_t)(end - at), "://", 3)) != NULL) {
        at += 3;
        const char *stop = at;
        while (stop < end && strchr(BLANKS "\"'", *stop) == NULL)
            stop++;
        const char *host = memrchr(at, '@', (size_t)(stop - at));
        const char *colon =
            host == NULL ? NULL : memchr(at, ':', (size_t)(host - at));
        if (colon != NULL)
            add_span(spans, (size_t)(colon + 1 - text), (size_t)(host - text));
        at = stop;
    }
}

/* --- the copy --- */

struct copy {
    char *room;
    size_t room_size;
    size_t size;
};

static void copy_bytes(struct copy *copy, const char *bytes, size_t size)
{
    size_t left = copy->room_size - copy->size;
    size = size < left ? size : left;
    memcpy(copy->room + copy->size, bytes, size);
    copy->size += size;
}

const char *log_redact(const char *text, size_t *size, char *room,
                       size_t room_size)
{
    struct spans spans;
    struct copy copy = {room, room_size, 0};
    size_t at = 0;
    spans.count = 0;
    find_values(text, *size, &spans);
    if (memchr(text, '=', *size) != NULL)
        find_keywords(text, *size, &spans);
    if (memchr(text, '@', *size) != NULL)
        find_uris(text, *size, &spans);
    if (spans.count == 0)
        return text;
    for (unsigned i = 0; i < spans.count; i++) {
        const struct span *span = &spans.list[i];
        if (span->from >= at) {
            copy_bytes(&copy, text + at, span->from - at);
            copy_bytes(&copy, "***", 3);
        }
        if (span->to > at)
            at = span->to < *size ? span->to : *size;
    }
    copy_bytes(&copy, text + at, *size - at);
    *size = copy.size;
    return room;
}
