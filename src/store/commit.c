/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that commits. Its limits: the few batches of each worker in a group, and
 * STORE_BACKLOG_MAX bytes that are kept while the disk takes nothing. */
#include "store/inside.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "store/logs.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { LOOK_MS = 1000, RETRY_MS = 1000, TIDY_MS = 5000, PROBE_BYTES = 64 * 1024 };

/* ---- being woken --------------------------------------------------------------------------------
 */

void store_wake_commit(struct store *store)
{
    /* seq_cst: either we see that it sleeps, or it sees what we have put into a slot */
    if (atomic_exchange_explicit(&store->commit_sleeps, false, memory_order_seq_cst))
        (void)!write(store->commit_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static bool anything(struct store *store)
{
    if (atomic_load_explicit(&store->stopping, memory_order_seq_cst))
        return true;
    if (store->replicas != NULL)
        return replicas_anything(store);
    for (uint32_t i = 0; i < store->end_count; i++)
        if (atomic_load_explicit(&store->ends[i].slot, memory_order_seq_cst) != NULL)
            return true;
    return false;
}

static int wait_ms(const struct store *store, uint64_t now_ms)
{
    uint64_t at_ms = store->look_at_ms;
    if (store->flush_at_ms != 0 && store->flush_at_ms < at_ms)
        at_ms = store->flush_at_ms;
    return at_ms <= now_ms ? 0 : (int)(at_ms - now_ms);
}

static void sleep_until_needed(struct store *store)
{
    atomic_store_explicit(&store->commit_sleeps, true, memory_order_seq_cst);
    if (!anything(store)) {
        struct pollfd fd = {.fd = store->commit_fd, .events = POLLIN};
        uint64_t count;
        if (poll(&fd, 1, wait_ms(store, clock_ms())) > 0)
            (void)!read(store->commit_fd, &count, sizeof(count));
    }
    atomic_store_explicit(&store->commit_sleeps, false, memory_order_seq_cst);
}

/* ---- a group ------------------------------------------------------------------------------------
 */

enum { GROUP_HEAD = BATCH_HEADER + BATCH_MARK };

/* Room for so many more bytes, behind the header. */
static uint8_t *group_room(struct store *store, size_t more, uint32_t records)
{
    size_t need = store->group_used + more;
    if (store->group_used == 0)
        need += GROUP_HEAD;
    if (need > store->group_room) {
        while (store->group_room < need)
            store->group_room = store->group_room == 0 ? 64 * 1024 : store->group_room * 2;
        store->group = mem_resize(store->group, store->group_room);
    }
    if (store->group_used == 0)
        store->group_used = GROUP_HEAD;
    uint8_t *room = store->group + store->group_used;
    store->group_used += more;
    store->group_records += records;
    return room;
}

void store_group_add(struct store *store, struct bytes serialised, uint32_t records)
{
    memcpy(group_room(store, serialised.len, records), serialised.data, serialised.len);
}

void store_group_add_batch(struct store *store, const struct batch *batch)
{
    batch_serialise(batch, group_room(store, batch_size(batch), batch->live));
}

static void group_done(struct store *store)
{
    store->group_used = 0;
    store->group_records = 0;
    if (store->group_room > BATCH_KEEP_ROOM * 2) {
        mem_free(store->group);
        store->group = NULL;
        store->group_room = 0;
    }
}

static bool engine_has_failed(const struct store *store)
{
    return atomic_load_explicit(&store->engine_failed, memory_order_relaxed);
}

/* RocksDB, as Debian builds it, aborts when it is asked for anything more after an error. */
static enum rc engine_fails(struct store *store, enum rc rc, const char *error)
{
    atomic_store_explicit(&store->engine_failed, true, memory_order_relaxed);
    store->flush_at_ms = 0; /* opening it again flushes all that it has */
    LOG(LOG_ERROR, "store.write_failed", log_text("error", error),
        log_text("meaning", "nothing durable is acknowledged until it works again"));
    return rc == RC_FULL ? RC_FULL : RC_IO;
}

static enum rc sync_engine(struct store *store, char error[ENGINE_ERROR_MAX])
{
    if (fault_fails("store.sync")) {
        snprintf(error, ENGINE_ERROR_MAX, "a test has asked for it");
        return RC_IO;
    }
    return engine_sync(store->engine, error);
}

static void synced(struct store *store)
{
    store->synced_sequence = engine_sequence(store->engine);
    if (store->replicas != NULL)
        replicas_flushed(store);
}

static enum rc write_group(struct store *store, bool sync)
{
    char error[ENGINE_ERROR_MAX] = "";
    enum rc rc = RC_OK;
    if (store->engine == NULL)
        return RC_IO;
    fault_point("store.before_write");
    if (store->group_records > 0) {
        batch_header(store->group, store->group_records);
        batch_mark(store->group + BATCH_HEADER, store->synced_sequence);
        rc = engine_write(store->engine, bytes_of(store->group, store->group_used),
                          sync ? ENGINE_SYNCED : ENGINE_BUFFERED, error);
    } else if (sync) {
        rc = sync_engine(store, error);
    }
    if (rc != RC_OK)
        return engine_fails(store, rc, error);
    if (store->replicas != NULL)
        replicas_written(store);
    if (sync)
        synced(store);
    fault_point("store.after_write");
    group_done(store);
    return RC_OK;
}

/* ---- trouble ------------------------------------------------------------------------------------
 */

static void set_trouble(struct store *store, enum rc rc)
{
    /* seq_cst: who is woken after this sees it, and goes to sleep for nothing else */
    atomic_store_explicit(&store->trouble, rc, memory_order_seq_cst);
    store->look_at_ms = clock_ms() + RETRY_MS;
}

static bool disk_has_room(struct store *store, uint64_t more)
{
    struct statvfs status;
    uint64_t need = STORE_FREE_MIN + store->group_used + more;
    return statvfs(store->dir, &status) != 0 || (uint64_t)status.f_bavail * status.f_frsize >= need;
}

/* Opening an engine on a disk that still fails would end the process, with RocksDB as Debian builds
 * it: so a file beside the store is written first. */
static bool disk_takes_writes(const struct store *store)
{
    static const uint8_t zeros[PROBE_BYTES];
    char path[STORE_PATH_MAX + sizeof(".probe")];
    snprintf(path, sizeof(path), "%s.probe", store->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool good = write(fd, zeros, sizeof(zeros)) == (ssize_t)sizeof(zeros) && fdatasync(fd) == 0;
    close(fd);
    unlink(path);
    return good;
}

/* RocksDB refuses everything after some errors, and only opening it again ends that. */
static bool open_again(struct store *store)
{
    char error[ENGINE_ERROR_MAX];
    pthread_rwlock_wrlock(&store->engine_lock);
    store_images_let_go(store);
    engine_close(store->engine);
    store->engine = NULL;
    enum rc rc = engine_open(store->dir, ENGINE_EXISTING, store->profile, &store->engine, error);
    atomic_store_explicit(&store->engine_failed, rc != RC_OK, memory_order_relaxed);
    pthread_rwlock_unlock(&store->engine_lock);
    if (rc != RC_OK)
        LOG(LOG_ERROR, "store.open_failed", log_text("error", error));
    return rc == RC_OK;
}

/* Once a second while there is trouble. */
static void try_again(struct store *store)
{
    bool only_full = !engine_has_failed(store);
    /* opening again writes what is in the logs, and the engine aborts when that finds no room */
    if (!disk_has_room(store, only_full ? 0 : logs_bytes(store->dir)))
        return;
    if (!only_full &&
        (!disk_takes_writes(store) || !open_again(store) || write_group(store, true) != RC_OK))
        return;
    set_trouble(store, RC_OK);
    for (uint32_t i = 0; i < store->end_count; i++) /* somebody may be stuck there */
        store->ends[i].answers.wake(store->ends[i].answers.owner);
    LOG(LOG_INFO, "store.works_again", log_uint("records_dropped", store->backlog_dropped));
    store->backlog_dropped = 0;
}

/* Once a second: a disk that is nearly full takes nothing new, while it still works. And now and
 * then, space of what was deleted is taken back. */
static void look_at_disk(struct store *store)
{
    uint64_t now_ms = clock_ms();
    if (now_ms < store->look_at_ms)
        return;
    store->look_at_ms = now_ms + LOOK_MS;
    if (store_state(store) != RC_OK) {
        try_again(store);
    } else if (!disk_has_room(store, 0)) {
        LOG(LOG_ERROR, "store.disk_full", log_text("dir", store->dir));
        set_trouble(store, RC_FULL);
    } else if (now_ms >= store->tidy_at_ms) {
        store->tidy_at_ms = now_ms + TIDY_MS;
        engine_tidy(store->engine);
    }
}

static void flush_if_due(struct store *store)
{
    char error[ENGINE_ERROR_MAX];
    if (store->flush_at_ms == 0 || clock_ms() < store->flush_at_ms)
        return;
    store->flush_at_ms = 0;
    enum rc rc = sync_engine(store, error);
    if (rc != RC_OK) {
        set_trouble(store, engine_fails(store, rc, error));
        return;
    }
    synced(store);
}

/* ---- the loop -----------------------------------------------------------------------------------
 */

/* While there is trouble: kept for later, until one finds no room. What is kept is then the state
 * of one moment: nothing later is in it whose beginning is not. */
static void keep_for_later(struct store *store, const struct batch *batch)
{
    if (store->backlog_dropped == 0 && store->group_used + batch_size(batch) <= STORE_BACKLOG_MAX)
        store_group_add_batch(store, batch);
    else
        store->backlog_dropped += batch->live;
}

void store_answer(struct store_end *end, struct batch *batch, enum rc rc, bool synced)
{
    while (batch != NULL) {
        struct batch *next = batch_next(batch); /* the letter goes into another list */
        batch->rc = rc;
        batch->sync = synced;
        mailbox_post(&end->answers, &batch->letter);
        batch = next;
    }
}

/* True: somebody waits for the flush of one of them. */
static bool gather(struct store *store, const struct batch *batch, bool works)
{
    bool sync = false;
    for (; batch != NULL; batch = batch_next(batch)) {
        sync |= batch->sync;
        if (works)
            store_group_add_batch(store, batch);
        else
            keep_for_later(store, batch);
    }
    return sync;
}

/* A disk that is nearly full still does. */
static bool works(const struct store *store)
{
    return store_state(store) == RC_OK ||
           (store_state(store) == RC_FULL && !engine_has_failed(store));
}

enum rc store_group_commit(struct store *store, bool sync)
{
    if (!works(store))
        return store_state(store);
    enum rc rc = write_group(store, sync);
    if (rc != RC_OK)
        set_trouble(store, rc);
    else if (!sync && store->flush_at_ms == 0)
        store->flush_at_ms = clock_ms() + store->interval_ms;
    return rc;
}

/* Takes what every worker has, writes it, tells them. False: there was nothing. */
static bool commit(struct store *store, struct batch **taken)
{
    bool sync = false, any = false, all_works = works(store);
    for (uint32_t i = 0; i < store->end_count; i++) {
        /* acquire: pairs with the release of post() in end.c */
        taken[i] = atomic_exchange_explicit(&store->ends[i].slot, NULL, memory_order_acquire);
        if (taken[i] == NULL)
            continue;
        any = true;
        sync |= gather(store, taken[i], all_works);
    }
    if (!any)
        return false;
    enum rc rc = store_group_commit(store, sync);
    for (uint32_t i = 0; i < store->end_count; i++)
        store_answer(&store->ends[i], taken[i], rc, sync);
    fault_point("store.answered");
    return true;
}

void *store_commit_main(void *arg)
{
    struct store *store = arg;
    struct batch **taken = mem_new(store->end_count * sizeof(struct batch *));
    store->look_at_ms = clock_ms();
    engine_thread_begin();
    for (;;) {
        /* before the slots: what was put into one before the end was asked for is still seen */
        bool stopping = atomic_load_explicit(&store->stopping, memory_order_seq_cst);
        bool any = store->replicas == NULL ? commit(store, taken) : replicas_commit(store);
        look_at_disk(store);
        flush_if_due(store);
        if (any)
            continue;
        if (stopping)
            break;
        sleep_until_needed(store);
    }
    mem_free(taken);
    if (store->replicas != NULL)
        replicas_end(store);
    char error[ENGINE_ERROR_MAX];
    if (!engine_has_failed(store) && sync_engine(store, error) != RC_OK)
        LOG(LOG_ERROR, "store.flush_failed", log_text("error", error));
    return NULL;
}
