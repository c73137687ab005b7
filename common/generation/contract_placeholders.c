/* SPDX-License-Identifier: Apache-2.0
 *
 * What templates with placeholders know of a contract.
 */
#include "common/generation/contract.h"
#include "common/generation/mixins.h"
#include "common/generation/names.h"
#include "common/generation/tree.h"

#define LISTED_MAX 3 /* features, and operations, of those in a list */

/* "- TEXT", a line each. */
static void put_item(struct buffer *list, const char *text)
{
    if (text != NULL)
        buffer_printf(list, "%s- %s", list->size == 0 ? "" : "\n", text);
}

static void add_list(struct tree *tree, struct node *root, const char *key,
                     struct buffer *list)
{
    if (list->failed)
        tree->failed = true;
    else
        tree_add_text(tree, root, key, list->size == 0 ? "" : list->bytes);
    buffer_deinit(list);
}

static void add_features(struct tree *tree, struct node *root,
                         const struct contract *contract)
{
    const struct node *features = document_get(contract->root, "features");
    const struct node *at = features == NULL ? NULL : features->first;
    struct buffer list;
    buffer_init(&list, 1u << 20);
    for (unsigned i = 0; at != NULL && i < LISTED_MAX; i++, at = at->next)
        put_item(&list, name_to_sentence(tree->arena, at->text));
    add_list(tree, root, "FEATURES", &list);
}

static void add_operations(struct tree *tree, struct node *root,
                           const struct contract *contract)
{
    struct buffer list;
    buffer_init(&list, 1u << 20);
    for (size_t i = 0; i < contract->operation_count && i < LISTED_MAX; i++)
        put_item(&list, contract->operations[i].name);
    add_list(tree, root, "OPERATIONS", &list);
}

/* For a class of Python: its import lines, what is between the parentheses
 * behind its name, and a line for its constructor. */
static void add_mixins(struct tree *tree, struct node *root,
                       const struct contract *contract)
{
    struct buffer imports, classes;
    buffer_init(&imports, 1u << 16);
    buffer_init(&classes, 1u << 16);
    for (int i = 0; i < MIXIN_COUNT; i++) {
        const struct mixin_about *about = mixin_about((enum mixin)i);
        if ((contract->mixins & 1u << i) == 0)
            continue;
        buffer_printf(&imports, "%sfrom .mixins.%s import %sMixin",
                      imports.size == 0 ? "" : "\n", about->module,
                      about->name);
        buffer_printf(&classes, "%s%sMixin", classes.size == 0 ? "" : ", ",
                      about->name);
    }
    add_list(tree, root, "MIXIN_IMPORTS", &imports);
    add_list(tree, root, "MIXIN_INHERITANCE", &classes);
    tree_add_text(tree, root, "MIXIN_INITIALIZATION",
                  contract->mixins == 0 ? "" : "super().__init__(config)");
}

int contract_add_placeholders(struct arena *arena,
                              const struct contract *contract,
                              struct node *data)
{
    struct tree tree = {.arena = arena};
    const char *domain = name_to_pascal(arena, contract->domain);
    const char *service = name_to_pascal(arena, contract->service);
    if (domain == NULL || service == NULL)
        return -1;
    tree_add_text(&tree, data, "NODE_TYPE",
                  node_type_name(contract->node_type));
    tree_add_text(&tree, data, "DOMAIN", contract->domain);
    tree_add_text(&tree, data, "DOMAIN_PASCAL", domain);
    tree_add_text(&tree, data, "MICROSERVICE_NAME", contract->service);
    tree_add_text(&tree, data, "MICROSERVICE_NAME_PASCAL", service);
    tree_add_text(&tree, data, "BUSINESS_DESCRIPTION", contract->description);
    tree_add_text(&tree, data, "BUSINESS_LOGIC_STUB",
                  "raise NotImplementedError");
    add_mixins(&tree, data, contract);
    add_features(&tree, data, contract);
    add_operations(&tree, data, contract);
    return tree.failed ? -1 : 0;
}
