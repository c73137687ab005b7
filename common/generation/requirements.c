/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/requirements.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/text.h"

bool requirements_are(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL &&
           (strcmp(dot, ".md") == 0 || strcmp(dot, ".markdown") == 0);
}

/* "Node type: EFFECT" of the Technical Details. */
static void take_type(struct requirements *requirements, struct buffer *errors)
{
    static const char *const names[] = {
#define X(name, folder, words) #name,
        NODE_TYPE_LIST(X)
#undef X
            NULL,
    };
    unsigned line;
    size_t at = 0;
    const char *given =
        requirements_detail(requirements, "Node type", &at, &line);
    if (given == NULL)
        return;
    for (int i = 0; i < NODE_TYPE_COUNT; i++) {
        if (strcasecmp(given, names[i]) == 0) {
            requirements->node_type = (enum node_type)i;
            requirements->type_given = true;
            return;
        }
    }
    const char *nearest = text_nearest(given, names);
    buffer_printf(errors, "%s:%u: '%.80s' is no node type; %s%s\n",
                  requirements->name, line, given,
                  nearest == NULL
                      ? "use EFFECT, COMPUTE, REDUCER or ORCHESTRATOR"
                      : "did you mean ",
                  nearest == NULL ? "" : nearest);
}

static void check_parts(const struct requirements *requirements,
                        struct buffer *errors)
{
    const struct requirements *all = requirements;
    if (all->title.text == NULL || *all->title.text == '\0')
        buffer_printf(errors,
                      "%s:%u: there is no title; begin with '# Domain: "
                      "Service'\n",
                      all->name, all->title.line == 0 ? 1 : all->title.line);
    if (all->sections[SECTION_FUNCTIONAL].count == 0)
        buffer_printf(errors,
                      "%s:%u: there are no requirements; add '## Functional "
                      "Requirements' with '- ' lines, an operation each\n",
                      all->name,
                      all->present[SECTION_FUNCTIONAL]
                          ? all->heading_lines[SECTION_FUNCTIONAL]
                          : 1);
}

/* "NAME:LINE:COLUMN: what" of the YAML, with the line of the Markdown. */
static void put_mapped(const struct requirements *requirements,
                       const char *text, size_t size, struct buffer *errors)
{
    size_t name = strlen(requirements->name);
    char *end;
    if (size > name + 1 && strncmp(text, requirements->name, name) == 0 &&
        text[name] == ':') {
        unsigned long line = strtoul(text + name + 1, &end, 10);
        if (line >= 1 && *end == ':') {
            strtoul(end + 1, &end, 10);
            if (line > requirements->line_count)
                line = requirements->line_count;
            buffer_printf(errors, "%s:%u", requirements->name,
                          requirements->lines[line - 1]);
            size -= (size_t)(end - text);
            text = end;
        }
    }
    buffer_append(errors, text, size);
    buffer_append_char(errors, '\n');
}

static struct contract *check(struct arena *arena,
                              const struct requirements *requirements,
                              struct buffer *errors)
{
    struct buffer found;
    buffer_init(&found, 2 * CONTRACT_ERRORS_MAX);
    struct contract *contract =
        contract_read(arena, requirements->name, requirements->contract,
                      requirements->contract_size, &found);
    const char *text = found.bytes == NULL ? "" : found.bytes;
    while (*text != '\0') {
        size_t size = strcspn(text, "\n");
        put_mapped(requirements, text, size, errors);
        text += size + (text[size] == '\n');
    }
    buffer_deinit(&found);
    return contract;
}

struct contract *requirements_read(struct arena *arena, const char *name,
                                   const char *text, size_t size,
                                   struct requirements *requirements,
                                   struct buffer *errors)
{
    size_t before = errors->size;
    int result =
        requirements_parse(arena, name, text, size, requirements, errors);
    if (result == 0) {
        take_type(requirements, errors);
        check_parts(requirements, errors);
        requirements_score(requirements);
    }
    if (result == 0 && errors->size == before)
        result = requirements_write(arena, requirements, errors);
    if (result != 0)
        buffer_printf(errors, "%s: no memory to read it\n", name);
    if (errors->size != before || errors->failed)
        return NULL;
    struct contract *contract = check(arena, requirements, errors);
    if (contract != NULL)
        requirements->mixins = contract->mixins;
    return contract;
}
