/* SPDX-License-Identifier: Apache-2.0
 *
 * A compiled template in the shared cache.  Its key is a letter for the
 * syntax and the path of its file; its value this record and, behind it, the
 * program.
 */
#ifndef TIDEMILL_GENERATION_TEMPLATE_RECORD_H
#define TIDEMILL_GENERATION_TEMPLATE_RECORD_H

#include <stdalign.h>
#include <stdint.h>

#include "common/generation/file_identity.h"
#include "common/mustache/mustache.h"

#define TEMPLATE_NAME_MAX 200 /* with the NUL */

struct template_record {
    alignas(16) struct file_identity file; /* as it was read */
    uint32_t syntax;                       /* enum mustache_syntax */
    uint32_t load_us; /* to read and compile it */
    char sha256[65];  /* of the file */
};

/* The name of a template: its path without the template directory and
 * without .mustache; another directory's stays in front of it, from the end
 * when it is too long.  Returns name. */
char *template_name(const char *template_dir, const char *path,
                    char name[TEMPLATE_NAME_MAX]);

/* What kind of template it is, as template_cache_metadata has it: node,
 * contract, subcontract, mixin or test. */
const char *template_type(const char *name);

#endif
