/* SPDX-License-Identifier: Apache-2.0
 *
 * Members of valid JSON objects, looked up and merged as text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/document/json_text.h"

/* One member, its key without quotes and as it was written. */
struct member {
    const char *key;
    size_t key_size;
    const char *value;
    size_t value_size;
    uint64_t hash; /* of the unescaped key */
};

struct cursor {
    const char *at;
    const char *end;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && is_space(*at))
        at++;
    return at;
}

/* From the opening quote to behind the closing one. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\')
            at++;
    return at < end ? at + 1 : end;
}

/* To behind the value that begins at `at`. */
static const char *skip_value(const char *at, const char *end)
{
    unsigned depth = 0;
    while (at < end) {
        char c = *at;
        if (c == '"') {
            at = skip_string(at, end);
            if (depth == 0)
                return at;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']' || is_space(c)))
            return at;
        at++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return at;
    }
    return end;
}

static struct cursor open_object(const char *text, size_t size)
{
    struct cursor cursor = {.at = text, .end = text + size};
    cursor.at = skip_space(cursor.at, cursor.end);
    if (cursor.at < cursor.end)
        cursor.at++;
    return cursor;
}

static bool next_member(struct cursor *cursor, struct member *member)
{
    const char *end = cursor->end;
    const char *at = skip_space(cursor->at, end);
    if (at < end && *at == ',')
        at = skip_space(at + 1, end);
    if (at >= end || *at != '"')
        return false;
    const char *after = skip_string(at, end);
    member->key = at + 1;
    member->key_size = (size_t)(after - at) - 2;
    at = skip_space(after, end);
    if (at < end)
        at++; /* the colon */
    member->value = skip_space(at, end);
    cursor->at = skip_value(member->value, end);
    member->value_size = (size_t)(cursor->at - member->value);
    return true;
}

void json_text_members_start(struct json_text_members *members,
                             const char *text, size_t size)
{
    struct cursor cursor = open_object(text, size);
    *members = (struct json_text_members){.at = cursor.at, .end = cursor.end};
}

bool json_text_members_next(struct json_text_members *members)
{
    struct cursor cursor = {members->at, members->end};
    struct member member;
    if (!next_member(&cursor, &member))
        return false;
    members->key = member.key;
    members->key_size = member.key_size;
    members->value = member.value;
    members->value_size = member.value_size;
    members->at = cursor.at;
    return true;
}

static unsigned hex_value(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

static unsigned read_hex4(const char *at)
{
    return hex_value(at[0]) << 12 | hex_value(at[1]) << 8 |
           hex_value(at[2]) << 4 | hex_value(at[3]);
}

static size_t put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* The next piece of a key, unescaped: up to 4 bytes in out.  Halves of a
 * surrogate pair on their own become three bytes each, so that no two
 * different keys look the same. */
static size_t next_piece(struct cursor *key, char out[4])
{
    static const char names[] = "bfnrt";
    static const char values[] = "\b\f\n\r\t";
    if (*key->at != '\\') {
        out[0] = *key->at++;
        return 1;
    }
    char c = key->at[1];
    key->at += 2;
    const char *name = strchr(names, c);
    if (c != 'u') {
        out[0] = name != NULL ? values[name - names] : c;
        return 1;
    }
    unsigned code = read_hex4(key->at);
    key->at += 4;
    if (code >= 0xd800 && code <= 0xdbff && key->end - key->at >= 6 &&
        key->at[0] == '\\' && key->at[1] == 'u') {
        unsigned low = read_hex4(key->at + 2);
        if (low >= 0xdc00 && low <= 0xdfff) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            key->at += 6;
        }
    }
    return put_utf8(out, code);
}

static bool has_escape(const char *key, size_t size)
{
    return memchr(key, '\\', size) != NULL;
}

/* Are two raw keys the same when unescaped? */
static bool keys_equal(const char *a, size_t a_size, const char *b,
                       size_t b_size)
{
    if (!has_escape(a, a_size) && !has_escape(b, b_size))
        return a_size == b_size && memcmp(a, b, a_size) == 0;
    struct cursor left = {.at = a, .end = a + a_size};
    struct cursor right = {.at = b, .end = b + b_size};
    char bytes[2][8];
    size_t sizes[2] = {0, 0};
    for (;;) {
        if (sizes[0] == 0 && left.at < left.end)
            sizes[0] = next_piece(&left, bytes[0]);
        if (sizes[1] == 0 && right.at < right.end)
            sizes[1] = next_piece(&right, bytes[1]);
        if (sizes[0] == 0 || sizes[1] == 0)
            return sizes[0] == sizes[1];
        if (bytes[0][0] != bytes[1][0])
            return false;
        for (int i = 0; i < 2; i++)
            memmove(bytes[i], bytes[i] + 1, --sizes[i]);
    }
}

static uint64_t hash_key(const char *key, size_t size)
{
    if (!has_escape(key, size))
        return text_hash(TEXT_HASH_START, key, size);
    uint64_t hash = TEXT_HASH_START;
    struct cursor cursor = {.at = key, .end = key + size};
    while (cursor.at < cursor.end) {
        char piece[4];
        hash = text_hash(hash, piece, next_piece(&cursor, piece));
    }
    return hash;
}

/* A key given as plain bytes may hold a backslash of its own, so it is not
 * compared as a raw one. */
static bool key_is(const struct member *member, const char *key, size_t size)
{
    if (!has_escape(member->key, member->key_size))
        return member->key_size == size && memcmp(member->key, key, size) == 0;
    struct cursor cursor = {.at = member->key,
                            .end = member->key + member->key_size};
    size_t at = 0;
    while (cursor.at < cursor.end) {
        char piece[4];
        size_t length = next_piece(&cursor, piece);
        if (length > size - at || memcmp(piece, key + at, length) != 0)
            return false;
        at += length;
    }
    return at == size;
}

bool json_text_member(const char *text, size_t size, const char *key,
                      const char **value, size_t *value_size)
{
    if (!json_text_is_object(text, size))
        return false;
    bool found = false;
    size_t key_size = strlen(key);
    struct cursor cursor = open_object(text, size);
    struct member member;
    while (next_member(&cursor, &member))
        if (key_is(&member, key, key_size)) {
            found = true;
            *value = member.value;
            *value_size = member.value_size;
        }
    return found;
}

/* The members of a merge: in order of first appearance, found by hash. */
struct merge {
    struct member *members;
    uint32_t *slots;   /* 1 + index of a member, open addressing; 0: free */
    size_t slot_count; /* a power of two, over twice the members */
    size_t count;
};

static void merge_put(struct merge *merge, const struct member *member)
{
    size_t mask = merge->slot_count - 1;
    size_t slot = (size_t)member->hash & mask;
    for (; merge->slots[slot] != 0; slot = (slot + 1) & mask) {
        struct member *old = &merge->members[merge->slots[slot] - 1];
        if (old->hash == member->hash &&
            keys_equal(old->key, old->key_size, member->key,
                       member->key_size)) {
            old->value = member->value;
            old->value_size = member->value_size;
            return;
        }
    }
    merge->members[merge->count++] = *member;
    merge->slots[slot] = (uint32_t)merge->count;
}

static void merge_object(struct merge *merge, const char *text, size_t size)
{
    struct cursor cursor = open_object(text, size);
    struct member member;
    while (next_member(&cursor, &member)) {
        member.hash = hash_key(member.key, member.key_size);
        merge_put(merge, &member);
    }
}

static size_t count_members(const char *text, size_t size)
{
    struct cursor cursor = open_object(text, size);
    struct member member;
    size_t count = 0;
    while (next_member(&cursor, &member))
        count++;
    return count;
}

static void write_members(const struct merge *merge, struct buffer *out)
{
    buffer_append_char(out, '{');
    for (size_t i = 0; i < merge->count; i++) {
        const struct member *member = &merge->members[i];
        /* The quotes around the key are in the text. */
        if (i > 0)
            buffer_append_char(out, ',');
        buffer_append(out, member->key - 1, member->key_size + 2);
        buffer_append_char(out, ':');
        buffer_append(out, member->value, member->value_size);
    }
    buffer_append_char(out, '}');
}

#define FEW_MEMBERS 32u
#define FEW_SLOTS   128u

void json_text_merge(const char *base, size_t base_size, const char *patch,
                     size_t patch_size, struct buffer *out)
{
    if (!json_text_is_object(base, base_size) ||
        !json_text_is_object(patch, patch_size)) {
        buffer_append(out, patch, patch_size);
        return;
    }
    struct member few[FEW_MEMBERS];
    uint32_t few_slots[FEW_SLOTS];
    struct merge merge = {
        .members = few, .slots = few_slots, .slot_count = FEW_SLOTS};
    size_t count =
        count_members(base, base_size) + count_members(patch, patch_size);
    if (count > FEW_MEMBERS) {
        while (merge.slot_count <= 2 * count)
            merge.slot_count *= 2;
        merge.members = malloc(count * sizeof(*merge.members));
        merge.slots = malloc(merge.slot_count * sizeof(*merge.slots));
    }
    if (merge.members == NULL || merge.slots == NULL) {
        out->failed = true;
    } else {
        memset(merge.slots, 0, merge.slot_count * sizeof(*merge.slots));
        merge_object(&merge, base, base_size);
        merge_object(&merge, patch, patch_size);
        write_members(&merge, out);
    }
    if (count > FEW_MEMBERS) {
        free(merge.members);
        free(merge.slots);
    }
}
