/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the configuration share: a file in a folder of its own.
 */
#ifndef TIDEMILL_TESTS_CONFIG_FIXTURE_H
#define TIDEMILL_TESTS_CONFIG_FIXTURE_H

#include "common/config/config.h"

extern char config_directory[];
extern char config_file[];
extern struct buffer config_errors; /* of the last load */

/* For cmocka: make the folder, and remove it with the file. */
int config_setup(void **state);
int config_teardown(void **state);

void config_write(const char *path, const char *bytes, size_t size);

/* Loads the text (NULL: no file) with an environment and overrides, which
 * may be NULL.  NULL and config_errors when it is refused. */
struct config *config_try(const char *text, const char **environment,
                          const char *const *overrides);

/* As config_try, but the test fails when it is refused. */
struct config *config_must_load(const char *text);

#endif
