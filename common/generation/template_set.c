/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/template_set.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buffer.h"
#include "common/document/document.h"
#include "common/generation/file_loop.h"
#include "common/generation/safe_path.h"
#include "common/mustache/mustache.h"

#define SET_FILE_NAME "set.yaml"
#define SUFFIX        ".mustache"
#define SET_ARENA_MAX (4u << 20)
#define WATCHED_MAX   (TEMPLATE_SET_FILES_MAX + 8)
#define PATH_OUT_MAX  4000
#define PATH_ROOM     8192

/* One template of the set, or one partial. */
struct item {
    const char *name;
    struct mustache_program *program;
    struct mustache_program *path_program; /* NULL for a partial */
    enum mustache_syntax syntax;
    unsigned mode;
    const char *each; /* a file for each element of this list, or NULL */
};

/* What was read, and what it looked like; absent ones are watched too. */
struct watched {
    const char *path;
    bool present;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed, modified;
};

struct template_set {
    struct arena arena;
    const char *template_dir;
    const char *folder;
    struct item files[TEMPLATE_SET_FILES_MAX];
    size_t file_count;
    struct item partials[TEMPLATE_SET_FILES_MAX];
    size_t partial_count;
    struct watched watched[WATCHED_MAX];
    size_t watched_count;
    SHA2_CTX hashing;
    char hash[65];
};

static void look(const char *path, struct watched *seen)
{
    struct stat about;
    *seen = (struct watched){.path = path};
    if (stat(path, &about) != 0)
        return;
    seen->present = true;
    seen->device = about.st_dev;
    seen->inode = about.st_ino;
    seen->size = about.st_size;
    seen->changed = about.st_ctim;
    seen->modified = about.st_mtim;
}

static bool looks_same(const struct watched *a, const struct watched *b)
{
    return a->present == b->present && a->device == b->device &&
           a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec &&
           a->modified.tv_sec == b->modified.tv_sec &&
           a->modified.tv_nsec == b->modified.tv_nsec;
}

static int watch(struct template_set *set, const char *path,
                 struct error *error)
{
    char *copy = arena_strdup(&set->arena, path);
    if (copy == NULL || set->watched_count == WATCHED_MAX)
        return error_set(error, ERROR_DATA,
                         "the template set %s/%s has more than %d files; "
                         "divide it",
                         set->template_dir, set->folder,
                         TEMPLATE_SET_FILES_MAX);
    look(copy, &set->watched[set->watched_count++]);
    return 0;
}

/* Reads a file and adds name and bytes to the set's hash. */
static int read_source(struct template_set *set, const char *path, char **bytes,
                       size_t *size, struct error *error)
{
    if (watch(set, path, error) != 0)
        return -1;
    const char *slash = strrchr(path, '/');
    char *folder = arena_copy(&set->arena, path, (size_t)(slash - path));
    if (folder == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for templates");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, ERROR_NO_INPUT, "cannot open %s", folder);
    int result = safe_read_file(fd, slash + 1, MUSTACHE_TEMPLATE_MAX, bytes,
                                size, error);
    close(fd);
    if (result != 0)
        return error_prefix(error, "template file %s", path);
    const char *name = path + strlen(set->template_dir);
    uint64_t length = *size;
    SHA256Update(&set->hashing, (const uint8_t *)name, strlen(name) + 1);
    SHA256Update(&set->hashing, (const uint8_t *)&length, sizeof(length));
    SHA256Update(&set->hashing, (const uint8_t *)*bytes, *size);
    return 0;
}

static struct mustache_program *load_program(struct template_set *set,
                                             enum mustache_syntax syntax,
                                             const char *path,
                                             struct error *error)
{
    char *bytes = NULL;
    size_t size = 0;
    if (read_source(set, path, &bytes, &size, error) != 0)
        return NULL;
    struct mustache_program *program =
        mustache_compile(syntax, path, bytes, size, error);
    free(bytes);
    return program;
}

/* One entry of `files`, checked. */
static int check_entry(const struct template_set *set, const struct node *entry,
                       struct item *item, struct error *error)
{
    static const char *const keys[] = {"template", "output", "executable",
                                       "syntax", "each"};
    const struct node *values[5];
    for (size_t i = 0; i < 5; i++)
        values[i] = document_get(entry, keys[i]);
    for (const struct node *key = entry->first; key != NULL; key = key->next) {
        if (key != values[0] && key != values[1] && key != values[2] &&
            key != values[3] && key != values[4])
            return error_set(error, ERROR_DATA,
                             "%s/%s/" SET_FILE_NAME ":%u:%u: unknown key "
                             "'%s'; the keys of a file are template, output, "
                             "executable, syntax and each",
                             set->template_dir, set->folder, key->key_line,
                             key->key_column, key->key);
    }
    if (values[0] == NULL || values[0]->kind != NODE_STRING ||
        values[1] == NULL || values[1]->kind != NODE_STRING ||
        (values[2] != NULL && values[2]->kind != NODE_BOOL) ||
        (values[4] != NULL && values[4]->kind != NODE_STRING))
        return error_set(error, ERROR_DATA,
                         "%s/%s/" SET_FILE_NAME ":%u:%u: a file needs the "
                         "texts template and output",
                         set->template_dir, set->folder, entry->line,
                         entry->column);
    item->mode = values[2] != NULL && values[2]->boolean ? 0755 : 0644;
    item->each = values[4] == NULL ? NULL : values[4]->text;
    item->syntax = MUSTACHE_SYNTAX_MUSTACHE;
    if (values[3] != NULL &&
        (values[3]->kind != NODE_STRING ||
         mustache_syntax_parse(values[3]->text, &item->syntax) != 0))
        return error_set(error, ERROR_DATA,
                         "%s/%s/" SET_FILE_NAME ":%u:%u: no such syntax; "
                         "use mustache or placeholder",
                         set->template_dir, set->folder, values[3]->line,
                         values[3]->column);
    return 0;
}

static int load_file(struct template_set *set, const struct node *entry,
                     struct error *error)
{
    char path[PATH_ROOM];
    struct item checked = {0};
    const struct node *name = document_get(entry, "template");
    const struct node *output = document_get(entry, "output");
    if (check_entry(set, entry, &checked, error) != 0)
        return -1;
    if (safe_path_check(name->text, name->text_size, error) != 0)
        return error_prefix(error, "template set %s", set->folder);
    if (set->file_count == TEMPLATE_SET_FILES_MAX)
        return error_set(error, ERROR_DATA, "more than %d templates in %s",
                         TEMPLATE_SET_FILES_MAX, set->folder);
    if (strncmp(name->text, "shared/", 7) == 0)
        snprintf(path, sizeof(path), "%s/%s" SUFFIX, set->template_dir,
                 name->text);
    else
        snprintf(path, sizeof(path), "%s/%s/%s" SUFFIX, set->template_dir,
                 set->folder, name->text);
    struct item *item = &set->files[set->file_count];
    *item = checked;
    item->name = arena_strdup(&set->arena, name->text);
    item->path_program = mustache_compile(
        MUSTACHE_SYNTAX_MUSTACHE, "output path in " SET_FILE_NAME, output->text,
        output->text_size, error);
    if (item->path_program == NULL)
        return -1;
    set->file_count++; /* from here on it is freed with the set */
    item->program = load_program(set, item->syntax, path, error);
    return item->program == NULL || item->name == NULL ? -1 : 0;
}

static int load_list(struct template_set *set, struct error *error)
{
    char path[PATH_ROOM];
    char *bytes = NULL;
    size_t size = 0;
    struct node *root = NULL;
    snprintf(path, sizeof(path), "%s/%s/" SET_FILE_NAME, set->template_dir,
             set->folder);
    if (read_source(set, path, &bytes, &size, error) != 0)
        return -1;
    int failed = document_read_yaml(&set->arena, path, bytes, size,
                                    &document_limits_default, &root, error);
    free(bytes);
    if (failed != 0)
        return -1;
    const struct node *files = document_get(root, "files");
    if (files == NULL || files->kind != NODE_LIST || root->count != 1)
        return error_set(error, ERROR_DATA,
                         "%s: must have the one key 'files', a list of "
                         "{template, output, executable}",
                         path);
    for (const struct node *entry = files->first; entry != NULL;
         entry = entry->next) {
        if (load_file(set, entry, error) != 0)
            return -1;
    }
    return 0;
}

static const struct item *find_partial(const struct template_set *set,
                                       const char *name, size_t size)
{
    for (size_t i = 0; i < set->partial_count; i++) {
        const char *known = set->partials[i].name;
        if (strlen(known) == size && memcmp(known, name, size) == 0)
            return &set->partials[i];
    }
    return NULL;
}

static int load_partial(struct template_set *set, const char *folder,
                        const char *file, struct error *error)
{
    char path[PATH_ROOM];
    size_t length = strlen(file);
    size_t suffix = strlen(SUFFIX);
    if (length <= suffix || strcmp(file + length - suffix, SUFFIX) != 0 ||
        find_partial(set, file, length - suffix) != NULL)
        return 0;
    if (set->partial_count == TEMPLATE_SET_FILES_MAX)
        return error_set(error, ERROR_DATA, "more than %d partials in %s",
                         TEMPLATE_SET_FILES_MAX, folder);
    snprintf(path, sizeof(path), "%.4200s/%.255s", folder, file);
    struct item *item = &set->partials[set->partial_count];
    item->name = arena_copy(&set->arena, file, length - suffix);
    item->program = load_program(set, MUSTACHE_SYNTAX_MUSTACHE, path, error);
    if (item->program == NULL || item->name == NULL)
        return -1;
    set->partial_count++;
    return 0;
}

/* In the order of their names, so that the hash is always the same. */
static int load_partials(struct template_set *set, const char *within,
                         struct error *error)
{
    char folder[PATH_ROOM];
    struct dirent **entries = NULL;
    int result = 0;
    snprintf(folder, sizeof(folder), "%s/%s/partials", set->template_dir,
             within);
    if (watch(set, folder, error) != 0)
        return -1;
    int count = scandir(folder, &entries, NULL, alphasort);
    if (count < 0)
        return errno == ENOENT ? 0
                               : error_set_errno(error, ERROR_NO_INPUT,
                                                 "cannot read %s", folder);
    for (int i = 0; i < count; i++) {
        if (result == 0)
            result = load_partial(set, folder, entries[i]->d_name, error);
        free(entries[i]);
    }
    free(entries);
    return result;
}

struct template_set *template_set_load(const char *template_dir,
                                       const char *folder, struct error *error)
{
    struct template_set *set = NULL;
    if (strlen(template_dir) > PATH_OUT_MAX)
        error_set(error, ERROR_CONFIG, "the template directory is too long");
    else if (safe_path_check(folder, strlen(folder), error) == 0)
        set = calloc(1, sizeof(*set));
    if (set == NULL)
        return NULL;
    arena_init(&set->arena, SET_ARENA_MAX);
    set->template_dir = arena_strdup(&set->arena, template_dir);
    set->folder = arena_strdup(&set->arena, folder);
    SHA256Init(&set->hashing);
    if (set->template_dir == NULL || set->folder == NULL)
        error_set(error, ERROR_SYSTEM, "no memory for templates");
    if (set->template_dir == NULL || set->folder == NULL ||
        load_list(set, error) != 0 || load_partials(set, folder, error) != 0 ||
        load_partials(set, "shared", error) != 0) {
        template_set_free(&set);
        return NULL;
    }
    SHA256End(&set->hashing, set->hash);
    return set;
}

void template_set_free(struct template_set **set)
{
    if (*set == NULL)
        return;
    for (size_t i = 0; i < (*set)->file_count; i++) {
        mustache_program_free(&(*set)->files[i].program);
        mustache_program_free(&(*set)->files[i].path_program);
    }
    for (size_t i = 0; i < (*set)->partial_count; i++)
        mustache_program_free(&(*set)->partials[i].program);
    arena_deinit(&(*set)->arena);
    free(*set);
    *set = NULL;
}

const char *template_set_name(const struct template_set *set)
{
    return set->folder;
}

const char *template_set_hash(const struct template_set *set)
{
    return set->hash;
}

size_t template_set_count(const struct template_set *set)
{
    return set->file_count + set->partial_count;
}

static const struct mustache_program *
resolve(void *context, const char *name, size_t name_size, struct error *error)
{
    const struct item *item = find_partial(context, name, name_size);
    if (item == NULL)
        error_clear(error);
    return item == NULL ? NULL : item->program;
}

/* Placeholders that are not ours may be the output's own braces. */
static char *render_text(const struct template_set *set,
                         const struct mustache_program *program,
                         enum mustache_syntax syntax, const struct node *data,
                         struct arena *arena, size_t *size, struct error *error)
{
    struct mustache_options options = {
        .escape = MUSTACHE_ESCAPE_NONE,
        .strict = syntax == MUSTACHE_SYNTAX_MUSTACHE,
        .resolver = resolve,
        .resolver_context = (void *)(uintptr_t)set,
    };
    struct buffer out;
    char *text = NULL;
    buffer_init(&out, MUSTACHE_OUTPUT_MAX);
    if (mustache_execute(program, data, &options, &out, error) == 0) {
        *size = out.size;
        text = arena_copy(arena, out.bytes == NULL ? "" : out.bytes, out.size);
        if (text == NULL)
            error_set(error, ERROR_DATA,
                      "the node needs more memory than a job may have");
    }
    buffer_deinit(&out);
    return text;
}

static int render_file(const struct template_set *set, const struct item *item,
                       const struct node *data, const char *node_name,
                       struct arena *arena, struct output *output,
                       struct error *error)
{
    size_t path_size = 0, size = 0;
    char *path = render_text(set, item->path_program, MUSTACHE_SYNTAX_MUSTACHE,
                             data, arena, &path_size, error);
    if (path == NULL)
        return -1;
    if (path_size == 0)
        return 0;
    if (safe_path_check(path, path_size, error) != 0)
        return error_prefix(error, "template %s", item->name);
    char *bytes = render_text(set, item->program, item->syntax, data, arena,
                              &size, error);
    char *whole = arena_printf(arena, "%s/%s", node_name, path);
    if (bytes == NULL)
        return -1;
    if (whole == NULL)
        return error_set(error, ERROR_DATA,
                         "the node needs more memory than a job may have");
    if (output->file_count == OUTPUT_FILES_MAX)
        return error_set(error, ERROR_DATA,
                         "more than %d files for one node; make fewer",
                         OUTPUT_FILES_MAX);
    output->files[output->file_count++] = (struct output_file){
        .path = whole,
        .bytes = bytes,
        .size = size,
        .mode = item->mode,
        .template_name = item->name,
    };
    return 0;
}

/* Once, or for each element. */
static int render_files(const struct template_set *set, const struct item *item,
                        const struct node *data, const char *node_name,
                        struct arena *arena, struct output *output,
                        struct error *error)
{
    if (item->each == NULL)
        return render_file(set, item, data, node_name, arena, output, error);
    const struct node *list = file_loop_list(data, item->each, error);
    const struct node *at = list == NULL ? NULL : list->first;
    for (; at != NULL; at = at->next) {
        const struct node *own = file_loop_data(arena, data, at);
        if (own == NULL)
            return error_set(error, ERROR_DATA,
                             "the node needs more memory than a job may have");
        if (render_file(set, item, own, node_name, arena, output, error) != 0)
            return -1;
    }
    return list == NULL ? -1 : 0;
}

static size_t files_room(const struct template_set *set)
{
    for (size_t i = 0; i < set->file_count; i++)
        if (set->files[i].each != NULL)
            return OUTPUT_FILES_MAX;
    return set->file_count + 1;
}

static bool has_placeholders(const struct template_set *set)
{
    for (size_t i = 0; i < set->file_count; i++)
        if (set->files[i].syntax == MUSTACHE_SYNTAX_PLACEHOLDER)
            return true;
    return false;
}

int template_set_render(const struct template_set *set,
                        const struct contract *contract, struct arena *arena,
                        struct output *output, struct error *error)
{
    struct node *data = contract_data(arena, contract);
    if (data != NULL && has_placeholders(set) &&
        contract_add_placeholders(arena, contract, data) != 0)
        data = NULL;
    output->files =
        arena_calloc(arena, files_room(set), sizeof(*output->files));
    output->file_count = 0;
    output->node = contract->node_name;
    output->contract = contract->name;
    output->contract_sha256 = contract->sha256;
    output->template_set = set->folder;
    output->template_hash = set->hash;
    if (data == NULL || output->files == NULL)
        return error_set(error, ERROR_DATA,
                         "the contract %s needs more memory than a job may "
                         "have",
                         contract->name);
    for (size_t i = 0; i < set->file_count; i++) {
        if (render_files(set, &set->files[i], data, contract->node_name, arena,
                         output, error) != 0)
            return -1;
    }
    return 0;
}

/* --- the cache --- */

#define CACHED_SETS_MAX 32

struct template_cache {
    size_t templates_max;
    size_t template_count;
    struct template_set *sets[CACHED_SETS_MAX]; /* newest use first */
    size_t set_count;
};

struct template_cache *template_cache_new(size_t templates_max)
{
    struct template_cache *cache = calloc(1, sizeof(*cache));
    if (cache != NULL)
        cache->templates_max = templates_max;
    return cache;
}

static void drop(struct template_cache *cache, size_t index)
{
    cache->template_count -= template_set_count(cache->sets[index]);
    template_set_free(&cache->sets[index]);
    cache->set_count--;
    memmove(&cache->sets[index], &cache->sets[index + 1],
            (cache->set_count - index) * sizeof(cache->sets[0]));
}

void template_cache_free(struct template_cache **cache)
{
    if (*cache == NULL)
        return;
    while ((*cache)->set_count > 0)
        drop(*cache, (*cache)->set_count - 1);
    free(*cache);
    *cache = NULL;
}

static bool is_current(const struct template_set *set)
{
    for (size_t i = 0; i < set->watched_count; i++) {
        struct watched now;
        look(set->watched[i].path, &now);
        if (!looks_same(&now, &set->watched[i]))
            return false;
    }
    return true;
}

static void put_first(struct template_cache *cache, struct template_set *set,
                      size_t from)
{
    memmove(&cache->sets[1], &cache->sets[0], from * sizeof(cache->sets[0]));
    cache->sets[0] = set;
}

const struct template_set *template_cache_get(struct template_cache *cache,
                                              const char *template_dir,
                                              const char *folder, bool *was_hit,
                                              struct error *error)
{
    *was_hit = false;
    for (size_t i = 0; i < cache->set_count; i++) {
        struct template_set *set = cache->sets[i];
        if (strcmp(set->folder, folder) != 0 ||
            strcmp(set->template_dir, template_dir) != 0)
            continue;
        if (is_current(set)) {
            put_first(cache, set, i);
            *was_hit = true;
            return set;
        }
        drop(cache, i);
        break;
    }
    struct template_set *set = template_set_load(template_dir, folder, error);
    if (set == NULL)
        return NULL;
    size_t more = template_set_count(set);
    while (cache->set_count > 0 &&
           (cache->set_count == CACHED_SETS_MAX ||
            cache->template_count + more > cache->templates_max))
        drop(cache, cache->set_count - 1);
    put_first(cache, set, cache->set_count);
    cache->set_count++;
    cache->template_count += more;
    return set;
}
