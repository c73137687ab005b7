/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/http_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/document/document.h"

static const struct document_limits limits = {
    .bytes = HTTP_ANSWER_MAX, .depth = 16, .nodes = 100000};

/* What a server calls its words, by the customs of RFC 7807, PostgREST and
 * others. */
static const char *const word_keys[] = {"detail", "message", "error", "title",
                                        "msg"};

static enum http_meaning meaning_of(const struct http_answer *answer)
{
    switch (answer->status) {
    case 200:
    case 201:
    case 204:
        return HTTP_APPLIED;
    case 400:
    case 422:
        return HTTP_REFUSED;
    case 401:
    case 403:
        return HTTP_DENIED;
    case 409:
        return HTTP_REPEATED;
    case 413:
        return HTTP_TOO_LARGE;
    case 429:
        return HTTP_BUSY;
    case 503:
        return answer->retry_after_ms > 0 ? HTTP_BUSY : HTTP_NOT_NOW;
    default:
        return HTTP_NOT_NOW;
    }
}

static const char *words_of(const struct node *root)
{
    for (size_t i = 0; i < sizeof(word_keys) / sizeof(word_keys[0]); i++) {
        const struct node *node = document_get(root, word_keys[i]);
        if (node != NULL && node->kind == NODE_STRING)
            return node->text;
    }
    return NULL;
}

static void set_words(const struct http_answer *answer, const struct node *root,
                      struct http_reply *reply)
{
    static const char advice[] =
        "; sync.http.url must name an endpoint that takes batches";
    const char *words = root != NULL ? words_of(root) : NULL;
    size_t size = strcspn(answer->body, "\r\n");
    error_set(
        &reply->error,
        reply->meaning == HTTP_DENIED ? ERROR_NOT_ALLOWED : ERROR_TRY_AGAIN,
        "HTTP %ld%s%.*s%s%s", answer->status,
        words != NULL || size > 0 ? ": " : "",
        (int)(words != NULL ? strlen(words)
              : size > 300  ? 300
                            : size),
        words != NULL ? words : answer->body,
        reply->meaning == HTTP_DENIED ? "; the token is not accepted" : "",
        answer->status == 404 || answer->status == 405 ? advice : "");
}

static void take_refused(const struct node *node, struct arena *arena,
                         struct http_refused *refused)
{
    const struct node *id = document_get(node, "id");
    const struct node *code = document_get(node, "code");
    const char *words = node->kind == NODE_MAP ? words_of(node) : NULL;
    if (id == NULL)
        id = node; /* of "held": the id alone */
    *refused = (struct http_refused){
        .id = id->kind == NODE_NUMBER ? strtoll(id->text, NULL, 10) : -1,
        .code = code != NULL && code->text != NULL
                    ? arena_strdup(arena, code->text)
                    : "",
        .message = words != NULL ? arena_strdup(arena, words) : ""};
    if (refused->code == NULL || refused->message == NULL)
        refused->code = refused->message = "";
}

static void take_lists(const struct node *root, struct arena *arena,
                       struct http_reply *reply)
{
    static const char *const lists[] = {"refused", "held"};
    size_t count = 0;
    for (size_t i = 0; i < 2; i++) {
        const struct node *list = document_get(root, lists[i]);
        if (list != NULL && list->kind == NODE_LIST)
            count += list->count;
    }
    reply->refused = arena_calloc(arena, count + 1, sizeof(*reply->refused));
    for (size_t i = 0; i < 2 && reply->refused != NULL; i++) {
        const struct node *list = document_get(root, lists[i]);
        const struct node *node =
            list != NULL && list->kind == NODE_LIST ? list->first : NULL;
        for (; node != NULL; node = node->next) {
            struct http_refused *refused =
                &reply->refused[reply->refused_count++];
            take_refused(node, arena, refused);
            refused->held = i == 1;
        }
    }
}

/* 200 needs its word. */
static void take_status(const struct http_answer *answer,
                        const struct node *root, struct http_reply *reply)
{
    const struct node *status = document_get(root, "status");
    const char *word =
        status != NULL && status->kind == NODE_STRING ? status->text : "";
    if (strcmp(word, "repeated") == 0) {
        reply->meaning = HTTP_REPEATED;
    } else if (strcmp(word, "applied") != 0 &&
               (answer->status == 200 || answer->body_size > 0)) {
        reply->meaning = HTTP_NOT_NOW;
        error_set(&reply->error, ERROR_TRY_AGAIN,
                  "HTTP %ld, but without {\"status\": \"applied\"}: no server "
                  "that takes batches answered; sync.http.url must name one",
                  answer->status);
    }
}

void http_reply_read(const struct http_answer *answer, struct arena *arena,
                     struct http_reply *reply)
{
    struct node *root = NULL;
    struct error error;
    *reply = (struct http_reply){.meaning = HTTP_LOST};
    if (!answer->whole) {
        reply->error = answer->error;
        return;
    }
    snprintf(reply->code, sizeof(reply->code), "%ld", answer->status % 1000);
    reply->meaning = meaning_of(answer);
    if (answer->body_size > 0 &&
        document_read_json(arena, "the answer", answer->body, answer->body_size,
                           &limits, &root, &error) != 0)
        root = NULL;
    set_words(answer, root, reply);
    if (reply->meaning == HTTP_APPLIED)
        take_status(answer, root, reply);
    if (reply->meaning == HTTP_APPLIED || reply->meaning == HTTP_REPEATED)
        take_lists(root, arena, reply);
}
