/* SPDX-License-Identifier: Apache-2.0
 *
 * A configuration while it is being read.  Private to this folder.
 */
#ifndef TIDEMILL_CONFIG_LOADER_H
#define TIDEMILL_CONFIG_LOADER_H

#include "common/config/option_table.h"
#include "common/document/document.h"

/* More errors than these help nobody. */
#define LOADER_ERRORS_MAX 50

struct loader {
    struct config *config;
    const struct config_request *request;
    struct arena scratch; /* the document, and texts of messages */
    struct buffer *errors;
    unsigned error_count;
    bool unreadable; /* there is nothing to keep going with */
    uint32_t columns[OPTION_COUNT]; /* beside config->lines */
    const struct node *sources;     /* their list, or NULL */
    const struct node *tables;      /* the map of sync.tables, or NULL */
};

/* Each adds one line to the errors. */
void loader_error(struct loader *loader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void loader_error_at(struct loader *loader, uint32_t line, uint32_t column,
                     const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Begins with the place that gave the option its value. */
void loader_error_option(struct loader *loader, enum option_index index,
                         const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The text of a scalar with `${NAME}` replaced, in the arena of the
 * configuration.  NULL after an error was added; `what` names the value. */
const char *loader_scalar(struct loader *loader, const struct node *node,
                          const char *what);

/* "; did you mean \"NEAREST\"?" or, with nothing near, a hint at the manual;
 * in scratch. */
const char *loader_hint(struct loader *loader, const char *name,
                        const char *const *candidates);

/* The value of an environment variable of the request, or NULL. */
const char *loader_variable(const struct loader *loader, const char *name,
                            size_t size);

/* The layers, from the weakest to the strongest. */
void loader_read_file(struct loader *loader, const struct node *root);
void loader_read_environment(struct loader *loader);
void loader_read_overrides(struct loader *loader);

/* `aggregate` of an entry of sync.tables: false when nothing else of the
 * entry is wanted.  At the end the built-in one is added, unless the file
 * has its own, and all are looked at together. */
bool loader_read_aggregate(struct loader *loader, const struct node *entry,
                           const char *what);
void loader_finish_aggregates(struct loader *loader);

/* sync.tables and sources. */
void loader_read_tables(struct loader *loader, const struct node *map);
void loader_read_sources(struct loader *loader, const struct node *list);

/* What no option can judge by itself. */
void loader_check(struct loader *loader);

/* Is it a URI, or keywords with values as libpq reads them?  Which keywords
 * there are, libpq alone knows. */
bool conninfo_is_valid(const char *conninfo);

/* Gives an option a value from its text, which the configuration's arena
 * owns.  -1 with `why` as option_parse. */
int loader_set(struct loader *loader, enum option_index index, const char *text,
               struct buffer *why);

#endif
