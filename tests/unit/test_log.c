/* SPDX-License-Identifier: Apache-2.0
 *
 * The log as one process sees it: lines, levels, repeats, losses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/log_redact.h"

struct log_file {
    char path[64];
    char text[200000];
};

static int log_setup(void **state)
{
    struct log_file *file = calloc(1, sizeof(*file));
    strcpy(file->path, "/tmp/tm-log-XXXXXX");
    int fd = mkstemp(file->path);
    close(fd);
    *state = file;
    return fd < 0 ? -1 : 0;
}

static int log_teardown(void **state)
{
    struct log_file *file = *state;
    struct log_options options = {.level = LOG_INFO_LEVEL};
    log_open(&options, NULL);
    log_set_correlation(NULL);
    unlink(file->path);
    free(file);
    return 0;
}

static void open_log(struct log_file *file, enum log_format format,
                     bool journal_prefix)
{
    struct error error;
    struct log_options options = {.path = file->path,
                                  .format = format,
                                  .level = LOG_INFO_LEVEL,
                                  .journal_prefix = journal_prefix};
    assert_int_equal(log_open(&options, &error), 0);
    log_identify("sync", 1);
}

static const char *logged(struct log_file *file)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, file->text, sizeof(file->text) - 1);
    close(fd);
    assert_true(size >= 0);
    file->text[size] = '\0';
    return file->text;
}

static void log_writes_json(void **state)
{
    char expected[512];
    (void)state;
    open_log(*state, LOG_FORMAT_JSON, false);
    log_set_correlation("c-1");
    log_event(LOG_NOTICE_LEVEL, "say \"hi\"\n", LOG_TEXT("sink", "pg\tsql"),
              LOG_INT("minus", -3), LOG_UINT("big", UINT64_MAX),
              LOG_REAL("half", 0.5), LOG_REAL("nan", NAN),
              LOG_TEXT("none", NULL), LOG_TEXT("raw", "\xff"));
    snprintf(expected, sizeof(expected),
             "\",\"level\":\"notice\",\"component\":\"sync\",\"pid\":%d,"
             "\"slot\":1,\"message\":\"say \\\"hi\\\"\\n\","
             "\"correlation_id\":\"c-1\",\"sink\":\"pg\\tsql\",\"minus\":-3,"
             "\"big\":18446744073709551615,\"half\":0.5,\"nan\":null,"
             "\"none\":null,\"raw\":\"\\u00ff\"}\n",
             getpid());
    const char *text = logged(*state);
    assert_memory_equal(text, "{\"time\":\"20", 11);
    assert_string_equal(text + strlen("{\"time\":\"2026-01-31T23:59:59.123Z"),
                        expected);
}

static void log_writes_text(void **state)
{
    char expected[256];
    open_log(*state, LOG_FORMAT_TEXT, true);
    log_event(LOG_WARNING_LEVEL, "two\nlines", LOG_TEXT("a", "b c"),
              LOG_TEXT("d", "plain"), LOG_INT("n", 4));
    snprintf(expected, sizeof(expected),
             " warning sync[1] %d: two\\nlines a=\"b c\" d=plain n=4\n",
             getpid());
    const char *text = logged(*state);
    assert_memory_equal(text, "<4>20", 5);
    assert_string_equal(text + strlen("<4>2026-01-31T23:59:59.123Z"), expected);
}

static void log_has_levels(void **state)
{
    enum log_level level;
    open_log(*state, LOG_FORMAT_TEXT, false);
    log_debug("not wanted");
    assert_string_equal(logged(*state), "");
    log_set_level(LOG_DEBUG_LEVEL);
    log_debug("wanted %d", 1);
    assert_non_null(strstr(logged(*state), "wanted 1"));
    assert_int_equal(log_level_parse("error", &level), 0);
    assert_int_equal(level, LOG_ERROR_LEVEL);
    assert_int_equal(log_level_parse("loud", &level), -1);
    assert_string_equal(log_level_name(LOG_NOTICE_LEVEL), "notice");
}

/* One line, and an even number of quotes that are not escaped. */
static void check_json_line(const char *line)
{
    size_t size = strlen(line);
    unsigned quotes = 0;
    assert_true(size > 2 && size <= LOG_LINE_MAX);
    assert_string_equal(line + size - 2, "}\n");
    for (size_t i = 0; i < size; i++) {
        if (line[i] == '\\')
            i++;
        else
            quotes += line[i] == '"';
    }
    assert_int_equal(quotes % 2, 0);
}

static void long_lines_stay_json(void **state)
{
    char *text = malloc(20000);
    open_log(*state, LOG_FORMAT_JSON, false);
    memset(text, '"', 20000);
    text[19999] = '\0';
    for (size_t cut = 4000; cut < 4200; cut += 7) {
        text[cut] = '\0';
        char message[16]; /* equal ones would be left out */
        snprintf(message, sizeof(message), "m%zu", cut);
        log_event(LOG_INFO_LEVEL, message, LOG_TEXT("first", text),
                  LOG_TEXT("second", text), LOG_INT("third", 3));
        text[cut] = '"';
        check_json_line(logged(*state));
        assert_int_equal(truncate(((struct log_file *)*state)->path, 0), 0);
    }
    log_event(LOG_INFO_LEVEL, text, LOG_INT("n", 1));
    check_json_line(logged(*state));
    const char *line = logged(*state);
    size_t size = strlen(line);
    assert_true(size <= LOG_LINE_MAX);
    assert_string_equal(line + size - strlen("...\",\"cut\":true}\n"),
                        "...\",\"cut\":true}\n");
    free(text);
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

static void repeats_are_limited(void **state)
{
    open_log(*state, LOG_FORMAT_TEXT, false);
    /* all of it within two seconds of the clock, however slow we are */
    uint64_t start = clock_monotonic_ms() / 1000;
    for (int i = 0; i < 1000; i++)
        log_info("again and again");
    uint64_t seconds = clock_monotonic_ms() / 1000 - start + 1;
    assert_true(count_lines(logged(*state)) <= LOG_REPEAT_MAX * seconds);
    log_info("something else");
    assert_non_null(strstr(logged(*state), "something else"));
}

static uint64_t left_out;

static void count_repeated(enum log_count what, uint64_t number)
{
    if (what == LOG_COUNT_REPEATED)
        left_out += number;
}

/* How many equal messages a text says there were. */
static unsigned long count_told(const char *text)
{
    unsigned long told = 0;
    const char *at = text;
    while ((at = strstr(at, " times=")) != NULL)
        told += strtoul(at += 7, NULL, 10);
    for (at = text; (at = strstr(at, "repeats_left_out=")) != NULL;)
        told += strtoul(at += 17, NULL, 10);
    for (at = text; (at = strstr(at, ": again")) != NULL; at++)
        told++;
    return told;
}

static void left_out_repeats_are_told(void **state)
{
    static const struct log_hooks hooks = {.count = count_repeated};
    open_log(*state, LOG_FORMAT_TEXT, false);
    log_share(NULL, 0, &hooks);
    left_out = 0;
    for (int i = 0; i < 100; i++)
        log_info("again %d", i % 2);
    assert_in_range(left_out, 1, 80);
    log_tell_repeats(true);
    const char *text = logged(*state);
    assert_non_null(strstr(text, " times="));
    assert_non_null(strstr(text, "message was repeated repeated=\"again 0\""));
    assert_int_equal(count_told(text), 100);
    /* they are told once */
    log_tell_repeats(true);
    assert_int_equal(count_told(logged(*state)), 100);
    log_share(NULL, 0, NULL);
}

static void lines_that_say_something_else_pass(void **state)
{
    static const struct log_hooks hooks = {.count = count_repeated};
    open_log(*state, LOG_FORMAT_TEXT, false);
    log_share(NULL, 0, &hooks);
    left_out = 0;
    char name[16];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "worker-%d", i);
        log_event(LOG_INFO_LEVEL, "ended", LOG_TEXT("worker", name));
    }
    assert_int_equal(left_out, 0);
    for (int i = 0; i < 100; i++)
        log_event(LOG_INFO_LEVEL, "ended", LOG_INT("number", i));
    assert_true(left_out > 0);
    log_share(NULL, 0, NULL);
}

/* A child tells what it left out itself. */
static void a_fork_has_repeats_of_its_own(void **state)
{
    open_log(*state, LOG_FORMAT_TEXT, false);
    for (int i = 0; i < 100; i++)
        log_info("from the parent");
    log_identify("sync", 2);
    log_tell_repeats(true);
    assert_null(strstr(logged(*state), " times="));
}

static void log_is_reopened_by_name(void **state)
{
    struct log_file *file = *state;
    struct error error;
    char moved[80];
    open_log(file, LOG_FORMAT_TEXT, false);
    log_info("before");
    snprintf(moved, sizeof(moved), "%s.1", file->path);
    assert_int_equal(rename(file->path, moved), 0);
    log_info("still to the old one");
    assert_int_equal(log_reopen(&error), 0);
    log_info("after");
    assert_null(strstr(logged(file), "before"));
    assert_non_null(strstr(logged(file), "after"));
    unlink(moved);
}

static void lost_lines_are_counted(void **state)
{
    struct error error;
    struct log_options options = {.path = "/dev/full",
                                  .format = LOG_FORMAT_TEXT,
                                  .level = LOG_INFO_LEVEL};
    uint64_t before = log_lost();
    (void)state;
    assert_int_equal(log_open(&options, &error), 0);
    errno = 5;
    log_info("nobody will read this");
    assert_int_equal(errno, 5);
    assert_int_equal(log_lost() - before, 1);
    options.path = "/nonexistent/folder/log";
    assert_int_equal(log_open(&options, &error), -1);
    assert_int_equal(error.code, ERROR_CANT_CREATE);
}

/* What text becomes, as a message. */
static const char *said(struct log_file *file, const char *text)
{
    assert_int_equal(truncate(file->path, 0), 0);
    log_event(LOG_INFO_LEVEL, text, LOG_TEXT("field", text));
    const char *line = logged(file);
    const char *message = strstr(line, ": ") + 2;
    char *end = strstr(message, " field=");
    assert_non_null(end);
    *end = '\0';
    return message;
}

static void secrets_are_hidden(void **state)
{
    open_log(*state, LOG_FORMAT_TEXT, false);
    log_hide("abc"); /* too short to be told from other text */
    log_hide("hunter22");
    log_hide("hunter2233");
    static const char *const cases[][2] = {
        {"abc hunter22 hunter22", "abc *** ***"},
        {"xhunter2233x", "x***x"},
        {"nothing of that", "nothing of that"},
        {"password=geheim host=x", "password=*** host=x"},
        {"password = 'ge \\'heim' host=x", "password = ***' host=x"},
        {"PGPASSWORD=x", "PGPASSWORD=***"},
        {"a=b sslpassword=", "a=b sslpassword=***"},
        {"to postgresql://me:ge@heim@db:1/x now",
         "to postgresql://me:***@db:1/x "
         "now"},
        {"http://db/x?a=1&password=q&b=2", "http://db/x?a=1&password=***&b=2"},
        {"mail me@home: it = that", "mail me@home: it = that"},
        {"://:@ = @ password", "://:***@ = @ password"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(said(*state, cases[i][0]), cases[i][1]);
    assert_null(strstr(logged(*state), "hunter"));
    /* more than anyone would write: the rest is hidden */
    char many[2000] = "";
    for (int i = 0; i < 100; i++)
        strcat(many, "password=p;");
    assert_null(strstr(said(*state, many), "=p"));
}

#define L(test) cmocka_unit_test_setup_teardown(test, log_setup, log_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        L(log_writes_json),
        L(log_writes_text),
        L(log_has_levels),
        L(long_lines_stay_json),
        L(repeats_are_limited),
        L(left_out_repeats_are_told),
        L(a_fork_has_repeats_of_its_own),
        L(lines_that_say_something_else_pass),
        L(log_is_reopened_by_name),
        L(lost_lines_are_counted),
        L(secrets_are_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
