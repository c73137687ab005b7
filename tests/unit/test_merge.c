/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/generation/line_diff.h"
#include "common/generation/merge.h"

#define ROUNDS 300

static int setup(void **state)
{
    struct arena *arena = calloc(1, sizeof(*arena));
    assert_non_null(arena);
    arena_init(arena, 256u << 20);
    *state = arena;
    return 0;
}

static int teardown(void **state)
{
    arena_deinit(*state);
    free(*state);
    return 0;
}

static char *diff(struct arena *arena, const char *old_text,
                  const char *new_text)
{
    struct lines old, new;
    struct line_changes changes;
    struct buffer out;
    assert_int_equal(lines_split(arena, old_text, strlen(old_text), &old), 0);
    assert_int_equal(lines_split(arena, new_text, strlen(new_text), &new), 0);
    assert_int_equal(lines_compare(arena, &old, &new, &changes), 0);
    buffer_init(&out, 1u << 20);
    lines_print_unified(&old, "a", &new, "b", &changes, &out);
    char *text =
        arena_copy(arena, out.bytes != NULL ? out.bytes : "", out.size);
    buffer_deinit(&out);
    return text;
}

static void test_unified(void **state)
{
    assert_string_equal(diff(*state, "same\n", "same\n"), "");
    assert_string_equal(diff(*state, "", "one\n"),
                        "--- a\n+++ b\n@@ -0,0 +1 @@\n+one\n");
    assert_string_equal(
        diff(*state, "1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\nX\n6\n7\n8\n"),
        "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+X\n 6\n 7\n 8\n");
    assert_string_equal(diff(*state, "a\nb", "a\nb\n"),
                        "--- a\n+++ b\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline "
                        "at end of file\n+b\n");
    assert_string_equal(diff(*state, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n",
                             "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"),
                        "--- a\n+++ b\n@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n"
                        "@@ -7,4 +8,3 @@\n 7\n 8\n 9\n-10\n");
}

static char *merged(struct arena *arena, const char *base, const char *edited,
                    const char *generated, size_t *conflicts)
{
    struct buffer out;
    buffer_init(&out, 1u << 20);
    assert_int_equal(
        merge_texts(arena, &(struct merge_text){base, strlen(base)},
                    &(struct merge_text){edited, strlen(edited)},
                    &(struct merge_text){generated, strlen(generated)}, &out,
                    conflicts),
        0);
    char *text =
        arena_copy(arena, out.bytes != NULL ? out.bytes : "", out.size);
    buffer_deinit(&out);
    return text;
}

static void test_merge(void **state)
{
    size_t conflicts;
    assert_string_equal(merged(*state, "1\n2\n3\n", "1\n2\n3\nmine\n",
                               "theirs\n1\n2\n3\n", &conflicts),
                        "theirs\n1\n2\n3\nmine\n");
    assert_int_equal(conflicts, 0);
    assert_string_equal(
        merged(*state, "1\n2\n3\n", "1\nX\n3\n", "1\nX\n3\n", &conflicts),
        "1\nX\n3\n");
    assert_int_equal(conflicts, 0);
    assert_string_equal(
        merged(*state, "1\n2\n3", "1\nX\n3", "1\nY\n3", &conflicts),
        "1\n<<<<<<< edited by hand\nX\n||||||| generated before\n2\n=======\n"
        "Y\n>>>>>>> generated now\n3");
    assert_int_equal(conflicts, 1);
    assert_string_equal(merged(*state, "", "mine\n", "", &conflicts), "mine\n");
    assert_string_equal(merged(*state, "gone\n", "", "gone\n", &conflicts), "");
    assert_int_equal(conflicts, 0);
}

/* --- random texts, against patch(1) and git --- */

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static char *read_text(struct arena *arena, const char *folder,
                       const char *name)
{
    char path[160];
    char text[65536];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    return arena_copy(arena, text, size);
}

static char *random_text(struct arena *arena, unsigned lines)
{
    struct buffer out;
    buffer_init(&out, 65536);
    buffer_append_text(&out, "");
    for (unsigned i = 0; i < lines; i++)
        buffer_printf(&out, "line %ld\n", random() % 9);
    char *text =
        arena_copy(arena, out.bytes != NULL ? out.bytes : "", out.size);
    buffer_deinit(&out);
    return text;
}

/* With lines changed, left out and put in. */
static char *random_edit(struct arena *arena, const char *text, long rarity)
{
    struct buffer out;
    struct lines lines;
    buffer_init(&out, 65536);
    assert_int_equal(lines_split(arena, text, strlen(text), &lines), 0);
    for (size_t i = 0; i < lines.count; i++) {
        long what = random() % rarity;
        if (what == 0)
            continue;
        if (what == 1)
            buffer_printf(&out, "new %ld\n", random() % 5);
        buffer_append(&out, lines.line[i].bytes, lines.line[i].size);
    }
    char *copy =
        arena_copy(arena, out.bytes != NULL ? out.bytes : "", out.size);
    buffer_deinit(&out);
    return copy;
}

static void in_folder(const char *folder, const char *command, int most)
{
    char line[400];
    snprintf(line, sizeof(line), "cd %s && %s", folder, command);
    int status = system(line);
    assert_true(status != -1 && status / 256 <= most);
}

static void test_patch_takes_our_diffs(void **state)
{
    struct arena *arena = *state;
    char folder[] = "/tmp/test_diff.XXXXXX";
    assert_non_null(mkdtemp(folder));
    srandom(7);
    for (int round = 0; round < 40; round++) {
        char *old = random_text(arena, 1 + (unsigned)random() % 60);
        char *new = random_edit(arena, old, 2 + random() % 12);
        char *changes = diff(arena, old, new);
        if (changes[0] == '\0' || new[0] == '\0')
            continue;
        write_text(folder, "a", old);
        write_text(folder, "d", changes);
        in_folder(folder, "patch -s a d", 0);
        assert_string_equal(read_text(arena, folder, "a"), new);
    }
    in_folder(folder, "rm -rf ../\"$(basename $PWD)\"", 0);
}

/* One side changed: its text.  Both: what either gives to the other. */
static void test_merges_are_sound(void **state)
{
    struct arena *arena = *state;
    size_t conflicts;
    srandom(11);
    for (int round = 0; round < ROUNDS; round++) {
        char *base = random_text(arena, (unsigned)random() % 40);
        char *edited = random_edit(arena, base, 2 + random() % 20);
        char *generated = random_edit(arena, base, 2 + random() % 20);
        assert_string_equal(merged(arena, base, edited, base, &conflicts),
                            edited);
        assert_string_equal(merged(arena, base, base, generated, &conflicts),
                            generated);
        assert_string_equal(merged(arena, base, edited, edited, &conflicts),
                            edited);
        assert_int_equal(conflicts, 0);
        char *one = merged(arena, base, edited, generated, &conflicts);
        size_t others;
        char *two = merged(arena, base, generated, edited, &others);
        assert_int_equal(conflicts, others);
        if (conflicts == 0)
            assert_string_equal(one, two);
    }
}

/* Changes far from each other merge as git merges them. */
static void test_as_git_does(void **state)
{
    struct arena *arena = *state;
    char folder[] = "/tmp/test_merge.XXXXXX";
    assert_non_null(mkdtemp(folder));
    srandom(13);
    for (int round = 0; round < 40; round++) {
        struct buffer out;
        size_t conflicts;
        buffer_init(&out, 65536);
        for (int i = 0; i < 40; i++)
            buffer_printf(&out, "line %d\n", i);
        char *base = arena_copy(arena, out.bytes, out.size);
        buffer_deinit(&out);
        char *edited = random_edit(arena, base, 15);
        char *generated = random_edit(arena, base, 15);
        char *ours = merged(arena, base, edited, generated, &conflicts);
        write_text(folder, "base", base);
        write_text(folder, "edited", edited);
        write_text(folder, "generated", generated);
        in_folder(folder,
                  "git merge-file -p --diff3 edited base generated >out", 127);
        if (conflicts == 0)
            assert_string_equal(ours, read_text(arena, folder, "out"));
        else
            assert_non_null(strstr(read_text(arena, folder, "out"), "<<<<<<<"));
    }
    in_folder(folder, "rm -rf ../\"$(basename $PWD)\"", 0);
}

static void test_texts_far_apart(void **state)
{
    struct arena *arena = *state;
    struct buffer out;
    buffer_init(&out, 1u << 20);
    for (int i = 0; i < 3000; i++)
        buffer_printf(&out, "old %d\n", i);
    char *old = arena_copy(arena, out.bytes, out.size);
    buffer_reset(&out);
    for (int i = 0; i < 3000; i++)
        buffer_printf(&out, "new %d\n", i);
    char *new = arena_copy(arena, out.bytes, out.size);
    buffer_deinit(&out);
    char *changes = diff(arena, old, new);
    assert_non_null(strstr(changes, "@@ -1,3000 +1,3000 @@"));
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_unified),
        T(test_merge),
        T(test_patch_takes_our_diffs),
        T(test_merges_are_sound),
        T(test_as_git_does),
        T(test_texts_far_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
