/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/wire.h"

#include <string.h>

#include "common/ipc/frame.h"

#define SIZE_FIELD_BYTES 4u
#define HEAD_BYTES       (SIZE_FIELD_BYTES + 1u + 8u)
#define CALL_BYTES_MIN   3u  /* statement, number of arguments */
#define RESULT_BYTES_MIN 14u /* changed, columns, rows */

struct value value_text(const char *text)
{
    return text == NULL ? value_null() : value_text_sized(text, strlen(text));
}

/* --- encoding --- */

/* Starts a frame; the result is where it starts. */
static size_t frame_begin(struct buffer *out, enum wire_kind kind,
                          uint64_t number)
{
    size_t start = out->size;
    frame_put_u32(out, 0);
    frame_put_u8(out, (uint8_t)kind);
    frame_put_u64(out, number);
    return start;
}

/* Fills in the size.  A frame that does not fit leaves no bytes behind. */
static void frame_end(struct buffer *out, size_t start)
{
    size_t size = out->size - start;
    if (!out->failed && size > WIRE_FRAME_MAX)
        out->failed = true;
    if (out->failed) {
        out->size = start;
        return;
    }
    uint32_t follows = (uint32_t)(size - SIZE_FIELD_BYTES);
    for (unsigned i = 0; i < SIZE_FIELD_BYTES; i++)
        out->bytes[start + i] = (char)(unsigned char)(follows >> (8 * i));
}

static void put_value(struct buffer *out, const struct value *value)
{
    frame_put_u8(out, (uint8_t)value->type);
    switch (value->type) {
    case VALUE_NULL:
        break;
    case VALUE_INTEGER:
        frame_put_i64(out, value->integer);
        break;
    case VALUE_REAL:
        frame_put_real(out, value->real);
        break;
    case VALUE_TEXT:
    case VALUE_BYTES:
        if (value->size > WIRE_FRAME_MAX)
            out->failed = true;
        else
            frame_put_bytes(out, value->bytes, value->size);
        break;
    default:
        out->failed = true;
    }
}

void wire_put_request(struct buffer *out, uint64_t number,
                      const struct store_request *request)
{
    size_t start = frame_begin(out, WIRE_REQUEST, number);
    frame_put_u8(out, WIRE_VERSION);
    if (request->call_count > WIRE_CALLS_MAX)
        out->failed = true;
    else
        frame_put_u16(out, (uint16_t)request->call_count);
    for (size_t i = 0; i < request->call_count && !out->failed; i++) {
        const struct store_call *call = &request->calls[i];
        frame_put_u16(out, (uint16_t)call->statement);
        if (call->argument_count > WIRE_ARGUMENTS_MAX) {
            out->failed = true;
            break;
        }
        frame_put_u8(out, (uint8_t)call->argument_count);
        for (unsigned a = 0; a < call->argument_count; a++)
            put_value(out, &call->arguments[a]);
    }
    frame_end(out, start);
}

static void put_result(struct buffer *out, const struct store_result *result)
{
    frame_put_i64(out, result->changed);
    if (result->columns > UINT16_MAX || result->rows > UINT32_MAX) {
        out->failed = true;
        return;
    }
    frame_put_u16(out, (uint16_t)result->columns);
    frame_put_u32(out, (uint32_t)result->rows);
    size_t count = result->rows * result->columns;
    for (size_t v = 0; v < count && !out->failed; v++)
        put_value(out, &result->values[v]);
}

void wire_put_answer(struct buffer *out, uint64_t number,
                     const struct store_answer *answer)
{
    const char *text = answer->text != NULL ? answer->text : "";
    size_t start = frame_begin(out, WIRE_ANSWER, number);
    frame_put_u8(out, (uint8_t)answer->code);
    frame_put_bytes(out, text, strlen(text) + 1);
    if (answer->result_count > WIRE_CALLS_MAX)
        out->failed = true;
    else
        frame_put_u16(out, (uint16_t)answer->result_count);
    for (size_t i = 0; i < answer->result_count && !out->failed; i++)
        put_result(out, &answer->results[i]);
    frame_end(out, start);
}

void wire_put_subscribe(struct buffer *out, uint32_t topics)
{
    size_t start = frame_begin(out, WIRE_SUBSCRIBE, 0);
    frame_put_u32(out, topics);
    frame_end(out, start);
}

void wire_put_notify(struct buffer *out, uint64_t number, uint32_t topics)
{
    size_t start = frame_begin(out, WIRE_NOTIFY, number);
    frame_put_u32(out, topics);
    frame_end(out, start);
}

/* --- decoding --- */

int64_t wire_frame_size(const void *bytes, size_t size)
{
    if (size < SIZE_FIELD_BYTES)
        return 0;
    struct frame_reader in;
    frame_reader_init(&in, bytes, SIZE_FIELD_BYTES);
    size_t whole = (size_t)frame_get_u32(&in) + SIZE_FIELD_BYTES;
    if (whole > WIRE_FRAME_MAX || whole < HEAD_BYTES)
        return -1;
    return size < whole ? 0 : (int64_t)whole;
}

static size_t bytes_left(const struct frame_reader *in)
{
    return in->failed ? 0 : (size_t)(in->end - in->at);
}

static void get_value(struct frame_reader *in, struct value *value)
{
    *value = value_null();
    uint8_t type = frame_get_u8(in);
    switch (type) {
    case VALUE_NULL:
        return;
    case VALUE_INTEGER:
        value->integer = frame_get_i64(in);
        break;
    case VALUE_REAL:
        value->real = frame_get_real(in);
        break;
    case VALUE_TEXT:
    case VALUE_BYTES:
        value->bytes = frame_get_bytes(in, &value->size);
        break;
    default:
        in->failed = true;
        return;
    }
    value->type = (enum value_type)type;
}

static void get_call(struct frame_reader *in, struct store_call *call)
{
    uint16_t statement = frame_get_u16(in);
    uint8_t count = frame_get_u8(in);
    if (statement >= STATEMENT_COUNT || count > WIRE_ARGUMENTS_MAX) {
        in->failed = true;
        return;
    }
    call->statement = (enum statement)statement;
    call->argument_count = count;
    for (unsigned a = 0; a < count && !in->failed; a++)
        get_value(in, &call->arguments[a]);
}

static void get_request(struct frame_reader *in, struct arena *arena,
                        struct store_request *request)
{
    uint8_t version = frame_get_u8(in);
    size_t count = frame_get_u16(in);
    /* A call takes more memory than bytes: never trust a count that the
     * bytes behind it cannot fill. */
    if (version != WIRE_VERSION || count == 0 || count > WIRE_CALLS_MAX ||
        count > bytes_left(in) / CALL_BYTES_MIN) {
        in->failed = true;
        return;
    }
    request->calls = arena_alloc(arena, count * sizeof(*request->calls));
    if (request->calls == NULL) {
        in->failed = true;
        return;
    }
    request->call_count = count;
    for (size_t i = 0; i < count && !in->failed; i++)
        get_call(in, &request->calls[i]);
}

static void get_result(struct frame_reader *in, struct arena *arena,
                       struct store_result *result)
{
    result->changed = frame_get_i64(in);
    result->columns = frame_get_u16(in);
    result->rows = frame_get_u32(in);
    if (result->columns == 0 && result->rows != 0)
        in->failed = true;
    if (in->failed || result->rows == 0)
        return;
    if (result->rows > bytes_left(in) / result->columns) {
        in->failed = true;
        return;
    }
    size_t count = result->rows * result->columns;
    result->values = arena_alloc(arena, count * sizeof(*result->values));
    if (result->values == NULL) {
        in->failed = true;
        return;
    }
    for (size_t v = 0; v < count && !in->failed; v++)
        get_value(in, &result->values[v]);
}

static void get_answer(struct frame_reader *in, struct arena *arena,
                       struct store_answer *answer)
{
    uint8_t code = frame_get_u8(in);
    size_t size = 0;
    const char *text = frame_get_bytes(in, &size);
    size_t count = frame_get_u16(in);
    if (in->failed || code >= ERROR_CODE_COUNT || size == 0 ||
        text[size - 1] != '\0' || count > WIRE_CALLS_MAX ||
        count > bytes_left(in) / RESULT_BYTES_MIN) {
        in->failed = true;
        return;
    }
    answer->code = (enum error_code)code;
    answer->text = text;
    if (count == 0)
        return;
    answer->results = arena_calloc(arena, count, sizeof(*answer->results));
    if (answer->results == NULL) {
        in->failed = true;
        return;
    }
    answer->result_count = count;
    for (size_t i = 0; i < count && !in->failed; i++)
        get_result(in, arena, &answer->results[i]);
}

int wire_parse(const void *frame, size_t size, struct arena *arena,
               struct wire_frame *parsed, struct error *error)
{
    memset(parsed, 0, sizeof(*parsed));
    int64_t whole = wire_frame_size(frame, size);
    if (whole < 0 || (size_t)whole != size)
        return error_set(error, ERROR_PROTOCOL,
                         "a frame of %zu bytes says another size", size);
    struct frame_reader in;
    frame_reader_init(&in, frame, size);
    frame_get_u32(&in);
    uint8_t kind = frame_get_u8(&in);
    parsed->number = frame_get_u64(&in);
    switch (kind) {
    case WIRE_REQUEST:
        get_request(&in, arena, &parsed->request);
        break;
    case WIRE_SUBSCRIBE:
    case WIRE_NOTIFY:
        parsed->topics = frame_get_u32(&in);
        break;
    case WIRE_ANSWER:
        get_answer(&in, arena, &parsed->answer);
        break;
    default:
        return error_set(error, ERROR_PROTOCOL,
                         "a frame is of the unknown kind %u", kind);
    }
    parsed->kind = (enum wire_kind)kind;
    if (!frame_reader_done(&in))
        return error_set(error, ERROR_PROTOCOL,
                         "a frame of kind %u and %zu bytes is malformed, of "
                         "another version, or needs too much memory",
                         kind, size);
    return 0;
}
