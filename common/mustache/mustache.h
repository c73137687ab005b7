/* SPDX-License-Identifier: Apache-2.0
 *
 * The template engine: Mustache (the core modules of the public
 * specification, https://github.com/mustache/spec, version 1.4), compiled
 * once into a flat program that holds no pointers, then executed.
 * Besides, of its optional modules: inheritance ({{<parent}}, {{$block}}),
 * dynamic names ({{>*name}}), lambdas that are built in (lambda.h); and a
 * leading dot ({{.name}}), which looks in the innermost context only.
 *
 * Numbers and strings print as they were written.  False, null, an empty
 * list and an undefined name are falsy; "" and 0 are not.
 *
 * A program is one block of bytes: it can be copied, kept in shared memory
 * and run by any process.  Partials are programs of their own, found at
 * execution through a resolver.
 */
#ifndef TIDEMILL_MUSTACHE_MUSTACHE_H
#define TIDEMILL_MUSTACHE_MUSTACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/document/document.h"

enum mustache_escape {
    MUSTACHE_ESCAPE_NONE,
    MUSTACHE_ESCAPE_HTML,
    MUSTACHE_ESCAPE_JSON,
    MUSTACHE_ESCAPE_C,
    MUSTACHE_ESCAPE_SQL,
};

/* "none", "html", "json", "c", "sql"; -1 when unknown. */
int mustache_escape_parse(const char *text, enum mustache_escape *escape);

/* How a template is written: in Mustache, or as text with placeholders
 * {UPPER_SNAKE} (letters A to Z and _), which are replaced one name after the
 * other in the order of the data; unknown ones and all other braces stay. */
enum mustache_syntax {
    MUSTACHE_SYNTAX_MUSTACHE,
    MUSTACHE_SYNTAX_PLACEHOLDER,
};

/* "mustache", "placeholder"; -1 when unknown. */
int mustache_syntax_parse(const char *text, enum mustache_syntax *syntax);

#define MUSTACHE_PARTIAL_DEPTH_MAX 64
#define MUSTACHE_SECTION_DEPTH_MAX 128
#define MUSTACHE_TEMPLATE_MAX      (4u << 20)
#define MUSTACHE_OUTPUT_MAX        (64u << 20)

/* What all maps that were searched, items that were visited and pieces that
 * were written may add up to: a template that writes nothing still ends,
 * after a second or two. */
#define MUSTACHE_STEPS_MAX (1u << 27)

struct mustache_program; /* flat: mustache_program_size bytes */

/* Compiles a template.  name is for messages and stays in the program.
 * Errors: "NAME:LINE:COLUMN: what; what to do" with ERROR_DATA.  The result
 * is one malloc'ed block; free it with mustache_program_free. */
struct mustache_program *mustache_compile(enum mustache_syntax syntax,
                                          const char *name, const char *text,
                                          size_t size, struct error *error);
void mustache_program_free(struct mustache_program **program);
size_t mustache_program_size(const struct mustache_program *program);

/* Is this block of bytes (from shared memory, say) a whole program of this
 * version whose offsets all lie within it? */
bool mustache_program_valid(const void *bytes, size_t size);

/* Finds a partial by name: the program, or NULL.  A NULL with error->code
 * ERROR_NONE means that there is none: it renders as nothing, or with
 * strict is an error.  The program must live until the execution ends. */
typedef const struct mustache_program *(*mustache_resolver)(
    void *context, const char *name, size_t name_size, struct error *error);

struct mustache_options {
    enum mustache_escape escape; /* of {{name}}; {{{name}}} is never escaped */
    bool strict; /* an undefined name is an error, in sections and for
                    partials too, and so is a list or map as a value */
    mustache_resolver resolver;  /* may be NULL: no partials */
    void *resolver_context;
    size_t output_max;           /* 0: MUSTACHE_OUTPUT_MAX */
    uint64_t steps_max;          /* 0: MUSTACHE_STEPS_MAX */
};

/* Renders into `out` (appended).  Errors: ERROR_DATA with template name,
 * line, column and the chain of partials.  On an error `out` has a part of
 * the output.
 * Bounded in time by a count of steps, in memory by output_max;
 * re-entrant: program and data are only read.  The program must be
 * whole: mustache_compile's, or mustache_program_valid. */
int mustache_execute(const struct mustache_program *program,
                     const struct node *data,
                     const struct mustache_options *options,
                     struct buffer *out, struct error *error);

/* A resolver over a directory: the partial NAME is DIR/NAME.mustache.
 * Names that leave the directory are refused.  Compiled partials are kept
 * until it is freed; at most 10,000. */
struct mustache_directory;
struct mustache_directory *mustache_directory_new(const char *path,
                                                  struct error *error);
void mustache_directory_free(struct mustache_directory **directory);
const struct mustache_program *mustache_directory_resolve(
    void *directory, const char *name, size_t name_size, struct error *error);

#endif
