/* SPDX-License-Identifier: Apache-2.0
 *
 * What need not be generated again: <output>/.tidemill/<node>.seen keeps what
 * a job was made from, and what its files looked like when it was done.  A
 * job that is given the same and finds all of them as they were has nothing
 * to do, and neither renders nor reads.
 *
 *     tidemill-seen 1 SKEW DEVICE SIZE
 *     ...SIZE bytes: what it was made from (struct seen_inputs)...
 *     of NODE_TYPE MIXINS TEMPLATE_SET TEMPLATE_HASH NODE
 *     manifest INODE SIZE MTIME CTIME MODE
 *     d PATH
 *     f INODE SIZE MTIME CTIME MODE SHA256 PATH
 *     end
 *
 * with one d for each folder and one f for each file, numbers in hexadecimal.
 * Whatever is in doubt is done as a whole, and the file is written again:
 *
 * - An identity (file_identity.h) is kept when it is settled.  That of a file
 *   that was just written is not, by the clock; but it has as its mtime the
 *   exact time at which its job began to write, to the nanosecond, and what
 *   is written to it later gets one of the kernel's ticks or its own time.
 *   A file system that does not give back that mtime exactly is too coarse.
 * - A job whose files were kept, merged, or are gone is never remembered.
 * - It holds for one boot of the machine, one step of its clock (SKEW is the
 *   wall clock's distance from the time since the boot) and one program.
 * - It is believed when it is the user's own whom the daemon runs as, and on
 *   file systems of this machine: what a server shows of a file may be old.
 */
#ifndef TIDEMILL_GENERATION_OUTPUT_SEEN_H
#define TIDEMILL_GENERATION_OUTPUT_SEEN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/generation/output.h"

#define SEEN_PROGRAM_SIZE 256
#define SEEN_BYTES_MAX    (4u << 20)

/* All that decides what a job writes but the templates, which are in their
 * hash.  What decides more, belongs here. */
struct seen_inputs {
    const char *program; /* "": nothing is known or remembered */
    const char *contract;
    const char *contract_text;
    size_t contract_size;
    const char *directory;
    const char *template_dir;
    bool force, merge;
};

/* This program, in this boot of the machine; "" when that cannot be told. */
void seen_program(char program[SEEN_PROGRAM_SIZE]);

/* Are all files of the node what they were when these inputs were done last?
 * Then it fills `output` as output_write does, but for the texts, from the
 * arena: with template_hash as it was, which the caller compares. */
bool seen_find(const struct seen_inputs *inputs, const char *node,
               struct arena *arena, struct output *output);

/* What a file looked like that was read then, looked at before. */
void seen_take_read(struct output_seen *seen,
                    const struct file_identity *identity);

/* The same of one that was written with that mtime and mode, looked at
 * since. */
void seen_take_written(struct output_seen *seen,
                       const struct file_identity *identity, size_t size,
                       unsigned mode, int64_t stamp_ns);

/* The text that remembers an output that was just written: its files and its
 * manifest were taken.  False: it cannot be. */
bool seen_put(int root, const struct output *output, struct buffer *out);

/* The mtime for what is written now. */
int64_t seen_stamp_ns(void);

#endif
