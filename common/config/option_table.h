/* SPDX-License-Identifier: Apache-2.0
 *
 * The options as rows of a table, and how one value is read and written.
 */
#ifndef TIDEMILL_CONFIG_OPTION_TABLE_H
#define TIDEMILL_CONFIG_OPTION_TABLE_H

#include "common/config/config.h"

struct option {
    const char *path;
    enum option_type type;
    size_t offset; /* of its member in struct config */
    const char *fallback;
    int64_t minimum, maximum; /* in the member's unit; of a text its length */
    unsigned cost;            /* COST_* */
    bool secret;
    const char *sentence;
    const char *const *words; /* of a choice, NULL-terminated; else NULL */
};

/* In the order of OPTION_LIST; the index is an enum option_index. */
extern const struct option option_table[OPTION_COUNT];

union option_value {
    bool boolean;
    int64_t integer; /* of INT, DURATION, SIZE, MODE, CHOICE */
    double real;
    const char *text;
};

/* The row of a path, or -1. */
int option_find(const char *path);

/* Does the path name a section, as "sync" and "sync.batch" do? */
bool option_is_section(const char *path);

/* The name of the environment variable that sets an option. */
#define OPTION_VARIABLE_MAX 80
char *option_variable(const struct option *option, char *name);

/* Reads a text as the option's type and checks its bounds.  Texts stay
 * pointers to `text`.  On -1 `why` gets what is wrong and what would be
 * right, without the value when it is secret. */
int option_parse(const struct option *option, const char *text,
                 union option_value *value, struct buffer *why);

/* The text that option_parse reads back as this value. */
void option_format(const struct option *option, const union option_value *value,
                   struct buffer *out);

/* "duration, 100ms to 1h", "text, at most 64 bytes", "one of json, text". */
void option_describe(const struct option *option, struct buffer *out);

/* "live", "respawn of sync", "restart". */
void option_describe_cost(unsigned cost, struct buffer *out);

union option_value option_get(const struct option *option,
                              const struct config *config);
void option_set(const struct option *option, struct config *config,
                const union option_value *value);
bool option_equal(const struct option *option, const union option_value *a,
                  const union option_value *b);

#endif
