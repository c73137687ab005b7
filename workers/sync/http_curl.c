/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/http_curl.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define X(member, result, arguments)                                           \
    {"curl_" #member, offsetof(struct http_curl, member)},
    HTTP_CURL_LIST(X)
#undef X
};

const struct http_curl *http_curl_load(struct error *error)
{
    static struct http_curl loaded;
    static bool is_loaded;
    if (is_loaded)
        return &loaded;
    void *library = dlopen(HTTP_CURL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        error_set(error, ERROR_CONFIG,
                  "sync.sink is http, which needs libcurl: %s; install it "
                  "(Debian: libcurl4)",
                  dlerror());
        return NULL;
    }
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        void *found = dlsym(library, functions[i].name);
        if (found == NULL) {
            error_set(error, ERROR_CONFIG, "this libcurl has no %s: %s",
                      functions[i].name, dlerror());
            dlclose(library);
            return NULL;
        }
        /* POSIX has it that a function's pointer fits into void *. */
        memcpy((char *)&loaded + functions[i].offset, &found, sizeof(found));
    }
    if (loaded.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        error_set(error, ERROR_SYSTEM, "libcurl cannot be initialised");
        return NULL;
    }
    is_loaded = true;
    return &loaded;
}
