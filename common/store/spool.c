/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/ipc/frame.h"
#include "common/store/writer_internal.h"

#define HEAD_BYTES  24u
#define ENTRY_BYTES 16u /* before the payload */
#define ENTRY_ALIGN 8u
#define ENTRY_MARK  0x79726e65u
#define CALLS_MAX   16u /* of a request that is spooled */
#define NAME_BYTES  64u

static const char magic[8] = {'T', 'M', 'S', 'P', 'O', 'O', 'L', '1'};

static int spool_file(const char *state_dir, int flags)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", state_dir, SPOOL_FILE_NAME);
    return open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0640);
}

bool spool_is_usable(const struct store_lock *lock, const char *state_dir,
                     const char *system_id)
{
    char seal[LOCK_SEAL_SIZE];
    store_seal_make(seal, state_dir, system_id);
    return seal[0] != '\0' && strcmp(seal, lock->seal) == 0;
}

bool spool_is_filled(const char *state_dir)
{
    char path[4096];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", state_dir, SPOOL_FILE_NAME);
    return lstat(path, &status) == 0 && status.st_size > 0;
}

/* Of what stands at a place. */
static uint64_t checksum(uint64_t at, const void *bytes, size_t size)
{
    return text_hash(text_hash(TEXT_HASH_START, &at, sizeof(at)), bytes, size);
}

/* --- appending --- */

static bool takes(const struct store_request *request)
{
    if (request->call_count == 0 || request->call_count > CALLS_MAX)
        return false;
    for (size_t i = 0; i < request->call_count; i++)
        if (request->calls[i].statement != STATEMENT_OUTBOX_APPEND &&
            request->calls[i].statement != STATEMENT_HOOK_RECORD)
            return false;
    return true;
}

static void put_entry(struct buffer *out, size_t at,
                      const struct store_request *request)
{
    struct buffer payload;
    buffer_init(&payload, SPOOL_BYTES_MAX);
    frame_put_u8(&payload, (uint8_t)request->call_count);
    for (size_t i = 0; i < request->call_count; i++)
        frame_put_text(&payload, statement_name(request->calls[i].statement));
    wire_put_request(&payload, 0, request);
    frame_put_u32(out, ENTRY_MARK);
    frame_put_u32(out, (uint32_t)payload.size);
    frame_put_u64(out, checksum(at, payload.bytes, payload.size));
    buffer_append(out, payload.bytes, payload.size);
    out->failed |= payload.failed;
    buffer_append(out, "\0\0\0\0\0\0\0",
                  -payload.size % ENTRY_ALIGN); /* the next one's place */
    buffer_deinit(&payload);
}

/* The folder's entry is durable before anything stands in the file. */
static int sync_folder(const char *state_dir)
{
    int fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return result;
}

/* As SQLite does for its own files when root writes. */
static void give_to_owner(int fd, const char *state_dir)
{
    char path[4096];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", state_dir, STORE_FILE_NAME);
    if (geteuid() == 0 && stat(path, &status) == 0)
        (void)!fchown(fd, status.st_uid, status.st_gid);
}

/* Where the next entry goes; a head that was not written whole had nothing
 * behind it. */
static int find_end(int fd, const char *state_dir, struct buffer *out,
                    size_t *end)
{
    struct stat status;
    uint64_t id;
    if (fstat(fd, &status) != 0)
        return -1;
    *end = (size_t)status.st_size + (size_t)-status.st_size % ENTRY_ALIGN;
    if (*end > HEAD_BYTES)
        return 0;
    *end = 0;
    give_to_owner(fd, state_dir);
    if (getrandom(&id, sizeof(id), 0) != sizeof(id) ||
        sync_folder(state_dir) != 0)
        return -1;
    buffer_append(out, magic, sizeof(magic));
    frame_put_u64(out, id);
    frame_put_u64(out, checksum(0, out->bytes, out->size));
    return 0;
}

static int write_all(int fd, const char *bytes, size_t size, size_t at)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, bytes, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ENOSPC;
        if (n <= 0)
            return -1;
        bytes += n;
        size -= (size_t)n;
        at += (size_t)n;
    }
    return 0;
}

/* 0, 1 when it has no room, or -1 with errno. */
static int append_entry(int fd, const char *state_dir,
                        const struct store_request *request, struct buffer *out)
{
    size_t end;
    if (find_end(fd, state_dir, out, &end) != 0)
        return -1;
    put_entry(out, end + out->size, request);
    if (out->failed || end + out->size > SPOOL_BYTES_MAX)
        return 1;
    if (write_all(fd, out->bytes, out->size, end) == 0 && fdatasync(fd) == 0)
        return 0;
    /* Not acknowledged, so nobody may find it. */
    int why = errno;
    (void)!ftruncate(fd, (off_t)end);
    errno = why;
    return -1;
}

int spool_append(const char *state_dir, const struct store_request *request,
                 struct error *error)
{
    if (!takes(request))
        return 1;
    if (request_check(request, CALLER_CLI, error) != 0)
        return -1;
    int fd = spool_file(state_dir, O_RDWR | O_CREAT);
    if (fd < 0)
        return error_set_errno(error, ERROR_CANT_CREATE, "cannot open %s/%s",
                               state_dir, SPOOL_FILE_NAME);
    struct buffer out;
    buffer_init(&out, 2 * SPOOL_BYTES_MAX);
    int result = append_entry(fd, state_dir, request, &out);
    if (result < 0)
        error_set_errno(error, ERROR_IO,
                        "cannot write %s/%s; nothing of this was stored",
                        state_dir, SPOOL_FILE_NAME);
    buffer_deinit(&out);
    close(fd);
    return result;
}

/* --- reading --- */

static int read_all(struct spool *spool)
{
    for (;;) {
        char *at = buffer_reserve(&spool->bytes, 65536);
        if (at == NULL) {
            errno = EFBIG;
            return -1;
        }
        ssize_t n = pread(spool->fd, at, 65536, (off_t)spool->bytes.size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        spool->bytes.size += (size_t)n;
    }
}

static void read_head(struct spool *spool)
{
    struct frame_reader in;
    const char *head = spool->bytes.bytes;
    size_t size = HEAD_BYTES - sizeof(uint64_t);
    frame_reader_init(&in, head + sizeof(magic), 2 * sizeof(uint64_t));
    uint64_t id = frame_get_u64(&in);
    if (memcmp(head, magic, sizeof(magic)) == 0 &&
        frame_get_u64(&in) == checksum(0, head, size))
        spool->id = id;
}

int spool_open(struct spool *spool, const char *state_dir, struct error *error)
{
    memset(spool, 0, sizeof(*spool));
    buffer_init(&spool->bytes, SPOOL_BYTES_MAX + 65536);
    spool->fd = spool_file(state_dir, O_RDWR);
    if (spool->fd < 0 && errno == ENOENT)
        return 0;
    if (spool->fd < 0 || read_all(spool) != 0)
        return error_set_errno(error, ERROR_IO, "cannot read %s/%s; it is kept",
                               state_dir, SPOOL_FILE_NAME);
    if (spool->bytes.size < HEAD_BYTES) { /* nothing was acknowledged */
        spool->bytes.size = 0;
        return 0;
    }
    read_head(spool);
    return 0;
}

void spool_close(struct spool *spool)
{
    if (spool->fd >= 0)
        close(spool->fd);
    spool->fd = -1;
    buffer_deinit(&spool->bytes);
}

int spool_empty(const struct spool *spool, struct error *error)
{
    return ftruncate(spool->fd, 0) == 0
               ? 0
               : error_set_errno(error, ERROR_IO, "cannot empty %s",
                                 SPOOL_FILE_NAME);
}

/* Is there a whole entry at this place? */
static bool entry_at(const struct spool *spool, size_t at,
                     struct spool_entry *entry)
{
    const char *bytes = spool->bytes.bytes;
    size_t left = spool->bytes.size - at;
    if (left < ENTRY_BYTES)
        return false;
    struct frame_reader in;
    frame_reader_init(&in, bytes + at, ENTRY_BYTES);
    uint32_t mark = frame_get_u32(&in);
    size_t size = frame_get_u32(&in);
    uint64_t sum = frame_get_u64(&in);
    if (mark != ENTRY_MARK || size > left - ENTRY_BYTES ||
        sum != checksum(at, bytes + at + ENTRY_BYTES, size))
        return false;
    entry->at = at;
    entry->end = at + ENTRY_BYTES + size + -size % ENTRY_ALIGN;
    if (entry->end > spool->bytes.size)
        entry->end = spool->bytes.size;
    entry->payload = bytes + at + ENTRY_BYTES;
    entry->payload_size = size;
    return true;
}

void spool_next(const struct spool *spool, size_t from,
                struct spool_entry *entry)
{
    if (from < HEAD_BYTES)
        from = HEAD_BYTES;
    entry->skipped_at = from;
    for (size_t at = from; at < spool->bytes.size; at += ENTRY_ALIGN)
        if (entry_at(spool, at, entry))
            return;
    entry->at = entry->end = spool->bytes.size;
}

static int statement_find(const char *name)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (strcmp(name, statement_name((enum statement)i)) == 0)
            return i;
    return -1;
}

/* The names say what the numbers meant. */
static int take_names(struct frame_reader *in, int statements[CALLS_MAX],
                      unsigned *count, struct error *error)
{
    *count = frame_get_u8(in);
    if (*count == 0 || *count > CALLS_MAX)
        in->failed = true;
    for (unsigned i = 0; i < *count && !in->failed; i++) {
        char name[NAME_BYTES];
        frame_get_text(in, name, sizeof(name));
        statements[i] = in->failed ? -1 : statement_find(name);
        if (!in->failed && statements[i] < 0)
            return error_set(error, ERROR_PROTOCOL,
                             "this tidemill has no statement %s", name);
    }
    return in->failed ? error_set(error, ERROR_PROTOCOL,
                                  "the entry's statements are malformed")
                      : 0;
}

int spool_parse(const struct spool_entry *entry, struct arena *arena,
                struct store_request *request, struct error *error)
{
    int statements[CALLS_MAX];
    unsigned count;
    struct frame_reader in;
    struct wire_frame frame;
    frame_reader_init(&in, entry->payload, entry->payload_size);
    if (take_names(&in, statements, &count, error) != 0 ||
        wire_parse(in.at, (size_t)(in.end - in.at), arena, &frame, error) != 0)
        return -1;
    if (frame.kind != WIRE_REQUEST || frame.request.call_count != count)
        return error_set(error, ERROR_PROTOCOL,
                         "the entry is no request of %u calls", count);
    for (unsigned i = 0; i < count; i++)
        frame.request.calls[i].statement = (enum statement)statements[i];
    *request = frame.request;
    return 0;
}
