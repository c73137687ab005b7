/* SPDX-License-Identifier: Apache-2.0
 *
 * What an HTTP server's answer to a part of a batch means.
 *
 *   200  {"status": "applied" | "repeated", "refused": [{"id", "code",
 *        "message"}, ...], "held": [id, ...]}; the lists may be missing
 *   201, 204 with no body: applied
 *   409  known already: repeated, with the lists of 200 where it has a body
 *   400, 422  something in it is refused for good: it is taken apart
 *   413  too large: it is taken apart
 *   401, 403  the token is not accepted
 *   429, 503 with Retry-After: busy
 *   all else: not now
 *
 * A 200 without a status is no answer of such a server (a portal's page, a
 * wrong URL): nothing is taken for applied on its word.
 */
#ifndef TIDEMILL_SYNC_HTTP_REPLY_H
#define TIDEMILL_SYNC_HTTP_REPLY_H

#include "common/base/arena.h"
#include "workers/sync/http_transport.h"

enum http_meaning {
    HTTP_APPLIED,
    HTTP_REPEATED,
    HTTP_REFUSED,   /* take it apart, or it is this one operation */
    HTTP_TOO_LARGE, /* the same */
    HTTP_DENIED,    /* 401, 403 */
    HTTP_BUSY,
    HTTP_NOT_NOW,
    HTTP_LOST /* no whole answer: the line */
};

struct http_refused {
    int64_t id;
    bool held;
    const char *code;    /* "" for none */
    const char *message; /* "" for none */
};

struct http_reply {
    enum http_meaning meaning;
    char code[6];      /* of the status, "" for none */
    struct error error; /* the server's words, or the trouble's */
    struct http_refused *refused;
    size_t refused_count;
};

/* Texts are in the arena. */
void http_reply_read(const struct http_answer *answer, struct arena *arena,
                     struct http_reply *reply);

#endif
