/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/node_render.h"

#include "common/generation/mixins.h"

size_t node_sets(enum node_type node_type, uint32_t mixins,
                 const char *folders[NODE_SETS_MAX])
{
    folders[0] = node_type_folder(node_type);
    folders[1] = MIXIN_TEMPLATE_SET;
    return mixins == 0 ? 1 : 2;
}

int node_render(struct template_cache *cache, const char *template_dir,
                const struct contract *contract, struct arena *arena,
                struct output *output, bool *was_hit, struct error *error)
{
    const char *folders[NODE_SETS_MAX];
    size_t count = node_sets(contract->node_type, contract->mixins, folders);
    *was_hit = true;
    for (size_t i = 0; i < count; i++) {
        bool hit;
        const struct template_set *set =
            template_cache_get(cache, template_dir, folders[i], &hit, error);
        if (set == NULL ||
            template_set_render(set, contract, arena, output, error) != 0)
            return -1;
        *was_hit = *was_hit && hit;
    }
    return 0;
}
