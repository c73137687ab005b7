/* SPDX-License-Identifier: Apache-2.0
 *
 * One execution: what its parts share.
 */
#ifndef TIDEMILL_MUSTACHE_EXECUTE_H
#define TIDEMILL_MUSTACHE_EXECUTE_H

#include "common/base/arena.h"
#include "common/mustache/program.h"

/* What it counts to ask for a partial by a name from the data: perhaps a
 * file is looked for. */
#define EXECUTION_RESOLVE_STEPS 256

/* Sections within each other, over all partials. */
#define EXECUTION_SECTION_MAX 1024

/* Memory for slots beyond the first scratch. */
#define EXECUTION_MEMORY_MAX (64u << 20)
#define EXECUTION_SCRATCH    (24u << 10)

/* An item on the context stack.  Each has a stamp of its own, never used
 * again in this execution: it tells which slots hold good. */
struct context {
    const struct node *node;
    const struct context *up;
    uint64_t stamp;
};

/* What a name of a program means in one context.  A slot whose stamp is the
 * current context's is right; the others are looked up anew.  Short values
 * are kept in the slot itself, so that they can be copied at one stroke. */
struct slot {
    uint64_t stamp;
    const struct node *node; /* NULL: undefined */
    const char *text;
    uint32_t size;
    uint32_t bits; /* PAIR_... */
    char head[PROGRAM_SLACK];
};

/* A program in use, with its slots; a recursive one is in use once, since
 * stamps keep its calls apart. */
struct unit {
    const struct mustache_program *program;
    struct slot *slots;
    struct unit **partials; /* NULL: not asked for yet */
    struct unit *next;
};

/* What stands before every line of a partial. */
struct indentation {
    const struct indentation *up;
    const char *text;
    uint32_t size;
};

/* What a parent's tag gives to the template that it names.  `up` was given
 * to the template that has the tag, and comes first. */
struct arguments {
    const struct arguments *up;
    const struct call *call; /* that has the tag */
    uint32_t parent;         /* the tag's instruction */
};

/* A program being executed, or an argument of one, for the chain in
 * messages. */
struct call {
    struct unit *unit;
    const struct call *up;
    struct program_place from; /* the tag in `up` */
    const struct indentation *indentation;
    const struct arguments *arguments;
    unsigned depth;
};

/* Big maps get an index of their keys once they were searched often. */
#define MAP_INDEX_COUNT_MIN   32
#define MAP_INDEX_SEARCHES    8
#define MAP_INDEX_MEMORY_MAX  (16u << 20)
#define MAP_INDEX_SLOTS       16

struct map_index {
    const struct node *map;
    const struct node **buckets; /* NULL: none yet; open addressing */
    uint32_t bucket_count;       /* a power of two */
    uint32_t searches;
};

struct execution {
    const struct mustache_options *options;
    struct buffer *out;
    char *at;        /* the next byte of the output */
    const char *end; /* never written at or behind */
    size_t output_end; /* greatest size of out */
    uint64_t stamps;   /* given so far */
    uint64_t steps, steps_max;
    unsigned sections; /* within each other now */
    size_t inline_at;  /* where the output goes on in the middle of a line */
    struct unit *units;
    struct unit missing; /* stands for a partial that there is not */
    struct map_index indexes[MAP_INDEX_SLOTS];
    size_t index_memory;
    struct arena arena;
    struct error *error;
    size_t scratch_used;
    _Alignas(64) char scratch[EXECUTION_SCRATCH];
};

/* Says where: program, place and the chain of partials. Returns -1. */
int execution_fail(struct execution *x, const struct call *call,
                   struct program_place place, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Too much output, or too many steps. */
int execution_fail_output(struct execution *x, const struct call *call,
                          struct program_place place);
int execution_fail_steps(struct execution *x, const struct call *call,
                         struct program_place place);

/* Counts; 0, or -1: too many. */
static inline int execution_step(struct execution *x, const struct call *call,
                                 struct program_place place, uint64_t steps)
{
    x->steps += steps;
    return x->steps <= x->steps_max
               ? 0
               : execution_fail_steps(x, call, place);
}

/* One more section, or what is like one, within others; 0, or -1: too many.
 * x->sections goes down again at its end. */
int execution_enter(struct execution *x, const struct call *call,
                    struct program_place place);

/* Runs the instructions from begin up to end. */
int execution_run(struct execution *x, const struct call *call, uint32_t begin,
                  uint32_t end, const struct context *context);

/* The slots of a program in this execution; NULL: no memory. */
struct unit *unit_new(struct execution *x,
                      const struct mustache_program *program);

/* Tags that other templates take part in (include.c). */
int run_partial(struct execution *x, const struct call *call,
                const struct program_instruction *instruction,
                const struct context *context);
int run_parent(struct execution *x, const struct call *call, uint32_t index,
               const struct context *context);
int run_block(struct execution *x, const struct call *call, uint32_t index,
              const struct context *context);

/* Memory until the execution ends; NULL past the bound. */
void *execution_alloc(struct execution *x, size_t size);

/* Makes the slot of a path right for the context.  0, or -1: too many
 * steps, or undefined and strict.  A lambda's name may be undefined where a
 * section asks. */
int slot_fill(struct execution *x, const struct call *call, uint32_t path,
              const struct context *context, struct program_place place,
              bool for_section);

#endif
