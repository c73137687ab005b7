/* SPDX-License-Identifier: Apache-2.0
 *
 * What is wrong only between options.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/config/loader.h"

static bool is_written(const struct loader *loader, enum option_index index)
{
    return loader->config->origins[index] > ORIGIN_MODE;
}

/* Says that `low` is greater than `high`, when it is. */
static void check_order(struct loader *loader, enum option_index low,
                        enum option_index high)
{
    union option_value a = option_get(&option_table[low], loader->config);
    union option_value b = option_get(&option_table[high], loader->config);
    if (a.integer <= b.integer)
        return;
    struct buffer text[2];
    for (int i = 0; i < 2; i++) {
        buffer_init(&text[i], 64);
        option_format(&option_table[i == 0 ? low : high], i == 0 ? &a : &b,
                      &text[i]);
    }
    /* Blame the one that somebody wrote. */
    bool low_is_default = !is_written(loader, low);
    loader_error_option(loader, low_is_default ? high : low,
                        "%s (%s) is greater than %s (%s); make it smaller, or "
                        "the other greater",
                        option_table[low].path, text[0].bytes,
                        option_table[high].path, text[1].bytes);
    buffer_deinit(&text[0]);
    buffer_deinit(&text[1]);
}

/* As check_order, but a default gives way silently: only two values that
 * somebody wrote can contradict each other. */
static void check_order_written(struct loader *loader, enum option_index low,
                                enum option_index high)
{
    if (is_written(loader, low) && is_written(loader, high))
        check_order(loader, low, high);
}

static void check_paths_differ(struct loader *loader, enum option_index one,
                               enum option_index two)
{
    union option_value a = option_get(&option_table[one], loader->config);
    union option_value b = option_get(&option_table[two], loader->config);
    if (strcmp(a.text, b.text) != 0)
        return;
    bool two_is_default = !is_written(loader, two);
    loader_error_option(loader, two_is_default ? one : two,
                        "%s and %s are both \"%s\"; give each its own",
                        option_table[one].path, option_table[two].path, a.text);
}

static void check_paths(struct loader *loader)
{
    const struct config *config = loader->config;
    char store[CONFIG_PATH_MAX];
    check_paths_differ(loader, OPTION_INDEX_state_dir,
                       OPTION_INDEX_runtime_dir);
    check_paths_differ(loader, OPTION_INDEX_state_dir, OPTION_INDEX_log_dir);
    check_paths_differ(loader, OPTION_INDEX_runtime_dir, OPTION_INDEX_log_dir);
    config_state_path(config, "tidemill.db", store, sizeof(store));
    if (strcmp(config->sync_sqlite_path, store) == 0)
        loader_error_option(loader, OPTION_INDEX_sync_sqlite_path,
                            "sync.sqlite.path is the local store itself; give "
                            "the centre a file of its own");
}

static void check_database(struct loader *loader)
{
    const struct config *config = loader->config;
    if (!conninfo_is_valid(config->database_conninfo))
        loader_error_option(loader, OPTION_INDEX_database_conninfo,
                            "database.conninfo is neither a URI "
                            "(postgresql://host/name) nor keywords (host=x "
                            "dbname=y)");
    if (config->database_password_env[0] != '\0' &&
        config->database_password_file[0] != '\0')
        loader_error_option(loader, OPTION_INDEX_database_password_file,
                            "database.password_env and database.password_file "
                            "are both set; remove one");
    if (config->sync_sink == SYNC_SINK_PGSQL &&
        config->database_conninfo[0] == '\0' &&
        config->database_host[0] == '\0' && config->database_name[0] == '\0')
        loader_error_option(loader, OPTION_INDEX_sync_sink,
                            "sync.sink is pgsql, but where PostgreSQL is "
                            "remains unsaid; set database.conninfo, or "
                            "database.host and database.database");
}

static void check_central(struct loader *loader)
{
    const struct config *config = loader->config;
    if (config->generation_source != GENERATION_CENTRAL)
        return;
    if (config->database_conninfo[0] == '\0' &&
        config->database_host[0] == '\0' && config->database_name[0] == '\0')
        loader_error_option(loader, OPTION_INDEX_generation_source,
                            "generation.source is central, but where "
                            "PostgreSQL is remains unsaid; set "
                            "database.conninfo, or database.host and "
                            "database.database");
    if (!config->sync_enabled || !config->generation_enabled)
        loader_error_option(loader, OPTION_INDEX_generation_source,
                            "generation.source is central, which needs sync "
                            "and generation workers; set sync.enabled and "
                            "generation.enabled to true");
}

static void check_http(struct loader *loader)
{
    const struct config *config = loader->config;
    const char *url = config->sync_http_url;
    if (config->sync_sink != SYNC_SINK_HTTP && url[0] == '\0')
        return;
    if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
        loader_error_option(loader, OPTION_INDEX_sync_http_url,
                            "sync.http.url \"%.200s\" is no URL that begins "
                            "with https:// or http://",
                            url);
    if (config->sync_http_token_env[0] != '\0' &&
        config->sync_http_token_file[0] != '\0')
        loader_error_option(loader, OPTION_INDEX_sync_http_token_file,
                            "sync.http.token_env and sync.http.token_file are "
                            "both set; remove one");
}

/* Only what can be seen without reading it: the command is run by people who
 * may not read the password. */
static void check_password_file(struct loader *loader)
{
    const char *path = loader->config->database_password_file;
    struct stat status;
    if (path[0] == '\0' ||
        (loader->config->sync_sink != SYNC_SINK_PGSQL &&
         loader->config->generation_source != GENERATION_CENTRAL))
        return;
    if (path[0] != '/')
        loader_error_option(loader, OPTION_INDEX_database_password_file,
                            "database.password_file \"%.200s\" does not begin "
                            "with \"/\"; give an absolute path",
                            path);
    else if (stat(path, &status) != 0 && errno == ENOENT)
        loader_error_option(loader, OPTION_INDEX_database_password_file,
                            "database.password_file \"%.200s\" does not exist; "
                            "make it, with mode 0600",
                            path);
    else if (stat(path, &status) == 0 && (status.st_mode & S_IRWXO) != 0)
        loader_error_option(loader, OPTION_INDEX_database_password_file,
                            "database.password_file \"%.200s\" is open to all "
                            "users; chmod o= it",
                            path);
}

/* The store and the centre are files of ours; reading one as a source would
 * carry each operation round and round. */
static void check_sources(struct loader *loader)
{
    const struct config *config = loader->config;
    char store[CONFIG_PATH_MAX];
    config_state_path(config, "tidemill.db", store, sizeof(store));
    const struct node *node =
        loader->sources != NULL ? loader->sources->first : NULL;
    for (size_t i = 0; i < config->source_count && node != NULL;
         i++, node = node->next) {
        const char *path = config->sources[i].path;
        bool is_store = strcmp(path, store) == 0;
        if (is_store || strcmp(path, config->sync_sqlite_path) == 0)
            loader_error_at(loader, node->line, node->column,
                            "source \"%s\" is the file of %s; a source is an "
                            "application's own file",
                            config->sources[i].name,
                            is_store ? "the local store" : "sync.sqlite.path");
    }
}

void loader_check(struct loader *loader)
{
    check_order(loader, OPTION_INDEX_sync_batch_min,
                OPTION_INDEX_sync_batch_max);
    check_order(loader, OPTION_INDEX_generation_min_workers,
                OPTION_INDEX_generation_max_workers);
    check_order(loader, OPTION_INDEX_sync_min_workers,
                OPTION_INDEX_sync_max_workers);
    check_order(loader, OPTION_INDEX_sync_retry_base_ms,
                OPTION_INDEX_sync_retry_max_ms);
    check_order_written(loader, OPTION_INDEX_sync_interval_high_ms,
                        OPTION_INDEX_sync_interval_default_ms);
    check_order_written(loader, OPTION_INDEX_sync_interval_default_ms,
                        OPTION_INDEX_sync_interval_low_ms);
    check_order_written(loader, OPTION_INDEX_sync_interval_high_ms,
                        OPTION_INDEX_sync_interval_low_ms);
    check_order_written(loader, OPTION_INDEX_database_statement_timeout_ms,
                        OPTION_INDEX_database_query_timeout_ms);
    check_paths(loader);
    check_sources(loader);
    check_database(loader);
    check_central(loader);
    check_http(loader);
    check_password_file(loader);
}
