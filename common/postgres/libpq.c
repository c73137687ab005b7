/* SPDX-License-Identifier: Apache-2.0 */
#include "common/postgres/libpq.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define X(name) {"PQ" #name, offsetof(struct libpq, name)},
    LIBPQ_LIST(X)
#undef X
};

const struct libpq *libpq;

int libpq_load(struct error *error)
{
    static struct libpq loaded;
    if (libpq != NULL)
        return 0;
    void *library = dlopen(LIBPQ_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return error_set(error, ERROR_CONFIG,
                         "a PostgreSQL centre needs libpq: %s; install it "
                         "(Debian: libpq5)",
                         dlerror());
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        void *found = dlsym(library, functions[i].name);
        if (found == NULL) {
            error_set(error, ERROR_CONFIG, "this libpq has no %s: %s",
                      functions[i].name, dlerror());
            dlclose(library);
            return -1;
        }
        /* POSIX has it that a function's pointer fits into void *. */
        memcpy((char *)&loaded + functions[i].offset, &found, sizeof(found));
    }
    libpq = &loaded;
    return 0;
}
