/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/template_hash.h"

#include <sha2.h>
#include <stdint.h>
#include <string.h>

const char *template_hash_join(struct arena *arena, const char *before,
                               const char *hash)
{
    char joined[SHA256_DIGEST_STRING_LENGTH];
    SHA2_CTX hashing;
    SHA256Init(&hashing);
    SHA256Update(&hashing, (const uint8_t *)before, strlen(before));
    SHA256Update(&hashing, (const uint8_t *)hash, strlen(hash));
    SHA256End(&hashing, joined);
    return arena_strdup(arena, joined);
}
