/* SPDX-License-Identifier: Apache-2.0
 *
 * generate --dry-run and --diff: what would happen, found out here, without
 * the daemon; nothing is written.
 */
#ifndef TIDEMILL_CTL_GENERATE_PREVIEW_H
#define TIDEMILL_CTL_GENERATE_PREVIEW_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct mixin_warnings;

struct preview {
    const char *output; /* absolute */
    const char *template_dir;
    bool force, merge;
    bool diff; /* unified diffs, for patch -p0 in the output directory */
    bool json;
    const struct mixin_warnings *warnings;
    json_t *requirements; /* a list (contract_input.h) */
};

/* Of contracts that were checked; returns the exit status: 1 when a merge
 * would have conflicts. */
int preview_contracts(const struct preview *preview, char **paths,
                      size_t count);

#endif
