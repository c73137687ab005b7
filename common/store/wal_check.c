/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/wal_check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define HEADER_BYTES       32
#define HEADER_SUMMED      24 /* of it under its checksum */
#define FRAME_HEADER_BYTES 24
#define FRAME_SUMMED       8
#define PAGE_BYTES         4096 /* the store's */
#define FRAME_BYTES        (FRAME_HEADER_BYTES + PAGE_BYTES)
#define MAGIC              0x377f0682u /* its last bit: big-endian checksums */
#define VERSION            3007000u

struct sum {
    uint32_t a, b;
};

/* A WAL under the eyes of this module. */
struct wal {
    int fd;
    unsigned char header[HEADER_BYTES];
    unsigned char frame[FRAME_BYTES];
    unsigned char salts[8]; /* every frame of this WAL has them */
    bool big_endian;
    struct sum sum; /* up to the frame read last */
};

static uint32_t get_be(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
           (uint32_t)at[2] << 8 | at[3];
}

static uint32_t get_le(const unsigned char *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 |
           (uint32_t)at[1] << 8 | at[0];
}

static void put_be(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)(value >> 24);
    at[1] = (unsigned char)(value >> 16);
    at[2] = (unsigned char)(value >> 8);
    at[3] = (unsigned char)value;
}

static struct sum add_bytes(const struct wal *wal, struct sum sum,
                            const unsigned char *bytes, size_t size)
{
    uint32_t (*get)(const unsigned char *) = wal->big_endian ? get_be : get_le;
    for (size_t i = 0; i < size; i += 8) {
        sum.a += get(bytes + i) + sum.b;
        sum.b += get(bytes + i + 4) + sum.a;
    }
    return sum;
}

static struct sum sum_at(const unsigned char *at)
{
    return (struct sum){get_be(at), get_be(at + 4)};
}

static bool same_sum(struct sum a, struct sum b)
{
    return a.a == b.a && a.b == b.b;
}

static struct sum frame_sum(const struct wal *wal)
{
    struct sum sum = add_bytes(wal, wal->sum, wal->frame, FRAME_SUMMED);
    return add_bytes(wal, sum, wal->frame + FRAME_HEADER_BYTES, PAGE_BYTES);
}

static bool header_is_good(const struct wal *wal)
{
    return (get_be(wal->header) & ~1u) == MAGIC &&
           get_be(wal->header + 4) == VERSION &&
           get_be(wal->header + 8) == PAGE_BYTES &&
           same_sum(
               add_bytes(wal, (struct sum){0, 0}, wal->header, HEADER_SUMMED),
               sum_at(wal->header + HEADER_SUMMED));
}

static off_t frame_offset(uint32_t number)
{
    return HEADER_BYTES + (off_t)(number - 1) * FRAME_BYTES;
}

/* False behind the last frame of this WAL: others are older ones', or the
 * zeros of space that was taken ahead. */
static bool read_frame(struct wal *wal, uint32_t number)
{
    return pread(wal->fd, wal->frame, FRAME_BYTES, frame_offset(number)) ==
               FRAME_BYTES &&
           get_be(wal->frame) != 0 &&
           memcmp(wal->frame + 8, wal->salts, sizeof(wal->salts)) == 0;
}

/* False when there is nothing to look at.  A damaged header's salts are those
 * of the frames, if any two of them agree. */
static bool begin(struct wal *wal, bool *header_bad)
{
    *header_bad = false;
    if (pread(wal->fd, wal->header, HEADER_BYTES, 0) != HEADER_BYTES)
        return false;
    wal->big_endian = (get_be(wal->header) & 1) != 0;
    *header_bad = !header_is_good(wal);
    memcpy(wal->salts, wal->header + 16, sizeof(wal->salts));
    wal->sum = sum_at(wal->header + HEADER_SUMMED);
    if (!*header_bad)
        return true;
    wal->big_endian = false; /* as every machine that we run on writes it */
    for (uint32_t number = 1; number <= 2; number++) {
        if (pread(wal->fd, wal->frame, FRAME_BYTES, frame_offset(number)) !=
            FRAME_BYTES)
            return number > 1;
        memcpy(wal->salts, wal->frame + 8, sizeof(wal->salts));
        if (get_be(wal->frame) != 0 && read_frame(wal, number + 1))
            return true;
    }
    return false;
}

static bool ends_commit(const struct wal *wal)
{
    return get_be(wal->frame + 4) != 0;
}

static void look(struct wal *wal, struct wal_damage *damage)
{
    bool good = !damage->header_bad;
    for (uint32_t number = 1; read_frame(wal, number); number++) {
        struct sum sum = frame_sum(wal);
        if (good && !same_sum(sum, sum_at(wal->frame + 16))) {
            good = false;
            damage->bad_frame = number;
        }
        wal->sum = sum;
        if (good) {
            damage->good_frames = number;
        } else {
            damage->frames_lost++;
            damage->commits_lost += ends_commit(wal);
        }
    }
}

/* A frame whose salts are damaged hides those behind it from read_frame(). */
static void look_behind(struct wal *wal, struct wal_damage *damage)
{
    uint32_t next = damage->good_frames + damage->frames_lost + 1;
    if (damage->header_bad || !read_frame(wal, next + 1))
        return;
    if (damage->bad_frame == 0)
        damage->bad_frame = next;
    damage->frames_lost++;
    for (next++; read_frame(wal, next); next++) {
        damage->frames_lost++;
        damage->commits_lost += ends_commit(wal);
    }
}

int wal_inspect(const char *path, struct wal_damage *damage,
                struct error *error)
{
    struct wal wal = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
    *damage = (struct wal_damage){0};
    if (wal.fd < 0)
        return errno == ENOENT
                   ? 0
                   : error_set_errno(error, ERROR_IO, "cannot open %s", path);
    if (begin(&wal, &damage->header_bad)) {
        look(&wal, damage);
        look_behind(&wal, damage);
    } else {
        damage->header_bad = false; /* no frame: nothing is lost */
    }
    close(wal.fd);
    return 0;
}

bool wal_is_damaged(const struct wal_damage *damage)
{
    return damage->header_bad ? damage->commits_lost > 0
                              : damage->commits_lost > 1;
}

static void write_header(struct wal *wal)
{
    put_be(wal->header, MAGIC | wal->big_endian);
    put_be(wal->header + 4, VERSION);
    put_be(wal->header + 8, PAGE_BYTES);
    memcpy(wal->header + 16, wal->salts, sizeof(wal->salts));
    wal->sum = add_bytes(wal, (struct sum){0, 0}, wal->header, HEADER_SUMMED);
    put_be(wal->header + HEADER_SUMMED, wal->sum.a);
    put_be(wal->header + HEADER_SUMMED + 4, wal->sum.b);
}

static bool write_frame(struct wal *wal, uint32_t number)
{
    memcpy(wal->frame + 8, wal->salts, sizeof(wal->salts));
    wal->sum = frame_sum(wal);
    put_be(wal->frame + 16, wal->sum.a);
    put_be(wal->frame + 20, wal->sum.b);
    return pwrite(wal->fd, wal->frame, FRAME_HEADER_BYTES,
                  frame_offset(number)) == FRAME_HEADER_BYTES;
}

/* One of another WAL between two of this one has damaged salts. */
static bool belongs(struct wal *wal, uint32_t number)
{
    if (read_frame(wal, number))
        return true;
    if (!read_frame(wal, number + 1))
        return false;
    return pread(wal->fd, wal->frame, FRAME_BYTES, frame_offset(number)) ==
           FRAME_BYTES;
}

int wal_mend(const char *path, struct error *error)
{
    struct wal wal = {.fd = open(path, O_RDWR | O_CLOEXEC)};
    bool header_bad;
    bool written = true;
    if (wal.fd < 0)
        return errno == ENOENT
                   ? 0
                   : error_set_errno(error, ERROR_IO, "cannot open %s", path);
    if (begin(&wal, &header_bad)) {
        write_header(&wal);
        written = pwrite(wal.fd, wal.header, HEADER_BYTES, 0) == HEADER_BYTES;
        for (uint32_t number = 1; written && belongs(&wal, number); number++)
            written = write_frame(&wal, number);
    }
    if (!written)
        error_set_errno(error, ERROR_IO, "cannot write %s", path);
    close(wal.fd);
    return written ? 0 : -1;
}
