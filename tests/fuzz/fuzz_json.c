/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON as text, beside jansson: what that one reads is valid here too, but
 * for a NUL behind it, which ends jansson's text.
 */
#include <jansson.h>
#include <string.h>

#include "common/document/json_text.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct error error;
    const char *text = (const char *)bytes;
    json_error_t why;
    bool valid = json_text_valid(text, size, &error);
    json_t *tree =
        json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    MUST(valid || tree == NULL || memchr(text, '\0', size) != NULL ||
         strstr(error.text, "too deep") != NULL);
    if (valid && json_text_is_object(text, size)) {
        const char *value;
        size_t value_size;
        if (json_text_member(text, size, "a", &value, &value_size))
            MUST(value >= text && value + value_size <= text + size);
    }
    json_decref(tree);
    return 0;
}
