/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/recent_tokens.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    int64_t token; /* 0: free */
    int64_t key;
};

/* Two tables, the older one dropped whole when the younger one is full: no
 * entry is ever removed alone, so open addressing needs no tombstones. */
struct recent_tokens {
    struct entry *young;
    struct entry *old;
    uint32_t young_count; /* 0: nothing was ever added */
    uint32_t capacity;    /* entries of a table; it has twice the slots */
};

struct recent_tokens *recent_tokens_new(uint32_t capacity)
{
    struct recent_tokens *tokens = calloc(1, sizeof(*tokens));
    if (tokens == NULL)
        return NULL;
    tokens->capacity = capacity;
    tokens->young = calloc(2 * (size_t)capacity, sizeof(struct entry));
    tokens->old = calloc(2 * (size_t)capacity, sizeof(struct entry));
    if (tokens->young == NULL || tokens->old == NULL)
        recent_tokens_free(&tokens);
    return tokens;
}

void recent_tokens_free(struct recent_tokens **tokens)
{
    if (*tokens == NULL)
        return;
    free((*tokens)->young);
    free((*tokens)->old);
    free(*tokens);
    *tokens = NULL;
}

static struct entry *find_entry(const struct recent_tokens *tokens,
                                struct entry *table, int64_t token)
{
    uint64_t slot = ((uint64_t)token * 0x9e3779b97f4a7c15u) >> 40;
    for (;; slot++) {
        struct entry *entry = &table[slot % (2 * (uint64_t)tokens->capacity)];
        if (entry->token == token || entry->token == 0)
            return entry;
    }
}

void recent_tokens_add(struct recent_tokens *tokens, int64_t token, int64_t key)
{
    if (tokens->young_count == tokens->capacity) {
        struct entry *emptied = tokens->old;
        memset(emptied, 0, 2 * (size_t)tokens->capacity * sizeof(struct entry));
        tokens->old = tokens->young;
        tokens->young = emptied;
        tokens->young_count = 0;
    }
    struct entry *entry = find_entry(tokens, tokens->young, token);
    if (entry->token == 0)
        tokens->young_count++;
    *entry = (struct entry){.token = token, .key = key};
}

bool recent_tokens_empty(const struct recent_tokens *tokens)
{
    return tokens->young_count == 0;
}

bool recent_tokens_find(const struct recent_tokens *tokens, int64_t token,
                        int64_t *key)
{
    const struct entry *entry = find_entry(tokens, tokens->young, token);
    if (entry->token == 0)
        entry = find_entry(tokens, tokens->old, token);
    *key = entry->key;
    return entry->token != 0;
}
