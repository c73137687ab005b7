/* SPDX-License-Identifier: Apache-2.0
 *
 * Gets of 200 bytes by two processes at once, from 10,000 keys in no order:
 *
 *     bench_cache copy            our cache, copied out
 *     bench_cache pin             our cache, pinned and given back
 *     bench_cache hash            a hash table of each process's own, copied
 *     bench_cache memcached PATH  memcached at a Unix socket
 *     bench_cache pin-long, copy-long   the first two with values of 12 kB
 *
 * Prints nanoseconds a get, the mean of the processes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/shm/cache.h"

#define KEYS       10000u
#define VALUE_SIZE 200u
#define LONG_SIZE  12000u
#define PROCESSES  2
#define BUCKETS    16384u

struct key {
    char text[24];
    unsigned size;
};

struct node {
    struct node *next;
    unsigned key_size;
    char bytes[sizeof(((struct key *)0)->text) + VALUE_SIZE];
};

/* What a process reads from. */
struct side {
    const struct key *keys;
    char *value; /* where it is put */
    size_t value_size;
    struct cache cache;
    struct node **buckets;
    int socket;
    size_t (*get)(struct side *side, const struct key *key);
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static size_t get_copy(struct side *side, const struct key *key)
{
    struct cache_key sought = cache_key(key->text, key->size);
    int64_t size =
        cache_copy(&side->cache, &sought, 1, side->value, side->value_size);
    return size < 0 ? 0 : (size_t)size;
}

static size_t get_pin(struct side *side, const struct key *key)
{
    struct cache_key sought = cache_key(key->text, key->size);
    struct cache_pin pin;
    if (!cache_pin(&side->cache, &sought, 1, &pin))
        return 0;
    side->value[0] = *(const char *)pin.value;
    cache_unpin(&side->cache, &pin, 0);
    return pin.size;
}

static size_t get_hash(struct side *side, const struct key *key)
{
    uint64_t hash = cache_key(key->text, key->size).hash;
    const struct node *node = side->buckets[hash % BUCKETS];
    while (node != NULL && (node->key_size != key->size ||
                            memcmp(node->bytes, key->text, key->size) != 0))
        node = node->next;
    if (node == NULL)
        return 0;
    memcpy(side->value, node->bytes + node->key_size, VALUE_SIZE);
    return VALUE_SIZE;
}

static void talk(int socket, const char *text, size_t size, const char *end)
{
    char answer[512];
    size_t got = 0, tail = strlen(end);
    if (write(socket, text, size) != (ssize_t)size)
        die("memcached");
    while (got < tail || memcmp(answer + got - tail, end, tail) != 0) {
        ssize_t more = read(socket, answer + got, sizeof(answer) - got);
        if (more <= 0)
            die("memcached");
        got += (size_t)more;
    }
}

static size_t get_memcached(struct side *side, const struct key *key)
{
    char request[64];
    int size = snprintf(request, sizeof(request), "get %.*s\r\n",
                        (int)key->size, key->text);
    talk(side->socket, request, (size_t)size, "END\r\n");
    return VALUE_SIZE;
}

static void fill_cache(struct side *side)
{
    const struct cache_shape shape = {8, 2 * KEYS, 512u << 20};
    struct error error;
    struct cache_region *region =
        mmap(NULL, cache_region_size(&shape), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED)
        die("mmap");
    cache_region_init(region, &shape);
    cache_limit(region, 2 * KEYS, 512u << 20, 3600000);
    if (cache_open(&side->cache, region, 1, &error) != 0)
        die(error.text);
    for (unsigned i = 0; i < KEYS; i++) {
        struct cache_key key =
            cache_key(side->keys[i].text, side->keys[i].size);
        const struct cache_piece pieces[CACHE_PIECES] = {
            {side->value, side->value_size}};
        if (!cache_put(&side->cache, &key, pieces, 0, NULL))
            die("cache_put");
    }
}

static void fill_hash(struct side *side)
{
    side->buckets = calloc(BUCKETS, sizeof(*side->buckets));
    for (unsigned i = 0; i < KEYS && side->buckets != NULL; i++) {
        const struct key *key = &side->keys[i];
        struct node **bucket =
            &side->buckets[cache_key(key->text, key->size).hash % BUCKETS];
        struct node *node = malloc(sizeof(*node));
        if (node == NULL)
            die("malloc");
        node->next = *bucket;
        node->key_size = key->size;
        memcpy(node->bytes, key->text, key->size);
        memcpy(node->bytes + key->size, side->value, VALUE_SIZE);
        *bucket = node;
    }
}

static void join_memcached(struct side *side, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    side->socket = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(side->socket, (struct sockaddr *)&address, sizeof(address)) !=
        0)
        die(path);
}

static void fill_memcached(struct side *side)
{
    for (unsigned i = 0; i < KEYS; i++) {
        char request[64 + VALUE_SIZE];
        int head =
            snprintf(request, sizeof(request), "set %.*s 0 0 %u\r\n",
                     (int)side->keys[i].size, side->keys[i].text, VALUE_SIZE);
        memcpy(request + head, side->value, VALUE_SIZE);
        memcpy(request + head + VALUE_SIZE, "\r\n", 2);
        talk(side->socket, request, (size_t)head + VALUE_SIZE + 2,
             "STORED\r\n");
    }
}

/* Who waits for a server is measured by the clock, who does not by its own
 * time, which says more on a busy machine. */
static uint64_t now_ns(const struct side *side)
{
    struct timespec now;
    clock_gettime(side->socket > 0 ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID,
                  &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double measure(struct side *side, unsigned gets)
{
    uint32_t random = (uint32_t)getpid();
    uint64_t start_ns = now_ns(side);
    for (unsigned i = 0; i < gets; i++) {
        random = random * 1664525u + 1013904223u;
        if (side->get(side, &side->keys[(random >> 8) % KEYS]) !=
            side->value_size)
            die("a value is not there");
    }
    return (double)(now_ns(side) - start_ns) / gets;
}

static void run(struct side *side, unsigned gets, const char *path)
{
    int results[2];
    double sum = 0, ns;
    if (pipe(results) != 0)
        die("pipe");
    for (int i = 0; i < PROCESSES; i++) {
        if (fork() != 0)
            continue;
        side->cache.holder = 1 + (unsigned)i;
        if (path != NULL)
            join_memcached(side, path);
        measure(side, gets / 10); /* warm */
        ns = measure(side, gets);
        _exit(write(results[1], &ns, sizeof(ns)) == sizeof(ns) ? 0 : 1);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        if (wait(&status) < 0 || status != 0 ||
            read(results[0], &ns, sizeof(ns)) != sizeof(ns))
            die("a process failed");
        sum += ns;
    }
    printf("%.1f\n", sum / PROCESSES);
}

int main(int argc, char **argv)
{
    static struct key keys[KEYS];
    static char value[LONG_SIZE];
    const char *mode = argc > 1 ? argv[1] : "";
    bool is_long = strstr(mode, "-long") != NULL;
    struct side side = {.keys = keys,
                        .value = value,
                        .value_size = is_long ? LONG_SIZE : VALUE_SIZE};
    memset(value, 'v', sizeof(value));
    for (unsigned i = 0; i < KEYS; i++)
        keys[i].size = (unsigned)snprintf(keys[i].text, sizeof(keys[i].text),
                                          "template-%u", i * 7919);
    if (strcmp(mode, "memcached") == 0 && argc == 3) {
        side.get = get_memcached;
        join_memcached(&side, argv[2]);
        fill_memcached(&side);
        run(&side, 20000, argv[2]);
    } else if (strcmp(mode, "hash") == 0) {
        side.get = get_hash;
        fill_hash(&side);
        run(&side, 3000000, NULL);
    } else if (strncmp(mode, "copy", 4) == 0 || strncmp(mode, "pin", 3) == 0) {
        side.get = mode[0] == 'c' ? get_copy : get_pin;
        fill_cache(&side);
        run(&side, is_long ? 500000 : 3000000, NULL);
    } else {
        fputs("usage: bench_cache copy|pin|hash|memcached PATH\n", stderr);
        return 64;
    }
    return 0;
}
