/* SPDX-License-Identifier: Apache-2.0 */
/* The commit thread's work on groups that have changelogs. What other threads say comes by mail, in
 * the order in which they said it. */
#include "store/replicated.h"

#include "base/breaks.h"
#include "base/check.h"
#include "base/memory.h"
#include "store/inside.h"
#include "store/record.h"

#include <string.h>
#include <unistd.h>

enum replica_state { REPLICA_FOLLOWS, REPLICA_LOADS, REPLICA_SERVES };

/* A group, as the commit thread sees it. */
struct replica {
    _Atomic int state;    /* enum replica_state */
    struct batch **taken; /* one a worker, or NULL: what is on its way, oldest first */
    struct batch **rest;  /* the same: of that, what has not been appended yet */
    bool appending;       /* nobody knows yet whether the changelog has it */
    bool done;            /* it has: to be answered when this round is written */
    bool sync;            /* somebody waits for the flush of it */
    bool opening, closing;
    uint64_t token; /* of the opening */
    uint8_t *bytes; /* as they were appended, header included */
    size_t used, room;
    uint32_t records; /* in these */
    struct store_position position;
    bool moved;             /* the position has not been added to a write */
    bool unflushed;         /* it has, and that was not flushed yet */
    bool copying;           /* the group is not whole */
    uint64_t copy;          /* token of the copy */
    uint32_t copied_chunks; /* of it that are in what is written next */
};

struct replicas {
    const struct store_replica_ops *ops;
    void *owner;
    struct mailbox news; /* struct replica_news */
    pthread_mutex_t lock;
    pthread_cond_t room;
    size_t apply_bytes;     /* under the lock: to be applied, and not written yet */
    size_t unwritten;       /* the commit thread's: of them, in what is written next */
    struct batch positions; /* for one write */
    struct replica groups[];
};

enum news_kind {
    NEWS_APPLY,
    NEWS_PLACE,
    NEWS_OPEN,
    NEWS_SERVE,
    NEWS_COMMITTED,
    NEWS_LOST,
    NEWS_CLOSE,
    NEWS_COPY,
    NEWS_COPY_CHUNK,
    NEWS_COPIED
};

/* Stands where the position does while a copy is being taken: one byte. */
static const struct store_position not_whole = {.len = 1};

struct replica_news {
    struct letter letter;
    enum news_kind kind;
    uint32_t group;
    uint64_t token;
    struct store_position position;
    size_t len;
    uint8_t batch[];
};

/* What one round writes. */
struct round {
    bool any, sync;
};

/* ---- told by other threads ---------------------------------------------------------------------
 */

static struct replica_news *news_new(const struct store *store, enum news_kind kind, uint32_t group,
                                     struct bytes batch, const struct store_position *position)
{
    CHECK(group < store->group_count);
    struct replica_news *news = mem_new(sizeof(*news) + batch.len);
    *news = (struct replica_news){.kind = kind, .group = group, .len = batch.len};
    if (position != NULL)
        news->position = *position;
    if (batch.len > 0)
        memcpy(news->batch, batch.data, batch.len);
    return news;
}

static void post(struct store *store, struct replica_news *news)
{
    mailbox_post(&store->replicas->news, &news->letter);
}

static void post_kind(struct store *store, enum news_kind kind, uint32_t group)
{
    post(store, news_new(store, kind, group, bytes_of(NULL, 0), NULL));
}

/* Not store_wake_commit(): the thread looks into slots before it sleeps, and not into this. */
static void wake(void *owner)
{
    struct store *store = owner;
    (void)!write(store->commit_fd, &(uint64_t){1}, sizeof(uint64_t));
}

void store_replica_apply(struct store *store, uint32_t group, struct bytes batch,
                         const struct store_position *position)
{
    struct replicas *all = store->replicas;
    pthread_mutex_lock(&all->lock);
    while (all->apply_bytes > STORE_APPLY_MAX)
        pthread_cond_wait(&all->room, &all->lock);
    all->apply_bytes += batch.len;
    pthread_mutex_unlock(&all->lock);
    post(store, news_new(store, NEWS_APPLY, group, batch, position));
}

void store_replica_place(struct store *store, uint32_t group, const struct store_position *position)
{
    post(store, news_new(store, NEWS_PLACE, group, bytes_of(NULL, 0), position));
}

void store_replica_open(struct store *store, uint32_t group, uint64_t token)
{
    struct replica_news *news = news_new(store, NEWS_OPEN, group, bytes_of(NULL, 0), NULL);
    news->token = token;
    post(store, news);
}

void store_replica_serve(struct store *store, uint32_t group)
{
    post_kind(store, NEWS_SERVE, group);
}

void store_replica_committed(struct store *store, uint32_t group,
                             const struct store_position *position)
{
    post(store, news_new(store, NEWS_COMMITTED, group, bytes_of(NULL, 0), position));
}

void store_replica_lost(struct store *store, uint32_t group)
{
    post_kind(store, NEWS_LOST, group);
}

void store_replica_close(struct store *store, uint32_t group)
{
    post_kind(store, NEWS_CLOSE, group);
}

static void post_copy(struct store *store, enum news_kind kind, uint32_t group, uint64_t token,
                      struct bytes chunk, const struct store_position *position)
{
    struct replica_news *news = news_new(store, kind, group, chunk, position);
    news->token = token;
    post(store, news);
}

void store_replica_copy(struct store *store, uint32_t group, uint64_t token)
{
    post_copy(store, NEWS_COPY, group, token, bytes_of(NULL, 0), NULL);
}

void store_replica_copy_chunk(struct store *store, uint32_t group, uint64_t token,
                              struct bytes chunk)
{
    post_copy(store, NEWS_COPY_CHUNK, group, token, chunk, NULL);
}

void store_replica_copied(struct store *store, uint32_t group, uint64_t token,
                          const struct store_position *position)
{
    post_copy(store, NEWS_COPIED, group, token, bytes_of(NULL, 0), position);
}

bool store_replica_is_open(const struct store *store, uint32_t group)
{
    return atomic_load_explicit(&store->replicas->groups[group].state, memory_order_acquire) !=
           REPLICA_FOLLOWS;
}

bool replica_lease_fresh(const struct store *store, uint32_t group)
{
    return store->replicas->ops->lease_fresh(store->replicas->owner, group);
}

/* ---- the commit thread -------------------------------------------------------------------------
 */

static void set_state(struct replica *replica, enum replica_state state)
{
    /* release: who sees a group open sees what was written before */
    atomic_store_explicit(&replica->state, state, memory_order_release);
}

static enum replica_state state_of(const struct replica *replica)
{
    return (enum replica_state)atomic_load_explicit(&replica->state, memory_order_relaxed);
}

static void answer(struct store *store, uint32_t group, enum rc rc, bool synced)
{
    struct replica *replica = &store->replicas->groups[group];
    for (uint32_t worker = 0; worker < store->worker_count; worker++) {
        if (replica->taken[worker] != NULL)
            store_answer(store_end_of(store, worker, group), replica->taken[worker], rc, synced);
        replica->taken[worker] = replica->rest[worker] = NULL;
    }
    replica->appending = replica->done = false;
}

/* All that is on its way is nowhere. */
static void refuse(struct store *store, uint32_t group)
{
    struct replicas *all = store->replicas;
    for (uint32_t worker = 0; worker < store->worker_count; worker++)
        for (struct batch *b = all->groups[group].taken[worker]; b != NULL; b = batch_next(b)) {
            if (b->live == 0)
                continue;
            uint8_t *bytes = mem_new(BATCH_HEADER + batch_size(b));
            batch_header(bytes, b->live);
            uint8_t *end = batch_serialise(b, bytes + BATCH_HEADER);
            all->ops->refused(all->owner, group, bytes_of(bytes, (size_t)(end - bytes)));
            mem_free(bytes);
        }
    answer(store, group, RC_CLOSED, false);
}

static void move_to(struct replica *replica, const struct store_position *position)
{
    CHECK(position->len != not_whole.len || position == &not_whole);
    replica->position = *position;
    replica->moved = true;
}

static void append(struct store *store, uint32_t group);

static bool is_left(const struct store *store, const struct replica *replica)
{
    for (uint32_t worker = 0; worker < store->worker_count; worker++)
        if (replica->rest[worker] != NULL)
            return true;
    return false;
}

static void committed(struct store *store, uint32_t group, const struct store_position *position,
                      struct round *round)
{
    struct replica *replica = &store->replicas->groups[group];
    if (!replica->appending)
        return;
    replica->appending = false;
    store_group_add(store, bytes_of(replica->bytes + BATCH_HEADER, replica->used - BATCH_HEADER),
                    replica->records);
    move_to(replica, position);
    if (!is_left(store, replica)) {
        replica->done = true;
        round->sync |= replica->sync;
    } else if (state_of(replica) == REPLICA_SERVES) {
        append(store, group);
    } else {
        refuse(store, group); /* the rest, that is; what was written is what they have */
    }
}

static void apply(struct store *store, const struct replica_news *news)
{
    struct replicas *all = store->replicas;
    CHECK(!all->groups[news->group].copying);
    uint32_t count = batch_header_count(bytes_of(news->batch, news->len));
    if (count > 0)
        store_group_add(store, bytes_of(news->batch + BATCH_HEADER, news->len - BATCH_HEADER),
                        count);
    move_to(&all->groups[news->group], &news->position);
    all->unwritten += news->len;
}

/* One write says that the group is not whole and takes away what is there of it. */
static void begin_copy(struct store *store, const struct replica_news *news)
{
    struct replica *replica = &store->replicas->groups[news->group];
    struct batch batch;
    batch_init(&batch);
    for (uint32_t shard = news->group; shard < store->shards; shard += store->group_count) {
        struct store_key from = record_key(shard, RECORD_META), until;
        from.head_len = SHARD_PREFIX;
        until = record_key_end(&from);
        struct bytes spans[] = {bytes_of(from.head, from.head_len),
                                bytes_of(until.head, until.head_len)};
        for (int family = 0; family < STORE_FAMILIES; family++)
            batch_add(&batch, &(struct batch_record){.shard = (uint16_t)shard,
                                                     .operation = BATCH_DELETE_RANGE,
                                                     .family = (enum store_family)family,
                                                     .key = &spans[0],
                                                     .key_parts = 1,
                                                     .value = &spans[1],
                                                     .value_parts = 1});
    }
    store_group_add_batch(store, &batch);
    batch_deinit(&batch);
    replica->copying = true;
    replica->copy = news->token;
    replica->copied_chunks = 0;
    move_to(replica, &not_whole);
}

static void take_copy(struct store *store, const struct replica_news *news)
{
    struct replica *replica = &store->replicas->groups[news->group];
    CHECK(state_of(replica) == REPLICA_FOLLOWS && !replica->opening);
    if (news->kind == NEWS_COPY) {
        begin_copy(store, news);
        return;
    }
    if (!replica->copying || news->token != replica->copy)
        return; /* of one that was given up */
    replica->copied_chunks++;
    if (news->kind == NEWS_COPY_CHUNK) {
        store_group_add(store, bytes_of(news->batch + BATCH_HEADER, news->len - BATCH_HEADER),
                        batch_header_count(bytes_of(news->batch, news->len)));
    } else {
        move_to(replica, &news->position);
        replica->copying = false;
    }
}

static void tell_copied(struct store *store, uint32_t group)
{
    struct replicas *all = store->replicas;
    struct replica *replica = &all->groups[group];
    uint32_t chunks = replica->copied_chunks;
    replica->copied_chunks = 0;
    if (chunks > 0)
        all->ops->copied(all->owner, group, replica->copy, chunks);
}

void replicas_written(struct store *store)
{
    struct replicas *all = store->replicas;
    for (uint32_t group = 0; group < store->group_count; group++)
        tell_copied(store, group);
    if (all->unwritten == 0)
        return;
    pthread_mutex_lock(&all->lock);
    all->apply_bytes -= all->unwritten;
    pthread_cond_broadcast(&all->room);
    pthread_mutex_unlock(&all->lock);
    all->unwritten = 0;
}

static void take_news(struct store *store, const struct replica_news *news, struct round *round)
{
    struct replica *replica = &store->replicas->groups[news->group];
    switch (news->kind) {
    case NEWS_APPLY:
        apply(store, news);
        break;
    case NEWS_PLACE:
        CHECK(state_of(replica) == REPLICA_FOLLOWS && !replica->copying);
        move_to(replica, &news->position);
        round->sync = true;
        break;
    case NEWS_OPEN:
        CHECK(!replica->copying);
        replica->opening = true;
        replica->token = news->token;
        break;
    case NEWS_SERVE:
        if (state_of(replica) == REPLICA_LOADS)
            set_state(replica, REPLICA_SERVES);
        break;
    case NEWS_COMMITTED:
        committed(store, news->group, &news->position, round);
        break;
    case NEWS_LOST:
        if (broken(BREAK_KEEP_REFUSED) && replica->appending)
            store_group_add(store,
                            bytes_of(replica->bytes + BATCH_HEADER, replica->used - BATCH_HEADER),
                            replica->records);
        set_state(replica, REPLICA_FOLLOWS);
        replica->opening = replica->closing = false;
        refuse(store, news->group);
        break;
    case NEWS_CLOSE:
        replica->closing = true;
        break;
    case NEWS_COPY:
    case NEWS_COPY_CHUNK:
    case NEWS_COPIED:
        take_copy(store, news);
        round->sync |= news->kind == NEWS_COPIED;
        break;
    }
}

/* Everything that workers have recorded, oldest first. */
static bool take_slots(struct store *store, uint32_t group)
{
    struct replica *replica = &store->replicas->groups[group];
    bool any = false;
    replica->sync = false;
    replica->records = 0;
    for (uint32_t worker = 0; worker < store->worker_count; worker++) {
        struct store_end *end = store_end_of(store, worker, group);
        /* acquire: pairs with the release of post() in end.c */
        struct batch *batch = atomic_exchange_explicit(&end->slot, NULL, memory_order_acquire);
        replica->taken[worker] = replica->rest[worker] = batch;
        any |= batch != NULL;
        for (; batch != NULL; batch = batch_next(batch)) {
            replica->sync |= batch->sync;
            replica->records += batch->live;
        }
    }
    return any;
}

/* Room for what is left, or for as much of it as goes at once. */
static void make_room(struct store *store, struct replica *replica)
{
    size_t need = BATCH_HEADER;
    for (uint32_t worker = 0; worker < store->worker_count; worker++)
        for (struct batch *b = replica->rest[worker]; b != NULL && need < STORE_APPEND_MAX;
             b = batch_next(b))
            need += batch_size(b);
    if (need <= replica->room && (replica->room <= BATCH_KEEP_ROOM || need >= BATCH_KEEP_ROOM))
        return;
    mem_free(replica->bytes);
    replica->room = need < BATCH_ROOM_FIRST ? BATCH_ROOM_FIRST : need;
    replica->bytes = mem_new(replica->room);
}

static void append(struct store *store, uint32_t group)
{
    struct replicas *all = store->replicas;
    struct replica *replica = &all->groups[group];
    make_room(store, replica);
    uint8_t *end = replica->bytes + BATCH_HEADER;
    replica->records = 0;
    for (uint32_t worker = 0; worker < store->worker_count; worker++) {
        struct batch **next = &replica->rest[worker];
        for (; *next != NULL && end - replica->bytes < STORE_APPEND_MAX;
             *next = batch_next(*next)) {
            end = batch_serialise(*next, end);
            replica->records += (*next)->live;
        }
    }
    batch_header(replica->bytes, replica->records);
    replica->used = (size_t)(end - replica->bytes);
    replica->appending = true;
    fault_point("store.before_append");
    all->ops->append(all->owner, group, bytes_of(replica->bytes, replica->used));
    if (broken(BREAK_ACK_BEFORE_CHANGELOG) && !is_left(store, replica)) {
        answer(store, group, RC_OK, true);
        replica->appending = true;
    }
}

static bool can_take(const struct replica *replica)
{
    return !replica->appending && !replica->done && state_of(replica) != REPLICA_LOADS;
}

static bool slots_used(struct store *store, uint32_t group)
{
    for (uint32_t worker = 0; worker < store->worker_count; worker++)
        if (atomic_load_explicit(&store_end_of(store, worker, group)->slot, memory_order_seq_cst) !=
            NULL)
            return true;
    return false;
}

bool replicas_anything(struct store *store)
{
    for (uint32_t group = 0; group < store->group_count; group++)
        if (can_take(&store->replicas->groups[group]) && slots_used(store, group))
            return true;
    return false;
}

/* What was recorded while the last batch was on its way. */
static void take(struct store *store, uint32_t group, struct round *round)
{
    struct replica *replica = &store->replicas->groups[group];
    if (!can_take(replica) || !take_slots(store, group))
        return;
    round->any = true;
    if (state_of(replica) == REPLICA_FOLLOWS) {
        refuse(store, group);
    } else if (replica->records == 0 && replica_lease_fresh(store, group)) {
        replica->done = true;
        round->sync |= replica->sync;
    } else {
        append(store, group);
    }
}

/* Adds where the groups stand behind what is written. */
static void add_positions(struct store *store)
{
    struct replicas *all = store->replicas;
    for (uint32_t group = 0; group < store->group_count; group++) {
        struct replica *replica = &all->groups[group];
        if (!replica->moved)
            continue;
        struct store_key key = record_key_position(group);
        struct bytes spans[] = {bytes_of(key.head, key.head_len),
                                bytes_of(replica->position.bytes, replica->position.len)};
        batch_add(&all->positions, &(struct batch_record){.shard = SHARD_META,
                                                          .operation = BATCH_PUT,
                                                          .family = STORE_STATE,
                                                          .key = &spans[0],
                                                          .key_parts = 1,
                                                          .value = &spans[1],
                                                          .value_parts = 1});
        replica->moved = false;
        replica->unflushed = true;
    }
    if (all->positions.live > 0)
        store_group_add_batch(store, &all->positions);
    batch_reset(&all->positions);
}

void replicas_flushed(struct store *store)
{
    struct replicas *all = store->replicas;
    for (uint32_t group = 0; group < store->group_count; group++) {
        struct replica *replica = &all->groups[group];
        if (!replica->unflushed)
            continue;
        replica->unflushed = false;
        if (!replica->copying)
            all->ops->flushed(all->owner, group, &replica->position);
    }
}

/* The disk fails: nothing of this is lost, but another node has to go on with it. */
static void fail(struct store *store)
{
    struct replicas *all = store->replicas;
    for (uint32_t group = 0; group < store->group_count; group++) {
        struct replica *replica = &all->groups[group];
        bool follows = state_of(replica) == REPLICA_FOLLOWS && !replica->opening;
        if (follows && !replica->closing)
            continue;
        replica->opening = replica->closing = false;
        set_state(replica, REPLICA_FOLLOWS);
        if (follows)
            all->ops->closed(all->owner, group);
        else
            all->ops->failed(all->owner, group);
    }
}

static void finish(struct store *store, uint32_t group, enum rc rc, bool synced)
{
    struct replicas *all = store->replicas;
    struct replica *replica = &all->groups[group];
    if (replica->done)
        answer(store, group, rc, synced);
    if (rc != RC_OK)
        return;
    if (replica->opening) {
        replica->opening = false;
        set_state(replica, REPLICA_LOADS);
        all->ops->ready(all->owner, group, replica->token);
    } else if (replica->closing && !replica->appending && !slots_used(store, group)) {
        replica->closing = false;
        set_state(replica, REPLICA_FOLLOWS);
        all->ops->closed(all->owner, group);
    }
}

bool replicas_commit(struct store *store)
{
    struct replicas *all = store->replicas;
    struct round round = {0};
    struct letter *letter = mailbox_take_all(&all->news);
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct replica_news *news = CONTAINER_OF(letter, struct replica_news, letter);
        take_news(store, news, &round);
        round.any = true;
        mem_free(news);
        letter = next;
    }
    for (uint32_t group = 0; group < store->group_count; group++)
        take(store, group, &round);
    if (!round.any)
        return false;
    add_positions(store);
    enum rc rc = store_group_commit(store, round.sync);
    for (uint32_t group = 0; group < store->group_count; group++)
        finish(store, group, rc, round.sync);
    if (rc != RC_OK)
        fail(store);
    return true;
}

void replicas_end(struct store *store)
{
    for (uint32_t group = 0; group < store->group_count; group++) {
        struct replica *replica = &store->replicas->groups[group];
        answer(store, group, RC_CLOSED, false);
        set_state(replica, REPLICA_FOLLOWS);
        if (take_slots(store, group))
            answer(store, group, RC_CLOSED, false);
    }
}

/* ---- life --------------------------------------------------------------------------------------
 */

enum rc replica_position_read(struct bytes value, struct store_position *out)
{
    *out = (struct store_position){0};
    if (value.len == not_whole.len)
        return RC_AGAIN;
    if (value.len > sizeof(out->bytes))
        return RC_INVALID;
    memcpy(out->bytes, value.data, value.len);
    out->len = (uint32_t)value.len;
    return RC_OK;
}

enum rc store_replica_position(struct store *store, uint32_t group, struct store_position *out)
{
    struct store_key key = record_key_position(group);
    void *value;
    size_t len;
    enum rc rc =
        engine_get(store->engine, STORE_STATE, bytes_of(key.head, key.head_len), &value, &len);
    *out = (struct store_position){0};
    if (rc == RC_NOT_FOUND)
        return RC_OK;
    if (rc != RC_OK)
        return rc;
    rc = replica_position_read(bytes_of(value, len), out);
    engine_free(value);
    return rc;
}

void store_replicate(struct store *store, const struct store_replica_ops *ops, void *owner)
{
    struct replicas *all = store->replicas;
    CHECK(store->group_count > 0);
    all->ops = ops;
    all->owner = owner;
    for (uint32_t group = 0; group < store->group_count; group++)
        all->groups[group].copying =
            store_replica_position(store, group, &(struct store_position){0}) == RC_AGAIN;
}

void replicas_init(struct store *store)
{
    if (store->group_count == 0)
        return;
    struct replicas *all = mem_new(sizeof(*all) + store->group_count * sizeof(all->groups[0]));
    mailbox_init(&all->news, wake, store);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->room, NULL);
    batch_init(&all->positions);
    for (uint32_t group = 0; group < store->group_count; group++) {
        all->groups[group].taken = mem_new(store->worker_count * sizeof(struct batch *));
        all->groups[group].rest = mem_new(store->worker_count * sizeof(struct batch *));
    }
    store->replicas = all;
}

void replicas_deinit(struct store *store)
{
    struct replicas *all = store->replicas;
    if (all == NULL)
        return;
    struct letter *letter = mailbox_take_all(&all->news);
    while (letter != NULL) {
        struct letter *next = letter->next;
        mem_free(CONTAINER_OF(letter, struct replica_news, letter));
        letter = next;
    }
    for (uint32_t group = 0; group < store->group_count; group++) {
        mem_free(all->groups[group].taken);
        mem_free(all->groups[group].rest);
        mem_free(all->groups[group].bytes);
    }
    batch_deinit(&all->positions);
    pthread_cond_destroy(&all->room);
    pthread_mutex_destroy(&all->lock);
    mem_free(all);
}
