/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/contract_input.h"

#include <stdio.h>
#include <string.h>

#include "common/generation/mixins.h"
#include "ctl/print.h"

int contract_input_take(struct arena *arena, const char *name, const char *text,
                        size_t size, struct contract_input *input,
                        struct buffer *errors)
{
    *input = (struct contract_input){.text = text, .size = size};
    if (!requirements_are(name)) {
        input->contract = contract_read(arena, name, text, size, errors);
        return input->contract == NULL ? -1 : 0;
    }
    struct usage_mark start;
    usage_mark(&start);
    input->requirements = arena_alloc(arena, sizeof(*input->requirements));
    if (input->requirements == NULL) {
        buffer_printf(errors, "%s: no memory to read it\n", name);
        return -1;
    }
    input->contract =
        requirements_read(arena, name, text, size, input->requirements, errors);
    usage_add(&input->analysis, &start);
    input->text = input->requirements->contract;
    input->size = input->requirements->contract_size;
    return input->contract == NULL ? -1 : 0;
}

static json_t *mixins_json(uint32_t mixins)
{
    json_t *list = json_array();
    for (int i = 0; i < MIXIN_COUNT; i++) {
        if ((mixins & 1u << i) != 0)
            json_array_append_new(
                list, json_string(mixin_about((enum mixin)i)->name));
    }
    return list;
}

/* Two digits are all that these figures are worth. */
static json_t *figure(double value)
{
    return json_real((double)(int)(value * 100.0 + 0.5) / 100.0);
}

json_t *requirements_json(const struct requirements *requirements)
{
    json_t *hints = json_object();
    for (int i = 0; i < NODE_TYPE_COUNT; i++)
        json_object_set_new(hints, node_type_name((enum node_type)i),
                            figure(requirements->hints[i]));
    return json_pack("{s:s,s:s,s:s,s:b,s:o,s:o,s:o,s:o,s:o,s:s%}", "file",
                     requirements->name, "title", requirements->title.text,
                     "node_type", node_type_name(requirements->node_type),
                     "node_type_given", requirements->type_given, "hints",
                     hints, "quality", figure(requirements->quality),
                     "confidence", figure(requirements->confidence), "mixins",
                     mixins_json(requirements->mixins), "left_out",
                     mixins_json(requirements->dropped), "contract",
                     requirements->contract, requirements->contract_size);
}

static const char *text_of(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

static void put_names(char room[400], const char *what, const json_t *names)
{
    size_t i;
    json_t *name;
    room[0] = '\0';
    json_array_foreach(names, i, name)
    {
        size_t used = strlen(room);
        snprintf(room + used, 400 - used, "%s%s", i == 0 ? what : ", ",
                 json_string_value(name));
    }
}

void requirements_print(const json_t *list, bool contracts)
{
    size_t i;
    json_t *row;
    char mixins[400], left_out[400];
    json_array_foreach(list, i, row)
    {
        put_names(mixins, "; mixins ", json_object_get(row, "mixins"));
        put_names(left_out, "; not for this node type: ",
                  json_object_get(row, "left_out"));
        fprintf(stderr, "%s: %s %s, quality %.2f, confidence %.2f%s%s\n",
                text_of(row, "file"), text_of(row, "node_type"),
                json_is_true(json_object_get(row, "node_type_given"))
                    ? "as it says"
                    : "by its words",
                json_real_value(json_object_get(row, "quality")),
                json_real_value(json_object_get(row, "confidence")), mixins,
                left_out);
        if (contracts)
            printf("# The contract of %s:\n%s", text_of(row, "file"),
                   text_of(row, "contract"));
    }
}
