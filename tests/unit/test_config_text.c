/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/config/option_table.h"
#include "tests/unit/config_fixture.h"

static unsigned diff(const char *before, const char *after,
                     const char *want_pending)
{
    struct config *a = config_must_load(before);
    struct config *b = config_must_load(after);
    struct buffer pending;
    buffer_init(&pending, 1 << 16);
    unsigned cost = config_diff(a, b, &pending);
    assert_string_equal(pending.size > 0 ? pending.bytes : "", want_pending);
    assert_int_equal(config_diff(a, b, NULL), cost);
    buffer_deinit(&pending);
    config_free(&a);
    config_free(&b);
    return cost;
}

static void diffs(void **state)
{
    (void)state;
    assert_int_equal(diff("", "", ""), COST_LIVE);
    assert_int_equal(diff("", "sync: {max_workers: 2}", ""), COST_LIVE);
    assert_int_equal(diff("", "sync: {max_workers: 3}", ""), COST_LIVE);
    assert_int_equal(diff("", "sync: {max_per_pass: 3}", ""),
                     COST_RESPAWN_SYNC);
    assert_int_equal(diff("", "logging: {format: text}", ""), COST_RESPAWN_ALL);
    assert_int_equal(diff("", "paths: {log_dir: /l}\nsync: {poll_interval: 2s}",
                          "paths.log_dir: \"/var/log/tidemill\" -> \"/l\"\n"),
                     COST_RESTART | COST_RESPAWN_STORE);
    assert_int_equal(diff("gateway: {control_mode: 0600}", "",
                          "gateway.control_mode: \"0600\" -> \"0660\"\n"),
                     COST_RESTART);
    assert_int_equal(diff("", "sync: {tables: {a: {target: b}}}", ""),
                     COST_RESPAWN_SYNC);
    assert_int_equal(diff("sync: {tables: {a: {target: b}}}",
                          "sync: {tables: {a: {target: b, key: c}}}", ""),
                     COST_RESPAWN_SYNC);
    assert_int_equal(diff("sources: [{name: a, path: /b}]",
                          "sources: [{name: a, path: /c}]", ""),
                     COST_RESPAWN_STORE);
}

static void dump_reads_back(void **state)
{
    (void)state;
    struct config *config =
        config_must_load("system: {id: 'a \"b\" $${x} # y'}\n"
                         "supervisor: {crash_window: 90s}\n"
                         "sync: {tables: {t: {target: s.t}}}\n"
                         "sources: [{name: a, path: '/x y'}]\n"
                         "gateway: {control_mode: 0600}\n");
    struct buffer out;
    buffer_init(&out, 1 << 20);
    config_dump(config, &out);
    assert_non_null(strstr(out.bytes, "  crash_window: 90s  # file line 2\n"));
    assert_non_null(strstr(out.bytes, "  max_workers: 4  # default\n"));
    assert_non_null(strstr(out.bytes, "  control_mode: \"0600\"  # file line "
                                      "5\n"));
    struct config *again = config_must_load(out.bytes);
    struct buffer pending;
    buffer_init(&pending, 1 << 16);
    assert_int_equal(config_diff(config, again, &pending), COST_LIVE);
    assert_int_equal(pending.size, 0);
    assert_int_equal(again->table_count, 1);
    assert_int_equal(again->source_count, 1);
    config_free(&again);
    config_free(&config);
    buffer_deinit(&out);
    buffer_deinit(&pending);
}

static void origins_are_told(void **state)
{
    (void)state;
    const char *environment[] = {"TIDEMILL_SYNC_SINK=pgsql",
                                 "TIDEMILL_DATABASE_CONNINFO=postgresql://u:"
                                 "topsecret@h/d",
                                 NULL};
    const char *const overrides[] = {"logging.level=debug", NULL};
    struct config *config = config_try(NULL, environment, overrides);
    assert_non_null(config);
    struct buffer out;
    buffer_init(&out, 1 << 20);
    config_dump(config, &out);
    assert_non_null(strstr(out.bytes, "  sink: pgsql  # TIDEMILL_SYNC_SINK\n"));
    assert_non_null(strstr(out.bytes, "  level: debug  # command line\n"));
    assert_non_null(strstr(out.bytes, "postgresql://u:***@h/d"));
    assert_null(strstr(out.bytes, "topsecret"));
    config_free(&config);
    buffer_deinit(&out);
}

static void sample_is_all_defaults(void **state)
{
    (void)state;
    struct buffer sample;
    buffer_init(&sample, 1 << 20);
    config_sample(&sample);
    struct config *config = config_must_load(sample.bytes);
    for (int i = 0; i < OPTION_COUNT; i++)
        assert_int_equal(config->origins[i], ORIGIN_DEFAULT);
    /* With the '#' before each name removed it says the same in full. */
    struct buffer full;
    buffer_init(&full, 1 << 20);
    for (char *line = strtok(sample.bytes, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        size_t blanks = strspn(line, " ");
        bool is_option = line[blanks] == '#' && line[blanks + 1] != ' ' &&
                         line[blanks + 1] != '\0';
        buffer_printf(&full, "%.*s%s\n", (int)blanks, line,
                      line + blanks + (is_option ? 1 : 0));
    }
    struct config *same = config_must_load(full.bytes);
    for (int i = 0; i < OPTION_COUNT; i++)
        assert_int_equal(same->origins[i], ORIGIN_FILE);
    struct buffer pending;
    buffer_init(&pending, 1 << 16);
    config_diff(config, same, &pending);
    assert_int_equal(pending.size, 0);
    config_free(&config);
    config_free(&same);
    buffer_deinit(&sample);
    buffer_deinit(&full);
    buffer_deinit(&pending);
}

static void check_conninfo(const char *text, const char *want)
{
    struct config *config = config_must_load(text);
    struct buffer out;
    struct error error;
    buffer_init(&out, 1 << 16);
    buffer_append_text(&out, "rest of an earlier one");
    if (config_conninfo(config, &out, &error) != 0)
        fail_msg("%s", error.text);
    assert_string_equal(out.bytes, want);
    buffer_deinit(&out);
    config_free(&config);
}

static void conninfos(void **state)
{
    (void)state;
    check_conninfo("", "port='5432' sslmode='prefer' "
                       "fallback_application_name='tidemill'");
    check_conninfo("database: {host: h, database: 'my \\''db', user: u, port: "
                   "1, sslmode: require, application_name: a}",
                   "host='h' port='1' dbname='my \\\\\\'db' user='u' "
                   "sslmode='require' application_name='a'");
    check_conninfo("database: {conninfo: 'host=x port=7', user: u}",
                   "host=x port=7 user='u' "
                   "fallback_application_name='tidemill'");
    check_conninfo("database: {conninfo: 'postgresql://x:7/d', user: 'u v&'}",
                   "postgresql://x:7/d?user=u%20v%26&fallback_application_name"
                   "=tidemill");
    check_conninfo("database: {conninfo: 'postgres:///d?host=/s', port: 9}",
                   "postgres:///d?host=/s&port=9&fallback_application_name="
                   "tidemill");
}

static void check_password_file(const char *bytes, size_t size, mode_t mode,
                                const char *want, const char *want_error)
{
    char path[80];
    char text[200];
    struct buffer out;
    struct error error;
    error_clear(&error);
    snprintf(path, sizeof(path), "%s/password", config_directory);
    snprintf(text, sizeof(text),
             "database: {conninfo: 'host=x', password_file: %s}", path);
    buffer_init(&out, 1 << 16);
    config_write(path, bytes, size);
    assert_int_equal(chmod(path, mode), 0);
    struct config *config = config_must_load(text);
    int result = config_conninfo(config, &out, &error);
    if (want_error == NULL) {
        assert_int_equal(result, 0);
        assert_non_null(strstr(out.bytes, want));
    } else {
        assert_int_equal(result, -1);
        assert_int_equal(error.code, ERROR_CONFIG);
        if (strstr(error.text, want_error) == NULL)
            fail_msg("\"%s\" not in \"%s\"", want_error, error.text);
    }
    unlink(path);
    config_free(&config);
    buffer_deinit(&out);
}

static void passwords(void **state)
{
    (void)state;
    check_password_file("s'ecret\n", 8, 0600, " password='s\\'ecret'", NULL);
    check_password_file("a\r\n", 3, 0640, " password='a'", NULL);
    check_password_file("a\n\n", 3, 0600, " password='a\n'", NULL);
    check_password_file("a", 1, 0600, " password='a'", NULL);
    check_password_file("a", 1, 0644, NULL, "open to all users; chmod o=");
    check_password_file("", 0, 0600, NULL, "is empty");
    check_password_file("a\0b", 3, 0600, NULL, "NUL");
    char large[2000];
    memset(large, 'x', sizeof(large));
    check_password_file(large, sizeof(large), 0600, NULL, "longer than 1000");
    assert_null(config_try("sync: {sink: pgsql}\ndatabase: {host: h, "
                           "password_file: /nonexistent}",
                           NULL, NULL));
    assert_non_null(strstr(config_errors.bytes, "does not exist"));
    assert_int_equal(setenv("TEST_CONFIG_PASSWORD", "p w", 1), 0);
    check_conninfo("database: {conninfo: 'host=x', password_env: "
                   "TEST_CONFIG_PASSWORD}",
                   "host=x fallback_application_name='tidemill' "
                   "password='p w'");
    assert_int_equal(unsetenv("TEST_CONFIG_PASSWORD"), 0);
    struct config *config = config_must_load(
        "database: {host: x, password_env: TEST_CONFIG_PASSWORD}");
    struct buffer out;
    struct error error;
    buffer_init(&out, 1 << 16);
    assert_int_equal(config_conninfo(config, &out, &error), -1);
    assert_non_null(strstr(error.text, "TEST_CONFIG_PASSWORD"));
    config_free(&config);
    buffer_deinit(&out);
}

static void check_mask(const char *conninfo, const char *want)
{
    struct buffer out;
    buffer_init(&out, 1 << 16);
    buffer_append_text(&out, "<");
    config_mask_conninfo(conninfo, &out);
    assert_string_equal(out.bytes + 1, want);
    buffer_deinit(&out);
}

static void masks(void **state)
{
    (void)state;
    check_mask("", "");
    check_mask("host=a dbname=b", "host=a dbname=b");
    check_mask("  host = a  password = b user=c ",
               "host=a password=*** user=c");
    check_mask("password='a b \\' c' host='x y'", "password=*** host='x y'");
    check_mask("PASSWORD=x sslpassword=y", "PASSWORD=*** sslpassword=***");
    check_mask("password=a\\ b host=c", "password=*** host=c");
    check_mask("password='abc", "***");
    check_mask("host=x password secret", "host=x ***");
    check_mask("secret", "***");
    check_mask("passwd=x host=y", "passwd=*** host=y");
    check_mask("=x", "***");
    check_mask("a= b", "a=b");
    check_mask("host=", "host=");
    check_mask("postgresql://h/d", "postgresql://h/d");
    check_mask("postgresql://u@h:1/d", "postgresql://u@h:1/d");
    check_mask("postgresql://u:p@h1,h2:1/d?x=y",
               "postgresql://u:***@h1,h2:1/d?x=y");
    check_mask("postgres://u:p@q/r@h/d", "postgres://u:***@h/d");
    check_mask("postgres://u:@h", "postgres://u:***@h");
    check_mask("postgresql:///d?user=u&password=p&host=h",
               "postgresql:///d?user=u&password=***&host=h");
    check_mask("postgresql:///d?pass%77ord=p", "postgresql:///d?pass%77ord="
                                               "***");
    check_mask("postgresql:///d?passwor%64=p", "postgresql:///d?passwor%64="
                                               "***");
    check_mask("postgresql:///d?hos%6=p&x", "postgresql:///d?hos%6=p&x");
}

static void table_is_sound(void **state)
{
    (void)state;
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &option_table[i];
        assert_int_equal(option_find(option->path), i);
        assert_true(option->type != OPTION_CHOICE || option->words != NULL);
        size_t end = strlen(option->sentence);
        assert_true(end > 0 && option->sentence[end - 1] == '.');
        assert_true(strlen(option->path) + 10 < OPTION_VARIABLE_MAX);
        char one[OPTION_VARIABLE_MAX];
        char two[OPTION_VARIABLE_MAX];
        option_variable(option, one);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(one,
                                    option_variable(&option_table[j], two));
    }
    assert_int_equal(option_find("sync"), -1);
    assert_true(option_is_section("sync"));
    assert_true(option_is_section("sync.batch"));
    assert_false(option_is_section("sync.sink"));
    assert_false(option_is_section("syn"));
    assert_false(option_is_section(""));
}

static void values_of_unused_types(void **state)
{
    (void)state;
    const struct option real = {
        .path = "r", .type = OPTION_REAL, .minimum = 0, .maximum = 1};
    const struct option size = {
        .path = "s", .type = OPTION_SIZE, .minimum = 0, .maximum = INT64_MAX};
    union option_value value;
    struct buffer out;
    buffer_init(&out, 1000);
    assert_int_equal(option_parse(&real, "0.8", &value, &out), 0);
    option_format(&real, &value, &out);
    assert_string_equal(out.bytes, "0.8");
    assert_int_equal(option_parse(&real, "1.1", &value, &out), -1);
    assert_int_equal(option_parse(&real, "nan", &value, &out), -1);
    assert_int_equal(option_parse(&real, "", &value, &out), -1);
    static const struct {
        const char *text;
        int64_t bytes;
        const char *form;
    } sizes[] = {{"0", 0, "0"},
                 {"512", 512, "512"},
                 {"64kB", 64000, "64kB"},
                 {"1.5MB", 1500000, "1500kB"},
                 {"2GB", 2000000000, "2GB"},
                 {"64KiB", 65536, "64KiB"},
                 {"1GiB", 1073741824, "1GiB"}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        buffer_reset(&out);
        assert_int_equal(option_parse(&size, sizes[i].text, &value, &out), 0);
        assert_int_equal(value.integer, sizes[i].bytes);
        option_format(&size, &value, &out);
        assert_string_equal(out.bytes, sizes[i].form);
        assert_int_equal(option_parse(&size, sizes[i].form, &value, &out), 0);
        assert_int_equal(value.integer, sizes[i].bytes);
    }
    assert_int_equal(option_parse(&size, "1.5B", &value, &out), -1);
    assert_int_equal(option_parse(&size, "9999999TB", &value, &out), -1);
    assert_int_equal(option_parse(&size, "5mb", &value, &out), -1);
    buffer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diffs),
        cmocka_unit_test(dump_reads_back),
        cmocka_unit_test(origins_are_told),
        cmocka_unit_test(sample_is_all_defaults),
        cmocka_unit_test(conninfos),
        cmocka_unit_test(passwords),
        cmocka_unit_test(masks),
        cmocka_unit_test(table_is_sound),
        cmocka_unit_test(values_of_unused_types),
    };
    return cmocka_run_group_tests_name("config_text", tests, config_setup,
                                       config_teardown);
}
