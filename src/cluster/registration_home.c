/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/registration.h"

#include "base/check.h"
#include "base/memory.h"
#include "session/session.h"

/* Who wants a client id that another node has: a connection here, or one that asks by a link. */
struct claim {
    struct list node;  /* in registered->claims */
    struct list place; /* in all->claims */
    void *holder;      /* NULL: it asks by the link */
    struct tunnel_in *in;
    uint64_t number;
};

/* A client id that another node has. */
struct registered {
    struct list node;     /* in in->registered, or all->orphans */
    struct tunnel_in *in; /* NULL: its link is lost */
    uint64_t number;
    uint64_t hash;
    uint64_t lost_ms;
    struct list claims;
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

static void claim_free(struct claim *claim)
{
    list_remove(&claim->node);
    list_remove(&claim->place);
    mem_free(claim);
}

/* ---- granting ----------------------------------------------------------------------------------
 */

static void grant(struct registrations *all, struct tunnel_in *in, uint64_t number,
                  struct bytes client_id)
{
    struct registered *registered = mem_new(sizeof(*registered) + client_id.len);
    registered->in = in;
    registered->number = number;
    registered->hash = client_id_hash(client_id);
    registered->len = (uint16_t)client_id.len;
    memcpy(registered->client_id, client_id.data, client_id.len);
    list_init(&registered->claims);
    list_add_last(&in->registered, &registered->node);
    map_insert(&all->by_client, registered->hash, registered);
    say(in, LINK_REGISTERED, number, client_id);
}

/* Waits until the one that has the client id has gone. */
static void claim(struct registrations *all, struct registered *registered, struct tunnel_in *in,
                  uint64_t number, void *holder)
{
    struct claim *claim = NEW(struct claim);
    *claim = (struct claim){.holder = holder, .in = in, .number = number};
    list_add_last(&registered->claims, &claim->node);
    list_add_last(&all->claims, &claim->place);
    say(registered->in, LINK_DROP, registered->number, client_id_of(registered));
}

/* NEW: whoever has the client id goes first. */
static void admit(struct registrations *all, struct tunnel_in *in, uint64_t number,
                  struct bytes client_id)
{
    const struct cluster_worker *is = &all->tunnels->is;
    struct registered *before = find(all, client_id);
    if (before != NULL) {
        claim(all, before, in, number, NULL);
        return;
    }
    is->clients->evict(is->clients_owner, client_id);
    grant(all, in, number, client_id);
}

/* It has gone, or its edge cannot act on it any more: those who wait have their turn. */
static void over(struct registrations *all, struct registered *registered)
{
    const struct cluster_worker *is = &all->tunnels->is;
    list_remove(&registered->node);
    map_remove(&all->by_client, registered->hash, registered);
    for (struct list *node; (node = list_take_first(&registered->claims)) != NULL;) {
        struct claim *claim = CONTAINER_OF(node, struct claim, node);
        if (claim->holder == NULL)
            admit(all, claim->in, claim->number, client_id_of(registered));
        else
            is->clients->go_on(is->clients_owner, claim->holder);
        claim_free(claim);
    }
    mem_free(registered);
}

/* It was registered before, with us or with the home before us. */
static void readmit(struct registrations *all, struct tunnel_in *in, uint64_t number,
                    struct bytes client_id)
{
    struct registered *before = find(all, client_id);
    if (before == NULL) {
        grant(all, in, number, client_id);
    } else if (before->in == NULL && before->number == number) {
        before->in = in;
        list_remove(&before->node);
        list_add_last(&in->registered, &before->node);
        say(in, LINK_REGISTERED, number, client_id);
        if (!list_empty(&before->claims))
            say(in, LINK_DROP, number, client_id);
    } else {
        say(in, LINK_DROP, number, client_id); /* another one has come in the meantime */
    }
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
    if (registered == NULL)
        return true;
    if (claim_of(registrations, holder) == NULL)
        claim(registrations, registered, NULL, 0, holder);
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

/* The edge has thought better of it, perhaps before it was let in. */
static void take_unregister(struct registrations *all, const struct tunnel_in *in, uint64_t number,
                            struct bytes client_id)
{
    struct registered *registered = find(all, client_id);
    if (registered == NULL)
        return;
    if (registered->in == in && registered->number == number) {
        over(all, registered);
        return;
    }
    LIST_FOR_EACH_SAFE (node, &registered->claims) {
        struct claim *claim = CONTAINER_OF(node, struct claim, node);
        if (claim->holder != NULL || claim->in != in || claim->number != number)
            continue;
        claim_free(claim);
    }
}

bool registration_home_frame(struct tunnel_in *in, const struct link_frame *frame)
{
    struct registrations *all = in->tunnels->registrations;
    uint64_t number;
    struct bytes client_id;
    if (!registration_read(frame->body, &number, &client_id))
        return false;
    if (frame->kind == LINK_REGISTER && frame->flags == REGISTER_NEW)
        admit(all, in, number, client_id);
    else if (frame->kind == LINK_REGISTER && frame->flags == REGISTER_AGAIN)
        readmit(all, in, number, client_id);
    else if (frame->kind == LINK_UNREGISTER)
        take_unregister(all, in, number, client_id);
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
    while (!list_empty(&registrations->orphans)) {
        struct registered *registered =
            CONTAINER_OF(registrations->orphans.next, struct registered, node);
        if (now_ms - registered->lost_ms < REGISTERED_LEASE_MS)
            return true;
        over(registrations, registered);
    }
    return false;
}

/* ---- make and unmake ---------------------------------------------------------------------------
 */

static void tick(struct loop_timer *timer)
{
    struct registrations *all = CONTAINER_OF(timer, struct registrations, tick);
    bool unlinked = registrations_look_at_unlinked(all);
    if (registrations_look_at_orphans(all) || unlinked)
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
    loop_timer_init(&registrations->tick, tick);
    return registrations;
}

void registrations_close(struct registrations *registrations)
{
    loop_timer_stop(registrations->tunnels->is.loop, &registrations->tick);
}

static void registered_free(struct registrations *registrations, struct registered *registered)
{
    LIST_FOR_EACH_SAFE (node, &registered->claims)
        claim_free(CONTAINER_OF(node, struct claim, node));
    list_remove(&registered->node);
    map_remove(&registrations->by_client, registered->hash, registered);
    mem_free(registered);
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
