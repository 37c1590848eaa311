/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/registration.h"

#include "base/check.h"
#include "base/memory.h"
#include "cluster/inside.h"

/* A client that is connected here and whose client id has its home elsewhere. */
struct registration {
    struct registrations *all;
    struct list node;       /* in out->registrations, or all->unlinked */
    struct tunnel_out *out; /* NULL: its link is lost, or it was dropped */
    void *holder;
    uint64_t number;
    uint64_t lost_ms; /* when its link was */
    bool held;        /* granted once */
    bool dropped;     /* drop() was called */
    uint16_t len;
    uint8_t client_id[];
};

static struct bytes client_id_of(const struct registration *registration)
{
    return bytes_of(registration->client_id, registration->len);
}

static bool has_number(const void *element, const void *key)
{
    return ((const struct registration *)element)->number == *(const uint64_t *)key;
}

static void say(const struct registration *registration, enum link_kind kind, uint8_t flags)
{
    uint8_t body[REGISTRATION_MAX];
    size_t len = registration_write(registration->number, client_id_of(registration), body);
    if (registration->out != NULL && registration->out->state == TUNNEL_OPEN)
        link_send(&registration->out->link, kind, flags, bytes_of(body, len));
}

static void ask(const struct registration *registration)
{
    say(registration, LINK_REGISTER, registration->held ? REGISTER_AGAIN : REGISTER_NEW);
}

/* Asks there, at once or when the link is open. */
static void ask_at(struct registration *registration, uint32_t remote, uint32_t home_worker)
{
    struct tunnel_out *out = tunnel_out_get(registration->all->tunnels, remote, home_worker);
    list_remove(&registration->node);
    list_add_last(&out->registrations, &registration->node);
    registration->out = out;
    ask(registration);
}

struct registration *registration_new(struct tunnels *tunnels, uint32_t remote,
                                      uint32_t home_worker, struct bytes client_id, void *holder,
                                      enum register_kind kind)
{
    struct registrations *all = tunnels->registrations;
    struct registration *registration = mem_new(sizeof(*registration) + client_id.len);
    registration->all = all;
    registration->holder = holder;
    registration->held = kind == REGISTER_AGAIN;
    registration->number = ++all->numbers;
    registration->len = (uint16_t)client_id.len;
    memcpy(registration->client_id, client_id.data, client_id.len);
    list_init(&registration->node);
    map_insert(&all->by_number, registration->number, registration);
    ask_at(registration, remote, home_worker);
    return registration;
}

void registration_end(struct registration *registration)
{
    struct registrations *all = registration->all;
    say(registration, LINK_UNREGISTER, 0);
    list_remove(&registration->node);
    map_remove(&all->by_number, registration->number, registration);
    mem_free(registration);
}

static void drop(struct registration *registration, bool reached)
{
    const struct cluster_worker *is = &registration->all->tunnels->is;
    if (registration->dropped)
        return;
    registration->dropped = true;
    is->clients->drop(is->clients_owner, registration->holder, reached); /* may free it */
}

bool registration_edge_frame(struct tunnel_out *out, const struct link_frame *frame)
{
    const struct cluster_worker *is = &out->tunnels->is;
    uint64_t number;
    struct bytes client_id;
    if (!registration_read(frame->body, &number, &client_id))
        return false;
    struct registration *registration =
        map_find(&out->tunnels->registrations->by_number, number, has_number, &number);
    if (registration != NULL && registration->out != out)
        registration = NULL; /* it has another home since then */
    switch (frame->kind) {
    case LINK_REGISTERED:
        if (registration == NULL)
            return true;
        registration->lost_ms = 0;
        if (registration->held)
            return true;
        registration->held = true;
        is->clients->go_on(is->clients_owner, registration->holder);
        return true;
    case LINK_DROP:
        if (registration != NULL)
            drop(registration, true);
        return true;
    default:
        return false;
    }
}

void registrations_out_open(struct tunnel_out *out)
{
    LIST_FOR_EACH (node, &out->registrations)
        ask(CONTAINER_OF(node, struct registration, node));
}

void registrations_out_lost(struct tunnel_out *out)
{
    struct registrations *all = out->tunnels->registrations;
    LIST_FOR_EACH (node, &out->registrations) {
        struct registration *registration = CONTAINER_OF(node, struct registration, node);
        registration->out = NULL;
        if (registration->lost_ms == 0)
            registration->lost_ms = out->tunnels->is.loop->now_ms;
    }
    list_move_all(&all->unlinked, &out->registrations);
    registrations_watch(all);
}

/* ---- homes that change -------------------------------------------------------------------------
 */

static struct cluster_home home_of(const struct registration *registration, uint32_t *home_worker)
{
    const struct tunnels *tunnels = registration->all->tunnels;
    uint32_t shard =
        client_id_hash(client_id_of(registration)) % tunnels->is.hub->sessions->shard_count;
    struct cluster_home home = cluster_home_of(tunnels->owner, shard);
    *home_worker = home.place == CLUSTER_AWAY ? shard % home.workers : 0;
    return home;
}

/* For one that no link holds: asks the home that there is now. */
static void link_again(struct registration *registration)
{
    struct registrations *all = registration->all;
    uint32_t home_worker;
    struct cluster_home home = home_of(registration, &home_worker);
    uint64_t now_ms = all->tunnels->is.loop->now_ms;
    list_remove(&registration->node);
    if (home.place == CLUSTER_HERE) { /* here our own sessions are looked at first */
        registration->lost_ms = 0;
        list_add_last(&all->here, &registration->node);
        return;
    }
    list_add_last(&all->unlinked, &registration->node);
    if (registration->lost_ms != 0 && now_ms - registration->lost_ms > REGISTRATION_LEASE_MS)
        drop(registration, false);
    else if (home.place == CLUSTER_AWAY && !registration->dropped)
        ask_at(registration, home.remote, home_worker);
}

bool registrations_look_at_unlinked(struct registrations *registrations)
{
    struct list all;
    struct list *node;
    if (registrations->tunnels->closed)
        return false;
    list_init(&all);
    list_move_all(&all, &registrations->unlinked);
    while ((node = list_take_first(&all)) != NULL)
        link_again(CONTAINER_OF(node, struct registration, node));
    return !list_empty(&registrations->unlinked);
}

void registrations_homes_changed(struct registrations *registrations)
{
    struct tunnels *tunnels = registrations->tunnels;
    LIST_FOR_EACH (out_node, &tunnels->outs) {
        struct tunnel_out *out = CONTAINER_OF(out_node, struct tunnel_out, node);
        LIST_FOR_EACH_SAFE (node, &out->registrations) {
            struct registration *registration = CONTAINER_OF(node, struct registration, node);
            uint32_t home_worker;
            struct cluster_home home = home_of(registration, &home_worker);
            if (home.place == CLUSTER_AWAY && home.remote == out->remote)
                continue;
            say(registration, LINK_UNREGISTER, 0);
            registration->out = NULL;
            list_remove(node);
            list_add_last(&registrations->unlinked, node);
        }
    }
    list_move_all(&registrations->unlinked, &registrations->here);
    if (registrations_look_at_unlinked(registrations))
        registrations_watch(registrations);
}
