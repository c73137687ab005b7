/* SPDX-License-Identifier: Apache-2.0
 *
 * libcurl, loaded when the http sink is opened and at no other time: its
 * two dozen libraries would cost every process of every daemon memory.
 */
#ifndef TIDEMILL_SYNC_HTTP_CURL_H
#define TIDEMILL_SYNC_HTTP_CURL_H

/* The checks of its macros would take the functions below for their own. */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "common/base/error.h"

#define HTTP_CURL_LIBRARY "libcurl.so.4"

/* X(member, type of the function) */
#define HTTP_CURL_LIST(X)                                                      \
    X(global_init, CURLcode, (long))                                           \
    X(easy_init, CURL *, (void))                                               \
    X(easy_setopt, CURLcode, (CURL *, CURLoption, ...))                        \
    X(easy_getinfo, CURLcode, (CURL *, CURLINFO, ...))                         \
    X(easy_cleanup, void, (CURL *))                                            \
    X(easy_strerror, const char *, (CURLcode))                                 \
    X(multi_init, CURLM *, (void))                                             \
    X(multi_setopt, CURLMcode, (CURLM *, CURLMoption, ...))                    \
    X(multi_add_handle, CURLMcode, (CURLM *, CURL *))                          \
    X(multi_remove_handle, CURLMcode, (CURLM *, CURL *))                       \
    X(multi_socket_action, CURLMcode, (CURLM *, curl_socket_t, int, int *))    \
    X(multi_assign, CURLMcode, (CURLM *, curl_socket_t, void *))               \
    X(multi_info_read, CURLMsg *, (CURLM *, int *))                            \
    X(multi_cleanup, CURLMcode, (CURLM *))                                     \
    X(slist_append, struct curl_slist *, (struct curl_slist *, const char *))  \
    X(slist_free_all, void, (struct curl_slist *))

struct http_curl {
#define X(name, result, arguments) result(*name) arguments;
    HTTP_CURL_LIST(X)
#undef X
};

/* The functions, loaded once in a process; NULL and error without them. */
const struct http_curl *http_curl_load(struct error *error);

#endif
