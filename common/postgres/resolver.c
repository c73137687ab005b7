/* SPDX-License-Identifier: Apache-2.0 */
#include "common/postgres/resolver.h"

#include <arpa/inet.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct pg_lookup {
    struct evdns_base *dns;
    struct evdns_getaddrinfo_request *request;
    struct event *end; /* tells, then frees: not within libevent's callback */
    bool over;         /* libevent called back */
    char addresses[PG_ADDRESSES_MAX][46];
    size_t count;
    const char *why;
    pg_lookup_done done; /* NULL: cancelled */
    void *self;
};

static void lookup_free(struct pg_lookup *lookup)
{
    if (lookup->end)
        event_free(lookup->end);
    if (lookup->dns)
        evdns_base_free(lookup->dns, 0);
    free(lookup);
}

static void end_soon(struct pg_lookup *lookup)
{
    struct timeval now = {0};
    event_add(lookup->end, &now);
}

static void on_end(evutil_socket_t fd, short what, void *self)
{
    struct pg_lookup *lookup = self;
    (void)fd, (void)what;
    if (lookup->done)
        lookup->done(lookup->self, lookup->addresses, lookup->count,
                     lookup->why);
    lookup_free(lookup);
}

static void address_add(struct pg_lookup *lookup, const struct sockaddr *at)
{
    const void *bytes = NULL;
    if (at->sa_family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)at)->sin_addr;
    else if (at->sa_family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)at)->sin6_addr;
    if (bytes && lookup->count < PG_ADDRESSES_MAX &&
        inet_ntop(at->sa_family, bytes, lookup->addresses[lookup->count],
                  sizeof lookup->addresses[0]))
        lookup->count++;
}

static void on_answer(int result, struct evutil_addrinfo *list, void *self)
{
    struct pg_lookup *lookup = self;
    lookup->over = true;
    lookup->request = NULL;
    for (struct evutil_addrinfo *at = list; at; at = at->ai_next)
        address_add(lookup, at->ai_addr);
    if (list)
        evutil_freeaddrinfo(list);
    lookup->why = result ? evutil_gai_strerror(result) : "it has no address";
    end_soon(lookup);
}

struct pg_lookup *pg_lookup_start(struct event_base *base, const char *name,
                                  const char *resolv_conf, pg_lookup_done done,
                                  void *self, struct error *error)
{
    struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_protocol = IPPROTO_TCP};
    struct pg_lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup) {
        lookup->end = event_new(base, -1, 0, on_end, lookup);
        lookup->dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    }
    if (!lookup || !lookup->end || !lookup->dns) {
        if (lookup)
            lookup_free(lookup);
        error_set(error, ERROR_SYSTEM, "no memory to look up %s", name);
        return NULL;
    }
    lookup->done = done;
    lookup->self = self;
    /* Without the file, or with none in it, the server is 127.0.0.1. */
    evdns_base_resolv_conf_parse(lookup->dns, DNS_OPTIONS_ALL, resolv_conf);
    struct evdns_getaddrinfo_request *request =
        evdns_getaddrinfo(lookup->dns, name, NULL, &hints, on_answer, lookup);
    if (!lookup->over)
        lookup->request = request;
    return lookup;
}

void pg_lookup_cancel(struct pg_lookup **lookup)
{
    struct pg_lookup *l = *lookup;
    *lookup = NULL;
    if (!l)
        return;
    l->done = NULL;
    if (l->request)
        evdns_getaddrinfo_cancel(l->request);
    else if (!l->over)
        end_soon(l);
}
