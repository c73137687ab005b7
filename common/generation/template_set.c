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
#include <unistd.h>

#include "common/base/buffer.h"
#include "common/document/document.h"
#include "common/generation/file_identity.h"
#include "common/generation/file_loop.h"
#include "common/generation/safe_path.h"
#include "common/generation/template_hash.h"
#include "common/generation/template_programs.h"
#include "common/mustache/mustache.h"

#define SET_FILE_NAME "set.yaml"
#define SUFFIX        ".mustache"
#define SET_ARENA_MAX (4u << 20)
#define WATCHED_MAX   4
#define PATH_OUT_MAX  4000
#define PATH_ROOM     8192

/* One template of the set, or one partial. */
struct item {
    const char *name;
    const char *path;
    const struct template_program *compiled; /* of this round */
    char sha256[65];                         /* of its file, then */
    struct mustache_program *path_program;   /* NULL for a partial */
    enum mustache_syntax syntax;
    unsigned mode;
    const char *each; /* a file for each element of this list, or NULL */
};

/* What was read, and what it looked like; absent ones are watched too. */
struct watched {
    const char *path;
    struct file_identity identity;
};

struct template_set {
    struct arena arena;
    const char *template_dir;
    const char *folder;
    struct item files[TEMPLATE_SET_FILES_MAX];
    size_t file_count;
    struct item partials[TEMPLATE_SET_FILES_MAX];
    size_t partial_count;
    struct watched watched[WATCHED_MAX]; /* list and folders of partials */
    size_t watched_count;
    uint64_t round; /* in which its programs are current */
    char list_sha256[65];
    char hash[65];
};

static int watch(struct template_set *set, const char *path,
                 struct error *error)
{
    char *copy = arena_strdup(&set->arena, path);
    if (copy == NULL || set->watched_count == WATCHED_MAX)
        return error_set(error, ERROR_SYSTEM, "no memory for templates");
    struct watched *watched = &set->watched[set->watched_count++];
    watched->path = copy;
    file_identity_look(copy, &watched->identity);
    return 0;
}

/* Reads the list of the set. */
static int read_list(struct template_set *set, const char *path, char **bytes,
                     size_t *size, struct error *error)
{
    SHA2_CTX hashing;
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
    SHA256Init(&hashing);
    SHA256Update(&hashing, (const uint8_t *)*bytes, *size);
    SHA256End(&hashing, set->list_sha256);
    return 0;
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
    item->path = arena_strdup(&set->arena, path);
    item->path_program = mustache_compile(
        MUSTACHE_SYNTAX_MUSTACHE, "output path in " SET_FILE_NAME, output->text,
        output->text_size, error);
    if (item->path_program == NULL)
        return -1;
    set->file_count++; /* from here on it is freed with the set */
    if (item->path == NULL || item->name == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for templates");
    return 0;
}

static int load_list(struct template_set *set, struct error *error)
{
    char path[PATH_ROOM];
    char *bytes = NULL;
    size_t size = 0;
    struct node *root = NULL;
    snprintf(path, sizeof(path), "%s/%s/" SET_FILE_NAME, set->template_dir,
             set->folder);
    if (read_list(set, path, &bytes, &size, error) != 0)
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
    item->path = arena_strdup(&set->arena, path);
    item->syntax = MUSTACHE_SYNTAX_MUSTACHE;
    if (item->path == NULL || item->name == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for templates");
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
    if (set->template_dir == NULL || set->folder == NULL)
        error_set(error, ERROR_SYSTEM, "no memory for templates");
    if (set->template_dir == NULL || set->folder == NULL ||
        load_list(set, error) != 0 || load_partials(set, folder, error) != 0 ||
        load_partials(set, "shared", error) != 0) {
        template_set_free(&set);
        return NULL;
    }
    return set;
}

void template_set_free(struct template_set **set)
{
    if (*set == NULL)
        return;
    for (size_t i = 0; i < (*set)->file_count; i++)
        mustache_program_free(&(*set)->files[i].path_program);
    arena_deinit(&(*set)->arena);
    free(*set);
    *set = NULL;
}

bool template_set_is_current(const struct template_set *set)
{
    for (size_t i = 0; i < set->watched_count; i++) {
        const struct watched *watched = &set->watched[i];
        struct file_identity now;
        if (!file_identity_settled(&watched->identity))
            return false;
        file_identity_look(watched->path, &now);
        if (!file_identity_same(&now, &watched->identity))
            return false;
    }
    return true;
}

/* --- programs --- */

/* Sets *changed when its file is not the one that it was. */
static int ready_item(struct item *item, struct template_programs *programs,
                      bool *was_hit, bool *changed, struct error *error)
{
    bool hit;
    item->compiled =
        template_programs_get(programs, item->syntax, item->path, &hit, error);
    if (item->compiled == NULL)
        return -1;
    *was_hit &= hit;
    if (memcmp(item->sha256, item->compiled->sha256, sizeof(item->sha256)) !=
        0) {
        memcpy(item->sha256, item->compiled->sha256, sizeof(item->sha256));
        *changed = true;
    }
    return 0;
}

static void hash_items(SHA2_CTX *hashing, const struct item *items,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        SHA256Update(hashing, (const uint8_t *)items[i].name,
                     strlen(items[i].name) + 1);
        SHA256Update(hashing, (const uint8_t *)items[i].sha256,
                     sizeof(items[i].sha256));
    }
}

static void hash_all(struct template_set *set)
{
    SHA2_CTX hashing;
    SHA256Init(&hashing);
    SHA256Update(&hashing, (const uint8_t *)set->list_sha256,
                 sizeof(set->list_sha256));
    hash_items(&hashing, set->files, set->file_count);
    hash_items(&hashing, set->partials, set->partial_count);
    SHA256End(&hashing, set->hash);
}

static void use_items(struct template_programs *programs,
                      const struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        template_programs_use(programs, items[i].compiled);
}

int template_set_ready(struct template_set *set,
                       struct template_programs *programs, bool *was_hit,
                       struct error *error)
{
    uint64_t round = template_programs_round(programs);
    bool changed = set->hash[0] == '\0';
    *was_hit = true;
    if (set->round == round) {
        use_items(programs, set->files, set->file_count);
        use_items(programs, set->partials, set->partial_count);
        return 0;
    }
    for (size_t i = 0; i < set->file_count; i++)
        if (ready_item(&set->files[i], programs, was_hit, &changed, error) != 0)
            return -1;
    for (size_t i = 0; i < set->partial_count; i++)
        if (ready_item(&set->partials[i], programs, was_hit, &changed, error) !=
            0)
            return -1;
    if (changed)
        hash_all(set);
    set->round = round;
    return 0;
}

bool template_set_is_ready(const struct template_set *set,
                           const struct template_programs *programs)
{
    return set->round == template_programs_round(programs);
}

const char *template_set_name(const struct template_set *set)
{
    return set->folder;
}

const char *template_set_hash(const struct template_set *set)
{
    return set->hash;
}

bool template_sets_have_hash(const struct template_set *const *sets,
                             size_t count, const char *hash)
{
    struct arena arena;
    const char *joined = sets[0]->hash;
    arena_init(&arena, 4096);
    for (size_t i = 1; joined != NULL && i < count; i++) {
        arena_reset(&arena);
        joined = template_hash_join(&arena, joined, sets[i]->hash);
    }
    bool same = joined != NULL && strcmp(joined, hash) == 0;
    arena_deinit(&arena);
    return same;
}

static const struct mustache_program *
resolve(void *context, const char *name, size_t name_size, struct error *error)
{
    const struct item *item = find_partial(context, name, name_size);
    if (item == NULL)
        error_clear(error);
    return item == NULL ? NULL : item->compiled->program;
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
    char *bytes = render_text(set, item->compiled->program, item->syntax, data,
                              arena, &size, error);
    char *whole = arena_printf(arena, "%s/%s", node_name, path);
    char *name = arena_strdup(arena, item->name);
    if (bytes == NULL)
        return -1;
    if (whole == NULL || name == NULL)
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
        .template_name = name,
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

/* Makes room behind the files that are there, if any. */
static int make_room(const struct template_set *set, struct arena *arena,
                     struct output *output)
{
    size_t room = output->file_count + files_room(set);
    struct output_file *files = arena_calloc(arena, room, sizeof(*files));
    if (files != NULL && output->file_count > 0)
        memcpy(files, output->files, output->file_count * sizeof(*files));
    output->files = files;
    return files == NULL ? -1 : 0;
}

int template_set_render(const struct template_set *set,
                        const struct contract *contract, struct arena *arena,
                        struct output *output, struct error *error)
{
    struct node *data = contract_data(arena, contract);
    if (data != NULL && has_placeholders(set) &&
        contract_add_placeholders(arena, contract, data) != 0)
        data = NULL;
    if (output->file_count == 0)
        output->template_set = arena_strdup(arena, set->folder);
    output->template_hash =
        output->file_count == 0
            ? arena_strdup(arena, set->hash)
            : template_hash_join(arena, output->template_hash, set->hash);
    output->node = contract->node_name;
    output->contract = contract->name;
    output->contract_sha256 = contract->sha256;
    output->node_type = contract->node_type;
    output->mixins = contract->mixins;
    if (data == NULL || make_room(set, arena, output) != 0 ||
        output->template_set == NULL || output->template_hash == NULL)
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
