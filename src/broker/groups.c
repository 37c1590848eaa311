/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/groups.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "broker/group_retained.h"
#include "broker/node.h"
#include "broker/position.h"
#include "cluster/copies.h"
#include "store/batch.h"
#include "store/record.h"

enum group_state {
    GROUP_ELSEWHERE,
    GROUP_QUEUED,
    GROUP_OPENING,
    GROUP_LOADING,
    GROUP_REPLAYING,
    GROUP_SERVING,
    GROUP_LEAVING,
    GROUP_FLUSHING,
    GROUP_UNLOADING,
};

/* Numbers of records that a home gives grow from one epoch to the next: each record of the log, by
 * which epochs are counted, holds fewer than 2^20 of them. */
enum { NUMBERS_BITS = 20 };
#define NUMBERS_OF_HOMES ((uint64_t)1 << 62)

struct group {
    enum group_state state;
    _Atomic bool serves;
    uint32_t number;
    uint64_t epoch;
    uint64_t next_epoch; /* opened again while it was still being unloaded; 0: no */
    bool lost;           /* this node is not home any more */
    bool gives_up;       /* homes is told when it is unloaded */
    uint32_t missing;    /* workers that have not made the step */
    uint64_t began_ms;
};

struct groups {
    struct broker *broker;
    struct homes *homes;
    struct group_retained *retained;
    _Atomic bool joined; /* shards have homes */
    _Atomic bool alone;  /* the cluster has not been initialised: groups have epoch 0 */
    pthread_mutex_t lock;
    bool ended; /* workers have ended: no step is begun any more */
    struct group groups[HOMES_GROUPS];
};

/* ---- steps that all workers make ---------------------------------------------------------------
 */

struct step_mail {
    struct mail mail;
    struct groups *groups;
    struct group *group;
    enum group_state step;
};

static void step_made(struct groups *groups, struct group *group);

static struct shard_group shards_of(const struct group *group)
{
    return (struct shard_group){group->number, HOMES_GROUPS};
}

static void unloaded(void *arg)
{
    struct step_mail *step = arg;
    step_made(step->groups, step->group);
    mem_free(step);
}

/* The first numbers that this home gives. */
static void begin_numbers(struct worker *worker, const struct group *group)
{
    struct session_table *table = &worker->sessions;
    if (group->epoch == 0)
        return;
    for (uint32_t i = group->number; i < table->shard_count; i += HOMES_GROUPS)
        table->stores[i].last_number = NUMBERS_OF_HOMES | group->epoch << NUMBERS_BITS;
}

static void load(struct worker *worker, struct groups *groups, struct group *group)
{
    struct restored counts = {0};
    uint64_t began_ms = clock_ms();
    begin_numbers(worker, group);
    if (worker->index == 0)
        group_retained_restore(groups->retained, group->number);
    enum rc rc = delivery_restore(&worker->hub, store_engine(worker->broker->store),
                                  shards_of(group), RESTORE_SESSIONS, &counts);
    if (rc != RC_OK) {
        LOG(LOG_ERROR, "group.not_loaded", log_uint("group", group->number),
            log_text("error", rc_name(rc)));
        pthread_mutex_lock(&groups->lock);
        group->gives_up = true; /* another node's copy may be whole */
        pthread_mutex_unlock(&groups->lock);
    }
    LOG(LOG_DEBUG, "group.loaded", log_uint("group", group->number),
        log_uint("worker", worker->index), log_uint("sessions", counts.sessions),
        log_uint("messages", counts.messages), log_uint("ms", clock_ms() - began_ms));
}

static void open_step(struct mail *mail, void *receiver)
{
    struct delivery_hub *hub = receiver;
    struct step_mail *step = CONTAINER_OF(mail, struct step_mail, mail);
    struct worker *worker = CONTAINER_OF(hub, struct worker, hub);
    struct group *group = step->group;
    switch (step->step) {
    case GROUP_LOADING:
        load(worker, step->groups, group);
        break;
    case GROUP_REPLAYING:
        if (delivery_replay(hub, store_engine(worker->broker->store), shards_of(group)) != RC_OK)
            LOG(LOG_ERROR, "store.outbox_not_readable", log_uint("worker", worker->index));
        break;
    case GROUP_LEAVING:
        moving_sent_away(worker, conn_worker_send_away(&worker->conns, shards_of(group)));
        break;
    default:
        delivery_unload(hub, shards_of(group), unloaded, step);
        return;
    }
    step_made(step->groups, step->group);
    mem_free(step);
}

static void begin_step(struct groups *groups, struct group *group, enum group_state step)
{
    struct broker *broker = groups->broker;
    if (groups->ended)
        return;
    group->state = step;
    group->missing = broker->worker_count;
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        struct step_mail *mail = NEW(struct step_mail);
        *mail = (struct step_mail){
            .mail.open = open_step, .groups = groups, .group = group, .step = step};
        mailbox_post(&broker->workers[i].mailbox, &mail->mail.letter);
    }
}

/* ---- what follows what; all under the lock -----------------------------------------------------
 */

/* Where clients of the group belong. */
static void tell_place(struct groups *groups, const struct group *group)
{
    struct broker *broker = groups->broker;
    const char *node = NULL;
    uint64_t epoch = group->epoch;
    if (atomic_load_explicit(&group->serves, memory_order_relaxed)) {
        node = broker->join.node;
    } else {
        struct home home = homes_of(groups->homes, group->number);
        epoch = home.epoch;
        if (home.place == HOME_AWAY)
            node = homes_node_name(groups->homes, home.node);
    }
    cluster_set_home(broker->cluster, group->number, node, epoch);
}

static void set_serving(struct groups *groups, struct group *group, bool serves)
{
    /* release: who finds it served finds what has been loaded */
    atomic_store_explicit(&group->serves, serves, memory_order_release);
    for (uint32_t i = 0; i < groups->broker->worker_count; i++) {
        _Atomic uint32_t *serving = &cluster_remote(groups->broker->cluster, i)->serving;
        if (serves)
            atomic_fetch_or_explicit(serving, 1u << group->number, memory_order_release);
        else
            atomic_fetch_and_explicit(serving, ~(1u << group->number), memory_order_release);
    }
    tell_place(groups, group);
}

static bool is_being_loaded(const struct group *group)
{
    return group->state == GROUP_OPENING || group->state == GROUP_LOADING ||
           group->state == GROUP_REPLAYING;
}

static void open_next(struct groups *groups)
{
    struct group *next = NULL;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        if (is_being_loaded(&groups->groups[i]))
            return;
        if (next == NULL && groups->groups[i].state == GROUP_QUEUED)
            next = &groups->groups[i];
    }
    if (next == NULL)
        return;
    next->state = GROUP_OPENING;
    next->began_ms = clock_ms();
    store_replica_open(groups->broker->store, next->number, next->epoch);
}

static void open_group(struct group *group, uint64_t epoch)
{
    group->state = GROUP_QUEUED;
    group->epoch = epoch;
    group->next_epoch = 0;
    group->lost = group->gives_up = false;
}

/* It is neither in memory nor on its way there. */
static void gone(struct groups *groups, struct group *group)
{
    group->state = GROUP_ELSEWHERE;
    if (group->gives_up && !group->lost && group->epoch != 0)
        homes_closed(groups->homes, group->number, group->epoch);
    if (group->next_epoch != 0)
        open_group(group, group->next_epoch);
    open_next(groups);
}

static void loaded(struct groups *groups, struct group *group)
{
    if (group->lost || group->gives_up) {
        store_replica_lost(groups->broker->store, group->number);
        begin_step(groups, group, GROUP_UNLOADING);
    } else if (group->state == GROUP_LOADING) {
        begin_step(groups, group, GROUP_REPLAYING);
    } else {
        group->state = GROUP_SERVING;
        set_serving(groups, group, true);
        store_replica_serve(groups->broker->store, group->number);
        if (group->epoch != 0)
            homes_serving(groups->homes, group->number, group->epoch);
        LOG(LOG_INFO, "group.served", log_uint("group", group->number),
            log_uint("epoch", group->epoch), log_uint("ms", clock_ms() - group->began_ms));
    }
    open_next(groups);
}

static void step_made(struct groups *groups, struct group *group)
{
    pthread_mutex_lock(&groups->lock);
    if (--group->missing == 0) {
        switch (group->state) {
        case GROUP_LOADING:
        case GROUP_REPLAYING:
            loaded(groups, group);
            break;
        case GROUP_LEAVING:
            if (group->lost) {
                begin_step(groups, group, GROUP_UNLOADING);
            } else {
                group->state = GROUP_FLUSHING;
                store_replica_close(groups->broker->store, group->number);
            }
            break;
        default:
            gone(groups, group);
            break;
        }
    }
    pthread_mutex_unlock(&groups->lock);
}

/* It is to be served no longer: for `lost` nothing of it can be written any more. */
static void leave(struct groups *groups, struct group *group)
{
    set_serving(groups, group, false);
    cluster_news_changed(groups->broker->cluster);
    switch (group->state) {
    case GROUP_QUEUED:
        gone(groups, group);
        break;
    case GROUP_OPENING:
        store_replica_lost(groups->broker->store, group->number);
        gone(groups, group);
        break;
    case GROUP_SERVING:
        begin_step(groups, group, GROUP_LEAVING);
        break;
    case GROUP_FLUSHING:
        if (group->lost)
            begin_step(groups, group, GROUP_UNLOADING);
        break;
    default: /* the step that is being made sees it */
        break;
    }
}

static void shards_have_homes(struct groups *groups)
{
    struct broker *broker = groups->broker;
    for (uint32_t i = 0; i < broker->worker_count; i++)
        atomic_store_explicit(&cluster_remote(broker->cluster, i)->shards_have_homes, true,
                              memory_order_release);
}

/* The cluster has been initialised: what this node has served by itself belongs to homes now. */
static void end_alone(struct groups *groups)
{
    if (atomic_exchange_explicit(&groups->joined, true, memory_order_relaxed))
        return;
    shards_have_homes(groups);
    if (!atomic_load_explicit(&groups->alone, memory_order_relaxed))
        return; /* it has waited for others, and served nobody */
    pthread_mutex_lock(&groups->lock);
    atomic_store_explicit(&groups->alone, false, memory_order_relaxed);
    LOG(LOG_INFO, "groups.joined");
    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        groups->groups[i].lost = true;
        store_replica_lost(groups->broker->store, i);
        leave(groups, &groups->groups[i]);
    }
    pthread_mutex_unlock(&groups->lock);
}

/* ---- homes says --------------------------------------------------------------------------------
 */

static void alone(void *owner)
{
    struct groups *groups = owner;
    pthread_mutex_lock(&groups->lock);
    atomic_store_explicit(&groups->alone, true, memory_order_relaxed);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        open_group(&groups->groups[i], 0);
    open_next(groups);
    pthread_mutex_unlock(&groups->lock);
}

static void opened(void *owner, uint32_t number, uint64_t epoch)
{
    struct groups *groups = owner;
    struct group *group = &groups->groups[number];
    end_alone(groups);
    pthread_mutex_lock(&groups->lock);
    if (group->state == GROUP_ELSEWHERE)
        open_group(group, epoch);
    else
        group->next_epoch = epoch;
    open_next(groups);
    pthread_mutex_unlock(&groups->lock);
}

static void close_group(void *owner, uint32_t number)
{
    struct groups *groups = owner;
    struct group *group = &groups->groups[number];
    pthread_mutex_lock(&groups->lock);
    if (group->next_epoch != 0) {
        homes_closed(groups->homes, number, group->next_epoch);
        group->next_epoch = 0;
    } else {
        group->gives_up = true;
        leave(groups, group);
    }
    pthread_mutex_unlock(&groups->lock);
}

static void lost(void *owner, uint32_t number, const char *why)
{
    struct groups *groups = owner;
    struct group *group = &groups->groups[number];
    LOG(LOG_WARN, "group.lost", log_uint("group", number), log_text("why", why));
    store_replica_lost(groups->broker->store, number);
    pthread_mutex_lock(&groups->lock);
    group->lost = true;
    group->next_epoch = 0;
    leave(groups, group);
    pthread_mutex_unlock(&groups->lock);
}

/* ---- batches of other homes --------------------------------------------------------------------
 */

static void apply(void *owner, uint32_t number, struct bytes batch,
                  const struct changelog_position *position)
{
    struct groups *groups = owner;
    struct store_position encoded;
    end_alone(groups);
    if (batch.len < BATCH_HEADER)
        return;
    bool retained = group_retained_apply(groups->broker, batch);
    if (retained)
        group_retained_applied(groups->retained, number, position->sequence);
    position_encode(position, &encoded);
    store_replica_apply(groups->broker->store, number, batch, &encoded);
    if (retained) /* somebody may wait for this node */
        homes_hurry(groups->homes);
    group_retained_restore(groups->retained, number);
}

static void moved(void *owner, uint32_t number, const struct changelog_position *position)
{
    struct groups *groups = owner;
    struct store_position encoded;
    end_alone(groups);
    position_encode(position, &encoded);
    store_replica_apply(groups->broker->store, number, bytes_of(NULL, 0), &encoded);
    if (homes_of(groups->homes, number).place == HOME_AWAY)
        group_retained_restore(groups->retained, number);
}

static void committed(void *owner, uint32_t number, const struct changelog_position *position)
{
    struct groups *groups = owner;
    struct store_position encoded;
    position_encode(position, &encoded);
    store_replica_committed(groups->broker->store, number, &encoded);
}

static void behind(void *owner, uint32_t number, const char *why, const char *node)
{
    struct groups *groups = owner;
    struct group *group = &groups->groups[number];
    end_alone(groups);
    pthread_mutex_lock(&groups->lock);
    bool gone = group->state == GROUP_ELSEWHERE;
    pthread_mutex_unlock(&groups->lock);
    if (node == NULL)
        LOG_LIMITED(LOG_ERROR, "group.behind", log_uint("group", number), log_text("why", why),
                    log_text("meaning",
                             "it needs a copy, and no node that is here has one to give; "
                             "this node will not be its home"));
    else if (gone)
        cluster_copy(groups->broker->cluster, number, node);
}

static bool is_blank(void *owner)
{
    const struct groups *groups = owner;
    return store_is_blank(groups->broker->store);
}

static void seed(void *owner)
{
    struct groups *groups = owner;
    const struct changelog_position beginning = {0};
    struct store_position encoded;
    end_alone(groups);
    position_encode(&beginning, &encoded);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        store_replica_place(groups->broker->store, i, &encoded);
}

static void changed(void *owner)
{
    struct groups *groups = owner;
    pthread_mutex_lock(&groups->lock);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        tell_place(groups, &groups->groups[i]);
    pthread_mutex_unlock(&groups->lock);
    cluster_set_behind(groups->broker->cluster, homes_behind(groups->homes));
    cluster_news_changed(groups->broker->cluster);
}

static void spread(void *owner)
{
    const struct groups *groups = owner;
    for (uint32_t i = 0; i < groups->broker->worker_count; i++)
        loop_wake(&groups->broker->workers[i].loop);
}

static void drained(void *owner, bool is, bool anew)
{
    struct groups *groups = owner;
    if (is)
        moving_begin(groups->broker, anew ? groups->broker->config->cluster.drain_delay_ms : 0);
    else
        moving_end(groups->broker);
}

static bool may_hand_over(void *owner)
{
    const struct groups *groups = owner;
    return moving_has_time(groups->broker);
}

const struct homes_ops groups_homes_ops = {
    .apply = apply,
    .moved = moved,
    .opened = opened,
    .committed = committed,
    .close = close_group,
    .lost = lost,
    .behind = behind,
    .alone = alone,
    .is_blank = is_blank,
    .seed = seed,
    .changed = changed,
    .spread = spread,
    .drained = drained,
    .may_hand_over = may_hand_over,
};

/* ---- the store says, on its commit thread ------------------------------------------------------
 */

static void append(void *owner, uint32_t number, struct bytes batch)
{
    struct groups *groups = owner;
    const struct group *group = &groups->groups[number];
    const struct store_position nowhere = {0};
    if (group->epoch == 0)
        store_replica_committed(groups->broker->store, number, &nowhere);
    else if (homes_append(groups->homes, number, group->epoch, batch) != RC_OK)
        CHECK(!"a batch is larger than a changelog takes");
}

static void flushed(void *owner, uint32_t number, const struct store_position *position)
{
    struct groups *groups = owner;
    struct changelog_position decoded;
    if (position->len == 0)
        return; /* alone */
    CHECK(position_decode(position, &decoded));
    if (decoded.sequence == 0) /* seed() */
        homes_position_set(groups->homes, number, &decoded);
    else
        homes_flushed(groups->homes, number, &decoded);
    group_retained_written(groups->retained, number, decoded.sequence);
}

static void refused(void *owner, uint32_t number, struct bytes batch)
{
    const struct groups *groups = owner;
    group_retained_refused(groups->retained, number, batch);
}

static void ready(void *owner, uint32_t number, uint64_t epoch)
{
    struct groups *groups = owner;
    struct group *group = &groups->groups[number];
    pthread_mutex_lock(&groups->lock);
    if (group->state == GROUP_OPENING && group->epoch == epoch)
        begin_step(groups, group, GROUP_LOADING);
    pthread_mutex_unlock(&groups->lock);
}

static void closed(void *owner, uint32_t number)
{
    struct groups *groups = owner;
    struct group *group = &groups->groups[number];
    pthread_mutex_lock(&groups->lock);
    if (group->state == GROUP_FLUSHING)
        begin_step(groups, group, GROUP_UNLOADING);
    pthread_mutex_unlock(&groups->lock);
}

/* The disk does not take what it has to: the group goes, unflushed, to a node whose disk does. */
static void failed(void *owner, uint32_t number)
{
    struct groups *groups = owner;
    struct group *group = &groups->groups[number];
    pthread_mutex_lock(&groups->lock);
    LOG(LOG_ERROR, "group.disk_failed", log_uint("group", number));
    group->gives_up = true;
    if (group->state == GROUP_FLUSHING)
        begin_step(groups, group, GROUP_UNLOADING);
    else
        leave(groups, group);
    pthread_mutex_unlock(&groups->lock);
}

static void copied(void *owner, uint32_t number, uint64_t token, uint32_t chunks)
{
    const struct groups *groups = owner;
    cluster_copy_written(groups->broker->cluster, number, token, chunks);
}

static bool lease_fresh(void *owner, uint32_t number)
{
    const struct groups *groups = owner;
    return atomic_load_explicit(&groups->alone, memory_order_relaxed) ||
           homes_lease_fresh(groups->homes, number, clock_ms());
}

const struct store_replica_ops groups_store_ops = {
    .append = append,
    .flushed = flushed,
    .ready = ready,
    .refused = refused,
    .closed = closed,
    .failed = failed,
    .copied = copied,
    .lease_fresh = lease_fresh,
};

/* ---- life --------------------------------------------------------------------------------------
 */

struct groups *groups_new(struct broker *broker)
{
    struct groups *groups = NEW(struct groups);
    groups->broker = broker;
    groups->retained = group_retained_new(broker);
    pthread_mutex_init(&groups->lock, NULL);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        groups->groups[i].number = i;
    return groups;
}

enum rc groups_begin(struct groups *groups, struct homes *homes)
{
    groups->homes = homes;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        cluster_set_home(groups->broker->cluster, i, NULL, 0);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        struct store_position stored;
        struct changelog_position position;
        enum rc rc = store_replica_position(groups->broker->store, i, &stored);
        if (rc == RC_AGAIN) {
            homes_lacks(homes, i);
            continue;
        }
        if (rc != RC_OK)
            return rc;
        if (!position_decode(&stored, &position))
            return RC_INVALID;
        if (stored.len > 0) /* else nothing of the log is here, nor what was before it */
            homes_position_set(homes, i, &position);
    }
    return RC_OK;
}

void groups_start(struct groups *groups)
{
    struct homes_status *status = NEW(struct homes_status);
    homes_status(groups->homes, status);
    if (status->phase > HOMES_GATHERING &&
        !atomic_exchange_explicit(&groups->joined, true, memory_order_relaxed))
        shards_have_homes(groups); /* else alone(), or end_alone() */
    mem_free(status);
}

bool groups_wait(const struct groups *groups)
{
    return !atomic_load_explicit(&groups->alone, memory_order_relaxed) &&
           !atomic_load_explicit(&groups->joined, memory_order_relaxed);
}

bool groups_serve(const struct groups *groups, uint32_t shard)
{
    return atomic_load_explicit(&groups->groups[shard % HOMES_GROUPS].serves, memory_order_acquire);
}

uint32_t groups_served(const struct groups *groups)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        count += groups_serve(groups, i);
    return count;
}

void groups_end(struct groups *groups)
{
    if (groups == NULL)
        return;
    pthread_mutex_lock(&groups->lock);
    groups->ended = true;
    pthread_mutex_unlock(&groups->lock);
}

void groups_free(struct groups *groups)
{
    if (groups == NULL)
        return;
    group_retained_free(groups->retained);
    pthread_mutex_destroy(&groups->lock);
    mem_free(groups);
}
