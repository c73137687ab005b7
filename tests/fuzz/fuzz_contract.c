/* SPDX-License-Identifier: Apache-2.0
 *
 * Contracts: YAML, or JSON when the first byte is '{'; one that is good is
 * made data for templates.
 */
#include "common/generation/contract.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct arena arena;
    struct buffer errors;
    const char *name = size > 0 && bytes[0] == '{' ? "fuzz.json" : "fuzz.yaml";
    arena_init(&arena, 64u << 20);
    buffer_init(&errors, 1u << 20);
    const struct contract *contract =
        contract_read(&arena, name, (const char *)bytes, size, &errors);
    MUST((contract == NULL) == (errors.size > 0 || errors.failed));
    if (contract != NULL)
        MUST(contract_data(&arena, contract) != NULL);
    buffer_deinit(&errors);
    arena_deinit(&arena);
    return 0;
}
