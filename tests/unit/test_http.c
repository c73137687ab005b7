/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "workers/sync/http_body.h"
#include "workers/sync/http_reply.h"

static struct arena arena;

static struct http_reply reply_of(long status, const char *body)
{
    struct http_answer answer = {.whole = true,
                                 .status = status,
                                 .body = body,
                                 .body_size = strlen(body)};
    struct http_reply reply;
    arena_reset(&arena);
    http_reply_read(&answer, &arena, &reply);
    return reply;
}

static void what_answers_mean(void **state)
{
    static const struct {
        long status;
        const char *body;
        enum http_meaning meaning;
    } cases[] = {
        {200, "{\"status\":\"applied\"}", HTTP_APPLIED},
        {200, "{\"status\":\"repeated\"}", HTTP_REPEATED},
        {200, "", HTTP_NOT_NOW},
        {200, "<html>welcome</html>", HTTP_NOT_NOW},
        {200, "[\"applied\"]", HTTP_NOT_NOW},
        {200, "{\"status\":{\"applied\":1}}", HTTP_NOT_NOW},
        {201, "", HTTP_APPLIED},
        {204, "", HTTP_APPLIED},
        {201, "<html>", HTTP_NOT_NOW},
        {206, "{\"status\":\"applied\"}", HTTP_NOT_NOW},
        {301, "", HTTP_NOT_NOW},
        {400, "{\"detail\":\"no\"}", HTTP_REFUSED},
        {401, "", HTTP_DENIED},
        {403, "", HTTP_DENIED},
        {404, "", HTTP_NOT_NOW},
        {409, "", HTTP_REPEATED},
        {413, "", HTTP_TOO_LARGE},
        {422, "", HTTP_REFUSED},
        {429, "", HTTP_BUSY},
        {500, "{\"status\":\"applied\"}", HTTP_NOT_NOW},
        {503, "", HTTP_NOT_NOW},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (reply_of(cases[i].status, cases[i].body).meaning !=
            cases[i].meaning)
            fail_msg("%ld %s", cases[i].status, cases[i].body);
}

static void a_line_that_is_lost(void **state)
{
    struct http_answer answer = {.whole = false, .status = 200, .body = ""};
    struct http_reply reply;
    (void)state;
    error_set(&answer.error, ERROR_TRY_AGAIN, "cut");
    http_reply_read(&answer, &arena, &reply);
    assert_int_equal(reply.meaning, HTTP_LOST);
    assert_string_equal(reply.error.text, "cut");
}

static void what_was_refused(void **state)
{
    (void)state;
    struct http_reply reply = reply_of(
        200,
        "{\"status\":\"applied\",\"refused\":[{\"id\":7,\"code\":\"23514\","
        "\"message\":\"no\"},{\"id\":\"x\"},5,null],\"held\":[9,{\"id\":10}"
        ",[]]}");
    assert_int_equal(reply.refused_count, 7);
    assert_int_equal(reply.refused[0].id, 7);
    assert_string_equal(reply.refused[0].code, "23514");
    assert_string_equal(reply.refused[0].message, "no");
    assert_int_equal(reply.refused[1].id, -1);
    assert_int_equal(reply.refused[4].id, 9);
    assert_true(reply.refused[4].held);
    assert_int_equal(reply.refused[5].id, 10);
}

static void words_of_a_refusal(void **state)
{
    (void)state;
    assert_string_equal(reply_of(422, "{\"detail\":\"too old\"}").error.text,
                        "HTTP 422: too old");
    assert_string_equal(reply_of(500, "oops\nmore").error.text,
                        "HTTP 500: oops");
    assert_non_null(strstr(reply_of(404, "").error.text, "sync.http.url"));
}

static void a_body_and_its_key(void **state)
{
    struct outbox_operation operations[] = {{.id = 3,
                                             .kind = OPERATION_INSERT,
                                             .priority = 0,
                                             .created_ms = 2000,
                                             .table_name = "t",
                                             .table_name_size = 1,
                                             .record_id = "a\"b",
                                             .record_id_size = 3,
                                             .data = "{\"x\": 1}",
                                             .data_size = 8},
                                            {.id = 5,
                                             .kind = OPERATION_DELETE,
                                             .priority = 3,
                                             .created_ms = 1000,
                                             .table_name = "t",
                                             .table_name_size = 1,
                                             .record_id = "c",
                                             .record_id_size = 1}};
    struct sink_batch batch = {
        .epoch = 1, .batch_id = 2, .operations = operations, .count = 2};
    bool left_out[2] = {false, false};
    struct http_part whole = {0, 2};
    struct http_part second = {1, 1};
    struct buffer body;
    char key[HTTP_KEY_SIZE];
    (void)state;
    buffer_init(&body, 10000);
    assert_true(http_body_write("h\n", &batch, &whole, left_out, &body));
    assert_string_equal(
        body.bytes,
        "{\"system_id\":\"h\\n\",\"epoch\":1,\"batch_id\":2,\"sync_timestamp\":"
        "\"1970-01-01T00:00:02.000Z\",\"operations\":[{\"id\":3,\"operation\":"
        "\"INSERT\",\"table\":\"t\",\"record_id\":\"a\\\"b\",\"data\":"
        "{\"x\": 1},\"priority\":\"urgent\",\"created_at\":"
        "\"1970-01-01T00:00:02.000Z\"},{\"id\":5,\"operation\":\"DELETE\","
        "\"table\":\"t\",\"record_id\":\"c\",\"data\":null,\"priority\":"
        "\"low\",\"created_at\":\"1970-01-01T00:00:01.000Z\"}]}");
    http_part_key("h", &batch, &whole, key);
    assert_string_equal(key, "h:1:2");
    http_part_key("h", &batch, &second, key);
    assert_string_equal(key, "h:1:2:5-5");
    left_out[1] = true;
    buffer_reset(&body);
    assert_false(http_body_write("h", &batch, &second, left_out, &body));
    buffer_deinit(&body);
    buffer_init(&body, 20);
    assert_false(http_body_write("h", &batch, &whole, left_out, &body));
    assert_true(body.failed);
    buffer_deinit(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_answers_mean),
        cmocka_unit_test(a_line_that_is_lost),
        cmocka_unit_test(what_was_refused),
        cmocka_unit_test(words_of_a_refusal),
        cmocka_unit_test(a_body_and_its_key),
    };
    arena_init(&arena, (size_t)1 << 24);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_deinit(&arena);
    return failed;
}
