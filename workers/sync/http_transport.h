/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP requests on the event loop, through libcurl: HTTP/1.1 or 2, TLS
 * verified, connections kept, redirects not followed, no proxy from the
 * environment, answers bounded.
 */
#ifndef TIDEMILL_SYNC_HTTP_TRANSPORT_H
#define TIDEMILL_SYNC_HTTP_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct config;
struct event_base;
struct http_transport;

#define HTTP_ANSWER_MAX ((size_t)4 << 20)

/* Slower than this many bytes a second for sync.http.timeout is broken. */
#define HTTP_SLOW_BYTES 1

struct http_answer {
    bool whole;  /* an answer came, all of it; else `error` says why not */
    long status;
    const char *body; /* NUL-terminated; "" for none */
    size_t body_size;
    int64_t retry_after_ms; /* 0: it does not say */
    struct error error;
};

/* Called once for each request, never from within http_transport_send. */
typedef void (*http_done)(void *self, const struct http_answer *answer);

/* Uses sync.http.* of the configuration, which must outlive it. */
struct http_transport *http_transport_new(const struct config *config,
                                          struct event_base *base,
                                          struct error *error);
void http_transport_free(struct http_transport **transport);

/* POST of a JSON body (copied) under an idempotency key; body NULL: HEAD.
 * settled is told in a header, for it may grow between two sendings of the
 * same part; 0: not.  At most SINK_DEPTH_MAX at once.  -1: done will not be called. */
int http_transport_send(struct http_transport *transport, const char *body,
                        size_t size, const char *key, int64_t settled,
                        http_done done, void *self, struct error *error);

/* Ends all without calling back, and closes the connections. */
void http_transport_rest(struct http_transport *transport);

#endif
