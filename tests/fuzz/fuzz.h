/* SPDX-License-Identifier: Apache-2.0
 *
 * A fuzz target: a program of one function, which must return whatever the
 * bytes are.  `scripts/fuzz` links it with libFuzzer; everywhere else replay.c
 * runs it over the files of tests/fuzz/corpus, in `make check`.
 */
#ifndef TIDEMILL_TESTS_FUZZ_H
#define TIDEMILL_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold, also without assertions. */
#define MUST(condition)                                                        \
    do {                                                                       \
        if (!(condition))                                                      \
            abort();                                                           \
    } while (0)

#endif
