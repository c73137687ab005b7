/* SPDX-License-Identifier: Apache-2.0
 *
 * Requirements in Markdown: what is good makes a contract that is good, and
 * every error names a line of the Markdown.
 */
#include <stdlib.h>
#include <string.h>

#include "common/generation/contract.h"
#include "common/generation/requirements.h"
#include "tests/fuzz/fuzz.h"

static void check_errors(const struct buffer *errors, const uint8_t *bytes,
                         size_t size)
{
    unsigned long lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += bytes[i] == '\n';
    const char *text = errors->bytes;
    while (text != NULL && *text != '\0') {
        MUST(strncmp(text, "fuzz.md:", 8) == 0);
        char *end;
        unsigned long line = strtoul(text + 8, &end, 10);
        MUST(end > text + 8 && *end == ':' && line >= 1 && line <= lines);
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct arena arena;
    struct buffer errors;
    struct requirements requirements;
    arena_init(&arena, 64u << 20);
    buffer_init(&errors, 1u << 20);
    const struct contract *contract = requirements_read(
        &arena, "fuzz.md", (const char *)bytes, size, &requirements, &errors);
    MUST((contract == NULL) == (errors.size > 0 || errors.failed));
    if (contract != NULL) {
        MUST(contract_data(&arena, contract) != NULL);
        MUST(requirements.quality >= 0.5 && requirements.quality <= 1.0);
        MUST(requirements.confidence >= 0.0 &&
             requirements.confidence <= 1.0 + 1e-9);
    }
    check_errors(&errors, bytes, size);
    buffer_deinit(&errors);
    arena_deinit(&arena);
    return 0;
}
