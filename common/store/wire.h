/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests to the store and its answers, as values and as bytes.
 *
 * Over store.sock (a stream), each way: u32 size of what follows, u8 kind,
 * u64 number, then
 *   REQUEST   u8 version, u16 calls, each: u16 statement, u8 arguments,
 *             each: u8 type and its value
 *   SUBSCRIBE u32 topics (bits)
 *   ANSWER    u8 enum error_code, text, u16 results, each: i64 changed,
 *             u16 columns, u32 rows, and the values
 *   NOTIFY    u32 topics; number counts up
 */
#ifndef TIDEMILL_STORE_WIRE_H
#define TIDEMILL_STORE_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/store/statements.h"

#define WIRE_VERSION       1
#define WIRE_FRAME_MAX     (16u << 20) /* bytes of a frame */
#define WIRE_CALLS_MAX     60000
#define WIRE_ARGUMENTS_MAX 12

enum wire_kind { WIRE_REQUEST = 1, WIRE_SUBSCRIBE, WIRE_ANSWER, WIRE_NOTIFY };

/* What the store tells subscribers of, as soon as it is committed. */
#define TOPIC_LIST(X)                                                          \
    X(OUTBOX, "operations were appended")                                      \
    X(URGENT, "an urgent operation was appended")                              \
    X(SETTLED, "a batch was settled")                                          \
    X(JOB_QUEUED, "a job can be claimed")                                      \
    X(JOB_OVER, "a job is done, failed or cancelled")                          \
    X(JOB_CANCEL, "a job that runs is to be cancelled")

enum topic_number {
#define X(name, words) TOPIC_NUMBER_##name,
    TOPIC_LIST(X)
#undef X
        TOPIC_COUNT
};

enum topic {
#define X(name, words) TOPIC_##name = 1 << TOPIC_NUMBER_##name,
    TOPIC_LIST(X)
#undef X
};

enum value_type { VALUE_NULL, VALUE_INTEGER, VALUE_REAL, VALUE_TEXT, VALUE_BYTES };

struct value {
    enum value_type type;
    int64_t integer;
    double real;
    const char *bytes; /* of TEXT and BYTES; not owned; no NUL promised */
    size_t size;
};

static inline struct value value_null(void)
{
    return (struct value){.type = VALUE_NULL};
}

static inline struct value value_integer(int64_t integer)
{
    return (struct value){.type = VALUE_INTEGER, .integer = integer};
}

static inline struct value value_text_sized(const char *text, size_t size)
{
    return (struct value){.type = VALUE_TEXT, .bytes = text, .size = size};
}

/* NULL gives a null value. */
struct value value_text(const char *text);

struct store_call {
    enum statement statement;
    unsigned argument_count;
    struct value arguments[WIRE_ARGUMENTS_MAX];
};

struct store_request {
    struct store_call *calls;
    size_t call_count;
};

/* One for each call, in their order. */
struct store_result {
    int64_t changed;   /* rows changed, or the id that was made */
    unsigned columns;
    size_t rows;
    struct value *values; /* rows * columns */
};

struct store_answer {
    enum error_code code; /* ERROR_NONE: committed */
    const char *text;     /* the error's words, else "" */
    struct store_result *results;
    size_t result_count;
};

/* Encoding appends a whole frame with its size. A failed buffer means that
 * it does not fit. */
void wire_put_request(struct buffer *out, uint64_t number,
                      const struct store_request *request);
void wire_put_answer(struct buffer *out, uint64_t number,
                     const struct store_answer *answer);
void wire_put_subscribe(struct buffer *out, uint32_t topics);
void wire_put_notify(struct buffer *out, uint64_t number, uint32_t topics);

/* A frame taken apart; texts and bytes point into the frame, arrays are in
 * the arena. */
struct wire_frame {
    enum wire_kind kind;
    uint64_t number;
    uint32_t topics;              /* SUBSCRIBE, NOTIFY */
    struct store_request request; /* REQUEST */
    struct store_answer answer;   /* ANSWER */
};

/* Bytes of the first whole frame in `bytes` (its size field included); 0
 * when more is needed; -1 when the size is past WIRE_FRAME_MAX. */
int64_t wire_frame_size(const void *bytes, size_t size);

/* Takes one whole frame apart; checks version, kind, counts, and that
 * nothing is left over.  ERROR_PROTOCOL otherwise. */
int wire_parse(const void *frame, size_t size, struct arena *arena,
               struct wire_frame *parsed, struct error *error);

#endif
