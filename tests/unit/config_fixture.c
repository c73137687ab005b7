/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

char config_directory[] = "/tmp/test_config.XXXXXX";
char config_file[64];
struct buffer config_errors;

int config_setup(void **state)
{
    (void)state;
    if (mkdtemp(config_directory) == NULL)
        return -1;
    snprintf(config_file, sizeof(config_file), "%s/t.yaml", config_directory);
    buffer_init(&config_errors, 1 << 20);
    return 0;
}

int config_teardown(void **state)
{
    (void)state;
    unlink(config_file);
    rmdir(config_directory);
    buffer_deinit(&config_errors);
    return 0;
}

void config_write(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Loads the text as a file, with an environment and overrides. */
struct config *config_try(const char *text, const char **environment,
                          const char *const *overrides)
{
    buffer_reset(&config_errors);
    if (config_errors.bytes != NULL)
        config_errors.bytes[0] = '\0';
    if (text != NULL)
        config_write(config_file, text, strlen(text));
    const struct config_request request = {.path = text ? config_file : NULL,
                                           .overrides = overrides,
                                           .environment =
                                               (char **)(void *)environment};
    return config_load(&request, &config_errors);
}

struct config *config_must_load(const char *text)
{
    if (text != NULL && text[0] == '\0')
        text = "# defaults\n"; /* an empty file is refused */
    struct config *config = config_try(text, NULL, NULL);
    if (config == NULL)
        fail_msg("%s", config_errors.bytes);
    return config;
}
