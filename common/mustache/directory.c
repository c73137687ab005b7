/* SPDX-License-Identifier: Apache-2.0
 *
 * Partials from a directory, each read and compiled once.
 */
#include "common/mustache/mustache.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/text.h"

#define DIRECTORY_PARTIALS_MAX 10000
#define DIRECTORY_BUCKETS      1024
#define DIRECTORY_NAME_MAX     1024

struct partial {
    struct partial *next;
    struct mustache_program *program;
    size_t name_size;
    char name[];
};

struct mustache_directory {
    int descriptor;
    unsigned count;
    char *path;
    struct partial *buckets[DIRECTORY_BUCKETS];
};

struct mustache_directory *mustache_directory_new(const char *path,
                                                  struct error *error)
{
    struct mustache_directory *directory = calloc(1, sizeof(*directory));
    char *copy = strdup(path);
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory != NULL && copy != NULL && descriptor >= 0) {
        directory->descriptor = descriptor;
        directory->path = copy;
        return directory;
    }
    error_set_errno(error, ERROR_NO_INPUT, "open the folder of partials %s",
                    path);
    if (descriptor >= 0)
        close(descriptor);
    free(copy);
    free(directory);
    return NULL;
}

void mustache_directory_free(struct mustache_directory **directory)
{
    if (*directory == NULL)
        return;
    for (unsigned i = 0; i < DIRECTORY_BUCKETS; i++)
        for (struct partial *next, *at = (*directory)->buckets[i]; at != NULL;
             at = next) {
            next = at->next;
            mustache_program_free(&at->program);
            free(at);
        }
    close((*directory)->descriptor);
    free((*directory)->path);
    free(*directory);
    *directory = NULL;
}

/* No empty name, no absolute one, no "..", "." or empty component. */
static bool name_stays_inside(const char *name, size_t size)
{
    if (size == 0 || size > DIRECTORY_NAME_MAX ||
        memchr(name, '\0', size) != NULL)
        return false;
    for (const char *end = name + size; name <= end;) {
        const char *slash = memchr(name, '/', (size_t)(end - name));
        size_t part = (size_t)((slash == NULL ? end : slash) - name);
        if (part == 0 || (part == 1 && name[0] == '.') ||
            (part == 2 && name[0] == '.' && name[1] == '.'))
            return false;
        name += part + 1;
    }
    return true;
}

/* For kernels without openat2 (before 5.6): one component at a time, no
 * symbolic link followed. */
static int open_by_steps(int directory, char *path)
{
    int at = fcntl(directory, F_DUPFD_CLOEXEC, 0);
    char *rest = path;
    while (at >= 0) {
        char *slash = strchr(rest, '/');
        int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
        if (slash != NULL) {
            *slash = '\0';
            flags |= O_DIRECTORY;
        }
        int next = openat(at, rest, flags);
        int saved = errno;
        char target;
        if (next < 0 && readlinkat(at, rest, &target, 1) > 0)
            saved = EXDEV;
        close(at);
        errno = saved;
        if (slash == NULL)
            return next;
        at = next;
        rest = slash + 1;
    }
    return -1;
}

static int open_beneath(int directory, char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long result = syscall(SYS_openat2, directory, path, &how, sizeof(how));
    if (result < 0 && (errno == ENOSYS || errno == EPERM))
        return open_by_steps(directory, path);
    return (int)result;
}

static int read_all(int descriptor, const char *path, struct buffer *text,
                    struct error *error)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return error_set_errno(error, ERROR_IO, "read %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_NO_INPUT, "read %s: not a regular file",
                         path);
    for (;;) {
        char *at = buffer_reserve(text, 65536);
        if (at == NULL)
            return error_set(error, ERROR_DATA,
                             "read %s: larger than %u bytes; split it into "
                             "partials",
                             path, MUSTACHE_TEMPLATE_MAX);
        ssize_t size = read(descriptor, at, 65536);
        if (size == 0)
            return 0;
        if (size > 0)
            text->size += (size_t)size;
        else if (errno != EINTR)
            return error_set_errno(error, ERROR_IO, "read %s", path);
    }
}

/* Reads and compiles; NULL with ERROR_NONE when there is no such file. */
static struct mustache_program *
load_partial(struct mustache_directory *directory, const char *name,
             size_t name_size, struct error *error)
{
    char file[DIRECTORY_NAME_MAX + sizeof(".mustache")];
    char shown[DIRECTORY_NAME_MAX + 4096];
    snprintf(file, sizeof(file), "%.*s.mustache", (int)name_size, name);
    snprintf(shown, sizeof(shown), "%s/%s", directory->path, file);
    int descriptor = open_beneath(directory->descriptor, file);
    if (descriptor < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            error_set_errno(error, ERROR_NO_INPUT, "open %s", shown);
        return NULL;
    }
    struct buffer text;
    struct mustache_program *program = NULL;
    buffer_init(&text, MUSTACHE_TEMPLATE_MAX + 65536);
    if (read_all(descriptor, shown, &text, error) == 0)
        program = mustache_compile(MUSTACHE_SYNTAX_MUSTACHE, shown,
                                   text.bytes == NULL ? "" : text.bytes,
                                   text.size, error);
    buffer_deinit(&text);
    close(descriptor);
    return program;
}

static struct partial **find_bucket(struct mustache_directory *directory,
                                    const char *name, size_t name_size)
{
    uint64_t hash = text_hash(TEXT_HASH_START, name, name_size);
    return &directory->buckets[hash % DIRECTORY_BUCKETS];
}

const struct mustache_program *mustache_directory_resolve(void *context,
                                                          const char *name,
                                                          size_t name_size,
                                                          struct error *error)
{
    struct mustache_directory *directory = context;
    error->code = ERROR_NONE;
    struct partial **bucket = find_bucket(directory, name, name_size);
    for (struct partial *at = *bucket; at != NULL; at = at->next)
        if (at->name_size == name_size &&
            memcmp(at->name, name, name_size) == 0)
            return at->program;
    if (!name_stays_inside(name, name_size)) {
        error_set(error, ERROR_DATA,
                  "a name that leaves the folder %s; use a path below it",
                  directory->path);
        return NULL;
    }
    if (directory->count == DIRECTORY_PARTIALS_MAX) {
        error_set(error, ERROR_DATA, "more than %d partials in use",
                  DIRECTORY_PARTIALS_MAX);
        return NULL;
    }
    struct mustache_program *program =
        load_partial(directory, name, name_size, error);
    if (program == NULL)
        return NULL;
    struct partial *partial = malloc(sizeof(*partial) + name_size);
    if (partial == NULL) {
        error_set_errno(error, ERROR_SYSTEM, "keep a partial");
        mustache_program_free(&program);
        return NULL;
    }
    *partial = (struct partial){*bucket, program, name_size};
    memcpy(partial->name, name, name_size);
    *bucket = partial;
    directory->count++;
    return program;
}
