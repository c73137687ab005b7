/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int status;
    const char *words;
} error_codes[] = {
#define X(name, status, words) {status, words},
    ERROR_CODE_LIST(X)
#undef X
};

void error_clear(struct error *error)
{
    error->code = ERROR_NONE;
    error->text[0] = '\0';
}

__attribute__((format(printf, 2, 0))) static void
format_text(char *text, const char *format, va_list args)
{
    int n = vsnprintf(text, ERROR_TEXT_MAX, format, args);
    if (n >= ERROR_TEXT_MAX)
        memcpy(text + ERROR_TEXT_MAX - 4, "...", 4);
}

int error_set(struct error *error, enum error_code code, const char *format,
              ...)
{
    if (error == NULL)
        return -1;
    int saved = errno;
    va_list args;
    va_start(args, format);
    error->code = code;
    format_text(error->text, format, args);
    va_end(args);
    errno = saved;
    return -1;
}

int error_set_errno(struct error *error, enum error_code code,
                    const char *format, ...)
{
    if (error == NULL)
        return -1;
    int saved = errno;
    char what[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    format_text(what, format, args);
    va_end(args);
    if (saved == ENOSPC || saved == EDQUOT)
        code = ERROR_FULL;
    error_set(error, code, "%.800s: %s", what, strerror(saved));
    errno = saved;
    return -1;
}

int error_prefix(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return -1;
    char prefix[ERROR_TEXT_MAX];
    char old[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    format_text(prefix, format, args);
    va_end(args);
    memcpy(old, error->text, sizeof(old));
    return error_set(error, error->code, "%s: %s", prefix, old);
}

int error_exit_status(enum error_code code)
{
    return code < ERROR_CODE_COUNT ? error_codes[code].status : 70;
}

enum error_code error_code_of_status(int status)
{
    for (int code = 0; code < ERROR_CODE_COUNT; code++)
        if (error_codes[code].status == status)
            return (enum error_code)code;
    return ERROR_SOFTWARE;
}

const char *error_code_words(enum error_code code)
{
    return code < ERROR_CODE_COUNT ? error_codes[code].words : "unknown error";
}
