/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's end of the durable store: its records, and who waits for which.
 *
 *      slot (posted)  <-  held, oldest first  <-  open
 *
 * What is posted can be taken back as long as the commit thread has not fetched it and nothing
 * younger is here.
 */
#include "store/inside.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "store/record.h"
#include "store/replicated.h"

enum { NS_PER_MS = 1000 * 1000, COMMIT_NS_FRACTION = 8 };

/* ---- batches -----------------------------------------------------------------------------------
 */

static void chain_add(struct batch_chain *chain, struct batch *batch)
{
    batch->letter.next = NULL;
    if (chain->last == NULL)
        chain->first = batch;
    else
        chain->last->letter.next = &batch->letter;
    chain->last = batch;
}

static struct batch *chain_take(struct batch_chain *chain)
{
    struct batch *batch = chain->first;
    if (batch == NULL)
        return NULL;
    chain->first = batch_next(batch);
    if (chain->first == NULL)
        chain->last = NULL;
    return batch;
}

/* What was posted and not fetched, into `chain`. */
static void take_posted(struct store_end *end, struct batch_chain *chain)
{
    /* acquire: pairs with the release of post() */
    struct batch *batch = atomic_exchange_explicit(&end->slot, NULL, memory_order_acquire);
    *chain = (struct batch_chain){0};
    if (batch == NULL)
        return;
    end->posted = batch->before;
    end->sync_posted = batch->sync_before;
    while (batch != NULL) {
        struct batch *next = batch_next(batch);
        chain_add(chain, batch);
        batch = next;
    }
}

/* Nothing is here: goes on with what was posted and not fetched. */
static void claim(struct store_end *end)
{
    struct batch *batch;
    if (end->open != NULL || end->held.first != NULL ||
        atomic_load_explicit(&end->slot, memory_order_relaxed) == NULL)
        return;
    struct batch_chain chain;
    take_posted(end, &chain);
    while ((batch = chain_take(&chain)) != NULL) {
        if (chain.first != NULL)
            chain_add(&end->held, batch);
        else
            end->open = batch;
    }
}

static struct batch *open_batch(struct store_end *end)
{
    store_end_touch(end);
    claim(end);
    if (end->open != NULL)
        return end->open;
    struct batch *batch = NULL;
    for (uint32_t i = 0; i < END_SPARES && batch == NULL; i++) {
        batch = end->spares[i];
        end->spares[i] = NULL;
    }
    if (batch == NULL)
        batch = mem_new(sizeof(*batch));
    batch->number = ++end->last;
    batch->opened_ns = clock_ns();
    end->opened_ns[batch->number % END_TIMES] = batch->opened_ns;
    end->open = batch;
    return batch;
}

static void recycle(struct store_end *end, struct batch *batch)
{
    for (uint32_t i = 0; i < END_SPARES; i++) {
        if (end->spares[i] != NULL)
            continue;
        batch_reset(batch);
        end->spares[i] = batch;
        return;
    }
    batch_deinit(batch);
    mem_free(batch);
}

/* ---- records -----------------------------------------------------------------------------------
 */

static struct store_ref add(struct store_shard *shard, enum batch_operation operation,
                            enum store_family family, const struct store_key *key,
                            const struct bytes *value, uint32_t parts)
{
    if (shard->end == NULL)
        return (struct store_ref){0};
    struct batch *batch = open_batch(shard->end);
    if (batch->used >= STORE_BATCH_SPLIT) {
        chain_add(&shard->end->held, batch);
        shard->end->open = NULL;
        batch = open_batch(shard->end);
    }
    struct bytes key_parts[] = {bytes_of(key->head, key->head_len), key->tail};
    struct batch_record record = {
        .shard = (uint16_t)shard->shard,
        .operation = operation,
        .family = family,
        .key = key_parts,
        .key_parts = 2,
        .value = value,
        .value_parts = parts,
    };
    size_t at = batch_add(batch, &record);
    return (struct store_ref){.batch = (uint32_t)batch->number, .at = (uint32_t)at};
}

struct store_ref store_put(struct store_shard *shard, enum store_family family,
                           const struct store_key *key, const struct bytes *value, uint32_t parts)
{
    return add(shard, BATCH_PUT, family, key, value, parts);
}

void store_delete(struct store_shard *shard, enum store_family family, const struct store_key *key)
{
    add(shard, BATCH_DELETE, family, key, NULL, 0);
}

void store_delete_prefix(struct store_shard *shard, enum store_family family,
                         const struct store_key *key)
{
    struct store_key end = record_key_end(key);
    CHECK(key->tail.len == 0);
    struct bytes until = bytes_of(end.head, end.head_len);
    add(shard, BATCH_DELETE_RANGE, family, key, &until, 1);
}

/* The batch of that record, if nobody has fetched it; NULL: too late. */
static struct batch *find_batch(struct store_end *end, struct store_ref ref)
{
    if (end == NULL || ref.batch == 0 || (int32_t)(ref.batch - (uint32_t)end->answered) <= 0)
        return NULL;
    claim(end);
    if (end->open != NULL && (uint32_t)end->open->number == ref.batch)
        return end->open;
    for (struct batch *batch = end->held.first; batch != NULL; batch = batch_next(batch))
        if ((uint32_t)batch->number == ref.batch)
            return batch;
    return NULL;
}

bool store_is_recent(const struct store_shard *shard, struct store_ref ref)
{
    const struct store_end *end = shard->end;
    if (end == NULL || ref.batch == 0 || (uint32_t)end->last - ref.batch >= END_TIMES)
        return false;
    return clock_ns() - end->opened_ns[ref.batch % END_TIMES] < 2 * end->commit_ns;
}

/* ---- waiting ------------------------------------------------------------------------------------
 */

/* Number of the latest batch with something in it. */
static uint64_t last_with_records(struct store_end *end)
{
    claim(end);
    if (end->open != NULL && end->open->live > 0)
        return end->open->number;
    uint64_t last = end->posted;
    for (struct batch *batch = end->held.first; batch != NULL; batch = batch_next(batch))
        if (batch->live > 0)
            last = batch->number;
    return last;
}

/* Behind those that wait for the same batch or an earlier one: who only needs it written may wait
 * for a commit under way, while somebody before him waits for the flush behind that. */
static void add_waiter(struct store_end *end, struct store_waiter *waiter)
{
    struct list *before = end->waiting.prev;
    while (before != &end->waiting &&
           CONTAINER_OF(before, struct store_waiter, link)->batch > waiter->batch)
        before = before->prev;
    list_insert_between(&waiter->link, before, before->next);
}

static bool written_is_enough(const struct store_end *end, const struct store_waiter *waiter)
{
    return waiter->written_is_enough || end->store->never_at_once;
}

/* Waits for everything that is recorded. What was written and not flushed is flushed with the next
 * batch, however empty. */
static void await_all(struct store_end *end, struct store_waiter *waiter)
{
    struct batch *batch = open_batch(end);
    batch->urgent = true;
    batch->sync |= !written_is_enough(end, waiter);
    waiter->batch = batch->number;
    add_waiter(end, waiter);
}

/* Nobody else can be: what needs no record needs no changelog, either. */
static bool is_surely_home(const struct store_end *end)
{
    return end->store->replicas == NULL || replica_lease_fresh(end->store, end->group);
}

static enum rc durable_wait(struct store_shard *shard, struct store_waiter *waiter)
{
    struct store_end *end = shard->end;
    uint64_t last = last_with_records(end);
    bool written = written_is_enough(end, waiter);
    if (end->breaks_promises)
        return RC_OK;
    if (last <= (written ? end->written : end->synced) && is_surely_home(end))
        return RC_OK;
    enum rc trouble = store_trouble(shard);
    if (trouble != RC_OK)
        return trouble;
    /* What failed has been answered, and was stored later or not: a new batch tells. */
    bool under_way = last == end->posted && last > end->answered;
    if (!under_way || (!written && end->sync_posted != last)) {
        await_all(end, waiter);
    } else {
        waiter->batch = last;
        add_waiter(end, waiter);
    }
    return RC_AGAIN;
}

enum rc store_wait_for(struct store_shard *shard, struct store_ref ref, struct store_waiter *waiter)
{
    struct store_end *end = shard->end;
    if (end == NULL || end->breaks_promises || store_trouble(shard) != RC_OK || end->open == NULL ||
        (uint32_t)end->open->number != ref.batch || !batch_await(end->open, ref.at, waiter))
        return store_wait(shard, waiter);
    struct batch *batch = end->open;
    batch->sync |= !written_is_enough(end, waiter);
    waiter->batch = batch->number;
    add_waiter(end, waiter);
    return RC_AGAIN;
}

static bool take_back(struct store_shard *shard, struct store_ref ref, bool settled)
{
    struct store_end *end = shard->end;
    struct batch *batch = find_batch(end, ref);
    struct store_waiter *waiter;
    if (batch == NULL || !batch_cancel(batch, ref.at, &waiter))
        return false;
    end->figures.spared++;
    if (waiter == NULL)
        return true;
    list_remove(&waiter->link);
    store_end_touch(end);
    if (settled)
        list_add_last(&end->settled, &waiter->link);
    else /* what has come in its place may be younger */
        await_all(end, waiter);
    return true;
}

bool store_cancel(struct store_shard *shard, struct store_ref ref)
{
    return take_back(shard, ref, false);
}

bool store_settle(struct store_shard *shard, struct store_ref ref)
{
    return take_back(shard, ref, true);
}

void store_wait_until_it_works(struct store_shard *shard, struct store_waiter *waiter)
{
    struct store_end *end = shard->end;
    store_end_touch(end);
    list_add_last(&end->stuck, &waiter->link);
    if (store_trouble(shard) == RC_OK) /* it has been mended meanwhile */
        end->answers.wake(end->answers.owner);
}

static void tell_all(struct list *waiters, enum rc rc)
{
    struct list now;
    struct list *link;
    list_init(&now);
    list_move_all(&now, waiters);
    while ((link = list_take_first(&now)) != NULL) {
        struct store_waiter *waiter = CONTAINER_OF(link, struct store_waiter, link);
        waiter->done(waiter, rc);
    }
}

static const struct store_ops durable_ops = {.wait = durable_wait};

void store_durable_init(struct store_shard *shard, uint32_t number, struct store_end *end)
{
    *shard = (struct store_shard){
        .ops = &durable_ops,
        .shard = number,
        .end = end,
        .last_number = end->store->starts << STORE_NUMBER_BITS,
    };
    list_init(&shard->waiting);
}

enum rc store_trouble(const struct store_shard *shard)
{
    const struct store_end *end = shard->end;
    if (end == NULL)
        return RC_OK;
    if (end->store->replicas != NULL && !store_replica_is_open(end->store, end->group))
        return RC_CLOSED;
    return store_state(end->store);
}

bool store_is_safe(const struct store_shard *shard, struct store_ref ref)
{
    const struct store_end *end = shard->end;
    if (end == NULL || ref.batch == 0 || end->breaks_promises)
        return true;
    uint64_t safe = end->store->never_at_once ? end->written : end->synced;
    return (int32_t)((uint32_t)safe - ref.batch) >= 0;
}

bool store_is_behind(const struct store_shard *shard)
{
    const struct store_end *end = shard->end;
    if (end == NULL || end->open == NULL)
        return false;
    size_t bytes = end->open->used;
    for (const struct batch *batch = end->held.first; batch != NULL; batch = batch_next(batch))
        bytes += batch->used;
    return bytes > STORE_BATCH_HIGH;
}

/* ---- handing over ------------------------------------------------------------------------------
 */

static bool has_to_go(const struct batch *batch)
{
    return batch->live > 0 || batch->urgent;
}

/* Behind what was posted before and is not fetched. */
static void post(struct store_end *end, struct batch_chain *chain)
{
    struct batch_chain all;
    struct batch *batch;
    take_posted(end, &all);
    for (batch = all.first; batch != NULL; batch = batch_next(batch)) {
        end->posted = batch->number;
        end->sync_posted = batch->sync ? batch->number : end->sync_posted;
    }
    while ((batch = chain_take(chain)) != NULL) {
        if (!has_to_go(batch)) {
            recycle(end, batch);
            continue;
        }
        batch->before = end->posted;
        batch->sync_before = end->sync_posted;
        batch->posted_ns = end->now_ns;
        end->posted = batch->number;
        end->sync_posted = batch->sync ? batch->number : end->sync_posted;
        chain_add(&all, batch);
    }
    if (all.first == NULL)
        return;
    /* release: the commit thread's acquire sees the whole chain */
    atomic_store_explicit(&end->slot, all.first, memory_order_release);
    store_wake_commit(end->store);
}

void store_end_post_all(struct store_end *end)
{
    if (end->open != NULL && has_to_go(end->open)) { /* else it stays open */
        chain_add(&end->held, end->open);
        end->open = NULL;
    }
    if (end->held.first != NULL)
        post(end, &end->held);
}

/* Whether what is here may wait for being taken back. */
static bool may_be_held(const struct store_end *end)
{
    const struct batch *open = end->open;
    uint32_t held = open == NULL ? 0 : open->held;
    size_t bytes = open == NULL ? 0 : open->used;
    if (open != NULL && open->urgent)
        return false;
    for (const struct batch *batch = end->held.first; batch != NULL; batch = batch_next(batch)) {
        if (batch->urgent)
            return false;
        held += batch->held;
        bytes += batch->used;
    }
    return held >= STORE_HOLD_MIN && bytes <= STORE_HOLD_BYTES;
}

/* In this turn's time, in which it may have been opened. */
static uint64_t age_ns(const struct store_end *end, const struct batch *batch)
{
    return end->now_ns > batch->opened_ns ? end->now_ns - batch->opened_ns : 0;
}

/* What has been here for two commits' time goes, unless a commit is under way. */
static void post_old(struct store_end *end)
{
    struct batch_chain old = {0};
    while (end->held.first != NULL && !has_to_go(end->held.first))
        recycle(end, chain_take(&end->held));
    if (end->posted != end->answered)
        return;
    while (end->held.first != NULL && age_ns(end, end->held.first) >= 2 * end->commit_ns)
        chain_add(&old, chain_take(&end->held));
    if (old.first != NULL)
        post(end, &old);
}

uint32_t store_end_post(struct store_end *end)
{
    struct batch *open = end->open;
    if (open == NULL && end->held.first == NULL)
        return 0;
    if (!may_be_held(end)) {
        store_end_post_all(end);
        return 0;
    }
    if (open != NULL && (age_ns(end, open) >= end->commit_ns || open->used >= STORE_HOLD_SHARE)) {
        chain_add(&end->held, open);
        end->open = NULL;
    }
    post_old(end);
    return (uint32_t)(end->commit_ns / NS_PER_MS) + 1;
}

/* ---- the worker's turn --------------------------------------------------------------------------
 */

static void note_time(struct store_end *end, uint64_t ns)
{
    const uint64_t min = (uint64_t)STORE_HOLD_MIN_MS * NS_PER_MS;
    const uint64_t max = (uint64_t)STORE_HOLD_MAX_MS * NS_PER_MS;
    end->commit_ns += ns / COMMIT_NS_FRACTION;
    end->commit_ns -= end->commit_ns / COMMIT_NS_FRACTION;
    if (end->commit_ns < min)
        end->commit_ns = min;
    if (end->commit_ns > max)
        end->commit_ns = max;
}

static void batch_answered(struct store_end *end, struct batch *batch)
{
    end->answered = batch->number;
    if (batch->rc == RC_OK) {
        end->written = batch->number;
        if (batch->sync)
            end->synced = batch->number;
    }
    end->figures.commits++;
    end->figures.syncs += batch->rc == RC_OK && batch->sync;
    end->figures.records += batch->live;
    end->figures.bytes += batch->live_bytes;
    end->figures.failures += batch->rc != RC_OK;
    while (!list_empty(&end->waiting)) {
        struct store_waiter *waiter = CONTAINER_OF(end->waiting.next, struct store_waiter, link);
        if (waiter->batch > batch->number)
            break;
        list_remove(&waiter->link);
        waiter->done(waiter, batch->rc);
    }
}

/* What was never appended may be acknowledged only while nobody else can be home. */
static void tell_settled(struct store_end *end)
{
    struct list *link;
    if (list_empty(&end->settled) || is_surely_home(end)) {
        tell_all(&end->settled, RC_OK);
        return;
    }
    while ((link = list_take_first(&end->settled)) != NULL)
        await_all(end, CONTAINER_OF(link, struct store_waiter, link));
}

/* What they wait for may have been stored meanwhile, or wait with the group for its changelog: a
 * new batch tells. */
static void free_stuck(struct store_end *end)
{
    struct list now;
    struct list *link;
    list_init(&now);
    list_move_all(&now, &end->stuck);
    while ((link = list_take_first(&now)) != NULL)
        await_all(end, CONTAINER_OF(link, struct store_waiter, link));
}

void store_end_turn(struct store_end *end, void (*commit_ns)(void *arg, uint64_t ns), void *arg)
{
    struct letter *letter = mailbox_take_all(&end->answers);
    end->now_ns = clock_ns();
    tell_settled(end);
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct batch *batch = CONTAINER_OF(letter, struct batch, letter);
        if (commit_ns != NULL)
            commit_ns(arg, end->now_ns - batch->opened_ns);
        note_time(end, end->now_ns - batch->posted_ns); /* in a turn before this one */
        batch_answered(end, batch);
        recycle(end, batch);
        letter = next;
    }
    store_end_reads(end);
    if (store_state(end->store) == RC_OK)
        free_stuck(end);
}

bool store_end_busy(struct store_end *end)
{
    return !list_empty(&end->waiting) || !list_empty(&end->settled) || end->reads > 0 ||
           end->answered < last_with_records(end);
}

struct store_figures store_end_figures(struct store_end *end)
{
    struct store_figures figures = end->figures;
    end->figures = (struct store_figures){0};
    return figures;
}

/* ---- all of a worker ---------------------------------------------------------------------------
 */

static struct store_end *active(struct list *link)
{
    return CONTAINER_OF(link, struct store_end, active);
}

void store_end_touch(struct store_end *end)
{
    if (end->ends == NULL || list_linked(&end->active))
        return;
    end->now_ns = clock_ns(); /* there was no turn for it before */
    list_add_last(&end->ends->active, &end->active);
}

void store_ends_init(struct store_ends *ends)
{
    list_init(&ends->active);
}

void store_ends_add(struct store_ends *ends, struct store_end *end)
{
    end->ends = ends;
}

void store_ends_turn(struct store_ends *ends, void (*commit_ns)(void *arg, uint64_t ns), void *arg,
                     struct store_figures *figures)
{
    LIST_FOR_EACH_SAFE (link, &ends->active) {
        store_end_turn(active(link), commit_ns, arg);
        struct store_figures of_one = store_end_figures(active(link));
        figures->commits += of_one.commits;
        figures->syncs += of_one.syncs;
        figures->records += of_one.records;
        figures->bytes += of_one.bytes;
        figures->spared += of_one.spared;
        figures->failures += of_one.failures;
    }
}

static bool is_done(const struct store_end *end)
{
    return end->open == NULL && end->held.first == NULL && end->posted == end->answered &&
           end->reads == 0 && list_empty(&end->waiting) && list_empty(&end->settled) &&
           list_empty(&end->stuck) && end->figures.spared == 0;
}

uint32_t store_ends_post(struct store_ends *ends)
{
    uint32_t again_ms = 0;
    LIST_FOR_EACH_SAFE (link, &ends->active) {
        uint32_t held_ms = store_end_post(active(link));
        if (held_ms > 0 && (again_ms == 0 || held_ms < again_ms))
            again_ms = held_ms;
        if (is_done(active(link)))
            list_remove(link);
    }
    return again_ms;
}

bool store_ends_busy(struct store_ends *ends)
{
    LIST_FOR_EACH_SAFE (link, &ends->active) {
        if (store_end_busy(active(link)))
            return true;
    }
    return false;
}

bool store_ends_have_news(const struct store_ends *ends)
{
    for (const struct list *link = ends->active.next; link != &ends->active; link = link->next)
        if (!list_empty(&CONTAINER_OF(link, const struct store_end, active)->settled))
            return true;
    return false;
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static void no_wake(void *owner)
{
    (void)owner;
}

void store_end_wake_by(struct store_end *end, void (*wake)(void *owner), void *owner)
{
    mailbox_init(&end->answers, wake, owner);
    mailbox_init(&end->read_answers, wake, owner);
}

void store_end_init(struct store_end *end, struct store *store)
{
    end->store = store;
    end->commit_ns = (uint64_t)STORE_HOLD_MIN_MS * NS_PER_MS;
    list_init(&end->waiting);
    list_init(&end->settled);
    list_init(&end->stuck);
    list_init(&end->active);
    store_end_wake_by(end, no_wake, NULL);
}

void store_end_deinit(struct store_end *end)
{
    struct batch *batch;
    tell_all(&end->stuck, RC_CLOSED);
    while (list_take_first(&end->stuck) != NULL)
        ; /* who asked once more */
    store_end_turn(end, NULL, NULL);
    claim(end); /* what nobody has fetched */
    if (end->open != NULL)
        chain_add(&end->held, end->open);
    while ((batch = chain_take(&end->held)) != NULL)
        recycle(end, batch);
    for (uint32_t i = 0; i < END_SPARES; i++) {
        if (end->spares[i] != NULL)
            batch_deinit(end->spares[i]);
        mem_free(end->spares[i]);
    }
}
