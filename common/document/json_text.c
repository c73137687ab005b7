/* SPDX-License-Identifier: Apache-2.0 */
#include "common/document/json_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"

#define ONES  0x0101010101010101u
#define HIGHS 0x8080808080808080u

static uint64_t load_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

/* A high bit for each byte that a string cannot simply hold: '"', '\\' and
 * control characters.  Bytes above such a one may be marked wrongly, so only
 * the lowest mark counts.  (Henry S. Warren, Hacker's Delight, 6-1.) */
static uint64_t find_special(uint64_t word)
{
    uint64_t quote = word ^ (ONES * '"');
    uint64_t slash = word ^ (ONES * '\\');
    return (((quote - ONES) & ~quote) | ((slash - ONES) & ~slash) |
            ((word - ONES * 0x20) & ~word)) &
           HIGHS;
}

static bool is_special(char c)
{
    return c == '"' || c == '\\' || (unsigned char)c < 0x20;
}

/* The first special byte from at, or end.  *high gets bits of bytes seen
 * that are not ASCII. */
static const char *skip_plain(const char *at, const char *end, uint64_t *high)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    while (end - at >= 8) {
        uint64_t word = load_word(at);
        uint64_t special = find_special(word);
        if (special != 0) {
            unsigned bits = (unsigned)__builtin_ctzll(special) & 0x38u;
            *high |= word & HIGHS & ((UINT64_C(1) << bits) - 1);
            return at + bits / 8;
        }
        *high |= word & HIGHS;
        at += 8;
    }
#endif
    for (; at < end && !is_special(*at); at++)
        *high |= (unsigned char)*at & 0x80u;
    return at;
}

struct scanner {
    const char *start;
    const char *at;
    const char *end;
    const char *problem; /* what is wrong at `at` */
};

static bool fail(struct scanner *scanner, const char *at, const char *problem)
{
    scanner->at = at;
    scanner->problem = problem;
    return false;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
           (c >= 'A' && c <= 'F');
}

/* The escape at `at`; its length, or 0. */
static size_t escape_length(const char *at, const char *end)
{
    if (end - at < 2)
        return 0;
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return 2;
    case 'u':
        return end - at >= 6 && is_hex(at[2]) && is_hex(at[3]) &&
                       is_hex(at[4]) && is_hex(at[5])
                   ? 6
                   : 0;
    default:
        return 0;
    }
}

/* From behind the opening quote to behind the closing one. */
static bool scan_string(struct scanner *scanner)
{
    const char *start = scanner->at;
    const char *at = start;
    uint64_t high = 0;
    for (;;) {
        at = skip_plain(at, scanner->end, &high);
        if (at == scanner->end)
            return fail(scanner, start - 1, "a string that is never closed");
        if (*at == '"')
            break;
        size_t length = *at == '\\' ? escape_length(at, scanner->end) : 0;
        if (length == 0)
            return fail(scanner, at,
                        *at == '\\' ? "an unknown escape"
                                    : "a control character in a string");
        at += length;
    }
    if (high != 0 && !text_is_utf8(start, (size_t)(at - start)))
        return fail(scanner, start - 1, "a string that is not UTF-8");
    scanner->at = at + 1;
    return true;
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

static bool scan_number(struct scanner *scanner)
{
    const char *at = scanner->at;
    const char *end = scanner->end;
    if (*at == '-')
        at++;
    const char *after = skip_digits(at, end);
    if (after == at || (*at == '0' && after > at + 1))
        return fail(scanner, scanner->at, "neither a value nor a number");
    at = after;
    if (at < end && *at == '.') {
        after = skip_digits(++at, end);
        if (after == at)
            return fail(scanner, scanner->at, "a number without digits");
        at = after;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        after = skip_digits(at, end);
        if (after == at)
            return fail(scanner, scanner->at, "a number without digits");
        at = after;
    }
    scanner->at = at;
    return true;
}

static bool scan_word(struct scanner *scanner, const char *word, size_t size)
{
    if ((size_t)(scanner->end - scanner->at) < size ||
        memcmp(scanner->at, word, size) != 0)
        return fail(scanner, scanner->at, "an unknown word");
    scanner->at += size;
    return true;
}

static void skip_space(struct scanner *scanner)
{
    const char *at = scanner->at;
    while (at < scanner->end &&
           (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
        at++;
    scanner->at = at;
}

/* Anything but a list or an object. */
static bool scan_scalar(struct scanner *scanner)
{
    if (scanner->at == scanner->end)
        return fail(scanner, scanner->at,
                    "the text ends where a value must "
                    "stand");
    switch (*scanner->at) {
    case '"':
        scanner->at++;
        return scan_string(scanner);
    case 't':
        return scan_word(scanner, "true", 4);
    case 'f':
        return scan_word(scanner, "false", 5);
    case 'n':
        return scan_word(scanner, "null", 4);
    default:
        return scan_number(scanner);
    }
}

static bool scan_key(struct scanner *scanner)
{
    if (scanner->at == scanner->end || *scanner->at != '"')
        return fail(scanner, scanner->at, "no key in double quotes");
    scanner->at++;
    if (!scan_string(scanner))
        return false;
    skip_space(scanner);
    if (scanner->at == scanner->end || *scanner->at != ':')
        return fail(scanner, scanner->at, "no ':' after a key");
    scanner->at++;
    skip_space(scanner);
    return true;
}

/* The closing brackets that are awaited. */
struct nesting {
    unsigned depth;
    char closing[JSON_TEXT_DEPTH_MAX];
};

/* Opens lists and objects as long as values begin with one; *empty is set
 * when the last had nothing in it. */
static bool scan_openings(struct scanner *scanner, struct nesting *nesting,
                          bool *empty)
{
    *empty = false;
    while (scanner->at < scanner->end &&
           (*scanner->at == '{' || *scanner->at == '[')) {
        if (nesting->depth == JSON_TEXT_DEPTH_MAX)
            return fail(scanner, scanner->at, "nested too deep");
        char closing = *scanner->at == '{' ? '}' : ']';
        nesting->closing[nesting->depth++] = closing;
        scanner->at++;
        skip_space(scanner);
        if (scanner->at < scanner->end && *scanner->at == closing) {
            *empty = true;
            return true;
        }
        if (closing == '}' && !scan_key(scanner))
            return false;
    }
    return true;
}

/* Behind a value: closes what ends, up to the next value or the end. */
static bool scan_closings(struct scanner *scanner, struct nesting *nesting)
{
    for (;;) {
        skip_space(scanner);
        if (nesting->depth == 0)
            return true;
        char closing = nesting->closing[nesting->depth - 1];
        if (scanner->at == scanner->end)
            return fail(scanner, scanner->at,
                        closing == '}' ? "an object that is never closed"
                                       : "a list that is never closed");
        if (*scanner->at == ',') {
            scanner->at++;
            skip_space(scanner);
            return closing == ']' || scan_key(scanner);
        }
        if (*scanner->at != closing)
            return fail(scanner, scanner->at,
                        closing == '}' ? "neither ',' nor '}'"
                                       : "neither ',' nor ']'");
        scanner->at++;
        nesting->depth--;
    }
}

static bool scan_text(struct scanner *scanner)
{
    struct nesting nesting;
    nesting.depth = 0;
    skip_space(scanner);
    do {
        bool empty;
        if (!scan_openings(scanner, &nesting, &empty))
            return false;
        if (!empty && !scan_scalar(scanner))
            return false;
        if (!scan_closings(scanner, &nesting))
            return false;
    } while (nesting.depth > 0);
    if (scanner->at != scanner->end)
        return fail(scanner, scanner->at, "more text after the value");
    return true;
}

bool json_text_valid(const char *text, size_t size, struct error *error)
{
    struct scanner scanner = {.start = text, .at = text, .end = text + size};
    if (scan_text(&scanner))
        return true;
    error_set(error, ERROR_DATA, "invalid JSON at byte %zu: %s",
              (size_t)(scanner.at - text) + 1, scanner.problem);
    return false;
}

bool json_text_is_object(const char *text, size_t size)
{
    struct scanner scanner = {.at = text, .end = text + size};
    skip_space(&scanner);
    return scanner.at < scanner.end && *scanner.at == '{';
}
