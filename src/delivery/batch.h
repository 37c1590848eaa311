/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside delivery only: batches between workers, and who waits for which commits.
 *
 * A publication that durable sessions get is acknowledged when each of their shards has committed.
 * The publisher's worker counts in a ticket; another worker counts in its item and answers once per
 * item.
 */
#ifndef DELIVERY_BATCH_H
#define DELIVERY_BATCH_H

#include "delivery/delivery.h"
#include "store/record.h"

/* ---- batch.c: deliveries between workers -------------------------------------------------------
 */

/* Who is told of a finished commit: a ticket on the publisher's worker, or an answer to another. */
struct commit_source {
    struct delivery_hub *hub;
    struct publish_ticket *ticket; /* NULL until something waits */
    struct commit_answer *answer;  /* the same on a receiving worker */
    bool answering;                /* receiving: make answers, not tickets */
    uint8_t durability;            /* enum durability: the publication's */
    struct publish_ticket *asked;  /* receiving: the ticket of the publisher's worker */
    uint32_t asked_worker;
    enum rc rc;   /* the store takes nothing at the moment */
    bool taken;   /* a session has taken the message */
    bool refused; /* one has not, by its queue's policy */
};

/* One message and its routes on this worker, followed by its bytes when it is small. */
struct delivery_item {
    /* One reference. NULL for a small message until a session has to keep it: then the receiving
     * worker makes it, so that memory is given back where it was taken. */
    struct message *message;
    struct publication publication;
    struct bytes packet; /* ready-made, of version 5.0 when packet_v5; or empty */
    bool packet_v5;
    struct publish_ticket *ticket;
    struct subscription *member; /* of a share: the one chosen; an id here, not to be followed */
    struct share *share;         /* the same */
    uint16_t member_shard; /* of an entry, and a share: one of this shard got it, or will get it */
    struct commit_source source;
    uint64_t *copies; /* of its delivery, between slices */
    struct outbox_tag outbox;
    uint32_t elsewhere; /* as in struct delivery */
    uint32_t from;      /* the publisher's worker */
    uint32_t question;  /* 0, or to be answered to the publisher when it is this one's turn */
    uint32_t next, count;
    uint32_t size;              /* of all of it in the batch */
    const struct route *routes; /* in `copied`, or of a wide set in `block` */
    struct route_block *block;  /* NULL: not of a wide set */
    struct route_walk *walk;    /* NULL, or the routes are still to be found */
    struct route copied[];
};

enum {
    BATCH_ROOM = 32 * 1024,
    ITEM_INLINE_MAX = 1024, /* bytes of a message that is copied into the batch */
};

/* Items one behind the other, in the order of delivery. */
struct deliveries {
    struct mail mail;
    struct deliveries *next; /* in the inbox */
    uint64_t bytes;          /* of items and messages, for the backlog */
    size_t at, used, room;   /* of data[]: the current item, and the end of the last */
    _Alignas(16) uint8_t data[];
};

/* Counts the commits of one item. */
struct commit_answer {
    struct delivery_hub *hub;
    struct publish_ticket *asked;
    uint32_t asked_worker, remaining;
    enum rc rc;
};

/* What a source comes to so far. RC_REFUSED: no session has taken the message. */
static inline enum rc commit_source_rc(const struct commit_source *source)
{
    if (source->rc != RC_OK)
        return source->rc;
    return source->refused && !source->taken ? RC_REFUSED : RC_OK;
}

enum { ANSWERS_MAX = 128 };

enum answer_kind {
    ANSWER_COMMITTED, /* ticket, rc */
    ANSWER_LAGGING,   /* publisher: one of its subscribers here lags */
    ANSWER_CAUGHT_UP, /* publisher, question */
};

struct answer {
    enum answer_kind kind;
    union {
        enum rc rc;
        uint32_t question;
    };
    union {
        struct publish_ticket *ticket;
        session_ref publisher;
    };
};

/* What a receiving worker tells the publishers' worker. */
struct answers {
    struct mail mail;
    uint32_t from; /* worker */
    uint32_t count;
    struct answer list[ANSWERS_MAX];
};

/* Puts the answer of a commit, or of a lagging subscriber (no ticket), on its way to a worker. */
void answers_add(struct delivery_hub *hub, uint32_t worker, struct publish_ticket *ticket,
                 session_ref publisher, enum rc rc);

/* The publisher's worker, and its ticket when that waits for the item. */
struct asker {
    uint32_t worker;
    struct publish_ticket *ticket;
};

/* Whom an item is for. */
struct addressees {
    const struct route *routes;
    uint32_t count;
    struct route_block *block;   /* they stand in here, which is held; NULL: they are copied */
    struct route_walk *walk;     /* instead of routes: to be found; taken */
    struct subscription *member; /* of a share, with one route */
    struct share *share;         /* NULL: not of a share */
    uint16_t member_shard;       /* without a member: see struct delivery_item */
};

/* Adds an item to the batch for a worker. `packet` may be NULL. False: no memory; the ticket has
 * been answered. */
bool deliveries_add(struct delivery_hub *hub, uint32_t worker, struct delivery *delivery,
                    const struct ready_made *packet, struct asker asker,
                    const struct addressees *to);

/* Whether more than BACKLOG_HIGH is on its way to that worker, or was sent in this turn. */
bool deliveries_are_behind(const struct delivery_peer *peer);

/* Something addressed to ourselves waits: what comes now has to go behind it. */
static inline bool deliveries_pending(const struct delivery_hub *hub)
{
    return hub->inbox_first != NULL || hub->peers[hub->worker].batch != NULL;
}

/* Posts what was collected. True: some of it is for ourselves. */
bool deliveries_post_all(struct delivery_hub *hub);

/* The item to work on, NULL at the end. */
static inline struct delivery_item *deliveries_item(struct deliveries *batch)
{
    return batch->at < batch->used ? (struct delivery_item *)(batch->data + batch->at) : NULL;
}

void deliveries_item_done(struct delivery_hub *hub, struct deliveries *batch,
                          struct delivery_item *item);
/* Takes the finished batch. */
void deliveries_done(struct delivery_hub *hub, struct deliveries *batch);
void deliveries_free(struct deliveries *batch);

/* Tells the worker that the item came from to slow its publisher. */
void deliveries_report_lag(struct delivery_hub *hub, const struct delivery_item *item);

/* Whether anybody is told when sessions that are stored have the publication. */
static inline bool publication_is_awaited(const struct publication *publication)
{
    return publication->qos > 0 && publication->durability != DURABILITY_MEMORY;
}

/* ---- commit.c: waiting for the store -----------------------------------------------------------
 */

void commit_source_init(struct commit_source *source, struct delivery_hub *hub, uint8_t durability);

/* The ticket, made if need be, with one more commit expected. */
struct publish_ticket *commit_source_ticket(struct commit_source *source);

/* When a home is away the publication is to be routed anew: again.c. Before the next one. Shares
 * message. */
void commit_source_keep(struct commit_source *source, struct message *message);

/* No more commits will be expected from here. Gives the ticket, NULL when there is nothing to wait
 * for: *rc then says what became of it. */
struct publish_ticket *commit_source_close(struct commit_source *source, enum rc *rc);

/* The source waits until everything recorded in that shard is safe, unless it is already; or for
 * one record alone, see store_wait_for(), when that has a batch. */
void commit_source_await(struct commit_source *source, struct store_shard *store,
                         struct store_ref record);

/* The same for all of the shard, and until other nodes have applied it, too. */
void commit_source_await_spread(struct commit_source *source, struct store_shard *store);
/* Once a turn: answers those that they have. */
void commits_spread(struct delivery_hub *hub);

/* Receiving worker: no more commits will be expected; answers when those that are have come. */
void commit_source_answer(struct commit_source *source);

/* ---- routes.c ----------------------------------------------------------------------------------
 */

/* Answers the tickets of subscriptions that are in effect on all nodes by now. */
void routes_settle(struct delivery_hub *hub);

/* ---- outbox.c ----------------------------------------------------------------------------------
 */

/* Whether the publication goes through the outbox of its publisher's shard, which is then given:
 * it must not arrive twice, and may have to be remembered until it has arrived. NULL: no. */
struct store_shard *outbox_for(struct delivery_hub *hub, const struct publication *publication,
                               const struct route_set *set);

/* A share of an entry, and its member: chosen once, so that a replay cannot choose another. */
struct outbox_choice {
    struct outbox_share stored;
    struct route route;          /* ... and these mean nothing after a restart */
    struct subscription *member; /* an id, not to be followed */
    struct share *share;         /* the same */
    bool sent;                   /* of no shard: it was given to that node, or member of this one */
    bool is_over;                /* ... and that is all that is done [MQTT-4.8.2-5] */
    bool unreached;              /* ... or could not be */
};

enum outbox_promise {
    OUTBOX_ASKED, /* a publisher waits: when it cannot be stored, he is told, and it is dropped */
    OUTBOX_PROMISED, /* nobody can be told: it is delivered when the store works again */
};

/* Stores the publication in the outbox; it is delivered when that is safe. Shares message. `asker`
 * (NULL: nobody) is answered when it has come to all, and is retained. */
void outbox_add(struct delivery_hub *hub, struct store_shard *store, struct message *message,
                enum outbox_promise promise, struct publish_ticket *asker);

/* The same for one share only, in one batch with what the caller deletes: a member that has ended
 * had the message. */
void outbox_hand_over(struct delivery_hub *hub, struct store_shard *store, struct message *message,
                      struct share *share, struct subscription *member, const struct route *route);

/* Entries that wait, each worker: */
enum { OUTBOX_UNDELIVERED_MAX = 64 * 1024, OUTBOX_AGAIN_MS = 100 };

/* Once a turn: tries again those that did not get to all. */
void outbox_try_again(struct delivery_hub *hub);
void outbox_deinit(struct delivery_hub *hub);

/* Somebody has not got it, and others are still to say: those behind it wait. */
void outbox_fails(struct outbox_entry *entry, enum rc rc);
/* Every shard has it, or not all do (rc). */
void outbox_delivered(struct outbox_entry *entry, enum rc rc, bool not_found);

/* A message of a share has come to its new session, or has not (rc). Takes record. */
void moved_delivered(struct moved_record *record, enum rc rc);

/* The node that a message of a share was sent to has taken it, or has not (rc). Takes watch. */
void share_watch_answered(struct share_watch *watch, enum rc rc);

/* Delivers an entry: delivery.c. Its share number i goes with the tag's number + 1 + i; without
 * choices every share chooses now. Gives the ticket; NULL: *rc says what became of it. */
struct publish_ticket *delivery_dispatch(struct delivery_hub *hub, struct message *message,
                                         struct outbox_tag tag, struct outbox_choice *choices,
                                         uint32_t count, enum outbox_whom whom, enum rc *rc);

/* Of "$share/name/filter" of the member's share: outbox_choice.c. */
uint64_t outbox_share_hash(struct subscription *member);

/* The group's shards go elsewhere. */
void outbox_forget(struct delivery_hub *hub, struct shard_group group);

/* ---- high_water.c ------------------------------------------------------------------------------
 */

enum { HIGH_WATER_MAX = 4096 };

/* Has this shard got that entry already? */
bool high_water_covers(struct delivery_hub *hub, const struct store_shard *store,
                       struct outbox_tag tag);
/* From now on it has, in the batch that is open. */
void high_water_set(struct delivery_hub *hub, struct store_shard *store, struct outbox_tag tag);
/* The same for the sessions of this worker that are not stored. */
bool high_water_covers_clean(struct delivery_hub *hub, struct outbox_tag tag);
void high_water_set_clean(struct delivery_hub *hub, struct outbox_tag tag);
/* Whether a member that is not stored was chosen here for that before; from now on it was. */
bool high_water_chosen(struct delivery_hub *hub, struct outbox_tag tag);
/* It had gone before the message came: another one may be. */
void high_water_not_chosen(struct delivery_hub *hub, struct outbox_tag tag);
/* At start-up: as the store has it. False: the value cannot be read. */
bool high_water_load(struct delivery_hub *hub, uint32_t shard, uint32_t source, struct bytes value);
/* Those of the group's shards, which go elsewhere. */
void high_water_forget(struct delivery_hub *hub, struct shard_group group);
void high_water_deinit(struct delivery_hub *hub);

/* ---- again.c -----------------------------------------------------------------------------------
 */

/* What each worker keeps to route it anew, in bytes, and how long it waits between two tries. */
enum { AGAIN_BYTES_MAX = 64 * 1024 * 1024, AGAIN_MS = 50 };

void again_init(struct delivery_hub *hub);
/* The publication of the ticket may be routed anew. Shares message. */
void again_keep(struct delivery_hub *hub, struct publish_ticket *ticket, struct message *message);
/* Some home was away: no way led to its node, or it is that no more. */
static inline bool again_is_due(enum rc rc)
{
    return rc == RC_CLOSED || rc == RC_AGAIN;
}

/* It has failed, and is not done: what is published from now on waits for it. */
void again_comes(struct publish_ticket *ticket, enum rc rc);
/* It is done, with that. True: it is kept: to be routed anew, or because an older one of its
 * publisher and topic may have to be, and then this one behind it. */
bool again_take(struct publish_ticket *ticket, enum rc rc);
/* What was routed anew has been answered. */
void again_answered(struct publish_ticket *ticket, enum rc rc);
void again_free(struct publish_ticket *ticket);
/* Once a turn. */
void again_turn(struct delivery_hub *hub);
/* The group's shards go elsewhere, and what their sessions have published with them. */
void again_forget(struct delivery_hub *hub, struct shard_group group);
void again_deinit(struct delivery_hub *hub);

/* ---- retain.c ----------------------------------------------------------------------------------
 */

/* Has the topic's retained message, as it is now, written by the worker whose shard it belongs to.
 * The source waits for that when the publication is of QoS 1 or 2. */
void retained_keep(struct delivery_hub *hub, const struct publication *publication,
                   struct commit_source *source);
/* Before that, for one that may have been undone here meanwhile, or whose topic had its home
 * elsewhere when it came. */
void retained_have(struct delivery_hub *hub, struct message *message);

/* ---- subscribe.c -------------------------------------------------------------------------------
 */

/* A subscription that is not there yet, without its record; NULL: no memory. */
struct subscription *subscription_add(struct delivery_hub *hub, struct session *session,
                                      struct bytes filter, struct bytes share,
                                      const struct subscription_options *options);
size_t delivery_share_filter(struct share_member *member, char *out, size_t room);
struct share_member *delivery_share_find(struct session_table *table, struct session *session,
                                         struct bytes filter);

void delivery_session_ended(struct session_table *table, struct session *session);
/* Restarts the retained jobs whose subscriber can take more. True: there are some. */
bool delivery_unpark(struct delivery_hub *hub);

#endif
