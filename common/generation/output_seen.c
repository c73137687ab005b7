/* SPDX-License-Identifier: Apache-2.0 */
#include "common/generation/output_seen.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "common/generation/contract.h"
#include "common/generation/file_identity.h"
#include "common/generation/manifest.h"
#include "common/generation/output_place.h"
#include "common/generation/safe_path.h"
#include "config.h"

#define MAGIC_TEXT     "tidemill-seen 1 "
#define SKEW_MOST_NS   INT64_C(50000000)
#define NAME_ROOM      300
#define WALK_DEPTH_MAX 32

/* Not in linux/magic.h of all versions. */
#define ZFS_MAGIC      0x2fc12fc1
#define BCACHEFS_MAGIC 0xca451a4e
#define XFS_MAGIC      0x58465342

/* --- what it was made from --- */

void seen_program(char program[SEEN_PROGRAM_SIZE])
{
    char boot[64] = "";
    struct file_identity exe;
    program[0] = '\0';
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, boot, sizeof(boot) - 1);
    if (fd >= 0)
        close(fd);
    file_identity_look("/proc/self/exe", &exe);
    if (size < 16 || exe.present == 0)
        return;
    boot[strcspn(boot, "\n")] = '\0';
    snprintf(program, SEEN_PROGRAM_SIZE,
             "%s %s %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64,
             PACKAGE_VERSION, boot, exe.device, exe.inode, (uint64_t)exe.size,
             (uint64_t)exe.modified_ns, (uint64_t)exe.changed_ns);
}

/* How far the wall clock is from the time since the boot: it changes when
 * the clock is set, and then only. */
static int64_t clock_skew_ns(void)
{
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    return file_identity_now_ns() -
           ((int64_t)boot.tv_sec * 1000000000 + boot.tv_nsec);
}

static void put_part(struct buffer *out, const char *text, size_t size)
{
    buffer_append(out, text, size);
    buffer_append_char(out, '\0');
}

static void put_inputs(const struct seen_inputs *inputs, struct buffer *out)
{
    const char *const texts[] = {
        inputs->program,          inputs->contract,
        inputs->directory,        inputs->template_dir,
        inputs->force ? "f" : "", inputs->merge ? "m" : ""};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        put_part(out, texts[i], strlen(texts[i]));
    put_part(out, inputs->contract_text, inputs->contract_size);
}

/* --- writing --- */

/* Where the answer of stat is that of the kernel we run on. */
static bool is_local(int root)
{
    static const uint32_t kinds[] = {EXT4_SUPER_MAGIC,  XFS_MAGIC,
                                     BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
                                     F2FS_SUPER_MAGIC,  OVERLAYFS_SUPER_MAGIC,
                                     ZFS_MAGIC,         BCACHEFS_MAGIC};
    struct statfs about;
    if (fstatfs(root, &about) != 0)
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if ((uint32_t)about.f_type == kinds[i])
            return true;
    return false;
}

/* Neither what a coarse file system would give back, nor a tick. */
int64_t seen_stamp_ns(void)
{
    struct timespec tick;
    clock_gettime(CLOCK_REALTIME_COARSE, &tick);
    int64_t now_ns = file_identity_now_ns();
    now_ns += now_ns % 1000 == 0;
    return now_ns + (now_ns % 1000000000 == tick.tv_nsec);
}

void seen_take_read(struct output_seen *seen,
                    const struct file_identity *identity)
{
    seen->identity = *identity;
    seen->certain = identity->present != 0 && S_ISREG((mode_t)identity->mode) &&
                    file_identity_settled(identity);
}

void seen_take_written(struct output_seen *seen,
                       const struct file_identity *identity, size_t size,
                       unsigned mode, int64_t stamp_ns)
{
    seen->identity = *identity;
    seen->certain = identity->present != 0 && S_ISREG((mode_t)identity->mode) &&
                    identity->modified_ns == stamp_ns &&
                    identity->size == (int64_t)size &&
                    ((identity->mode ^ mode) & S_IXUSR) == 0;
}

static bool is_whole(const struct output *output)
{
    size_t sound = output->counts[OUTPUT_CREATED] +
                   output->counts[OUTPUT_CHANGED] +
                   output->counts[OUTPUT_UNCHANGED];
    if (output->inputs == NULL || output->inputs->program[0] == '\0' ||
        sound != output->file_count || !output->manifest.certain)
        return false;
    for (size_t i = 0; i < output->file_count; i++)
        if (!output->files[i].seen.certain ||
            output->files[i].seen.identity.device !=
                output->manifest.identity.device)
            return false;
    return true;
}

static void put_number(struct buffer *out, uint64_t number, char behind)
{
    char text[17];
    size_t at = sizeof(text);
    text[--at] = behind;
    do
        text[--at] = "0123456789abcdef"[number & 15];
    while ((number >>= 4) != 0);
    buffer_append(out, text + at, sizeof(text) - at);
}

static void put_identity(const struct file_identity *identity, char behind,
                         struct buffer *out)
{
    put_number(out, identity->inode, ' ');
    put_number(out, (uint64_t)identity->size, ' ');
    put_number(out, (uint64_t)identity->modified_ns, ' ');
    put_number(out, (uint64_t)identity->changed_ns, ' ');
    put_number(out, identity->mode, behind);
}

/* The folders that this path has and the one before it had not: paths come
 * in order, so each is told once. */
static void put_folders(const char *before, const char *path,
                        struct buffer *out)
{
    for (const char *at = path; (at = strchr(at, '/')) != NULL; at++) {
        size_t size = (size_t)(at - path);
        if (strncmp(before, path, size + 1) != 0)
            buffer_printf(out, "d %.*s\n", (int)size, path);
    }
}

bool seen_put(int root, const struct output *output, struct buffer *out)
{
    struct buffer inputs;
    if (!is_whole(output) || !is_local(root))
        return false;
    buffer_init(&inputs, SEEN_BYTES_MAX);
    put_inputs(output->inputs, &inputs);
    buffer_printf(out, MAGIC_TEXT "%" PRIx64 " %" PRIx64 " %zx\n",
                  (uint64_t)clock_skew_ns(), output->manifest.identity.device,
                  inputs.size);
    buffer_append(out, inputs.bytes, inputs.size);
    buffer_printf(out, "\nof %x %x %s %s %s\nmanifest ",
                  (unsigned)output->node_type, (unsigned)output->mixins,
                  output->template_set, output->template_hash, output->node);
    put_identity(&output->manifest.identity, '\n', out);
    for (size_t i = 0; i < output->file_count; i++) {
        const struct output_file *file = &output->files[i];
        put_folders(i == 0 ? "" : output->files[i - 1].path, file->path, out);
        buffer_append_text(out, "f ");
        put_identity(&file->seen.identity, ' ', out);
        buffer_append(out, file->sha256, sizeof(file->sha256) - 1);
        buffer_append_char(out, ' ');
        buffer_append_text(out, file->path);
        buffer_append_char(out, '\n');
    }
    buffer_append_text(out, "end\n");
    bool whole = !inputs.failed && !out->failed;
    buffer_deinit(&inputs);
    return whole;
}

/* --- reading --- */

/* What is left of the text; NULL at the first thing that is not as it should
 * be. */
struct cursor {
    char *at;
    char *end; /* there is a NUL */
};

static void skip_text(struct cursor *cursor, const char *text)
{
    size_t size = strlen(text);
    if (cursor->at == NULL)
        return;
    bool there = strncmp(cursor->at, text, size) == 0;
    cursor->at = there ? cursor->at + size : NULL;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static uint64_t take_number(struct cursor *cursor, char behind)
{
    uint64_t number = 0;
    size_t count = 0;
    if (cursor->at == NULL)
        return 0;
    for (int digit; count < 16 && (digit = digit_of(cursor->at[count])) >= 0;
         count++)
        number = number << 4 | (unsigned)digit;
    bool good = count > 0 && cursor->at[count] == behind;
    cursor->at = good ? cursor->at + count + 1 : NULL;
    return number;
}

/* Ends the text where `behind` stood. */
static const char *take_text(struct cursor *cursor, char behind)
{
    char *text = cursor->at;
    char *end = text == NULL ? NULL : strchr(text, behind);
    if (end != NULL)
        *end = '\0';
    cursor->at = end == NULL ? NULL : end + 1;
    return end == NULL ? "" : text;
}

static void take_identity(struct cursor *cursor, uint64_t device, char behind,
                          struct file_identity *identity)
{
    identity->present = 1;
    identity->device = device;
    identity->inode = take_number(cursor, ' ');
    identity->size = (int64_t)take_number(cursor, ' ');
    identity->modified_ns = (int64_t)take_number(cursor, ' ');
    identity->changed_ns = (int64_t)take_number(cursor, ' ');
    identity->mode = take_number(cursor, behind);
}

/* The file as it is: in the arena. */
static bool read_seen(int root, const char *node, struct arena *arena,
                      struct cursor *cursor)
{
    char path[NAME_ROOM];
    char *bytes = NULL;
    size_t size = 0;
    struct stat about;
    struct error ignored;
    snprintf(path, sizeof(path), "%s/%.255s.seen", MANIFEST_DIRECTORY, node);
    if (safe_path_check(path, strlen(path), &ignored) != 0 ||
        safe_read_file_about(root, path, SEEN_BYTES_MAX, &bytes, &size, &about,
                             &ignored) != 0)
        return false;
    cursor->at = arena_copy(arena, bytes, size);
    free(bytes);
    if (cursor->at == NULL || about.st_uid != geteuid() ||
        (about.st_mode & 022) != 0)
        return false;
    cursor->end = cursor->at + size;
    return true;
}

/* Goes behind the head and the inputs, when they are these, and the clock
 * was not set. */
static bool has_inputs(struct cursor *cursor, const struct seen_inputs *inputs,
                       uint64_t *device)
{
    struct buffer now;
    skip_text(cursor, MAGIC_TEXT);
    int64_t step_ns = clock_skew_ns() - (int64_t)take_number(cursor, ' ');
    *device = take_number(cursor, ' ');
    size_t size = (size_t)take_number(cursor, '\n');
    if (cursor->at == NULL || size > (size_t)(cursor->end - cursor->at) ||
        step_ns > SKEW_MOST_NS || step_ns < -SKEW_MOST_NS)
        return false;
    buffer_init(&now, SEEN_BYTES_MAX);
    put_inputs(inputs, &now);
    bool same = !now.failed && now.size == size &&
                memcmp(now.bytes, cursor->at, size) == 0;
    buffer_deinit(&now);
    cursor->at += size;
    skip_text(cursor, "\n");
    return same && cursor->at != NULL;
}

static bool is_as_seen(int folder, const char *name,
                       const struct file_identity *seen)
{
    struct file_identity now;
    struct stat about;
    if (fstatat(folder, name, &about, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    file_identity_take(&about, 0, &now);
    return file_identity_same(&now, seen);
}

/* The manifest is as it was, and no job has begun another one. */
static bool has_manifest(struct cursor *cursor, int root, const char *node,
                         uint64_t device)
{
    struct file_identity seen;
    char path[NAME_ROOM];
    skip_text(cursor, "manifest ");
    take_identity(cursor, device, '\n', &seen);
    if (cursor->at == NULL)
        return false;
    snprintf(path, sizeof(path), "%s/%.255s.json", MANIFEST_DIRECTORY, node);
    if (!is_as_seen(root, path, &seen))
        return false;
    snprintf(path, sizeof(path), "%s/%s%.255s.json", MANIFEST_DIRECTORY,
             PLACE_PREFIX, node);
    return faccessat(root, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0 &&
           errno == ENOENT;
}

/* The folders on the way to a file, open: each was looked up in the one
 * before it, so no link is on the way; and the kernel walks them once. */
struct walk {
    int root;
    uint64_t device;
    size_t depth;
    struct {
        int fd;
        const char *path;
        size_t size;
    } folders[WALK_DEPTH_MAX];
};

static void walk_up(struct walk *walk)
{
    close(walk->folders[--walk->depth].fd);
}

/* The folder that the path's last part is in, which is *name; -1 when it is
 * not open. */
static int walk_to(struct walk *walk, const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - path);
    *name = slash == NULL ? path : slash + 1;
    for (; walk->depth > 0; walk_up(walk)) {
        size_t known = walk->folders[walk->depth - 1].size;
        if (known == size &&
            memcmp(walk->folders[walk->depth - 1].path, path, size) == 0)
            return walk->folders[walk->depth - 1].fd;
    }
    return size == 0 ? walk->root : -1;
}

/* A folder, and not a link to one. */
static bool has_folder(struct cursor *cursor, struct walk *walk)
{
    const char *name;
    skip_text(cursor, "d ");
    const char *path = take_text(cursor, '\n');
    int parent = walk_to(walk, path, &name);
    if (cursor->at == NULL || parent < 0 || walk->depth == WALK_DEPTH_MAX)
        return false;
    int fd =
        openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    walk->folders[walk->depth].fd = fd;
    walk->folders[walk->depth].path = path;
    walk->folders[walk->depth++].size = strlen(path);
    return true;
}

static bool has_file(struct cursor *cursor, struct walk *walk,
                     struct output_file *file)
{
    struct error ignored;
    struct file_identity *seen = &file->seen.identity;
    const char *name;
    skip_text(cursor, "f ");
    take_identity(cursor, walk->device, ' ', seen);
    const char *sha256 = take_text(cursor, ' ');
    file->path = take_text(cursor, '\n');
    file->size = (size_t)seen->size;
    file->mode = (unsigned)seen->mode & 07777;
    file->change = OUTPUT_UNCHANGED;
    if (cursor->at == NULL || strlen(sha256) != sizeof(file->sha256) - 1 ||
        safe_path_check(file->path, strlen(file->path), &ignored) != 0)
        return false;
    memcpy(file->sha256, sha256, sizeof(file->sha256));
    int folder = walk_to(walk, file->path, &name);
    return folder >= 0 && is_as_seen(folder, name, seen);
}

static bool has_files(struct cursor *cursor, struct walk *walk,
                      struct output *output, size_t room)
{
    while (cursor->at != NULL && strcmp(cursor->at, "end\n") != 0) {
        if (*cursor->at == 'd'
                ? !has_folder(cursor, walk)
                : output->file_count == room ||
                      !has_file(cursor, walk,
                                &output->files[output->file_count++]))
            return false;
    }
    output->counts[OUTPUT_UNCHANGED] = output->file_count;
    return cursor->at != NULL;
}

static bool has_all(struct cursor *cursor, int root, uint64_t device,
                    struct arena *arena, struct output *output)
{
    struct walk walk = {.root = root, .device = device};
    size_t room = 0;
    for (const char *at = cursor->at; (at = strstr(at, "\nf ")) != NULL; at++)
        room++;
    if (room > OUTPUT_FILES_MAX)
        return false;
    output->files = arena_calloc(arena, room + 1, sizeof(*output->files));
    bool same = output->files != NULL && has_files(cursor, &walk, output, room);
    while (walk.depth > 0)
        walk_up(&walk);
    return same;
}

static void take_origin(struct cursor *cursor, struct output *output)
{
    skip_text(cursor, "of ");
    output->node_type = (enum node_type)take_number(cursor, ' ');
    output->mixins = (uint32_t)take_number(cursor, ' ');
    output->template_set = take_text(cursor, ' ');
    output->template_hash = take_text(cursor, ' ');
    output->node = take_text(cursor, '\n');
    if ((unsigned)output->node_type >= NODE_TYPE_COUNT)
        cursor->at = NULL;
}

bool seen_find(const struct seen_inputs *inputs, const char *node,
               struct arena *arena, struct output *output)
{
    struct cursor cursor;
    struct error ignored;
    uint64_t device;
    if (inputs->program[0] == '\0')
        return false;
    int root = safe_open_root(inputs->directory, false, &ignored);
    if (root < 0)
        return false;
    *output = (struct output){.directory = inputs->directory,
                              .contract = inputs->contract};
    bool same = read_seen(root, node, arena, &cursor) &&
                has_inputs(&cursor, inputs, &device);
    if (same) {
        take_origin(&cursor, output);
        same = strcmp(output->node, node) == 0 &&
               has_manifest(&cursor, root, node, device) &&
               has_all(&cursor, root, device, arena, output);
    }
    close(root);
    return same;
}
