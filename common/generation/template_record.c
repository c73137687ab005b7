/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/template_record.h"

#include <string.h>

#define SUFFIX ".mustache"

char *template_name(const char *template_dir, const char *path,
                    char name[TEMPLATE_NAME_MAX])
{
    size_t above = strlen(template_dir);
    size_t size = strlen(path), suffix = strlen(SUFFIX);
    if (size > suffix && strcmp(path + size - suffix, SUFFIX) == 0)
        size -= suffix;
    if (strncmp(path, template_dir, above) == 0 && path[above] == '/') {
        path += above + 1;
        size -= above + 1;
    }
    if (size >= TEMPLATE_NAME_MAX) {
        path += size - (TEMPLATE_NAME_MAX - 1);
        size = TEMPLATE_NAME_MAX - 1;
    }
    memcpy(name, path, size);
    name[size] = '\0';
    return name;
}

const char *template_type(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *file = slash == NULL ? name : slash + 1;
    if (strncmp(file, "test_", 5) == 0 || strstr(name, "/tests/") != NULL)
        return "test";
    if (strstr(name, "/mixins/") != NULL || strncmp(name, "mixins/", 7) == 0)
        return "mixin";
    if (strncmp(file, "contract", 8) == 0)
        return strstr(name, "/models/") != NULL ? "subcontract" : "contract";
    return "node";
}
