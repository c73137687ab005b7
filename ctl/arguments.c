/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/arguments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buffer.h"
#include "common/config/option_table.h"
#include "ctl/print.h"

int take_no_arguments(const struct command_context *context, int argc,
                      char **argv)
{
    return argc > 1 ? print_usage(context, "unexpected argument: %s", argv[1])
                    : 0;
}

int64_t parse_positive(const char *text)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && number > 0 ? number : 0;
}

int64_t parse_duration_ms(const char *text)
{
    const struct option option = {
        .path = "", .type = OPTION_DURATION, .maximum = INT64_MAX};
    union option_value value = {0};
    struct buffer why;
    buffer_init(&why, 1000);
    int result = option_parse(&option, text, &value, &why);
    buffer_deinit(&why);
    return result == 0 ? value.integer : 0;
}

const char *report_text(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text != NULL ? text : "-";
}

long long report_number(const json_t *row, const char *key)
{
    return (long long)json_integer_value(json_object_get(row, key));
}

int argument_path(const char *path, char out[PATH_MAX], struct error *error)
{
    char here[PATH_MAX];
    int size;
    if (path[0] == '/')
        size = snprintf(out, PATH_MAX, "%s", path);
    else if (getcwd(here, sizeof(here)) == NULL)
        return error_set_errno(error, ERROR_SYSTEM,
                               "cannot tell the current directory");
    else if (strcmp(path, ".") == 0)
        size = snprintf(out, PATH_MAX, "%s", here);
    else
        size = snprintf(out, PATH_MAX, "%s/%s", here, path);
    if (size >= PATH_MAX)
        return error_set(error, ERROR_USAGE, "%.100s... is too long a path",
                         path);
    return 0;
}
