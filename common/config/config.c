/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading: defaults, file, environment, command line, checks.
 */
#include "common/config/config.h"

#include <errno.h>
#include <sys/stat.h>
#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/config/loader.h"

#define CONFIG_BYTES_MAX   ((size_t)32 << 20) /* of memory, of each arena */
#define CONFIG_MESSAGE_MAX 2048u

static const struct document_limits config_limits = {
    .bytes = (size_t)1 << 20, .depth = 16, .nodes = 100000};

__attribute__((format(printf, 3, 0))) static void
add_error(struct loader *loader, const char *place, const char *format,
          va_list args)
{
    loader->error_count++;
    if (loader->error_count > LOADER_ERRORS_MAX)
        return;
    char message[CONFIG_MESSAGE_MAX];
    vsnprintf(message, sizeof(message), format, args);
    buffer_printf(loader->errors, "%s%s\n", place, message);
}

void loader_error(struct loader *loader, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_error(loader, "", format, args);
    va_end(args);
}

void loader_error_at(struct loader *loader, uint32_t line, uint32_t column,
                     const char *format, ...)
{
    char place[CONFIG_PATH_MAX + 32];
    snprintf(place, sizeof(place), "%s:%u:%u: ", loader->request->path, line,
             column);
    va_list args;
    va_start(args, format);
    add_error(loader, place, format, args);
    va_end(args);
}

void loader_error_option(struct loader *loader, enum option_index index,
                         const char *format, ...)
{
    char place[CONFIG_PATH_MAX + 32];
    char name[OPTION_VARIABLE_MAX];
    const struct config *config = loader->config;
    const char *path = option_table[index].path;
    switch (config->origins[index]) {
    case ORIGIN_FILE:
        snprintf(place, sizeof(place), "%s:%u:%u: ", config->path,
                 config->lines[index], loader->columns[index]);
        break;
    case ORIGIN_ENVIRONMENT:
        snprintf(place, sizeof(place),
                 "%s: ", option_variable(&option_table[index], name));
        break;
    case ORIGIN_COMMAND_LINE:
        snprintf(place, sizeof(place), "-o %s: ", path);
        break;
    case ORIGIN_MODE:
        snprintf(place, sizeof(place), "sync.mode's value of %s: ", path);
        break;
    case ORIGIN_DEFAULT:
        snprintf(place, sizeof(place), "%s%sdefault of %s: ",
                 config->path != NULL ? config->path : "",
                 config->path != NULL ? ": " : "", path);
        break;
    }
    va_list args;
    va_start(args, format);
    add_error(loader, place, format, args);
    va_end(args);
}

const char *loader_hint(struct loader *loader, const char *name,
                        const char *const *candidates)
{
    const char *nearest = text_nearest(name, candidates);
    const char *hint =
        nearest == NULL
            ? NULL
            : arena_printf(&loader->scratch, "; did you mean \"%s\"?", nearest);
    return hint != NULL ? hint : "; see tidemill.yaml(5)";
}

const char *loader_variable(const struct loader *loader, const char *name,
                            size_t size)
{
    char **entry = loader->request->environment;
    for (; entry != NULL && *entry != NULL; entry++)
        if (strncmp(*entry, name, size) == 0 && (*entry)[size] == '=')
            return *entry + size + 1;
    return NULL;
}

static const char *read_hostname(struct loader *loader)
{
    char name[HOST_NAME_MAX + 1];
    if (gethostname(name, sizeof(name)) != 0)
        return "localhost";
    name[HOST_NAME_MAX] = '\0';
    return arena_strdup(&loader->config->arena, name);
}

/* What stands for other values at the start of a text: <hostname>, and
 * <state_dir> where `index` is no part of that itself. */
static const char *expand_start(struct loader *loader, enum option_index index,
                                const char *text)
{
    const char *start = NULL;
    const char *rest = NULL;
    if (option_table[index].type == OPTION_TEXT &&
        strncmp(text, "<hostname>", 10) == 0) {
        start = read_hostname(loader);
        rest = text + 10;
    } else if (option_table[index].type == OPTION_PATH &&
               index != OPTION_INDEX_state_dir &&
               strncmp(text, "<state_dir>", 11) == 0) {
        start = loader->config->state_dir;
        rest = text + 11;
    }
    if (rest == NULL)
        return text;
    if (start == NULL)
        return NULL;
    return arena_printf(&loader->config->arena, "%s%s", start, rest);
}

/* "/var/lib/x//" and "/var/lib/x" are one path. */
static void cut_slashes(union option_value *value, struct arena *arena)
{
    size_t size = strlen(value->text);
    size_t keep = size;
    while (keep > 1 && value->text[keep - 1] == '/')
        keep--;
    if (keep == size)
        return;
    const char *shorter = arena_copy(arena, value->text, keep);
    if (shorter != NULL)
        value->text = shorter;
}

int loader_set(struct loader *loader, enum option_index index, const char *text,
               struct buffer *why)
{
    const struct option *option = &option_table[index];
    union option_value value;
    if (option->type == OPTION_PATH && strncmp(text, "<state_dir>", 11) == 0 &&
        index != OPTION_INDEX_state_dir) {
        /* Put together when state_dir is final. */
        value.text = text;
        option_set(option, loader->config, &value);
        return 0;
    }
    text = expand_start(loader, index, text);
    if (text == NULL) {
        buffer_append_text(why, "no memory");
        return -1;
    }
    if (option_parse(option, text, &value, why) != 0)
        return -1;
    if (option->type == OPTION_PATH)
        cut_slashes(&value, &loader->config->arena);
    option_set(option, loader->config, &value);
    return 0;
}

static void set_defaults(struct loader *loader)
{
    struct buffer why;
    buffer_init(&why, CONFIG_MESSAGE_MAX);
    for (int i = 0; i < OPTION_COUNT; i++)
        if (loader_set(loader, (enum option_index)i, option_table[i].fallback,
                       &why) != 0) {
            loader_error(loader, "default of %s: %s", option_table[i].path,
                         why.bytes != NULL ? why.bytes : "no memory");
            buffer_reset(&why);
        }
    buffer_deinit(&why);
}

static void apply_mode(struct loader *loader)
{
    static const struct {
        enum option_index index;
        const char *aggressive, *conservative;
    } presets[] = {
#define X(member, aggressive, conservative)                                    \
    {OPTION_INDEX_##member, aggressive, conservative},
        MODE_PRESET_LIST(X)
#undef X
    };
    struct config *config = loader->config;
    struct buffer why;
    buffer_init(&why, CONFIG_MESSAGE_MAX);
    for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]); i++) {
        enum option_index index = presets[i].index;
        if (config->sync_mode == MODE_ADAPTIVE ||
            config->origins[index] != ORIGIN_DEFAULT)
            continue;
        if (loader_set(loader, index,
                       config->sync_mode == MODE_AGGRESSIVE
                           ? presets[i].aggressive
                           : presets[i].conservative,
                       &why) == 0)
            config->origins[index] = ORIGIN_MODE;
        buffer_reset(&why);
    }
    buffer_deinit(&why);
}

/* Paths below state_dir, once it is known. */
static void finish_paths(struct loader *loader)
{
    struct buffer why;
    buffer_init(&why, CONFIG_MESSAGE_MAX);
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &option_table[i];
        enum option_index index = (enum option_index)i;
        union option_value value = option_get(option, loader->config);
        if (option->type != OPTION_PATH ||
            strncmp(value.text, "<state_dir>", 11) != 0)
            continue;
        value.text = expand_start(loader, index, value.text);
        if (value.text == NULL || loader_set(loader, index, value.text, &why))
            loader_error_option(loader, index, "%s: %s", option->path,
                                why.bytes != NULL ? why.bytes : "no memory");
        buffer_reset(&why);
    }
    buffer_deinit(&why);
}

/* An ordinary file with nothing in it at all: a full disk or a broken copy
 * did that.  Taken for all defaults, it would send the host's operations to
 * another centre.  (-c /dev/null says that defaults are meant.) */
static bool file_was_emptied(const char *path)
{
    struct stat status;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool emptied = fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode);
    int c;
    while (emptied && (c = getc(file)) != EOF)
        emptied = isspace(c) != 0;
    fclose(file);
    return emptied;
}

static void read_file(struct loader *loader)
{
    const char *path = loader->request->path;
    if (path == NULL || (loader->request->path_optional &&
                         access(path, F_OK) != 0 && errno == ENOENT))
        return;
    struct error error;
    struct node *root;
    loader->config->path = arena_strdup(&loader->config->arena, path);
    if (document_read_file(&loader->scratch, path, &config_limits, &root,
                           &error) != 0) {
        loader->unreadable = true;
        loader_error(loader, "%s%s", error.text,
                     error.code == ERROR_NO_INPUT
                         ? "; name the right file with -c FILE"
                         : "");
        return;
    }
    if (root->kind == NODE_NULL && file_was_emptied(path)) {
        loader_error(loader,
                     "%s:1:1: the file is empty; put its content back, "
                     "or write \"# defaults\" when all defaults are "
                     "meant",
                     path);
        return;
    }
    loader_read_file(loader, root);
}

static void load_all(struct loader *loader)
{
    set_defaults(loader);
    read_file(loader);
    loader_finish_aggregates(loader);
    loader_read_environment(loader);
    loader_read_overrides(loader);
    apply_mode(loader);
    finish_paths(loader);
    /* Values that were refused are still the defaults, so what is compared
     * with them would be blamed for nothing. */
    if (loader->error_count == 0)
        loader_check(loader);
    if (loader->error_count > LOADER_ERRORS_MAX)
        buffer_printf(loader->errors, "... and %u errors more\n",
                      loader->error_count - LOADER_ERRORS_MAX);
}

struct config *config_load(const struct config_request *request,
                           struct buffer *errors)
{
    struct loader loader = {.request = request, .errors = errors};
    loader.config = calloc(1, sizeof(*loader.config));
    if (loader.config == NULL) {
        buffer_append_text(errors, "no memory for the configuration\n");
        return NULL;
    }
    arena_init(&loader.config->arena, CONFIG_BYTES_MAX);
    arena_init(&loader.scratch, CONFIG_BYTES_MAX);
    load_all(&loader);
    arena_deinit(&loader.scratch);
    if (loader.unreadable || (loader.error_count > 0 && !request->keep_going))
        config_free(&loader.config);
    return loader.config;
}

void config_free(struct config **config)
{
    if (*config == NULL)
        return;
    arena_deinit(&(*config)->arena);
    free(*config);
    *config = NULL;
}

static char *join(const char *directory, const char *name, char *text,
                  size_t room)
{
    snprintf(text, room, "%s/%s", directory, name);
    return text;
}

char *config_state_path(const struct config *config, const char *name,
                        char *text, size_t room)
{
    return join(config->state_dir, name, text, room);
}

char *config_runtime_path(const struct config *config, const char *name,
                          char *text, size_t room)
{
    return join(config->runtime_dir, name, text, room);
}

char *config_log_path(const struct config *config, const char *name, char *text,
                      size_t room)
{
    return join(config->log_dir, name, text, room);
}
