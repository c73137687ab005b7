/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors as values.  A function that can fail returns 0 or -1 and fills the
 * caller's struct error: a code that decides what happens next, and a text
 * for a person: what was tried, on what, why it failed, what to do.
 */
#ifndef TIDEMILL_BASE_ERROR_H
#define TIDEMILL_BASE_ERROR_H

#include <stdbool.h>

/* One list: name, exit status of a command that ends with it, words.
 * Exit statuses are those of sysexits.h. */
#define ERROR_CODE_LIST(X)                                                     \
    X(NONE, 0, "no error")                                                     \
    X(NEGATIVE, 1, "negative answer")                                          \
    X(USAGE, 64, "wrong usage")                                                \
    X(DATA, 65, "bad input data")                                              \
    X(NO_INPUT, 66, "input cannot be read")                                    \
    X(NOT_RUNNING, 69, "daemon not running")                                   \
    X(SOFTWARE, 70, "internal error")                                          \
    X(SYSTEM, 71, "system error")                                              \
    X(CANT_CREATE, 73, "output cannot be written")                             \
    X(IO, 74, "input/output error")                                            \
    X(TRY_AGAIN, 75, "try again later")                                        \
    X(FULL, 75, "no space left")                                               \
    X(PROTOCOL, 76, "protocol violated")                                       \
    X(NOT_ALLOWED, 77, "not allowed")                                          \
    X(CONFIG, 78, "bad configuration")                                         \
    X(DAMAGED, 74, "the local store is damaged")

enum error_code {
#define X(name, status, words) ERROR_##name,
    ERROR_CODE_LIST(X)
#undef X
        ERROR_CODE_COUNT
};

#define ERROR_TEXT_MAX 1024

struct error {
    enum error_code code;
    char text[ERROR_TEXT_MAX]; /* cut with "..." when longer */
};

/* Forgets an earlier error. */
void error_clear(struct error *error);

/* Fills error (which may be NULL) and returns -1, so that a caller can
 * write `return error_set(...)`.  errno is left as it was. */
int error_set(struct error *error, enum error_code code, const char *format,
              ...) __attribute__((format(printf, 3, 4)));

/* As error_set, with ": " and the words for errno at the end.  ENOSPC and
 * EDQUOT turn the code into ERROR_FULL. */
int error_set_errno(struct error *error, enum error_code code,
                    const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text of an error already set; returns -1. */
int error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The exit status and the words of a code. */
int error_exit_status(enum error_code code);

/* A code with that exit status; ERROR_SOFTWARE when there is none. */
enum error_code error_code_of_status(int status);

const char *error_code_words(enum error_code code);

#endif
