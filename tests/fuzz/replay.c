/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target over files: replay FOLDER...
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (1u << 20)

static int run_file(const char *path)
{
    static uint8_t bytes[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -1;
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    /* a block of its own size: reading past it is noticed */
    uint8_t *copy = malloc(size + (size == 0));
    if (copy == NULL)
        return -1;
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

static int run_folder(const char *path, unsigned *count)
{
    char name[4096];
    DIR *folder = opendir(path);
    if (folder == NULL)
        return -1;
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        result = run_file(name);
        ++*count;
    }
    closedir(folder);
    return result;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++) {
        if (run_folder(argv[i], &count) != 0) {
            perror(argv[i]);
            return 1;
        }
    }
    printf("%s: %u inputs\n", argv[0], count);
    return count > 0 ? 0 : 1;
}
