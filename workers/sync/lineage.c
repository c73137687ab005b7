/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/sync/lineage.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/text.h"
#include "common/config/config.h"
#include "common/worker/worker_loop.h"

/* The machine and the store's folder: two stores of one system.id on two
 * machines are told apart by it. */
static int64_t host_hash(const struct config *config)
{
    char id[64] = "";
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, id, sizeof(id)) : 0;
    if (fd >= 0)
        close(fd);
    uint64_t hash = text_hash(TEXT_HASH_START, id, size > 0 ? (size_t)size : 0);
    hash = text_hash(hash, config->state_dir, strlen(config->state_dir));
    return (int64_t)(hash & INT64_MAX);
}

static int read_identity(struct lineage *lineage,
                         struct store_identity *identity, struct error *error)
{
    struct store_reader *reader;
    if (store_reader_open(&reader, lineage->worker->config->state_dir, error) !=
        0)
        return -1;
    int result = store_identity_read(reader, identity, error);
    store_reader_close(&reader);
    return result;
}

static int before(void *self, struct sink_store *store, struct error *error)
{
    struct lineage *lineage = self;
    struct store_identity *identity = &lineage->identity;
    if (read_identity(lineage, identity, error) != 0)
        return -1;
    *store = (struct sink_store){.store_id = identity->store_id,
                                 .epoch = identity->epoch,
                                 .host = lineage->host};
    return 0;
}

enum lineage_finding lineage_compare(const struct store_identity *before,
                                     const struct store_identity *after,
                                     int64_t host,
                                     const struct sink_contact *contact)
{
    const struct sink_store *newest = &contact->newest;
    bool alive = contact->idle_ms < LINEAGE_ALIVE_MS && newest->host != host;
    if (contact->known && newest->epoch > after->epoch)
        return alive ? LINEAGE_OTHER : LINEAGE_BEHIND;
    if (after->restored && contact->known)
        return LINEAGE_BEHIND;
    if (contact->highest > after->last_batch)
        return alive ? LINEAGE_OTHER : LINEAGE_BEHIND;
    if (before->applied_batch > 0 && contact->highest < before->applied_batch)
        return LINEAGE_CENTRE_LOST;
    return LINEAGE_SAME;
}

static void tell_centre_lost(struct lineage *lineage, int64_t highest)
{
    if (lineage->told_behind || lineage->worker->slot != 0)
        return;
    lineage->told_behind = true;
    log_error("the centre has lost batches %" PRId64 " to %" PRId64
              " of this host, which it had applied: it was put back from a "
              "backup, or a standby that was behind took over. What it lost "
              "is not sent again by itself: 'tidemill store export "
              "--after-batch %" PRId64 "' prints what of it is still kept "
              "here, for 'tidemill enqueue --batch'",
              highest < 0 ? 1 : highest + 1, lineage->identity.applied_batch,
              highest < 0 ? 0 : highest);
}

static enum sink_verdict check(void *self, const struct sink_contact *contact,
                               struct error *error)
{
    struct lineage *lineage = self;
    struct store_identity after;
    if (read_identity(lineage, &after, error) != 0)
        return VERDICT_REFUSE;
    switch (
        lineage_compare(&lineage->identity, &after, lineage->host, contact)) {
    case LINEAGE_CENTRE_LOST:
        tell_centre_lost(lineage, contact->highest);
        return VERDICT_GO_ON;
    case LINEAGE_OTHER:
        error_set(error, ERROR_CONFIG,
                  "another host, or a copy of this one, is at the centre with "
                  "the same system.id \"%s\" (last seen %" PRId64
                  " s ago); give one of them another system.id, or stop one: "
                  "%d minutes later the other goes on",
                  lineage->worker->config->system_id, contact->idle_ms / 1000,
                  LINEAGE_ALIVE_MS / 60000);
        return VERDICT_REFUSE;
    case LINEAGE_BEHIND:
        error_set(error, ERROR_TRY_AGAIN,
                  "this store went back in time (the centre has batch "
                  "%" PRId64 " of epoch %" PRId64 ", the store %" PRId64
                  " of %" PRId64 "): a new epoch begins",
                  contact->highest, contact->newest.epoch, after.last_batch,
                  after.epoch);
        return lineage->worker->slot == 0 && lineage->begins == 0
                   ? VERDICT_BEGIN
                   : VERDICT_REFUSE;
    default:
        return VERDICT_GO_ON;
    }
}

static void epoch_stored(void *self, const struct store_answer *answer)
{
    struct lineage *lineage = self;
    struct error error;
    if (answer->code == ERROR_NONE) {
        log_notice("this store went back in time: epoch %" PRId64
                   " begins; the centre had %" PRId64
                   " of its pending operations already, the others are sent",
                   lineage->begins, answer->results[0].changed);
        worker_loop_leave(lineage->loop, WORKER_EXIT_DRAINED);
        return;
    }
    error_set(&error, answer->code, "epoch %" PRId64 " cannot begin: %s",
              lineage->begins, answer->text);
    worker_loop_fail(lineage->loop, WORKER_EXIT_FAILED, &error);
}

static struct value keys_value(const int64_t *keys, size_t count)
{
    return (struct value){.type = VALUE_BYTES,
                          .bytes = (const char *)keys,
                          .size = count * sizeof(*keys)};
}

static void begun(void *self, const struct sink_history *history)
{
    struct lineage *lineage = self;
    struct error error;
    struct store_call call = {
        .statement = STATEMENT_EPOCH_BEGIN,
        .argument_count = 4,
        .arguments = {value_integer(history->epoch),
                      keys_value(history->marks, history->mark_count),
                      keys_value(history->missing, history->missing_count),
                      keys_value(history->ahead, history->ahead_count)}};
    struct store_request request = {.calls = &call, .call_count = 1};
    lineage->begins = history->epoch;
    if (store_link_call(lineage->link, &request, epoch_stored, lineage,
                        &error) != 0)
        worker_loop_fail(lineage->loop, WORKER_EXIT_FAILED, &error);
}

void lineage_init(struct lineage *lineage, const struct worker *worker,
                  struct worker_loop *loop, struct store_link *link)
{
    *lineage = (struct lineage){.worker = worker,
                                .loop = loop,
                                .link = link,
                                .host = host_hash(worker->config)};
    lineage->watch = (struct sink_watch){
        .before = before, .check = check, .begun = begun, .self = lineage};
}
