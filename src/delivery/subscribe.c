/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions of this worker's sessions: the index by which a session finds its own, the retained
 * messages that a new one gets, and the removal of all of them when a session ends. What may be
 * long is cut into jobs.
 */
#include "delivery/batch.h"

#include "base/check.h"
#include "base/memory.h"
#include "model/topic.h"
#include "session/stored.h"

enum { REMOVE_AT_ONCE = 64, RETAINED_QUEUE_HIGH = 256 };

/* ---- the index ---------------------------------------------------------------------------------
 */

struct subscription_key {
    session_ref session;
    struct bytes filter, share;
};

static uint32_t key_hash(const struct subscription_key *key)
{
    uint64_t hash = bytes_hash(key->filter) ^ key->session * 0x9E3779B97F4A7C15u;
    if (key->share.len > 0)
        hash ^= bytes_hash(key->share) * 31;
    return (uint32_t)(hash ^ hash >> 32);
}

static bool key_matches(const void *element, const void *key)
{
    const struct subscription *s = element;
    const struct subscription_key *k = key;
    return s->session == k->session && subscription_is(s, k->filter, k->share);
}

static void link_subscription(struct session *session, struct subscription *s)
{
    s->next = session->subscriptions;
    s->previous = NULL;
    if (s->next != NULL)
        s->next->previous = s;
    session->subscriptions = s;
    session->subscription_count++;
    session->share_count += subscription_share(s) != NULL;
}

static void unlink_subscription(struct session *session, struct subscription *s)
{
    if (s->next != NULL)
        s->next->previous = s->previous;
    if (s->previous != NULL)
        s->previous->next = s->next;
    else
        session->subscriptions = s->next;
    session->subscription_count--;
    session->share_count -= subscription_share(s) != NULL;
}

/* ---- records -----------------------------------------------------------------------------------
 */

enum { FILTER_ROOM = 512 };

/* Puts the key of a subscription together, and calls `then` with it. */
static void with_key(struct session *session, const struct subscription *s,
                     const struct subscription_options *options)
{
    char small[FILTER_ROOM], *filter = small;
    size_t len = subscription_filter(s, small, sizeof(small));
    if (len > sizeof(small)) {
        filter = mem_new(len);
        subscription_filter(s, filter, len);
    }
    struct store_key key =
        record_key_subscription(session->store->shard, session->number, bytes_of(filter, len));
    struct record_value value;
    if (options == NULL) {
        store_delete(session->store, STORE_STATE, &key);
    } else {
        subscription_record_encode(&(struct subscription_record){.options = *options}, &value);
        record_put(session->store, STORE_STATE, &key, &value);
    }
    if (filter != small)
        mem_free(filter);
}

static void record_subscription(struct session *session, const struct subscription *s,
                                const struct subscription_options *options)
{
    if (session_stored(session))
        with_key(session, s, options);
}

static void record_no_subscription(struct session *session, const struct subscription *s)
{
    if (session_stored(session))
        with_key(session, s, NULL);
}

/* ---- subscribe and unsubscribe -----------------------------------------------------------------
 */

static uint8_t session_flags(const struct session *session)
{
    return session_durable(session) ? SUBSCRIPTION_DURABLE : 0;
}

struct subscription *subscription_add(struct delivery_hub *hub, struct session *session,
                                      struct bytes filter, struct bytes share,
                                      const struct subscription_options *options)
{
    struct subscription_key key = {session->ref, filter, share};
    struct subscriber_is who = {
        .session = session->ref,
        .shard = (uint16_t)session->store->shard,
        .flags = session_flags(session),
        .offline = session->sink == NULL,
    };
    struct subscription *s = router_subscribe(hub->router, &who, filter, share, options);
    if (s == NULL)
        return NULL;
    s->index_hash = key_hash(&key);
    map_insert(&hub->subscriptions, s->index_hash, s);
    link_subscription(session, s);
    metric_inc(hub->metrics,
               share.len > 0 ? METRIC_SHARED_SUBSCRIPTIONS_CURRENT : METRIC_SUBSCRIPTIONS_CURRENT);
    return s;
}

enum subscribe_result delivery_subscribe(struct delivery_hub *hub, struct session *session,
                                         struct bytes filter, struct bytes share,
                                         const struct subscription_options *options)
{
    struct subscription_key key = {session->ref, filter, share};
    struct subscription *s = map_find(&hub->subscriptions, key_hash(&key), key_matches, &key);
    bool was = s != NULL;
    if (was)
        router_change(hub->router, s, options, session_flags(session));
    else
        s = subscription_add(hub, session, filter, share, options);
    if (s == NULL)
        return SUBSCRIBE_NO_MEMORY;
    record_subscription(session, s, options);
    return was ? SUBSCRIBED_AGAIN : SUBSCRIBED_NEW;
}

bool delivery_has_subscription(struct delivery_hub *hub, struct session *session,
                               struct bytes filter, struct bytes share)
{
    struct subscription_key key = {session->ref, filter, share};
    return map_find(&hub->subscriptions, key_hash(&key), key_matches, &key) != NULL;
}

static void remove_subscription(struct delivery_hub *hub, struct session *session,
                                struct subscription *s)
{
    bool shared = subscription_share(s) != NULL;
    metric_dec(hub->metrics,
               shared ? METRIC_SHARED_SUBSCRIPTIONS_CURRENT : METRIC_SUBSCRIPTIONS_CURRENT);
    if (shared)
        session_forget_share(session, &s->member);
    map_remove(&hub->subscriptions, s->index_hash, s);
    unlink_subscription(session, s);
    router_unsubscribe(hub->router, s);
}

bool delivery_unsubscribe(struct delivery_hub *hub, struct session *session, struct bytes filter,
                          struct bytes share)
{
    struct subscription_key key = {session->ref, filter, share};
    uint32_t hash = key_hash(&key);
    struct subscription *s = map_find(&hub->subscriptions, hash, key_matches, &key);
    if (s == NULL)
        return false;
    record_no_subscription(session, s);
    remove_subscription(hub, session, s);
    return true;
}

/* Whether the router has to hear of it: there may be 100,000 subscriptions. */
static bool matters_to_router(const struct session *session)
{
    const struct subscription *first = session->subscriptions; /* all have the same flag */
    return session->share_count > 0 ||
           (first != NULL && first->durable != session_durable(session));
}

void delivery_session_changed(struct delivery_hub *hub, struct session *session)
{
    if (!matters_to_router(session))
        return;
    for (struct subscription *s = session->subscriptions; s != NULL; s = s->next) {
        router_set_online(hub->router, s, session->sink != NULL);
        if (s->durable != session_durable(session))
            router_set_durable(hub->router, s, session_durable(session));
    }
}

/* ---- shares, by name ---------------------------------------------------------------------------
 */

size_t delivery_share_filter(struct share_member *member, char *out, size_t room)
{
    size_t len = subscription_filter(subscription_of_member(member), out, room);
    return len > room ? 0 : len;
}

struct share_member *delivery_share_find(struct session_table *table, struct session *session,
                                         struct bytes filter)
{
    struct delivery_hub *hub = table->owner;
    struct bytes share, inner;
    if (topic_share_parse(filter, &share, &inner) != SHARE_OK)
        return NULL;
    struct subscription_key key = {session->ref, inner, share};
    struct subscription *s = map_find(&hub->subscriptions, key_hash(&key), key_matches, &key);
    return s == NULL ? NULL : &s->member;
}

/* ---- the end of a session ----------------------------------------------------------------------
 */

struct removal {
    struct job job;
    struct delivery_hub *hub;
    struct session *session;
};

/* Removes up to `max`; true when none is left and the session has been freed. */
static bool remove_some(struct delivery_hub *hub, struct session *session, int max)
{
    /* Those of a session with many have been deleted from the store together. */
    bool one_by_one = session->subscription_count <= STORED_SUBSCRIPTIONS_ONE_BY_ONE;
    for (; session->subscriptions != NULL && max > 0; max--) {
        struct subscription *s = session->subscriptions;
        if (one_by_one)
            record_no_subscription(session, s);
        remove_subscription(hub, session, s);
    }
    if (session->subscriptions != NULL)
        return false;
    session_free(session);
    return true;
}

static bool removal_step(struct job *job)
{
    struct removal *removal = CONTAINER_OF(job, struct removal, job);
    if (!remove_some(removal->hub, removal->session, REMOVE_AT_ONCE))
        return false;
    mem_free(removal);
    return true;
}

void delivery_session_ended(struct session_table *table, struct session *session)
{
    struct delivery_hub *hub = table->owner;
    uint32_t shares = session->share_count;
    for (struct subscription *s = session->subscriptions; shares > 0; s = s->next) {
        router_set_online(hub->router, s, false);
        shares -= subscription_share(s) != NULL;
    }
    if (remove_some(hub, session, REMOVE_AT_ONCE))
        return;
    struct removal *removal = NEW(struct removal);
    removal->hub = hub;
    removal->session = session;
    job_start(hub->jobs, &removal->job, removal_step);
}

/* ---- retained ----------------------------------------------------------------------------------
 */

/* A subscriber is being sent what is retained. */
struct retained_job {
    struct job job;
    struct list parked; /* in hub->parked while the subscriber cannot take more */
    struct delivery_hub *hub;
    session_ref session;
    struct subscription_options options;
    struct retained_walk *walk;
    bool walked; /* to the end */
    uint32_t next, count;
    struct message *found[RETAINED_BATCH]; /* by the walk; from `next` on not sent yet */
};

static void send_one(struct delivery_hub *hub, struct session *session, struct message *message,
                     const struct subscription_options *options)
{
    struct delivery delivery = {.publication = &message->publication, .message = message};
    uint8_t qos = message->publication.qos;
    struct deliver_as as = {
        .qos = options->qos < qos ? options->qos : qos,
        .retain = true, /* whatever retain as published says */
        .identifiers = &options->identifier,
        .identifier_count = options->identifier > 0,
    };
    hub->work++;
    session_deliver(session, &delivery, &as);
}

/* Another message will not be dropped: what waits is far from the limits of the queue. */
static bool can_take(const struct session *session)
{
    const struct session_limits *limits = &session->table->limits;
    const struct queue *queue = session->queue;
    if (session->sink == NULL || session->sink->hold)
        return false;
    if (queue == NULL || queue->count == 0)
        return true;
    return queue->count < RETAINED_QUEUE_HIGH && queue->count < limits->queue_messages_max &&
           queue->bytes < limits->queue_bytes_max / 2;
}

static void retained_job_free(struct retained_job *job)
{
    while (job->next < job->count)
        message_drop(job->found[job->next++]);
    retained_walk_free(job->walk);
    mem_free(job);
}

static bool retained_step(struct job *base)
{
    struct retained_job *job = CONTAINER_OF(base, struct retained_job, job);
    struct session *session = session_of_ref(job->hub->sessions, job->session);
    if (session == NULL || session->sink == NULL) {
        retained_job_free(job);
        return true;
    }
    if (job->next == job->count && !job->walked) {
        job->count =
            retained_walk_next(job->walk, job->hub->sessions->now_ms, job->found, &job->walked);
        job->next = 0;
    }
    for (; job->next < job->count && can_take(session); job->next++) {
        struct message *message = job->found[job->next];
        if (!publication_expired(&message->publication, session->table->now_ms))
            send_one(job->hub, session, message, &job->options);
        message_drop(message);
    }
    if (job->next < job->count) {
        list_add_last(&job->hub->parked, &job->parked);
        return true;
    }
    if (!job->walked)
        return false;
    retained_job_free(job);
    return true;
}

bool delivery_unpark(struct delivery_hub *hub)
{
    bool any = false;
    LIST_FOR_EACH_SAFE (link, &hub->parked) {
        struct retained_job *job = CONTAINER_OF(link, struct retained_job, parked);
        struct session *session = session_of_ref(hub->sessions, job->session);
        if (session != NULL && session->sink != NULL && !can_take(session))
            continue;
        list_remove(&job->parked);
        job_start(hub->jobs, &job->job, retained_step);
        any = true;
    }
    return any;
}

void delivery_send_retained(struct delivery_hub *hub, struct session *session, struct bytes filter,
                            const struct subscription_options *options)
{
    if (!topic_filter_has_wildcard(filter)) {
        struct message *message = retained_get(hub->retained, filter, hub->sessions->now_ms);
        if (message != NULL)
            send_one(hub, session, message, options);
        message_drop(message);
        return;
    }
    struct retained_job *job = mem_try(sizeof(*job));
    struct retained_walk *walk = job == NULL ? NULL : retained_walk_new(hub->retained, filter);
    if (walk == NULL) {
        mem_free(job);
        metric_inc(hub->metrics, METRIC_PUBLISH_DROPPED_NO_MEMORY);
        return;
    }
    *job = (struct retained_job){
        .hub = hub, .session = session->ref, .options = *options, .walk = walk};
    list_init(&job->job.link);
    list_init(&job->parked);
    if (!retained_step(&job->job))
        job_start(hub->jobs, &job->job, retained_step);
}
