/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints what the option table says, in the words of the sample file and of
 * tidemill.yaml(5): option_table sample|manual|list
 */
#include <stdio.h>
#include <string.h>

#include "common/config/option_table.h"
#include "tests/checks/wrapped.h"

/* What sync.mode puts in the place of the default. */
static void print_presets(const char *path)
{
#define X(member, aggressive, conservative)                                    \
    if (strcmp(path, option_table[OPTION_INDEX_##member].path) == 0)           \
        puts("With sync.mode aggressive:\n.Ql " aggressive " ;\n"              \
             "conservative:\n.Ql " conservative " .");
    MODE_PRESET_LIST(X)
#undef X
}

static void print_manual_option(const struct option *option)
{
    struct buffer text;
    buffer_init(&text, 4096);
    printf(".It Cm %s\n", option->path);
    print_wrapped(option->sentence);
    buffer_append_text(&text, "Type: ");
    option_describe(option, &text);
    buffer_append_text(&text, ".");
    print_wrapped(text.bytes);
    buffer_reset(&text);
    if (option->fallback[0] == '\0')
        puts("Default: empty.");
    else
        printf("Default:\n.Ql %s .\n", option->fallback);
    print_presets(option->path);
    buffer_append_text(&text, "Cost of a change: ");
    option_describe_cost(option->cost, &text);
    buffer_append_text(&text, ".");
    print_wrapped(text.bytes);
    if (option->secret)
        puts("Printed with its password as ***.");
    buffer_deinit(&text);
}

static void print_manual(void)
{
    size_t section = 0; /* bytes of the open section's name */
    for (int i = 0; i < OPTION_COUNT; i++) {
        const char *path = option_table[i].path;
        if (i == 0 ||
            strncmp(path, option_table[i - 1].path, section + 1) != 0) {
            if (i > 0)
                puts(".El");
            section = strcspn(path, ".");
            printf(".Ss %.*s\n.Bl -tag -width Ds\n", (int)section, path);
        }
        print_manual_option(&option_table[i]);
    }
    puts(".El");
}

static int print_sample(void)
{
    struct buffer sample;
    buffer_init(&sample, 1 << 20);
    config_sample(&sample);
    bool failed = sample.failed || fputs(sample.bytes, stdout) < 0;
    buffer_deinit(&sample);
    return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    if (strcmp(what, "sample") == 0)
        return print_sample();
    if (strcmp(what, "manual") == 0) {
        print_manual();
        return 0;
    }
    if (strcmp(what, "list") == 0) {
        for (int i = 0; i < OPTION_COUNT; i++)
            puts(option_table[i].path);
        return 0;
    }
    fputs("usage: option_table sample|manual|list\n", stderr);
    return 64;
}
