/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts that went wrong, for all that reads texts: documents, JSON as text,
 * the configuration.  Nothing may crash (run it with --enable-sanitizers),
 * readers of the same language must agree, and what is written must be
 * valid.
 *
 *   fuzz_text [COUNT [SEED]]
 *
 * The same seed gives the same texts.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/config/config.h"
#include "common/document/document.h"
#include "common/document/json_text.h"

#define TEXT_MAX 600u

static const char *const seeds[] = {
    "{\"a\":[1,2.5e-3,true,null,\"x\\u00e4\\n\\ud83d\\ude00\"],\"b\":{\"c\":{}}"
    ","
    "\"\\u0061b\":\"\xc3\xa4\xe2\x82\xac longer text of several words\"}",
    "a: &x [1, 2]\nb: *x\nc: {d: 'e', f: \"g\\n\"}\nh: |\n  block\n  text\n"
    "i: >-\n  folded\n? k\n: v\n!!str y: !!int 5\n",
    "[[[[{\"k\":[]}]]],-0,1E+5,\"\\\"\\\\\"]",
    "sync:\n  sink: pgsql\n  batch: {min: 5, max: 50}\n  poll_interval: 1.5s\n"
    "  tables: {t: {target: a.b, key: id}}\nsources:\n"
    "  - {name: a, path: \"${HOME:-/x}/y\"}\ndatabase:\n"
    "  conninfo: \"postgresql://u:p@h/d?x=%41\"\n"
    "gateway: {control_mode: 0660}\n",
};

struct fuzz {
    uint64_t random;
    uint64_t seed;
    unsigned long failures;
    unsigned long accepted;
    char text[TEXT_MAX];
    size_t size;
};

/* xorshift64 (George Marsaglia, "Xorshift RNGs", 2003) */
static unsigned next_random(struct fuzz *fuzz, unsigned below)
{
    fuzz->random ^= fuzz->random << 13;
    fuzz->random ^= fuzz->random >> 7;
    fuzz->random ^= fuzz->random << 17;
    return (unsigned)(fuzz->random % below);
}

static char next_char(struct fuzz *fuzz)
{
    static const char chars[] = "{}[]\",:\\u0019ae-+.tfn \n\t#&*!|>'%@`?~x$<="
                                "\xc3\xa4\xed\xa0\xf0\x9f\xef\xbb\xbf";
    return chars[next_random(fuzz, sizeof(chars))];
}

/* A piece of the text once more, somewhere else. */
static void repeat_piece(struct fuzz *fuzz)
{
    char piece[TEXT_MAX];
    size_t from = next_random(fuzz, (unsigned)fuzz->size);
    size_t size = next_random(fuzz, (unsigned)(fuzz->size - from));
    size_t to = next_random(fuzz, (unsigned)fuzz->size);
    if (fuzz->size + size > TEXT_MAX)
        return;
    memcpy(piece, fuzz->text + from, size);
    memmove(fuzz->text + to + size, fuzz->text + to, fuzz->size - to);
    memcpy(fuzz->text + to, piece, size);
    fuzz->size += size;
}

static void mutate(struct fuzz *fuzz)
{
    size_t at = next_random(fuzz, (unsigned)fuzz->size);
    size_t rest = fuzz->size - at;
    switch (next_random(fuzz, 4)) {
    case 0:
        fuzz->text[at] = next_char(fuzz);
        break;
    case 1:
        memmove(fuzz->text + at, fuzz->text + at + 1, rest - 1);
        fuzz->size--;
        break;
    case 2:
        if (fuzz->size < TEXT_MAX) {
            memmove(fuzz->text + at + 1, fuzz->text + at, rest);
            fuzz->text[at] = next_char(fuzz);
            fuzz->size++;
        }
        break;
    default:
        repeat_piece(fuzz);
    }
}

static void make_text(struct fuzz *fuzz)
{
    const char *seed = seeds[next_random(fuzz, 4)];
    fuzz->size = strlen(seed);
    memcpy(fuzz->text, seed, fuzz->size);
    for (unsigned i = next_random(fuzz, 6); i > 0 && fuzz->size > 1; i--)
        mutate(fuzz);
}

static void complain(struct fuzz *fuzz, const char *what)
{
    fuzz->failures++;
    printf("seed %" PRIu64 ": %s: %.*s\n", fuzz->seed, what, (int)fuzz->size,
           fuzz->text);
}

static void check_written(struct fuzz *fuzz, const struct buffer *out,
                          const char *what)
{
    if (out->failed || !json_text_valid(out->bytes, out->size, NULL))
        complain(fuzz, what);
}

/* What document_read_json refuses beyond the grammar. */
static bool refuses_more(const struct error *error)
{
    return strstr(error->text, "stands twice") != NULL ||
           strstr(error->text, "surrogate") != NULL ||
           strstr(error->text, "NUL") != NULL;
}

/* The text in exactly as much memory as it has bytes. */
static void check_json(struct fuzz *fuzz, const char *text, bool valid)
{
    struct arena arena;
    struct buffer out;
    struct error error;
    struct node *root;
    bool has_mark = fuzz->size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
    arena_init(&arena, 1 << 20);
    buffer_init(&out, 1 << 20);
    if (document_read_json(&arena, "t", text, fuzz->size, NULL, &root,
                           &error) == 0) {
        fuzz->accepted++;
        if (!valid && !has_mark)
            complain(fuzz, "a document, but no valid JSON");
        document_write_json(root, &out);
        check_written(fuzz, &out, "JSON was written as no JSON");
    } else if (valid && !refuses_more(&error)) {
        complain(fuzz, error.text);
    }
    buffer_deinit(&out);
    arena_deinit(&arena);
}

static void check_yaml(struct fuzz *fuzz, const char *text)
{
    struct arena arena;
    struct buffer out;
    struct error error;
    struct node *root;
    arena_init(&arena, 1 << 20);
    buffer_init(&out, 1 << 20);
    if (document_read_yaml(&arena, "t", text, fuzz->size, NULL, &root,
                           &error) == 0) {
        fuzz->accepted++;
        document_write_json(root, &out);
        check_written(fuzz, &out, "YAML was written as no JSON");
    } else if (strncmp(error.text, "t:", 2) != 0) {
        complain(fuzz, "an error without its place");
    }
    buffer_deinit(&out);
    arena_deinit(&arena);
}

static void check_merge(struct fuzz *fuzz, const char *text)
{
    static const char other[] = "{\"ab\": 1, \"c\": 2}";
    struct buffer out;
    const char *value;
    size_t size;
    buffer_init(&out, 1 << 20);
    json_text_merge(text, fuzz->size, other, sizeof(other) - 1, &out);
    check_written(fuzz, &out, "merged into no JSON");
    buffer_reset(&out);
    json_text_merge(other, sizeof(other) - 1, text, fuzz->size, &out);
    check_written(fuzz, &out, "merged over into no JSON");
    if (json_text_member(text, fuzz->size, "ab", &value, &size) &&
        !json_text_valid(value, size, NULL))
        complain(fuzz, "a member that is no JSON");
    buffer_deinit(&out);
}

/* What is accepted must be accepted again as it is dumped. */
static void check_config(struct fuzz *fuzz, int fd, const char *path)
{
    struct config_request request = {.path = path};
    struct buffer errors;
    struct buffer dump;
    if (ftruncate(fd, 0) != 0 ||
        pwrite(fd, fuzz->text, fuzz->size, 0) != (ssize_t)fuzz->size)
        exit(71);
    buffer_init(&errors, 1 << 20);
    buffer_init(&dump, 1 << 20);
    struct config *config = config_load(&request, &errors);
    if ((config == NULL) != (errors.size > 0))
        complain(fuzz, "refused without a word, or accepted with one");
    if (config != NULL) {
        fuzz->accepted++;
        config_dump(config, &dump);
        if (ftruncate(fd, 0) != 0 ||
            pwrite(fd, dump.bytes, dump.size, 0) != (ssize_t)dump.size)
            exit(71);
        struct config *again = config_load(&request, &errors);
        if (again == NULL)
            complain(fuzz, errors.bytes);
        config_free(&again);
    }
    config_free(&config);
    buffer_deinit(&errors);
    buffer_deinit(&dump);
}

static void check_text(struct fuzz *fuzz, int fd, const char *path)
{
    char *text = malloc(fuzz->size);
    if (text == NULL)
        exit(71);
    memcpy(text, fuzz->text, fuzz->size);
    bool valid = json_text_valid(text, fuzz->size, NULL);
    check_json(fuzz, text, valid);
    check_yaml(fuzz, text);
    if (valid)
        check_merge(fuzz, text);
    check_config(fuzz, fd, path);
    free(text);
}

int main(int argc, char **argv)
{
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 5000;
    struct fuzz fuzz = {.seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1};
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0)
        return 71;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    fuzz.random = 88172645463325252u ^ (fuzz.seed * 0x9e3779b97f4a7c15u);
    for (unsigned long i = 0; i < count && fuzz.failures < 20; i++) {
        make_text(&fuzz);
        check_text(&fuzz, fd, path);
    }
    close(fd);
    printf("%lu texts, %lu accepted, %lu failures\n", count, fuzz.accepted,
           fuzz.failures);
    return fuzz.failures > 0 ? 1 : 0;
}
