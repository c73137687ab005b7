/* SPDX-License-Identifier: Apache-2.0 */
#include "common/postgres/hosts.h"

#include <stdlib.h>
#include <string.h>

#include "common/postgres/failure.h"
#include "common/postgres/libpq.h"

static const char *option_value(const PQconninfoOption *options,
                                const char *keyword)
{
    for (; options->keyword; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val;
    return NULL;
}

/* Puts the items of "a,b,c" into list; returns their number. */
static size_t list_split(const char *text, char *list[PG_HOSTS_MAX])
{
    size_t count = 0;
    while (text && count < PG_HOSTS_MAX) {
        size_t size = strcspn(text, ",");
        list[count++] = strndup(text, size);
        text = text[size] ? text + size + 1 : NULL;
    }
    return count;
}

/* Fills up the lists to `count` items. */
static int lists_fill(struct pg_hosts *hosts, size_t names, size_t addresses,
                      size_t ports, struct error *error)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (i >= names)
            hosts->names[i] = strdup("");
        if (i >= addresses)
            hosts->addresses[i] = strdup("");
        if (i >= ports)
            hosts->ports[i] = strdup(ports ? hosts->ports[0] : "");
        if (!hosts->names[i] || !hosts->addresses[i] || !hosts->ports[i])
            return error_set(error, ERROR_SYSTEM, "out of memory");
    }
    return 0;
}

int pg_hosts_init(struct pg_hosts *hosts, const char *conninfo,
                  struct error *error)
{
    char *words = NULL;
    memset(hosts, 0, sizeof *hosts);
    if (libpq_load(error) != 0)
        return -1;
    PQconninfoOption *options = libpq->conninfoParse(conninfo, &words);
    if (!options) {
        char text[400];
        pg_words_copy(text, sizeof text, words ? words : "out of memory");
        libpq->freemem(words);
        return error_set(error, ERROR_CONFIG,
                         "database: bad connection string: %s", text);
    }
    size_t names = list_split(option_value(options, "host"), hosts->names);
    size_t addresses =
        list_split(option_value(options, "hostaddr"), hosts->addresses);
    size_t ports = list_split(option_value(options, "port"), hosts->ports);
    libpq->conninfoFree(options);
    hosts->count = names > addresses ? names : addresses;
    if ((names && addresses && names != addresses) ||
        (ports > 1 && ports != hosts->count))
        return error_set(error, ERROR_CONFIG,
                         "database: the connection string names %zu hosts, "
                         "%zu addresses and %zu ports; give one each",
                         names, addresses, ports);
    return lists_fill(hosts, names, addresses, ports, error);
}

void pg_hosts_deinit(struct pg_hosts *hosts)
{
    for (size_t i = 0; i < PG_HOSTS_MAX; i++) {
        free(hosts->names[i]);
        free(hosts->addresses[i]);
        free(hosts->ports[i]);
    }
    memset(hosts, 0, sizeof *hosts);
}

bool pg_hosts_needs_lookup(const struct pg_hosts *hosts, size_t host)
{
    const char *name = hosts->names[host];
    return !hosts->addresses[host][0] && name[0] && name[0] != '/' &&
           name[0] != '@';
}
