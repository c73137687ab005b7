/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/http_transport.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log_redact.h"
#include "common/base/buffer.h"
#include "common/base/crash_point.h"
#include "common/config/config.h"
#include "common/shm/metrics.h"
#include "workers/sync/http_curl.h"
#include "workers/sync/sink.h"

#define TOKEN_MAX 8192

struct transfer {
    struct http_transport *transport;
    CURL *easy; /* NULL: not in use */
    struct curl_slist *headers;
    struct buffer answer;
    char words[CURL_ERROR_SIZE];
    http_done done;
    void *self;
};

struct http_transport {
    const struct config *config;
    const struct http_curl *curl;
    struct event_base *base;
    CURLM *multi; /* NULL: at rest */
    struct event *timer;
    struct transfer transfers[SINK_DEPTH_MAX];
};

/* --- libcurl's events on ours --- */

static void finish_transfers(struct http_transport *transport);

static void act(struct http_transport *transport, curl_socket_t fd, int what)
{
    int running;
    transport->curl->multi_socket_action(transport->multi, fd, what, &running);
    finish_transfers(transport);
}

static void on_socket_event(evutil_socket_t fd, short what, void *self)
{
    act(self, fd,
        ((what & EV_READ) ? CURL_CSELECT_IN : 0) |
            ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0));
}

static void on_timer(evutil_socket_t fd, short what, void *self)
{
    (void)fd;
    (void)what;
    act(self, CURL_SOCKET_TIMEOUT, 0);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *self,
                        void *socket_self)
{
    struct http_transport *transport = self;
    struct event *event = socket_self;
    (void)easy;
    if (event != NULL)
        event_free(event);
    event = NULL;
    if (what != CURL_POLL_REMOVE) {
        short wanted = EV_PERSIST;
        if (what & CURL_POLL_IN)
            wanted |= EV_READ;
        if (what & CURL_POLL_OUT)
            wanted |= EV_WRITE;
        event = event_new(transport->base, fd, wanted, on_socket_event, self);
        if (event != NULL)
            event_add(event, NULL);
    }
    transport->curl->multi_assign(transport->multi, fd, event);
    return 0;
}

static int watch_clock(CURLM *multi, long delay_ms, void *self)
{
    struct http_transport *transport = self;
    (void)multi;
    if (delay_ms < 0) {
        event_del(transport->timer);
        return 0;
    }
    const struct timeval delay = clock_span(delay_ms);
    event_add(transport->timer, &delay);
    return 0;
}

/* --- the end of a transfer --- */

static size_t take_answer(char *bytes, size_t size, size_t count, void *self)
{
    struct transfer *transfer = self;
    buffer_append(&transfer->answer, bytes, size * count);
    return transfer->answer.failed ? 0 : size * count;
}

static void transfer_free(struct transfer *transfer)
{
    const struct http_curl *curl = transfer->transport->curl;
    if (transfer->easy == NULL)
        return;
    curl->multi_remove_handle(transfer->transport->multi, transfer->easy);
    curl->easy_cleanup(transfer->easy);
    curl->slist_free_all(transfer->headers);
    buffer_deinit(&transfer->answer);
    transfer->easy = NULL;
}

static void finish(struct transfer *transfer, CURLcode code)
{
    const struct http_curl *curl = transfer->transport->curl;
    struct http_answer answer = {.whole = code == CURLE_OK};
    curl_off_t seconds = 0;
    long connects = 0;
    CRASH_POINT(HTTP_ANSWERED);
    curl->easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &answer.status);
    curl->easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &seconds);
    curl->easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connects);
    metric_add(METRIC_SYNC_CONNECTS, (uint64_t)connects);
    answer.retry_after_ms = (int64_t)seconds * 1000;
    if (!answer.whole)
        error_set(&answer.error, ERROR_TRY_AGAIN, "%s: %s",
                  transfer->transport->config->sync_http_url,
                  transfer->answer.failed      ? "the answer is too large"
                  : transfer->words[0] != '\0' ? transfer->words
                                               : curl->easy_strerror(code));
    /* What is called may send the next request in this place. */
    struct transfer ended = *transfer;
    buffer_init(&transfer->answer, HTTP_ANSWER_MAX);
    curl->multi_remove_handle(transfer->transport->multi, ended.easy);
    transfer->easy = NULL;
    answer.body = ended.answer.bytes != NULL ? ended.answer.bytes : "";
    answer.body_size = ended.answer.size;
    ended.done(ended.self, &answer);
    curl->easy_cleanup(ended.easy);
    curl->slist_free_all(ended.headers);
    buffer_deinit(&ended.answer);
}

static void finish_transfers(struct http_transport *transport)
{
    CURLMsg *message;
    int left;
    while (transport->multi != NULL &&
           (message = transport->curl->multi_info_read(transport->multi,
                                                       &left)) != NULL) {
        CURL *easy = message->easy_handle;
        CURLcode code = message->data.result;
        for (size_t i = 0; message->msg == CURLMSG_DONE && i < SINK_DEPTH_MAX;
             i++)
            if (transport->transfers[i].easy == easy) {
                finish(&transport->transfers[i], code);
                break;
            }
    }
}

/* --- a request --- */

static int read_token(const struct config *config, char *token,
                      struct error *error)
{
    token[0] = '\0';
    if (config->sync_http_token_env[0] != '\0') {
        const char *value = getenv(config->sync_http_token_env);
        if (value == NULL)
            return error_set(error, ERROR_CONFIG,
                             "the environment variable %s that "
                             "sync.http.token_env names is not set",
                             config->sync_http_token_env);
        snprintf(token, TOKEN_MAX, "%s", value);
    } else if (config->sync_http_token_file[0] != '\0') {
        /* Read for every request: tokens are renewed. */
        FILE *file = fopen(config->sync_http_token_file, "re");
        if (file == NULL)
            return error_set_errno(error, ERROR_CONFIG,
                                   "cannot read sync.http.token_file %s",
                                   config->sync_http_token_file);
        size_t size = fread(token, 1, TOKEN_MAX - 1, file);
        fclose(file);
        token[size] = '\0';
    }
    token[strcspn(token, "\r\n")] = '\0';
    log_hide(token);
    return 0;
}

static int add_header(struct transfer *transfer, const char *text)
{
    struct curl_slist *longer =
        transfer->transport->curl->slist_append(transfer->headers, text);
    if (longer == NULL)
        return -1;
    transfer->headers = longer;
    return 0;
}

static int make_headers(struct transfer *transfer, const char *key,
                        int64_t settled, struct error *error)
{
    char token[TOKEN_MAX];
    char line[TOKEN_MAX + 64];
    if (read_token(transfer->transport->config, token, error) != 0)
        return -1;
    int result = add_header(transfer, "Content-Type: application/json") |
                 add_header(transfer, "Accept: application/json");
    if (key != NULL) {
        snprintf(line, sizeof(line), "Idempotency-Key: %s", key);
        result |= add_header(transfer, line);
    }
    if (settled > 0) {
        snprintf(line, sizeof(line), "Tidemill-Settled: %" PRId64, settled);
        result |= add_header(transfer, line);
    }
    if (token[0] != '\0') {
        snprintf(line, sizeof(line), "Authorization: Bearer %s", token);
        result |= add_header(transfer, line);
    }
    return result == 0 ? 0
                       : error_set(error, ERROR_SYSTEM,
                                   "no memory for an HTTP request");
}

static void set_limits(const struct http_curl *curl, CURL *easy,
                       const struct config *config)
{
    curl->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                      (long)config->database_connect_timeout_ms);
    curl->easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                      (long)config->sync_http_timeout_ms);
    curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl->easy_setopt(easy, CURLOPT_PROXY, "");
    curl->easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl->easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl->easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (config->sync_http_ca_file[0] != '\0')
        curl->easy_setopt(easy, CURLOPT_CAINFO, config->sync_http_ca_file);
}

static void set_request(struct transfer *transfer, const char *body,
                        size_t size)
{
    const struct http_curl *curl = transfer->transport->curl;
    const struct config *config = transfer->transport->config;
    CURL *easy = transfer->easy;
    transfer->words[0] = '\0';
    curl->easy_setopt(easy, CURLOPT_URL, config->sync_http_url);
    curl->easy_setopt(easy, CURLOPT_USERAGENT, "tidemill");
    curl->easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl->easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->words);
    curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer);
    curl->easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    set_limits(curl, easy, config);
    if (body == NULL) {
        curl->easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else {
        curl->easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
        curl->easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body);
    }
}

static int start_multi(struct http_transport *transport, struct error *error)
{
    const struct http_curl *curl = transport->curl;
    if (transport->multi != NULL)
        return 0;
    transport->multi = curl->multi_init();
    if (transport->multi == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for HTTP");
    curl->multi_setopt(transport->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl->multi_setopt(transport->multi, CURLMOPT_SOCKETDATA, transport);
    curl->multi_setopt(transport->multi, CURLMOPT_TIMERFUNCTION, watch_clock);
    curl->multi_setopt(transport->multi, CURLMOPT_TIMERDATA, transport);
    curl->multi_setopt(transport->multi, CURLMOPT_MAXCONNECTS,
                       (long)SINK_DEPTH_MAX);
    return 0;
}

int http_transport_send(struct http_transport *transport, const char *body,
                        size_t size, const char *key, int64_t settled,
                        http_done done, void *self, struct error *error)
{
    struct transfer *transfer = transport->transfers;
    size_t at = 0;
    while (at < SINK_DEPTH_MAX && transport->transfers[at].easy != NULL)
        at++;
    if (at == SINK_DEPTH_MAX)
        return error_set(error, ERROR_SOFTWARE, "too many HTTP requests");
    transfer = &transport->transfers[at];
    transfer->headers = NULL;
    transfer->done = done;
    transfer->self = self;
    if (start_multi(transport, error) != 0)
        return -1;
    transfer->easy = transport->curl->easy_init();
    if (transfer->easy == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory for an HTTP request");
    if (make_headers(transfer, key, settled, error) != 0) {
        transfer_free(transfer);
        return -1;
    }
    set_request(transfer, body, size);
    if (transport->curl->multi_add_handle(transport->multi, transfer->easy) !=
        CURLM_OK) {
        transfer_free(transfer);
        return error_set(error, ERROR_SYSTEM, "libcurl takes no request");
    }
    return 0;
}

/* --- life --- */

struct http_transport *http_transport_new(const struct config *config,
                                          struct event_base *base,
                                          struct error *error)
{
    const struct http_curl *curl = http_curl_load(error);
    struct http_transport *transport =
        curl != NULL ? calloc(1, sizeof(*transport)) : NULL;
    if (transport == NULL) {
        if (curl != NULL)
            error_set(error, ERROR_SYSTEM, "no memory for HTTP");
        return NULL;
    }
    transport->config = config;
    transport->curl = curl;
    transport->base = base;
    for (size_t i = 0; i < SINK_DEPTH_MAX; i++) {
        transport->transfers[i].transport = transport;
        buffer_init(&transport->transfers[i].answer, HTTP_ANSWER_MAX);
    }
    transport->timer = evtimer_new(base, on_timer, transport);
    if (transport->timer == NULL) {
        error_set(error, ERROR_SYSTEM, "no memory for a timer");
        http_transport_free(&transport);
    }
    return transport;
}

void http_transport_rest(struct http_transport *transport)
{
    for (size_t i = 0; i < SINK_DEPTH_MAX; i++) {
        transfer_free(&transport->transfers[i]);
        buffer_init(&transport->transfers[i].answer, HTTP_ANSWER_MAX);
    }
    if (transport->multi != NULL)
        transport->curl->multi_cleanup(transport->multi);
    transport->multi = NULL;
    event_del(transport->timer);
}

void http_transport_free(struct http_transport **transport)
{
    if (*transport == NULL)
        return;
    if ((*transport)->timer != NULL) {
        http_transport_rest(*transport);
        event_free((*transport)->timer);
    }
    free(*transport);
    *transport = NULL;
}
