/* SPDX-License-Identifier: Apache-2.0
 *
 * A configuration: read whole, checked whole, then never changed.
 */
#ifndef TIDEMILL_CONFIG_CONFIG_H
#define TIDEMILL_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/config/aggregate.h"
#include "common/config/options.h"

enum option_type {
    OPTION_BOOL,
    OPTION_INT,
    OPTION_REAL,
    OPTION_DURATION,
    OPTION_SIZE,
    OPTION_TEXT,
    OPTION_PATH,
    OPTION_MODE,
    OPTION_CHOICE,
};

#define OPTION_MEMBER_BOOL     bool
#define OPTION_MEMBER_INT      int64_t
#define OPTION_MEMBER_REAL     double
#define OPTION_MEMBER_DURATION int64_t
#define OPTION_MEMBER_SIZE     int64_t
#define OPTION_MEMBER_TEXT     const char *
#define OPTION_MEMBER_PATH     const char *
#define OPTION_MEMBER_MODE     int64_t
#define OPTION_MEMBER_CHOICE   int64_t

enum option_index {
#define X(path, member, type, ...) OPTION_INDEX_##member,
    OPTION_LIST(X)
#undef X
        OPTION_COUNT
};

/* Where a value comes from, weakest first. */
enum option_origin {
    ORIGIN_DEFAULT,
    ORIGIN_MODE, /* sync.mode's preset in the place of a default */
    ORIGIN_FILE,
    ORIGIN_ENVIRONMENT,
    ORIGIN_COMMAND_LINE
};

struct config {
    struct arena arena; /* owns all texts */
    const char *path;   /* of the file; NULL when there was none */
    enum option_origin origins[OPTION_COUNT];
    uint32_t lines[OPTION_COUNT]; /* in the file; 0 otherwise */
#define X(path, member, type, ...) OPTION_MEMBER_##type member;
    OPTION_LIST(X)
#undef X
    struct sync_table *tables;
    size_t table_count;
    uint32_t tables_line; /* of sync.tables in the file; 0 otherwise */
    struct sync_aggregate *aggregates; /* the built-in one too, unless it is
                                          switched off */
    size_t aggregate_count;
    struct sync_source *sources;
    size_t source_count;
    uint32_t sources_line;
};

struct config_request {
    const char *path;             /* NULL: defaults only */
    bool path_optional;           /* a missing file is no error */
    const char *const *overrides; /* "path=value", NULL-terminated; or NULL */
    char **environment;           /* environ; NULL: none */
    bool keep_going; /* errors are told, but what was good is returned all the
                        same (the rest are defaults), unless the file could
                        not be read at all: for commands that only look for
                        the running daemon */
};

/* Reads, overlays (command line over environment over file over default),
 * checks everything.  Returns NULL and every error, one a line as
 * "FILE:LINE:COLUMN: what; what to do", in `errors`.  Opens nothing but the
 * file and database.password_file; touches neither store nor sockets.
 *
 * In the file `${NAME}` and `${NAME:-default}` are replaced in values; an
 * unset NAME without default is an error; `$${` stands for "${".  A value
 * may begin with <hostname> (a text) or <state_dir> (a path), as defaults
 * do.  TIDEMILL_SECTION_KEY overrides
 * (dots as underscores, capitals); an unknown TIDEMILL_ name is an error
 * only when its first word is a section's. */
struct config *config_load(const struct config_request *request,
                           struct buffer *errors);
void config_free(struct config **config);

/* What differs between two: the union of the costs (COST_*).  For each
 * differing RESTART option appends "path: old -> new\n" to pending (which
 * may be NULL).  A change of generation.enabled, generation.max_workers,
 * sync.enabled, sync.max_workers and monitoring.enabled is LIVE: the master
 * compares those itself.  Secrets print as ***. */
unsigned config_diff(const struct config *before, const struct config *after,
                     struct buffer *pending);

/* The effective configuration as YAML with a comment of each origin:
 * "max_workers: 4  # default", "# file line 12", "# TIDEMILL_SYNC_SINK",
 * "# command line".  Secrets print as ***. */
void config_dump(const struct config *config, struct buffer *out);

/* The complete sample: every option with its sentence, type, bounds and
 * default, all commented out but the section names.  conf/tidemill.yaml is
 * this text; `make check` compares. */
void config_sample(struct buffer *out);

/* The libpq connection string, password included (from password_env or
 * password_file), in `out`, which is emptied first.  Where
 * database.conninfo is set, only options that were set too are put over it.
 * Timeouts are not included. */
int config_conninfo(const struct config *config, struct buffer *out,
                    struct error *error);

/* A copy of a connection string (URI or keywords) with its password as ***,
 * for logs and messages. */
void config_mask_conninfo(const char *conninfo, struct buffer *out);

/* Keeps the secrets of the configuration (values of secret options, what
 * their environment variables and files hold) out of the log from now on. */
void config_hide_secrets(const struct config *config);

/* Paths below the configured directories, in room bytes; returns text. */
char *config_state_path(const struct config *config, const char *name,
                        char *text, size_t room);
char *config_runtime_path(const struct config *config, const char *name,
                          char *text, size_t room);
char *config_log_path(const struct config *config, const char *name,
                      char *text, size_t room);

#ifndef TIDEMILL_SYSCONFDIR
#define TIDEMILL_SYSCONFDIR "/etc"
#endif
#define CONFIG_DEFAULT_PATH TIDEMILL_SYSCONFDIR "/tidemill/tidemill.yaml"
#define CONFIG_PATH_MAX     4200

#endif
