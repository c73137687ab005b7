/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/config_fixture.h"

/* Each of the wanted lines (with "FILE" for the file's path) is reported,
 * and nothing else. */
static void check_errors_with(const char *text, const char **environment,
                              const char *const *overrides, const char *want)
{
    struct config *config = config_try(text, environment, overrides);
    if (config != NULL)
        fail_msg("taken for good: %s", text != NULL ? text : "(none)");
    struct buffer expected;
    buffer_init(&expected, 1 << 20);
    for (const char *at = want; *at != '\0';) {
        if (strncmp(at, "FILE:", 5) == 0) {
            buffer_append_text(&expected, config_file);
            at += 4;
        } else {
            buffer_append_char(&expected, *at++);
        }
    }
    assert_string_equal(config_errors.bytes, expected.bytes);
    buffer_deinit(&expected);
}

static void check_errors(const char *text, const char *want)
{
    check_errors_with(text, NULL, NULL, want);
}

/* The one error has these words in it. */
static void check_error_has(const char *text, const char *want)
{
    struct config *config = config_try(text, NULL, NULL);
    if (config != NULL)
        fail_msg("taken for good: %s", text);
    if (strstr(config_errors.bytes, want) == NULL)
        fail_msg("\"%s\" not in \"%s\"", want, config_errors.bytes);
}

static void defaults(void **state)
{
    (void)state;
    static const char *const texts[] = {NULL,
                                        "# nothing\n",
                                        "---\n",
                                        "sync:\ndatabase:\n",
                                        "{}",
                                        "sync: {tables: {}}\nsources: []\n",
                                        "sync: {tables: }\nsources:\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config *config = config_must_load(texts[i]);
        char host[256];
        assert_int_equal(gethostname(host, sizeof(host)), 0);
        assert_string_equal(config->system_id, host);
        assert_string_equal(config->sync_sqlite_path,
                            "/var/lib/tidemill/centre.db");
        assert_int_equal(config->shutdown_timeout_ms, 30000);
        assert_int_equal(config->sync_interval_default_ms, 1800000);
        assert_int_equal(config->control_mode, 0660);
        assert_int_equal(config->sync_sink, SYNC_SINK_SQLITE);
        assert_true(config->generation_enabled);
        assert_int_equal(config->table_count, 0);
        assert_int_equal(config->source_count, 0);
        for (int o = 0; o < OPTION_COUNT; o++)
            assert_int_equal(config->origins[o], ORIGIN_DEFAULT);
        config_free(&config);
        assert_null(config);
    }
}

static void layers(void **state)
{
    (void)state;
    const char *environment[] = {"TIDEMILL_SYNC_MAX_WORKERS=5",
                                 "TIDEMILL_SYNC_BATCH_MIN=7",
                                 "TIDEMILL_SOURCE=/src",
                                 "TIDEMILL_=1",
                                 "TIDEMILL=2",
                                 "HOME=/root",
                                 NULL};
    const char *const overrides[] = {"sync.batch.min=9", "sync.batch.min=10",
                                     "database.conninfo=host=a", NULL};
    struct config *config = config_try(
        "sync:\n  max_workers: 3\n  batch:\n    min: 4\n    max: 99\n",
        environment, overrides);
    assert_non_null(config);
    assert_int_equal(config->sync_max_workers, 5);
    assert_int_equal(config->origins[OPTION_INDEX_sync_max_workers],
                     ORIGIN_ENVIRONMENT);
    assert_int_equal(config->lines[OPTION_INDEX_sync_max_workers], 0);
    assert_int_equal(config->sync_batch_min, 10);
    assert_int_equal(config->origins[OPTION_INDEX_sync_batch_min],
                     ORIGIN_COMMAND_LINE);
    assert_int_equal(config->sync_batch_max, 99);
    assert_int_equal(config->lines[OPTION_INDEX_sync_batch_max], 5);
    assert_string_equal(config->database_conninfo, "host=a");
    config_free(&config);
}

static void all_types(void **state)
{
    (void)state;
    struct config *config =
        config_must_load("system: {id: '<hostname>', user: 1000}\n"
                         "paths:\n"
                         "  state_dir: /s//\n"
                         "  runtime_dir: \"/r\"\n"
                         "supervisor: {kill_grace: 0}\n"
                         "generation:\n"
                         "  enabled: false\n"
                         "  worker_timeout: 1.5s\n"
                         "sync:\n"
                         "  sqlite: {path: <state_dir>/c/x.db}\n"
                         "  poll_interval: 500ms\n"
                         "  intervals: {default: 90, "
                         "low_priority_system: 7d}\n"
                         "gateway: {control_mode: 0600}\n"
                         "logging: {level: debug}\n");
    assert_string_equal(config->system_user, "1000");
    assert_string_equal(config->state_dir, "/s");
    assert_string_equal(config->sync_sqlite_path, "/s/c/x.db");
    assert_false(config->generation_enabled);
    assert_int_equal(config->worker_timeout_ms, 1500);
    assert_int_equal(config->sync_interval_default_ms, 90000);
    assert_int_equal(config->sync_interval_low_ms, 604800000);
    assert_int_equal(config->kill_grace_ms, 0);
    assert_int_equal(config->control_mode, 0600);
    assert_int_equal(config->log_level, 4);
    char path[CONFIG_PATH_MAX];
    assert_string_equal(
        config_state_path(config, "tidemill.db", path, sizeof(path)),
        "/s/tidemill.db");
    assert_string_equal(
        config_runtime_path(config, "control.sock", path, sizeof(path)),
        "/r/control.sock");
    assert_string_equal(
        config_log_path(config, "tidemill.log", path, sizeof(path)),
        "/var/log/tidemill/tidemill.log");
    config_free(&config);
}

static void json_file(void **state)
{
    (void)state;
    struct config *config =
        config_must_load("{\"sync\": {\"max_workers\": 2, "
                         "\"enabled\": true}, \"sources\": []}");
    assert_int_equal(config->sync_max_workers, 2);
    config_free(&config);
}

static void bad_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"sync: {max_workers: many}", "no whole number; give a whole number, "
                                      "1 to 16"},
        {"sync: {max_workers: 0}", "too small"},
        {"sync: {max_workers: 17}", "too large"},
        {"sync: {max_workers: -1}", "too small"},
        {"sync: {max_workers: 1.0}", "no whole number"},
        {"sync: {max_workers: 0x2}", "no whole number"},
        {"sync: {max_workers: 99999999999999999999}", "too large"},
        {"sync: {max_workers: ''}", "no whole number"},
        {"sync: {max_workers: [2]}", "is a list; give a single value"},
        {"sync: {max_workers: {a: 2}}", "is a map; give a single value"},
        {"sync: {max_workers: }", "has no value"},
        {"sync: {enabled: yes}", "neither true nor false; give true or false"},
        {"sync: {enabled: 1}", "neither true nor false"},
        {"sync: {poll_interval: 5x}", "unknown unit"},
        {"sync: {poll_interval: 5 s}", "unknown unit"},
        {"sync: {poll_interval: -5s}", "no duration"},
        {"sync: {poll_interval: s}", "no duration"},
        {"sync: {poll_interval: 1.2.3s}", "no whole number"},
        {"sync: {poll_interval: 10.5ms}", "no whole number of milliseconds"},
        {"sync: {poll_interval: 99999999999999999d}", "too large"},
        {"sync: {poll_interval: 9ms}", "too small; give a duration, 10ms to "
                                       "1h"},
        {"sync: {poll_interval: 61m}", "too large"},
        {"sync: {sink: pgsqll}", "give one of sqlite, pgsql, http (did you mean "
                                 "\"pgsql\"?)"},
        {"gateway: {control_mode: 0888}", "no octal number; give an octal "
                                          "mode, 0000 to 0777"},
        {"gateway: {control_mode: 01777}", "too large"},
        {"paths: {state_dir: var}", "does not begin with \"/\""},
        {"paths: {state_dir: ''}", "is empty"},
        {"", "the file is empty"},
        {" \n\n", "the file is empty"},
        {"paths: {state_dir: <state_dir>/x}", "does not begin with \"/\""},
        {"system: {id: \"a\\nb\"}", "control character"},
        {"paths: {runtime_dir: /123456789012345678901234567890123456789012345"
         "678901234567890123456789012345678901}",
         "sockets"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_error_has(cases[i].text, cases[i].want);
}

static void unknown_names(void **state)
{
    (void)state;
    check_errors("sync:\n  snik: x\n",
                 "FILE:2:3: unknown option \"sync.snik\"; did you mean "
                 "\"sync.sink\"?\n");
    check_errors("snyc: {}\n", "FILE:1:1: unknown option \"snyc\"; did you "
                               "mean \"sync\"?\n");
    check_errors("max_retries: 1\n",
                 "FILE:1:1: unknown option \"max_retries\"; did you mean "
                 "\"generation.max_retries\"?\n");
    check_errors("sync.sink: x\n",
                 "FILE:1:1: unknown option \"sync.sink\"; a dot does not lead "
                 "into a section: write \"sync:\", and the rest indented below "
                 "it\n");
    check_errors("zzzzzzzz: x\n", "FILE:1:1: unknown option \"zzzzzzzz\"; see "
                                  "tidemill.yaml(5)\n");
    check_errors("sync: {batch: {mni: 1}}\n",
                 "FILE:1:16: unknown option \"sync.batch.mni\"; did you mean "
                 "\"sync.batch.min\"?\n");
    check_errors("sync: 5\n", "FILE:1:7: \"sync\" is a number; it is a "
                              "section: write its options indented below it\n");
    check_errors("? [a]\n: b\n", "FILE:1:3: a key must be plain text\n");
}

static void all_errors_at_once(void **state)
{
    (void)state;
    const char *environment[] = {"TIDEMILL_SYNC_SNK=1",
                                 "TIDEMILL_LOGGING_LEVEL=loud", NULL};
    const char *const overrides[] = {
        "x",         "sync.batch=1",       "sync.bach.min=1",
        "sources=1", "logging.format=xml", NULL};
    check_errors_with(
        "sync:\n  enabled: 2\n  batch: {min: x}\n  tables:\n    t: {}\n"
        "logging: {level: x}\n",
        environment, overrides,
        "FILE:2:12: sync.enabled: \"2\" is neither true nor false; give true "
        "or false\n"
        "FILE:3:16: sync.batch.min: \"x\" is no whole number; give a whole "
        "number, 1 to 5000\n"
        "FILE:5:8: sync.tables.t: \"target\" is missing\n"
        "FILE:6:18: logging.level: \"x\" is unknown; give one of error, "
        "warning, notice, info, debug\n"
        "TIDEMILL_SYNC_SNK: no option has this environment variable; did you "
        "mean \"TIDEMILL_SYNC_SINK\"?\n"
        "TIDEMILL_LOGGING_LEVEL: \"loud\" is unknown; give one of error, "
        "warning, notice, info, debug\n"
        "-o x: no \"=\"; write -o path=value\n"
        "-o sync.batch: is a section; name one option in it\n"
        "-o sync.bach.min: unknown option; did you mean \"sync.batch\"?\n"
        "-o sources: can only be set in the file\n"
        "-o logging.format: \"xml\" is unknown; give one of json, text\n");
}

static void many_errors_are_cut(void **state)
{
    (void)state;
    struct buffer text;
    buffer_init(&text, 1 << 20);
    for (int i = 0; i < 1000; i++)
        buffer_printf(&text, "unknown%d: 1\n", i);
    assert_null(config_try(text.bytes, NULL, NULL));
    assert_non_null(strstr(config_errors.bytes, "... and 950 errors more\n"));
    buffer_deinit(&text);
}

static void variables(void **state)
{
    (void)state;
    const char *environment[] = {"A=one", "EMPTY=", "N=3", "BAD=\xff", NULL};
    struct config *config = config_try(
        "system: {id: \"${A}-${B:-two}-${EMPTY:-x}${EMPTY}-$${A}-$A\"}\n"
        "sync: {max_workers: \"${N}\", retry: {max: '${T:-5m}'}}\n"
        "sources:\n  - {name: '${A}', path: '${R:-/r}/x'}\n",
        environment, NULL);
    assert_non_null(config);
    assert_string_equal(config->system_id, "one-two-x-${A}-$A");
    assert_int_equal(config->sync_max_workers, 3);
    assert_int_equal(config->sync_retry_max_ms, 300000);
    assert_string_equal(config->sources[0].name, "one");
    assert_string_equal(config->sources[0].path, "/r/x");
    config_free(&config);
    check_errors_with("system: {id: \"${NOPE}\"}\n", environment, NULL,
                      "FILE:1:14: the environment variable NOPE is not set; "
                      "set it, or give a default: ${NOPE:-default}\n");
    check_error_has("system: {id: \"${\"}", "is no variable");
    check_error_has("system: {id: \"${}\"}", "is no variable");
    check_error_has("system: {id: \"${A-b}\"}", "is no variable");
    check_error_has("system: {id: \"${A:-b\"}", "is no variable");
    check_error_has("system: {id: \"${1}\"}", "is no variable");
    check_errors_with("system: {id: \"${BAD}\"}\n", environment, NULL,
                      "FILE:1:14: system.id: \"...\" is not UTF-8; give a "
                      "text, 1 to 100 bytes\n");
}

static void conflicts(void **state)
{
    (void)state;
    struct config *config = config_must_load(
        "sync:\n  tables:\n"
        "    a: {conflict: manual, version: v, base: b}\n"
        "    c: {target: c, conflict: last_write_wins, updated_at: at}\n"
        "    d: {target: d, conflict: none}\n");
    assert_int_equal(config->tables[0].conflict, CONFLICT_MANUAL);
    assert_string_equal(config->tables[0].target, "");
    assert_string_equal(config->tables[0].version, "v");
    assert_string_equal(config->tables[0].base, "b");
    assert_int_equal(config->tables[1].conflict, CONFLICT_LAST_WRITE_WINS);
    assert_string_equal(config->tables[1].updated_at, "at");
    assert_string_equal(config->tables[1].version, "");
    assert_int_equal(config->tables[2].conflict, CONFLICT_NONE);
    config_free(&config);
    check_error_has("sync: {tables: {t: {conflict: manul}}}",
                    "did you mean \"manual\"?");
    check_error_has("sync: {tables: {t: {conflict: none}}}",
                    "\"target\" is missing");
    check_error_has("sync: {tables: {t: {target: x, version: v}}}",
                    "there is no conflict");
    check_error_has(
        "sync: {tables: {t: {conflict: manual, version: v, updated_at: u}}}",
        "only one of them");
    check_error_has("sync: {tables: {t: {conflict: manual, base: 'a b'}}}",
                    "no name of a field");
    check_error_has("sync: {tables: {t: {conflict: manual, version: ''}}}",
                    "no name of a field");
}

static void tables(void **state)
{
    (void)state;
    struct config *config =
        config_must_load("sync:\n  tables:\n"
                         "    tasks: {target: app.tasks, key: task_id}\n"
                         "    my.notes-2: {target: Notes}\n");
    assert_int_equal(config->table_count, 2);
    assert_string_equal(config->tables[0].name, "tasks");
    assert_string_equal(config->tables[0].target, "app.tasks");
    assert_string_equal(config->tables[0].key, "task_id");
    assert_string_equal(config->tables[1].name, "my.notes-2");
    assert_string_equal(config->tables[1].key, "id");
    assert_int_equal(config->tables_line, 2);
    config_free(&config);
    check_errors("sync: {tables: [a]}\n",
                 "FILE:1:16: sync.tables is a list; write NAME: {target: "
                 "TABLE, key: COLUMN} for each table\n");
    check_error_has("sync: {tables: {t: x}}", "t is a string; write {");
    check_error_has("sync: {tables: {t: }}", "t is a null; write {");
    check_error_has("sync: {tables: {t: {target: 'a;b'}}}", "neither TABLE");
    check_error_has("sync: {tables: {t: {target: a.b.c}}}", "neither TABLE");
    check_error_has("sync: {tables: {t: {target: .a}}}", "neither TABLE");
    check_error_has("sync: {tables: {t: {target: a.}}}", "neither TABLE");
    check_error_has("sync: {tables: {t: {target: ''}}}", "neither TABLE");
    check_error_has("sync: {tables: {t: {target: x, key: 'a b'}}}",
                    "no name of a column");
    check_error_has("sync: {tables: {'a b': {target: x}}}",
                    "no name of a table");
    check_error_has("sync: {tables: {'': {target: x}}}", "no name of a table");
    check_error_has("sync: {tables: {t: {target: x, konflict: y}}}",
                    "unknown key \"konflict\"");
    check_error_has("sync: {tables: {t: {target: [x]}}}", "is a list");
    check_error_has("sync: {tables: {t: {target: synced_records}}}",
                    "have no target");
    check_error_has("sync: {tables: {t: {target: tidemill.shared_records, "
                    "conflict: manual}}}",
                    "have no target");
    check_error_has("sync: {tables: {a: {target: x}, b: {target: x}}}",
                    "that of \"a\" too");
    check_error_has("sync: {tables: {a: {target: x}, a: {target: y}}}",
                    "stands twice");
}

static void sources(void **state)
{
    (void)state;
    struct config *config =
        config_must_load("sources:\n"
                         "  - {name: ccm, path: /h/ccm.db, user: dev}\n"
                         "  - path: /h/b.db\n    name: b-2_X\n");
    assert_int_equal(config->source_count, 2);
    assert_string_equal(config->sources[0].user, "dev");
    assert_string_equal(config->sources[1].name, "b-2_X");
    assert_string_equal(config->sources[1].user, "");
    assert_int_equal(config->sources_line, 1);
    config_free(&config);
    check_errors("sources: {a: 1}\n",
                 "FILE:1:10: sources is a map; write a list with one \"- "
                 "{name: NAME, path: FILE}\" for each source\n");
    check_error_has("sources: [x]", "sources[0] is a string; write {");
    check_error_has("sources: [{name: a}]", "\"path\" is missing");
    check_error_has("sources: [{path: /a}]", "\"name\" is missing");
    check_error_has("sources: [{name: a, path: a}]", "does not begin with");
    check_error_has("sources: [{name: 'a b', path: /a}]", "letters, digits");
    check_error_has("sources: [{name: a, path: /a, usr: x}]",
                    "did you mean \"user\"?");
    check_error_has("sources: [{name: a, path: /a}, {name: a, path: /b}]",
                    "t.yaml:1:32: sources[1]: the name \"a\" stands twice");
    check_error_has("sources: [{name: a, path: /a}, {name: b, path: /a}]",
                    "the path is that of source \"a\" too");
    check_error_has("sources: [{name: a, path: /var/lib/tidemill/tidemill.db}]",
                    "is the file of the local store");
    check_error_has("sources: [{name: a, path: /var/lib/tidemill/centre.db}]",
                    "is the file of sync.sqlite.path");
    check_error_has("sources: [{name: ~, path: /a}]", "has no value");
}

static void cross_checks(void **state)
{
    (void)state;
    check_errors("sync: {batch: {min: 60, max: 50}}\n",
                 "FILE:1:21: sync.batch.min (60) is greater than "
                 "sync.batch.max (50); make it smaller, or the other "
                 "greater\n");
    check_errors("sync: {batch: {max: 10}}\n",
                 "FILE:1:21: sync.batch.min (50) is greater than "
                 "sync.batch.max (10); make it smaller, or the other "
                 "greater\n");
    check_error_has("sync: {retry: {base: 2m}}", "sync.retry.max (1m)");
    check_error_has("sync: {intervals: {high_priority_system: 10m, default: "
                    "5m}}",
                    "is greater than sync.intervals.default (5m)");
    struct config *config =
        config_must_load("sync: {intervals: {default: 1s}}");
    config_free(&config);
    check_error_has("sync: {sink: pgsql}", "t.yaml:1:14: sync.sink is pgsql");
    check_error_has("database: {conninfo: mydb}", "neither a URI");
    check_error_has("database: {password_env: A, password_file: /b}",
                    "are both set");
    check_error_has("paths: {state_dir: /a, log_dir: /a/}",
                    "t.yaml:1:33: paths.state_dir and paths.log_dir are both "
                    "\"/a\"");
    check_error_has("sync: {sqlite: {path: <state_dir>/tidemill.db}}",
                    "the local store itself");
    const char *const overrides[] = {"sync.sink=pgsql", NULL};
    check_errors_with(NULL, NULL, overrides,
                      "-o sync.sink: sync.sink is pgsql, but where PostgreSQL "
                      "is remains unsaid; set database.conninfo, or "
                      "database.host and database.database\n");
}

static void check_bytes(const char *bytes, size_t size, const char *want)
{
    const struct config_request request = {.path = config_file};
    config_write(config_file, bytes, size);
    buffer_reset(&config_errors);
    assert_null(config_load(&request, &config_errors));
    if (strstr(config_errors.bytes, want) == NULL)
        fail_msg("\"%s\" not in \"%s\"", want, config_errors.bytes);
}

static void bad_files(void **state)
{
    (void)state;
    check_bytes("\x7f"
                "ELF\0\1",
                6, "NUL");
    check_bytes("a: \xff\n", 5, "is not UTF-8");
    check_bytes("- a\n", 4, "t.yaml:1:1: the file is a list; a configuration");
    check_bytes("hello\n", 6, "the file is a string");
    check_bytes("a: [\n", 5, "t.yaml:2:1:");
    check_bytes("a: &a [*a]\n", 11, "contain itself");
    check_bytes("<html><body>&amp; x: y: z</html>\n", 33, "t.yaml:1:");
    struct buffer text;
    buffer_init(&text, 8 << 20);
    for (int i = 0; i < 300000; i++)
        buffer_append_text(&text, "# xx\n");
    check_bytes(text.bytes, text.size, "more than the 1048576 bytes");
    buffer_reset(&text);
    buffer_append_text(&text, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 9; i++)
        buffer_printf(
            &text, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i,
            i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    check_bytes(text.bytes, text.size, "with all aliases written out");
    buffer_deinit(&text);
    struct config_request request = {.path = "/nonexistent/t.yaml"};
    buffer_reset(&config_errors);
    assert_null(config_load(&request, &config_errors));
    assert_non_null(strstr(config_errors.bytes, "No such file"));
    assert_non_null(strstr(config_errors.bytes, "-c FILE"));
    request.path_optional = true;
    struct config *config = config_load(&request, &config_errors);
    assert_non_null(config);
    assert_null(config->path);
    config_free(&config);
    request.path = config_directory;
    assert_null(config_load(&request, &config_errors));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(layers),
        cmocka_unit_test(all_types),
        cmocka_unit_test(json_file),
        cmocka_unit_test(bad_values),
        cmocka_unit_test(unknown_names),
        cmocka_unit_test(all_errors_at_once),
        cmocka_unit_test(many_errors_are_cut),
        cmocka_unit_test(variables),
        cmocka_unit_test(conflicts),
        cmocka_unit_test(tables),
        cmocka_unit_test(sources),
        cmocka_unit_test(cross_checks),
        cmocka_unit_test(bad_files),
    };
    return cmocka_run_group_tests_name("config", tests, config_setup,
                                       config_teardown);
}
