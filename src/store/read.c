/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that reads back what memory does not hold. Limits: those of each request. */
#include "store/inside.h"

#include "base/check.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "store/record.h"
#include "store/walk.h"

#include <unistd.h>

/* A request on its way to the thread and back. */
struct read_job {
    struct letter letter;
    struct store_end *end;
    struct store_read *read;
    size_t room;
};

void store_wake_read(void *arg)
{
    struct store *store = arg;
    (void)!write(store->read_fd, &(uint64_t){1}, sizeof(uint64_t));
}

bool store_read_start(struct store_shard *shard, struct store_read *read)
{
    struct store_end *end = shard->end;
    if (end == NULL)
        return false;
    struct read_job *job = NEW(struct read_job);
    job->end = end;
    job->read = read;
    read->rc = RC_OK;
    read->data = NULL;
    read->used = 0;
    read->records = 0;
    read->more = false;
    read->unreadable = 0;
    read->unreadable_from = UINT64_MAX;
    end->reads++;
    store_end_touch(end);
    mailbox_post(&end->store->requests, &job->letter);
    return true;
}

/* Before each pair. */
struct pair_head {
    uint32_t key_len, value_len;
};

static void add_pair(struct read_job *job, struct bytes key, struct bytes value)
{
    struct store_read *read = job->read;
    struct pair_head head = {(uint32_t)key.len, (uint32_t)value.len};
    size_t need = read->used + sizeof(head) + key.len + value.len;
    if (need > job->room) {
        job->room = job->room == 0 ? 4096 : job->room * 2;
        if (job->room < need)
            job->room = need;
        read->data = mem_resize(read->data, job->room);
    }
    uint8_t *to = read->data + read->used;
    memcpy(to, &head, sizeof(head));
    memcpy(to + sizeof(head), key.data, key.len);
    memcpy(to + sizeof(head) + key.len, value.data, value.len);
    read->used = need;
    read->records++;
}

/* The message that a queue's record stands for, when that is not in the record. */
static void add_shared(struct store *store, struct read_job *job, struct bytes key,
                       struct bytes value)
{
    struct record_key parsed;
    struct queue_record record;
    if (!record_key_parse(key, &parsed) || parsed.kind != RECORD_QUEUED ||
        !queue_record_decode(value, &record) || record.kind != QUEUE_RECORD_SHARED)
        return;
    struct store_key shared = record_key_of(parsed.shard, RECORD_SHARED, record.shared);
    struct bytes shared_key = bytes_of(shared.head, shared.head_len);
    void *copy;
    size_t len;
    if (engine_get(store->engine, STORE_QUEUE, shared_key, &copy, &len) == RC_OK) {
        add_pair(job, shared_key, bytes_of(copy, len));
        engine_free(copy);
    } else {
        add_pair(job, shared_key, bytes_of("", 0)); /* which is no message: counted as damage */
    }
    job->read->records--; /* it comes with the one that follows */
}

struct reading {
    struct walk walk;
    struct store *store;
    struct read_job *job;
};

static enum rc read_pair(struct walk *walk, enum store_family family, struct bytes key,
                         struct bytes value)
{
    struct reading *reading = CONTAINER_OF(walk, struct reading, walk);
    struct store_read *read = reading->job->read;
    (void)family;
    if (read->records >= read->records_max ||
        (read->records > 0 && read->used + value.len > read->bytes_max)) {
        read->more = true;
        return RC_AGAIN;
    }
    if (!read->bare)
        add_shared(reading->store, reading->job, key, value);
    add_pair(reading->job, key, value);
    return RC_OK;
}

/* The first number that is at, or behind, the beginning of a gap. */
static uint64_t first_sequence(struct bytes from)
{
    struct record_key key;
    if (record_key_parse(from, &key))
        return key.sequence;
    /* a walk has read what stands before that last byte */
    return record_key_parse(bytes_of(from.data, from.len - 1), &key) ? key.sequence + 1 : 0;
}

static enum rc note_gap(struct walk *walk, enum store_family family, struct bytes from,
                        struct bytes until, const char *error)
{
    struct store_read *read = CONTAINER_OF(walk, struct reading, walk)->job->read;
    struct record_key first, end;
    (void)family;
    LOG_LIMITED(LOG_ERROR, "store.damage_found", log_text("error", error));
    if (record_key_parse(until, &end) && end.kind == RECORD_QUEUED &&
        record_key_parse(bytes_of(read->from.head, read->from.head_len), &first) &&
        end.number == first.number)
        read->unreadable += end.sequence - first_sequence(from);
    else
        read->unreadable_from = first_sequence(from);
    return RC_OK;
}

static void run(struct store *store, struct read_job *job)
{
    struct store_read *read = job->read;
    struct reading reading = {
        .walk = {.record = read_pair, .gap = note_gap}, .store = store, .job = job};
    if (store->engine == NULL) {
        read->rc = RC_IO;
        return;
    }
    enum rc rc = walk_range(store->engine, &reading.walk, read->family,
                            bytes_of(read->from.head, read->from.head_len),
                            bytes_of(read->until.head, read->until.head_len));
    if (rc != RC_OK && rc != RC_AGAIN)
        read->rc = rc;
}

void *store_read_main(void *arg)
{
    struct store *store = arg;
    engine_thread_begin();
    while (!atomic_load_explicit(&store->stopping, memory_order_seq_cst)) {
        uint64_t count;
        (void)!read(store->read_fd, &count, sizeof(count));
        struct letter *letter = mailbox_take_all(&store->requests);
        while (letter != NULL) {
            struct letter *next = letter->next;
            struct read_job *job = CONTAINER_OF(letter, struct read_job, letter);
            fault_point("store.read");
            pthread_rwlock_rdlock(&store->engine_lock);
            run(store, job);
            pthread_rwlock_unlock(&store->engine_lock);
            mailbox_post(&job->end->read_answers, &job->letter);
            letter = next;
        }
    }
    return NULL;
}

void store_end_reads(struct store_end *end)
{
    struct letter *letter = mailbox_take_all(&end->read_answers);
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct read_job *job = CONTAINER_OF(letter, struct read_job, letter);
        struct store_read *read = job->read;
        mem_free(job);
        end->reads--;
        read->done(read);
        letter = next;
    }
}

bool store_read_next(const struct store_read *read, size_t *at, struct bytes *key,
                     struct bytes *value)
{
    if (*at >= read->used)
        return false;
    struct pair_head head;
    memcpy(&head, read->data + *at, sizeof(head));
    *key = bytes_of(read->data + *at + sizeof(head), head.key_len);
    *value = bytes_of(key->data + head.key_len, head.value_len);
    *at += sizeof(head) + head.key_len + head.value_len;
    return true;
}
