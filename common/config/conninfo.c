/* SPDX-License-Identifier: Apache-2.0
 *
 * Connection strings of libpq: put together, and masked for logs.  The two
 * forms are those of libpq's manual, "Connection Strings": keywords
 * (host=x password='y z') and URIs (postgresql://user:password@host/name).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/log_redact.h"
#include "common/config/loader.h"

#define PASSWORD_MAX 1000u

static bool is_uri(const char *conninfo)
{
    return strncmp(conninfo, "postgresql://", 13) == 0 ||
           strncmp(conninfo, "postgres://", 11) == 0;
}

/* A connection string that grows. */
struct conninfo {
    struct buffer *out;
    bool uri;
};

static void append_keyword(struct buffer *out, const char *key,
                           const char *value)
{
    buffer_printf(out, "%s%s='", out->size > 0 ? " " : "", key);
    for (; *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\')
            buffer_append_char(out, '\\');
        buffer_append_char(out, *value);
    }
    buffer_append_char(out, '\'');
}

static void append_parameter(struct buffer *out, const char *key,
                             const char *value)
{
    bool first = memchr(out->bytes, '?', out->size) == NULL;
    char last = out->size > 0 ? out->bytes[out->size - 1] : '\0';
    if (first)
        buffer_append_char(out, '?');
    else if (last != '?' && last != '&')
        buffer_append_char(out, '&');
    buffer_printf(out, "%s=", key);
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
            (c >= 'a' && c <= 'z') || strchr("-._~", c) != NULL)
            buffer_append_char(out, (char)c);
        else
            buffer_printf(out, "%%%02X", c);
    }
}

/* In both forms the last value of a key counts. */
static void put(struct conninfo *conninfo, const char *key, const char *value)
{
    if (conninfo->out->failed)
        return;
    if (conninfo->uri)
        append_parameter(conninfo->out, key, value);
    else
        append_keyword(conninfo->out, key, value);
}

static void put_option(struct conninfo *conninfo, const struct config *config,
                       enum option_index index, const char *key)
{
    const struct option *option = &option_table[index];
    union option_value value = option_get(option, config);
    if (config->database_conninfo[0] != '\0' &&
        config->origins[index] == ORIGIN_DEFAULT)
        return;
    struct buffer text;
    buffer_init(&text, 8192);
    option_format(option, &value, &text);
    if (text.failed)
        conninfo->out->failed = true;
    else if (text.size > 0)
        put(conninfo, key, text.bytes);
    buffer_deinit(&text);
}

/* Reads at most one byte too many, to know that there are too many. */
static int read_password(int fd, const char *path, char *password,
                         struct error *error)
{
    size_t size = 0;
    for (;;) {
        ssize_t got = read(fd, password + size, PASSWORD_MAX + 3 - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, ERROR_CONFIG,
                                   "cannot read database.password_file %s",
                                   path);
        size += (size_t)got;
        if (got == 0 || size == PASSWORD_MAX + 3)
            break;
    }
    if (size > 0 && password[size - 1] == '\n')
        size--;
    if (size > 0 && password[size - 1] == '\r')
        size--;
    if (size > PASSWORD_MAX)
        return error_set(error, ERROR_CONFIG,
                         "database.password_file %s is longer than %u bytes",
                         path, PASSWORD_MAX);
    password[size] = '\0';
    if (size == 0 || strlen(password) != size)
        return error_set(error, ERROR_CONFIG, "database.password_file %s %s",
                         path, size == 0 ? "is empty" : "has a NUL byte in it");
    return 0;
}

static int read_password_file(const char *path, char *password,
                              struct error *error)
{
    struct stat status;
    int result;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set_errno(error, ERROR_CONFIG,
                               "cannot open database.password_file %s", path);
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        result =
            error_set(error, ERROR_CONFIG,
                      "database.password_file %s is no ordinary file", path);
    else if ((status.st_mode & S_IRWXO) != 0)
        result = error_set(error, ERROR_CONFIG,
                           "database.password_file %s is open to all users; "
                           "chmod o= it",
                           path);
    else
        result = read_password(fd, path, password, error);
    close(fd);
    return result;
}

static int put_password(struct conninfo *conninfo, const struct config *config,
                        struct error *error)
{
    const char *variable = config->database_password_env;
    if (variable[0] != '\0') {
        const char *value = getenv(variable);
        if (value == NULL || value[0] == '\0')
            return error_set(error, ERROR_CONFIG,
                             "the environment variable %s of "
                             "database.password_env is not set",
                             variable);
        put(conninfo, "password", value);
    }
    if (config->database_password_file[0] != '\0') {
        char password[PASSWORD_MAX + 4] = "";
        if (read_password_file(config->database_password_file, password,
                               error) != 0)
            return -1;
        put(conninfo, "password", password);
        explicit_bzero(password, sizeof(password));
    }
    return 0;
}

int config_conninfo(const struct config *config, struct buffer *out,
                    struct error *error)
{
    struct conninfo conninfo = {.out = out,
                                .uri = is_uri(config->database_conninfo)};
    buffer_reset(out);
    buffer_append_text(out, config->database_conninfo);
    put_option(&conninfo, config, OPTION_INDEX_database_host, "host");
    put_option(&conninfo, config, OPTION_INDEX_database_port, "port");
    put_option(&conninfo, config, OPTION_INDEX_database_name, "dbname");
    put_option(&conninfo, config, OPTION_INDEX_database_user, "user");
    put_option(&conninfo, config, OPTION_INDEX_database_sslmode, "sslmode");
    if (config->origins[OPTION_INDEX_database_application_name] ==
        ORIGIN_DEFAULT)
        put(&conninfo, "fallback_application_name",
            config->database_application_name);
    else
        put(&conninfo, "application_name", config->database_application_name);
    if (put_password(&conninfo, config, error) != 0)
        return -1;
    if (out->failed)
        return error_set(error, ERROR_CONFIG,
                         "the connection string of the database options is "
                         "too long");
    return 0;
}

/* Values of such keys nobody may see.  Wide on purpose: one that is written
 * "passwd" by mistake is a password too. */
static bool is_secret_key(const char *key, size_t size)
{
    static const char *const words[] = {"pass", "pwd", "secret", "scram"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t length = strlen(words[i]);
        for (size_t at = 0; at + length <= size; at++)
            if (strncasecmp(key + at, words[i], length) == 0)
                return true;
    }
    return false;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* libpq undoes %XX in keys too, so "pass%77ord" is a password. */
static bool is_secret_parameter(const char *key, size_t size)
{
    char plain[64];
    size_t length = 0;
    for (size_t i = 0; i < size && length < sizeof(plain); i++) {
        int high = i + 2 < size && key[i] == '%' ? hex_value(key[i + 1]) : -1;
        int low = high >= 0 ? hex_value(key[i + 2]) : -1;
        if (low >= 0) {
            plain[length++] = (char)(high * 16 + low);
            i += 2;
        } else {
            plain[length++] = key[i];
        }
    }
    return is_secret_key(plain, length);
}

static void mask_parameters(const char *at, struct buffer *out)
{
    while (*at != '\0') {
        size_t size = strcspn(at, "&");
        size_t key = strcspn(at, "=&");
        if (key < size && is_secret_parameter(at, key))
            buffer_printf(out, "%.*s=***", (int)key, at);
        else
            buffer_append(out, at, size);
        at += size;
        if (*at == '&')
            buffer_append_char(out, *at++);
    }
}

/* Up to the last '@' before the parameters all belongs to user and password:
 * a password with a plain '@' or '/' in it must not show half of itself. */
static void mask_uri(const char *uri, struct buffer *out)
{
    const char *start = strstr(uri, "//") + 2;
    const char *query = strchr(start, '?');
    size_t size = query != NULL ? (size_t)(query - start) : strlen(start);
    const char *at = memrchr(start, '@', size);
    const char *colon =
        at == NULL ? NULL : memchr(start, ':', (size_t)(at - start));
    if (colon != NULL) {
        buffer_append(out, uri, (size_t)(colon - uri) + 1);
        buffer_append_text(out, "***");
        buffer_append(out, at, size - (size_t)(at - start));
    } else {
        buffer_append(out, uri, (size_t)(start - uri) + size);
    }
    if (query != NULL) {
        buffer_append_char(out, '?');
        mask_parameters(query + 1, out);
    }
}

#define BLANKS " \t\r\n\f\v"

/* The end of a keyword's value; NULL when a quote is not closed. */
static const char *skip_keyword_value(const char *at)
{
    bool quoted = *at == '\'';
    for (at += quoted ? 1 : 0; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        else if (quoted && *at == '\'')
            return at + 1;
        else if (!quoted && strchr(BLANKS, *at) != NULL)
            return at;
    }
    return quoted ? NULL : at;
}

struct keyword {
    const char *key;
    size_t key_size;
    const char *value; /* as it was written, with its quotes */
    size_t value_size;
};

/* Reads the keyword at *at, where one begins, and goes to the next; false
 * when there is none. */
static bool next_keyword(const char **at, struct keyword *keyword)
{
    const char *value = *at + strcspn(*at, "=" BLANKS);
    keyword->key = *at;
    keyword->key_size = (size_t)(value - *at);
    value += strspn(value, BLANKS);
    if (keyword->key_size == 0 || *value != '=')
        return false;
    value++;
    value += strspn(value, BLANKS);
    const char *end = skip_keyword_value(value);
    if (end == NULL)
        return false;
    keyword->value = value;
    keyword->value_size = (size_t)(end - value);
    *at = end + strspn(end, BLANKS);
    return true;
}

bool conninfo_is_valid(const char *conninfo)
{
    struct keyword keyword;
    const char *at = conninfo + strspn(conninfo, BLANKS);
    if (is_uri(conninfo))
        return true;
    while (*at != '\0')
        if (!next_keyword(&at, &keyword))
            return false;
    return true;
}

/* What cannot be understood is hidden to the end. */
static void mask_keywords(const char *text, struct buffer *out)
{
    struct keyword keyword;
    const char *before = "";
    const char *at = text + strspn(text, BLANKS);
    while (*at != '\0') {
        buffer_append_text(out, before);
        before = " ";
        if (!next_keyword(&at, &keyword)) {
            buffer_append_text(out, "***");
            return;
        }
        buffer_printf(out, "%.*s=", (int)keyword.key_size, keyword.key);
        if (is_secret_key(keyword.key, keyword.key_size))
            buffer_append_text(out, "***");
        else
            buffer_append(out, keyword.value, keyword.value_size);
    }
}

/* The secrets of a connection string, one by one. */
static void hide_conninfo(const char *conninfo)
{
    struct keyword keyword;
    char value[LOG_SECRET_SIZE_MAX];
    const char *at = conninfo + strspn(conninfo, BLANKS);
    log_hide(conninfo);
    if (is_uri(conninfo)) {
        const char *start = strstr(conninfo, "//") + 2;
        const char *end = memrchr(start, '@', strcspn(start, "?"));
        const char *colon = strchr(start, ':');
        if (end != NULL && colon != NULL && colon < end) {
            snprintf(value, sizeof(value), "%.*s", (int)(end - colon) - 1,
                     colon + 1);
            log_hide(value);
        }
        return;
    }
    while (next_keyword(&at, &keyword)) {
        bool quoted = keyword.value[0] == '\'';
        if (!is_secret_key(keyword.key, keyword.key_size))
            continue;
        snprintf(value, sizeof(value), "%.*s",
                 (int)keyword.value_size - (quoted ? 2 : 0),
                 keyword.value + quoted);
        log_hide(value);
    }
    explicit_bzero(value, sizeof(value));
}

static void hide_variable(const char *name)
{
    const char *value = name[0] == '\0' ? NULL : getenv(name);
    if (value != NULL)
        log_hide(value);
}

void config_hide_secrets(const struct config *config)
{
    char password[PASSWORD_MAX + 4] = "";
    struct error ignored; /* who needs it says so */
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &option_table[i];
        union option_value value = option_get(option, config);
        if (option->secret && option->type == OPTION_TEXT)
            log_hide(value.text);
    }
    hide_conninfo(config->database_conninfo);
    hide_variable(config->database_password_env);
    hide_variable(config->sync_http_token_env);
    if (config->database_password_file[0] != '\0' &&
        read_password_file(config->database_password_file, password,
                           &ignored) == 0)
        log_hide(password);
    explicit_bzero(password, sizeof(password));
}

void config_mask_conninfo(const char *conninfo, struct buffer *out)
{
    if (is_uri(conninfo))
        mask_uri(conninfo, out);
    else
        mask_keywords(conninfo, out);
}
