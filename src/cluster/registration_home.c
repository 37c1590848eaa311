/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/registration.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "cluster/inside.h"
#include "delivery/testament.h"
#include "session/session.h"
#include "store/record.h"

#include <sys/random.h>

/* Who wants a client id that another node has: a connection here, or one that asks by a link. */
struct claim {
    struct list node;  /* in registered->claims, or all->held */
    struct list place; /* in all->claims */
    void *holder;      /* NULL: it asks by the link */
    struct tunnel_in *in;
    struct message *will; /* that it leaves; NULL: none */
    uint64_t number;
    uint64_t epoch; /* of the home that this node was when it was held */
    uint16_t len;
    uint8_t client_id[];
};

/* A client id that another node has. */
struct registered {
    struct list node;     /* in in->registered, or all->orphans */
    struct tunnel_in *in; /* NULL: its link is lost */
    struct registrations *all;
    struct store_waiter waiter; /* until its will is safe */
    uint64_t number;
    uint64_t hash;
    uint64_t lost_ms;
    struct list claims;
    uint16_t len;
    uint8_t client_id[];
};

/* UNREGISTERED is said when what has become of the will is safe. */
struct answer {
    struct list node; /* in in->answers */
    struct store_waiter waiter;
    struct tunnel_in *in;
    struct store_shard *store;
    uint64_t number;
    uint16_t len;
    uint8_t client_id[];
};

static struct bytes client_id_of(const struct registered *registered)
{
    return bytes_of(registered->client_id, registered->len);
}

static bool has_client_id(const void *element, const void *key)
{
    return bytes_equal(client_id_of(element), *(const struct bytes *)key);
}

static struct registered *find(const struct registrations *all, struct bytes client_id)
{
    return map_find(&all->by_client, client_id_hash(client_id), has_client_id, &client_id);
}

static void say(struct tunnel_in *in, enum link_kind kind, uint64_t number, struct bytes client_id)
{
    uint8_t body[REGISTRATION_MAX];
    if (in != NULL)
        link_send(&in->link, kind, 0, bytes_of(body, registration_write(number, client_id, body)));
}

static struct delivery_hub *hub_of(const struct registrations *all)
{
    return all->tunnels->is.hub;
}

static uint32_t shard_of(const struct registrations *all, struct bytes client_id)
{
    return client_id_hash(client_id) % hub_of(all)->sessions->shard_count;
}

bool registrations_serve(const struct registrations *registrations, uint32_t shard)
{
    const struct delivery_hub *hub = hub_of(registrations);
    /* acquire: who finds it served finds what has been loaded */
    return !delivery_has_homes(hub) ||
           ((atomic_load_explicit(&hub->remote->serving, memory_order_acquire) >>
                 shard % CLUSTER_GROUPS &
             1) &&
            store_trouble(&hub->sessions->stores[shard]) != RC_CLOSED);
}

static bool can_decide(const struct registrations *all, struct bytes client_id)
{
    const struct tunnels *tunnels = all->tunnels;
    uint32_t shard = shard_of(all, client_id);
    return registrations_serve(all, shard) &&
           cluster_has_gathered(tunnels->owner, tunnels->worker, shard) &&
           cluster_may_act(tunnels->owner, shard);
}

static uint64_t epoch_of(const struct registrations *all, struct bytes client_id)
{
    const struct cluster *cluster = all->tunnels->owner;
    return places_epoch(&cluster->places, shard_of(all, client_id) % CLUSTER_GROUPS);
}

static void claim_free(struct claim *claim)
{
    list_remove(&claim->node);
    list_remove(&claim->place);
    message_drop(claim->will);
    mem_free(claim);
}

/* ---- granting ----------------------------------------------------------------------------------
 */

static void will_is_safe(struct store_waiter *waiter, enum rc rc)
{
    struct registered *registered = CONTAINER_OF(waiter, struct registered, waiter);
    struct bytes client_id = client_id_of(registered);
    if (rc == RC_OK)
        say(registered->in, LINK_REGISTERED, registered->number, client_id);
    else if (rc != RC_CLOSED) /* else it asks the next home */
        store_wait_until_it_works(testament_shard(hub_of(registered->all), client_id), waiter);
}

static struct registered *registered_new(struct registrations *all, struct tunnel_in *in,
                                         uint64_t number, struct bytes client_id)
{
    struct registered *registered = mem_new(sizeof(*registered) + client_id.len);
    registered->all = all;
    registered->in = in;
    registered->waiter.done = will_is_safe;
    registered->number = number;
    registered->hash = client_id_hash(client_id);
    registered->len = (uint16_t)client_id.len;
    memcpy(registered->client_id, client_id.data, client_id.len);
    list_init(&registered->claims);
    list_init(&registered->waiter.link);
    list_add_last(&in->registered, &registered->node);
    map_insert(&all->by_client, registered->hash, registered);
    return registered;
}

static void grant(struct registrations *all, struct tunnel_in *in, uint64_t number,
                  struct bytes client_id, struct message *will)
{
    struct registered *registered = registered_new(all, in, number, client_id);
    enum rc rc = RC_OK;
    if (will != NULL) {
        testament_keep(hub_of(all), client_id, number, will);
        rc = store_wait(testament_shard(hub_of(all), client_id), &registered->waiter);
    }
    if (rc != RC_AGAIN)
        will_is_safe(&registered->waiter, rc);
}

static struct claim *claim_new(struct registrations *all, struct tunnel_in *in, uint64_t number,
                               struct bytes client_id, struct message *will)
{
    struct claim *claim = mem_new(sizeof(*claim) + client_id.len);
    claim->in = in;
    claim->number = number;
    claim->will = will == NULL ? NULL : message_hold(will);
    claim->len = (uint16_t)client_id.len;
    memcpy(claim->client_id, client_id.data, client_id.len);
    list_init(&claim->node);
    list_add_last(&all->claims, &claim->place);
    return claim;
}

/* Waits until the one that has the client id has gone. */
static struct claim *claim(struct registrations *all, struct registered *registered,
                           struct tunnel_in *in, uint64_t number, struct message *will)
{
    struct claim *claim = claim_new(all, in, number, client_id_of(registered), will);
    list_add_last(&registered->claims, &claim->node);
    say(registered->in, LINK_DROP, registered->number, client_id_of(registered));
    return claim;
}

/* It has a link again. */
static void link_to(struct registered *registered, struct tunnel_in *in)
{
    registered->in = in;
    list_remove(&registered->node);
    list_add_last(&in->registered, &registered->node);
    if (!list_linked(&registered->waiter.link))
        say(in, LINK_REGISTERED, registered->number, client_id_of(registered));
    if (!list_empty(&registered->claims))
        say(in, LINK_DROP, registered->number, client_id_of(registered));
}

/* NEW: whoever has the client id goes first. */
static void admit(struct registrations *all, struct tunnel_in *in, uint64_t number,
                  struct bytes client_id, struct message *will)
{
    const struct cluster_worker *is = &all->tunnels->is;
    struct registered *before = find(all, client_id);
    if (!can_decide(all, client_id)) {
        struct claim *held = claim_new(all, in, number, client_id, will);
        held->epoch = epoch_of(all, client_id);
        list_add_last(&all->held, &held->node);
        registrations_watch(all);
        return;
    }
    if (before != NULL && before->number == number) { /* it has not heard of that */
        link_to(before, in);
        return;
    }
    if (before != NULL) {
        claim(all, before, in, number, will);
        return;
    }
    is->clients->evict(is->clients_owner, client_id);
    /* Its own is there when it was let in, and asks anew since its edge has not heard of that. */
    (void)testament_claim(hub_of(all), client_id, number);
    testaments_succeed(hub_of(all), client_id);
    grant(all, in, number, client_id, will);
}

void registrations_admit_held(struct registrations *registrations)
{
    struct list all;
    list_init(&all);
    list_move_all(&all, &registrations->held);
    for (struct list *node; (node = list_take_first(&all)) != NULL;) {
        struct claim *claim = CONTAINER_OF(node, struct claim, node);
        struct bytes client_id = bytes_of(claim->client_id, claim->len);
        if (claim->epoch == epoch_of(registrations, client_id)) /* else it has asked the next one */
            admit(registrations, claim->in, claim->number, client_id, claim->will);
        claim_free(claim);
    }
}

static void settle_will(struct registrations *all, struct bytes client_id, uint64_t number,
                        enum unregister_kind kind)
{
    if (kind == UNREGISTER_WILL_VOID)
        testament_void(hub_of(all), client_id, number);
    else if (kind == UNREGISTER_WILL_DUE)
        testament_due(hub_of(all), client_id, number);
    else
        testament_disown(hub_of(all), client_id, number);
}

/* It has gone, or its edge cannot act on it any more: those who wait have their turn. */
static void over(struct registrations *all, struct registered *registered,
                 enum unregister_kind kind)
{
    const struct cluster_worker *is = &all->tunnels->is;
    list_remove(&registered->node);
    list_remove(&registered->waiter.link);
    map_remove(&all->by_client, registered->hash, registered);
    settle_will(all, client_id_of(registered), registered->number, kind);
    for (struct list *node; (node = list_take_first(&registered->claims)) != NULL;) {
        struct claim *claim = CONTAINER_OF(node, struct claim, node);
        if (claim->holder == NULL)
            admit(all, claim->in, claim->number, client_id_of(registered), claim->will);
        else
            is->clients->go_on(is->clients_owner, claim->holder);
        claim_free(claim);
    }
    mem_free(registered);
}

/* Somebody of that name is connected to this node, or has left a session here that is stored. That
 * one may have begun when the one that asks could not be reached, and is the younger then. */
static bool is_succeeded_here(const struct registrations *all, struct bytes client_id)
{
    return session_find(hub_of(all)->sessions, client_id) != NULL;
}

/* It was registered before, with us or with the home before us. */
static void readmit(struct registrations *all, struct tunnel_in *in, uint64_t number,
                    struct bytes client_id, enum register_kind kind)
{
    struct registered *before = find(all, client_id);
    if (!registrations_serve(all, shard_of(all, client_id)))
        return; /* it will hear of the next home */
    bool other = before == NULL ? is_succeeded_here(all, client_id) : before->number != number;
    if (other ||
        (kind == REGISTER_AGAIN_WITH_WILL && !testament_claim(hub_of(all), client_id, number)))
        say(in, LINK_DROP, number, client_id);
    else if (before == NULL)
        grant(all, in, number, client_id, NULL);
    else
        link_to(before, in);
}

/* ---- connections here --------------------------------------------------------------------------
 */

static struct claim *claim_of(const struct registrations *all, const void *holder)
{
    LIST_FOR_EACH (place, &all->claims) {
        struct claim *claim = CONTAINER_OF(place, struct claim, place);
        if (claim->holder == holder)
            return claim;
    }
    return NULL;
}

bool registrations_vacate(struct registrations *registrations, struct bytes client_id, void *holder)
{
    struct registered *registered = find(registrations, client_id);
    if (registered == NULL) {
        if (delivery_has_homes(hub_of(registrations)))
            testaments_succeed(hub_of(registrations), client_id);
        return true;
    }
    if (claim_of(registrations, holder) == NULL)
        claim(registrations, registered, NULL, 0, NULL)->holder = holder;
    return false;
}

void registrations_forget(struct registrations *registrations, const void *holder)
{
    struct claim *claim = claim_of(registrations, holder);
    if (claim != NULL)
        claim_free(claim);
}

/* ---- frames and links --------------------------------------------------------------------------
 */

static void answer_free(struct answer *answer)
{
    list_remove(&answer->node);
    list_remove(&answer->waiter.link);
    mem_free(answer);
}

static void settled(struct store_waiter *waiter, enum rc rc)
{
    struct answer *answer = CONTAINER_OF(waiter, struct answer, waiter);
    if (rc != RC_OK && rc != RC_CLOSED) {
        store_wait_until_it_works(answer->store, waiter);
        return;
    }
    if (rc == RC_OK) /* else the edge asks the next home */
        say(answer->in, LINK_UNREGISTERED, answer->number,
            bytes_of(answer->client_id, answer->len));
    answer_free(answer);
}

static void answer_when_safe(struct registrations *all, struct tunnel_in *in, uint64_t number,
                             struct bytes client_id)
{
    struct answer *answer = mem_new(sizeof(*answer) + client_id.len);
    answer->waiter.done = settled;
    answer->in = in;
    answer->store = testament_shard(hub_of(all), client_id);
    answer->number = number;
    answer->len = (uint16_t)client_id.len;
    memcpy(answer->client_id, client_id.data, client_id.len);
    list_init(&answer->waiter.link);
    list_add_last(&in->answers, &answer->node);
    enum rc rc = store_wait(answer->store, &answer->waiter);
    if (rc != RC_AGAIN)
        settled(&answer->waiter, rc);
}

static void forget_claims(struct registrations *all, const struct tunnel_in *in, uint64_t number)
{
    LIST_FOR_EACH_SAFE (place, &all->claims) {
        struct claim *claim = CONTAINER_OF(place, struct claim, place);
        if (claim->holder == NULL && claim->in == in && claim->number == number)
            claim_free(claim);
    }
}

/* The edge has thought better of it, perhaps before it was let in. */
static void take_unregister(struct registrations *all, struct tunnel_in *in, uint64_t number,
                            struct bytes client_id, enum unregister_kind kind)
{
    struct registered *registered = find(all, client_id);
    bool serves = registrations_serve(all, shard_of(all, client_id));
    if (registered != NULL && registered->number == number)
        over(all, registered, kind);
    else
        forget_claims(all, in, number);
    if (kind == UNREGISTER_ONLY || !serves)
        return;
    settle_will(all, client_id, number, kind);
    answer_when_safe(all, in, number, client_id);
}

static bool take_register(struct tunnel_in *in, const struct registration_frame *said)
{
    struct registrations *all = in->tunnels->registrations;
    struct record_clock clock = {hub_of(all)->sessions->now_ms, clock_wall_ms()};
    struct will_record record;
    struct message *will = NULL;
    if (said->will.len > 0) {
        if (!will_record_decode(said->will, &clock, &record))
            return false;
        will = message_new(&record.publication);
        if (will == NULL) { /* it is refused after a while */
            metric_inc(hub_of(all)->metrics, METRIC_PUBLISH_DROPPED_NO_MEMORY);
            return true;
        }
    }
    admit(all, in, said->number, said->client_id, will);
    message_drop(will);
    return true;
}

bool registration_home_frame(struct tunnel_in *in, const struct link_frame *frame)
{
    struct registrations *all = in->tunnels->registrations;
    struct registration_frame said;
    if (!registration_read(frame->body, &said))
        return false;
    if (frame->kind == LINK_REGISTER && frame->flags == REGISTER_NEW)
        return take_register(in, &said);
    if (frame->kind == LINK_REGISTER && frame->flags < REGISTER_KINDS)
        readmit(all, in, said.number, said.client_id, (enum register_kind)frame->flags);
    else if (frame->kind == LINK_UNREGISTER && frame->flags < UNREGISTER_KINDS)
        take_unregister(all, in, said.number, said.client_id, (enum unregister_kind)frame->flags);
    else
        return false;
    return true;
}

static void forget_claims_of(struct registrations *all, const struct tunnel_in *in)
{
    LIST_FOR_EACH_SAFE (place, &all->claims) {
        struct claim *claim = CONTAINER_OF(place, struct claim, place);
        if (claim->in == in)
            claim_free(claim);
    }
}

void registrations_in_lost(struct tunnel_in *in)
{
    struct registrations *all = in->tunnels->registrations;
    forget_claims_of(all, in);
    LIST_FOR_EACH_SAFE (node, &in->answers)
        answer_free(CONTAINER_OF(node, struct answer, node));
    LIST_FOR_EACH (node, &in->registered) {
        struct registered *registered = CONTAINER_OF(node, struct registered, node);
        registered->in = NULL;
        registered->lost_ms = in->tunnels->is.loop->now_ms;
    }
    list_move_all(&all->orphans, &in->registered);
    registrations_watch(all);
}

bool registrations_look_at_orphans(struct registrations *registrations)
{
    uint64_t now_ms = registrations->tunnels->is.loop->now_ms;
    uint32_t lease_ms = registered_lease_ms(registrations->tunnels->owner);
    while (!list_empty(&registrations->orphans) && !registrations->tunnels->closed) {
        struct registered *registered =
            CONTAINER_OF(registrations->orphans.next, struct registered, node);
        if (now_ms - registered->lost_ms < lease_ms)
            return true;
        over(registrations, registered, UNREGISTER_WILL_DUE);
    }
    return false;
}

/* ---- make and unmake ---------------------------------------------------------------------------
 */

static void tick(struct loop_timer *timer)
{
    struct registrations *all = CONTAINER_OF(timer, struct registrations, tick);
    bool unlinked = registrations_look_at_unlinked(all);
    if (!list_empty(&all->held))
        registrations_admit_held(all); /* its lease may be fresh again */
    if (registrations_look_at_orphans(all) || unlinked || !list_empty(&all->held))
        registrations_watch(all);
}

void registrations_watch(struct registrations *registrations)
{
    struct loop *loop = registrations->tunnels->is.loop;
    struct loop_timer *timer = &registrations->tick;
    if (!timer_running(&timer->timer) && !registrations->tunnels->closed)
        loop_timer_start(loop, timer, loop->now_ms + REGISTRATION_TICK_MS);
}

struct registrations *registrations_new(struct tunnels *tunnels)
{
    struct registrations *registrations = NEW(struct registrations);
    registrations->tunnels = tunnels;
    list_init(&registrations->unlinked);
    list_init(&registrations->here);
    list_init(&registrations->orphans);
    list_init(&registrations->claims);
    list_init(&registrations->held);
    CHECK(getrandom(&registrations->numbers, sizeof(uint64_t), 0) == sizeof(uint64_t));
    loop_timer_init(&registrations->tick, tick);
    return registrations;
}

void registrations_close(struct registrations *registrations)
{
    loop_timer_stop(registrations->tunnels->is.loop, &registrations->tick);
    registrations_close_edge(registrations);
    LIST_FOR_EACH (node, &registrations->orphans)
        list_remove(&CONTAINER_OF(node, struct registered, node)->waiter.link);
}

static void registered_free(struct registrations *registrations, struct registered *registered)
{
    LIST_FOR_EACH_SAFE (node, &registered->claims)
        claim_free(CONTAINER_OF(node, struct claim, node));
    list_remove(&registered->node);
    map_remove(&registrations->by_client, registered->hash, registered);
    mem_free(registered);
}

static void forget_unserved(struct registrations *all, struct list *registered_list)
{
    const struct cluster_worker *is = &all->tunnels->is;
    LIST_FOR_EACH_SAFE (node, registered_list) {
        struct registered *registered = CONTAINER_OF(node, struct registered, node);
        if (registrations_serve(all, shard_of(all, client_id_of(registered))))
            continue;
        LIST_FOR_EACH_SAFE (waits, &registered->claims) {
            const struct claim *claim = CONTAINER_OF(waits, struct claim, node);
            if (claim->holder != NULL)
                is->clients->go_on(is->clients_owner, claim->holder);
        }
        list_remove(&registered->waiter.link);
        registered_free(all, registered);
    }
}

void registrations_forget_unserved(struct registrations *registrations)
{
    if (!delivery_has_homes(hub_of(registrations)))
        return;
    LIST_FOR_EACH (node, &registrations->tunnels->ins)
        forget_unserved(registrations, &CONTAINER_OF(node, struct tunnel_in, node)->registered);
    forget_unserved(registrations, &registrations->orphans);
}

void registrations_free(struct registrations *registrations)
{
    for (struct list *node; (node = list_take_first(&registrations->orphans)) != NULL;)
        registered_free(registrations, CONTAINER_OF(node, struct registered, node));
    CHECK(registrations->by_client.count == 0 && registrations->by_number.count == 0);
    map_deinit(&registrations->by_client);
    map_deinit(&registrations->by_number);
    mem_free(registrations);
}
