/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up of the store: open it, load it on all workers at once, then let it commit. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "broker/api.h"
#include "broker/node.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct api_store_ops load_store_ops;

/* What a person can do about a store that does not open. */
static int explain(enum rc rc, const char *data_dir, const char *error)
{
    LOG(LOG_ERROR, "store.not_opened", log_text("dir", data_dir), log_text("error", error));
    switch (rc) {
    case RC_EXISTS:
        fprintf(stderr, "skein: another process uses the data directory %s; -d names another one\n",
                data_dir);
        return BROKER_EXIT_IO;
    case RC_REFUSED:
        fprintf(stderr, "skein: the store in %s cannot be used: %s\n", data_dir, error);
        return BROKER_EXIT_DATA;
    case RC_INVALID:
        fprintf(stderr,
                "skein: the store in %s is damaged: %s\n"
                "Nothing was changed. This keeps everything that can be read, sets the damaged "
                "store aside, and lists what was lost:\n"
                "  skein store salvage %s\n",
                data_dir, error, data_dir);
        return BROKER_EXIT_DATA;
    case RC_FULL:
        fprintf(stderr, "skein: the disk of the data directory %s is full: %s\n", data_dir, error);
        return BROKER_EXIT_IO;
    default:
        fprintf(stderr, "skein: the store in %s cannot be used: %s\n", data_dir, error);
        return BROKER_EXIT_IO;
    }
}

int load_open(struct broker *broker, const char *data_dir)
{
    const struct config *config = broker->config;
    char dir[STORE_PATH_MAX], error[ENGINE_ERROR_MAX] = "";
    enum durability strictest = config_strictest_durability(config);
    if (strictest == DURABILITY_MEMORY)
        return BROKER_EXIT_OK;
    snprintf(dir, sizeof(dir), "%s/store", data_dir);
    struct store_options options = {
        .dir = dir,
        .profile = config->store.profile == STORE_PROFILE_SMALL ? ENGINE_SMALL : ENGINE_NORMAL,
        .workers = broker->worker_count,
        .shards = config->shards,
        .groups = broker->groups != NULL ? HOMES_GROUPS : 0,
        .interval_ms = config->durability_interval_ms,
        .never_at_once = strictest == DURABILITY_INTERVAL,
    };
    enum rc rc = store_open(&options, &broker->store, error);
    broker->store_ops = &load_store_ops;
    if (rc == RC_OK && broker->groups != NULL)
        store_replicate(broker->store, &groups_store_ops, broker->groups);
    return rc == RC_OK ? BROKER_EXIT_OK : explain(rc, data_dir, error);
}

bool load_worker(struct worker *worker)
{
    struct broker *broker = worker->broker;
    struct restored counts = {0};
    uint64_t began_ms = clock_ms();
    enum rc rc = RC_OK;
    worker->sessions.now_ms = began_ms;
    if (broker->store != NULL) {
        rc = delivery_restore(&worker->hub, store_engine(broker->store), (struct shard_group){0, 1},
                              broker->groups == NULL ? RESTORE_ALL : RESTORE_RETAINED, &counts);
        LOG(LOG_INFO, "store.loaded", log_uint("worker", worker->index),
            log_uint("sessions", counts.sessions), log_uint("subscriptions", counts.subscriptions),
            log_uint("messages", counts.messages), log_uint("retained", counts.retained),
            log_uint("not_readable", counts.damaged), log_uint("ms", clock_ms() - began_ms));
    }
    if (rc != RC_OK)
        atomic_store_explicit(&broker->load_rc, rc, memory_order_relaxed);
    pthread_barrier_wait(&broker->loaded);
    if (atomic_load_explicit(&broker->load_rc, memory_order_relaxed) != RC_OK)
        return false;
    if (broker->store != NULL && broker->groups == NULL &&
        delivery_replay(&worker->hub, store_engine(broker->store), (struct shard_group){0, 1}) !=
            RC_OK)
        LOG(LOG_ERROR, "store.outbox_not_readable", log_uint("worker", worker->index));
    pthread_barrier_wait(&broker->loaded); /* nobody reads past the store's own threads any more */
    return true;
}

int load_finish(struct broker *broker, const char *data_dir)
{
    pthread_barrier_wait(&broker->loaded);
    enum rc rc = (enum rc)atomic_load_explicit(&broker->load_rc, memory_order_relaxed);
    if (broker->store == NULL) {
        pthread_barrier_wait(&broker->loaded);
        return BROKER_EXIT_OK;
    }
    if (rc != RC_OK) {
        store_start(broker->store);
        return explain(rc, data_dir,
                       rc == RC_NO_MEMORY ? "there is not memory enough to load it"
                                          : "it cannot be read to its end");
    }
    uint32_t sessions = atomic_load_explicit(&broker->shared.sessions, memory_order_relaxed);
    if (sessions > broker->config->limits.sessions)
        LOG(LOG_WARN, "store.more_sessions_than_limit", log_uint("sessions", sessions),
            log_text("key", "limits.sessions"), log_uint("value", broker->config->limits.sessions),
            log_text("meaning", "all of them are kept; no new one is made until there are fewer"));
    pthread_barrier_wait(&broker->loaded);
    fault_point("store.loaded");
    store_start(broker->store);
    return BROKER_EXIT_OK;
}

/* ---- for the API -------------------------------------------------------------------------------
 */

static void tell_numbers(void *arg, void (*each)(void *arg, const char *name, double value),
                         void *each_arg)
{
    struct store *store = arg;
    struct store_sizes sizes = store_sizes(store);
    each(each_arg, "disk_bytes", (double)sizes.disk);
    each(each_arg, "memory_bytes", (double)sizes.tables);
    each(each_arg, "cache_bytes", (double)sizes.cache);
    each(each_arg, "starts", (double)store_starts(store));
    each(each_arg, "works", store_state(store) == RC_OK);
}

/* A backup is a data directory with nothing but a store in it. */
static enum rc back_up(void *store, const char *path, char *detail, size_t room)
{
    char target[STORE_PATH_MAX], error[ENGINE_ERROR_MAX] = "";
    if (mkdir(path, 0700) != 0) {
        snprintf(detail, room, "%s: %s", path, strerror(errno));
        return errno == EEXIST ? RC_EXISTS : RC_IO;
    }
    snprintf(target, sizeof(target), "%s/store", path);
    enum rc rc = store_checkpoint(store, target, error);
    if (rc != RC_OK) {
        snprintf(detail, room, "%s", error);
        rmdir(path);
    }
    return rc;
}

static const struct api_store_ops load_store_ops = {
    .kind = "rocksdb",
    .stats = tell_numbers,
    .backup = back_up,
};
