/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/registration.h"

#include "base/breaks.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "cluster/inside.h"
#include "delivery/testament.h"
#include "store/record.h"

enum registration_state {
    REGISTRATION_ASKS,
    REGISTRATION_HELD,
    REGISTRATION_VOID, /* these two: its connection is over, and had left a will */
    REGISTRATION_DUE,
};

/* A client that is connected here, and whose client id has its home elsewhere, or who has left a
 * will. */
struct registration {
    struct registrations *all;
    struct list node;           /* in out->registrations, all->unlinked or all->here */
    struct tunnel_out *out;     /* NULL: its link is lost, it was dropped, or its home is here */
    void *holder;               /* NULL: its connection is over */
    struct message *will;       /* until it is held */
    struct store_waiter waiter; /* at home here: until what it has come to is safe */
    uint64_t number;
    uint64_t lost_ms; /* since when it has no home; 0: it has one */
    uint64_t epoch;   /* of the home that was told last */
    uint32_t shard;
    enum registration_state state;
    bool has_will;
    bool confirmed; /* by that home, as it is now */
    bool counted;   /* in group->unknown */
    bool dropped;   /* drop() was called */
    bool is_here;   /* in all->here */
    uint16_t len;
    uint8_t client_id[];
};

static struct bytes client_id_of(const struct registration *registration)
{
    return bytes_of(registration->client_id, registration->len);
}

static struct registration_group *group_of(const struct registration *registration)
{
    return &registration->all->groups[registration->shard % CLUSTER_GROUPS];
}

static struct delivery_hub *hub_of(const struct registration *registration)
{
    return registration->all->tunnels->is.hub;
}

static bool has_number(const void *element, const void *key)
{
    return ((const struct registration *)element)->number == *(const uint64_t *)key;
}

/* ---- what homes have been told -----------------------------------------------------------------
 */

uint64_t registrations_told(const struct registrations *registrations, uint32_t group)
{
    return atomic_load_explicit(&registrations->groups[group].told, memory_order_relaxed);
}

static void look_whether_told(struct registrations *all, struct registration_group *group)
{
    if (group->epoch == 0 || group->unknown > 0 ||
        atomic_load_explicit(&group->told, memory_order_relaxed) >= group->epoch)
        return;
    atomic_store_explicit(&group->told, group->epoch, memory_order_relaxed);
    all->tunnels->ops->told(all->tunnels->owner);
}

/* After its state, or whether it is confirmed, has changed. One that asks is not missed by a new
 * home: it asks there, too. */
static void count(struct registration *registration)
{
    struct registration_group *group = group_of(registration);
    bool counts = registration->state != REGISTRATION_ASKS && !registration->confirmed;
    if (counts == registration->counted)
        return;
    registration->counted = counts;
    if (counts) {
        group->unknown++;
    } else {
        group->unknown--;
        look_whether_told(registration->all, group);
    }
}

static void set_state(struct registration *registration, enum registration_state state)
{
    registration->state = state;
    registration->confirmed = false;
    count(registration);
}

static void confirm(struct registration *registration)
{
    registration->confirmed = true;
    count(registration);
}

static void registration_free(struct registration *registration)
{
    struct registrations *all = registration->all;
    confirm(registration);
    list_remove(&registration->waiter.link);
    list_remove(&registration->node);
    map_remove(&all->by_number, registration->number, registration);
    message_drop(registration->will);
    mem_free(registration);
}

/* The home knows the client. */
static void be_known(struct registration *registration)
{
    const struct cluster_worker *is = &registration->all->tunnels->is;
    bool is_new = !registration->confirmed;
    confirm(registration);
    if (is_new && registration->holder != NULL)
        is->clients->go_on(is->clients_owner, registration->holder);
}

static void be_held(struct registration *registration)
{
    message_drop(registration->will);
    registration->will = NULL;
    set_state(registration, REGISTRATION_HELD);
    be_known(registration);
}

static void drop(struct registration *registration, bool reached)
{
    const struct cluster_worker *is = &registration->all->tunnels->is;
    if (registration->dropped || registration->holder == NULL)
        return;
    registration->dropped = true;
    is->clients->drop(is->clients_owner, registration->holder, reached); /* may free it */
}

/* ---- a home elsewhere --------------------------------------------------------------------------
 */

/* The will as it is stored, behind the rest of the body. */
static void say_with_will(const struct registration *registration)
{
    struct record_clock clock = {hub_of(registration)->sessions->now_ms, clock_wall_ms()};
    struct will_record record = {.publication = registration->will->publication};
    struct record_value value;
    will_record_encode(&record, &clock, &value);
    size_t room = REGISTRATION_MAX;
    for (uint32_t i = 0; i < value.count; i++)
        room += value.parts[i].len;
    uint8_t *body = mem_new(room);
    uint8_t *at = body + registration_write(registration->number, client_id_of(registration), body);
    for (uint32_t i = 0; i < value.count; i++)
        at = link_write_bytes(at, value.parts[i]);
    link_send(&registration->out->link, LINK_REGISTER, REGISTER_NEW,
              bytes_of(body, (size_t)(at - body)));
    mem_free(body);
}

static void say(const struct registration *registration, enum link_kind kind, uint8_t flags)
{
    uint8_t body[REGISTRATION_MAX];
    size_t len = registration_write(registration->number, client_id_of(registration), body);
    if (registration->out != NULL && registration->out->state == TUNNEL_OPEN)
        link_send(&registration->out->link, kind, flags, bytes_of(body, len));
}

static void tell_again(struct registration *registration)
{
    if (broken(BREAK_REGISTRATIONS_FORGOTTEN)) {
        registration->lost_ms = 0;
        confirm(registration);
        return;
    }
    say(registration, LINK_REGISTER,
        registration->has_will ? REGISTER_AGAIN_WITH_WILL : REGISTER_AGAIN);
}

static void tell(struct registration *registration)
{
    switch (registration->state) {
    case REGISTRATION_ASKS:
        if (registration->has_will && registration->out != NULL &&
            registration->out->state == TUNNEL_OPEN)
            say_with_will(registration);
        else
            say(registration, LINK_REGISTER, REGISTER_NEW);
        break;
    case REGISTRATION_HELD:
        tell_again(registration);
        break;
    case REGISTRATION_VOID:
        say(registration, LINK_UNREGISTER, UNREGISTER_WILL_VOID);
        break;
    case REGISTRATION_DUE:
        say(registration, LINK_UNREGISTER, UNREGISTER_WILL_DUE);
        break;
    }
}

/* Tells it there, at once or when the link is open. */
static void tell_at(struct registration *registration, uint32_t remote, uint32_t home_worker)
{
    struct tunnel_out *out = tunnel_out_get(registration->all->tunnels, remote, home_worker);
    list_remove(&registration->node);
    list_add_last(&out->registrations, &registration->node);
    registration->out = out;
    tell(registration);
}

/* ---- a home here -------------------------------------------------------------------------------
 */

static void unlink_it(struct registration *registration);

static void safe(struct store_waiter *waiter, enum rc rc)
{
    struct registration *registration = CONTAINER_OF(waiter, struct registration, waiter);
    if (rc == RC_CLOSED) /* this node is not home any more */
        unlink_it(registration);
    else if (rc != RC_OK)
        store_wait_until_it_works(testament_shard(hub_of(registration), client_id_of(registration)),
                                  waiter);
    else if (registration->state == REGISTRATION_ASKS)
        be_held(registration);
    else
        registration_free(registration);
}

/* May free it. */
static void wait_until_safe(struct registration *registration)
{
    struct store_shard *store = testament_shard(hub_of(registration), client_id_of(registration));
    list_remove(&registration->waiter.link);
    enum rc rc = store_wait(store, &registration->waiter);
    if (rc != RC_AGAIN)
        safe(&registration->waiter, rc);
}

/* May free it. */
static void settle_here(struct registration *registration)
{
    struct delivery_hub *hub = hub_of(registration);
    struct bytes client_id = client_id_of(registration);
    uint64_t number = registration->number;
    if (!registrations_serve(registration->all, registration->shard)) {
        unlink_it(registration);
        return;
    }
    list_remove(&registration->node);
    list_add_last(&registration->all->here, &registration->node);
    registration->is_here = true;
    registration->lost_ms = 0;
    if (registration->state == REGISTRATION_HELD) {
        if (registration->has_will && !broken(BREAK_REGISTRATIONS_FORGOTTEN) &&
            !testament_claim(hub, client_id, number))
            drop(registration, true); /* it was given up for lost, and its will published */
        else
            be_known(registration);
        return;
    }
    if (!registration->has_will)
        return; /* our own sessions are looked at, too, when its CONNECT comes again */
    if (registration->state == REGISTRATION_ASKS)
        testament_keep(hub, client_id, number, registration->will);
    else if (registration->state == REGISTRATION_VOID)
        testament_void(hub, client_id, number);
    else
        testament_due(hub, client_id, number);
    wait_until_safe(registration);
}

/* No home has it any more. */
static void unlink_it(struct registration *registration)
{
    struct registrations *all = registration->all;
    registration->out = NULL;
    registration->is_here = false;
    if (registration->lost_ms == 0)
        registration->lost_ms = all->tunnels->is.loop->now_ms;
    list_remove(&registration->waiter.link);
    list_remove(&registration->node);
    list_add_last(&all->unlinked, &registration->node);
    registration->confirmed = false;
    count(registration);
    registrations_watch(all);
}

/* ---- begin and end -----------------------------------------------------------------------------
 */

struct registration *registration_new(struct tunnels *tunnels, const struct cluster_home *home,
                                      struct bytes client_id, void *holder, enum register_kind kind,
                                      struct message *will)
{
    struct registrations *all = tunnels->registrations;
    const struct cluster *cluster = tunnels->owner;
    struct registration *registration = mem_new(sizeof(*registration) + client_id.len);
    registration->all = all;
    registration->holder = holder;
    registration->waiter.done = safe;
    registration->number = ++all->numbers;
    registration->shard = client_id_hash(client_id) % tunnels->is.hub->sessions->shard_count;
    registration->epoch = places_epoch(&cluster->places, registration->shard % CLUSTER_GROUPS);
    registration->has_will = will != NULL;
    registration->will = will == NULL ? NULL : message_hold(will);
    registration->len = (uint16_t)client_id.len;
    memcpy(registration->client_id, client_id.data, client_id.len);
    list_init(&registration->node);
    list_init(&registration->waiter.link);
    map_insert(&all->by_number, registration->number, registration);
    set_state(registration, kind == REGISTER_NEW ? REGISTRATION_ASKS : REGISTRATION_HELD);
    if (home->place == CLUSTER_HERE)
        settle_here(registration);
    else
        tell_at(registration, home->remote, registration->shard % home->workers);
    return registration;
}

bool registration_is_held(const struct registration *registration)
{
    return registration->state == REGISTRATION_HELD && registration->confirmed;
}

void registration_end(struct registration *registration, enum cluster_will will)
{
    registration->holder = NULL;
    if (!registration->has_will) {
        say(registration, LINK_UNREGISTER, UNREGISTER_ONLY);
        registration_free(registration);
        return;
    }
    set_state(registration, will == CLUSTER_WILL_DUE ? REGISTRATION_DUE : REGISTRATION_VOID);
    if (registration->is_here)
        settle_here(registration);
    else
        tell(registration);
}

/* ---- frames and links --------------------------------------------------------------------------
 */

/* Somebody else waits for the client id. A home that was thought to be none, and is asked for no
 * longer, has to hear all the same that its client has gone, or it would wait for ever. */
static void take_drop(struct tunnel_out *out, struct registration *registration,
                      const struct registration_frame *said)
{
    bool is_its_home = registration != NULL && registration->out == out;
    uint8_t body[REGISTRATION_MAX];
    size_t len = registration_write(said->number, said->client_id, body);
    if (registration != NULL)
        drop(registration, true); /* may free it */
    if (!is_its_home)
        link_send(&out->link, LINK_UNREGISTER, UNREGISTER_ONLY, bytes_of(body, len));
}

bool registration_edge_frame(struct tunnel_out *out, const struct link_frame *frame)
{
    struct registration_frame said;
    if (!registration_read(frame->body, &said))
        return false;
    struct registration *registration =
        map_find(&out->tunnels->registrations->by_number, said.number, has_number, &said.number);
    if (frame->kind == LINK_DROP) {
        take_drop(out, registration, &said);
        return true;
    }
    if (registration != NULL && registration->out != out)
        registration = NULL; /* it has another home since then */
    switch (frame->kind) {
    case LINK_REGISTERED:
        if (registration == NULL)
            return true;
        registration->lost_ms = 0;
        if (registration->state == REGISTRATION_ASKS)
            be_held(registration);
        else if (registration->state == REGISTRATION_HELD)
            be_known(registration);
        return true;
    case LINK_UNREGISTERED:
        if (registration != NULL && registration->holder == NULL)
            registration_free(registration);
        return true;
    default:
        return false;
    }
}

void registrations_out_open(struct tunnel_out *out)
{
    LIST_FOR_EACH (node, &out->registrations)
        tell(CONTAINER_OF(node, struct registration, node));
}

void registrations_out_lost(struct tunnel_out *out)
{
    LIST_FOR_EACH_SAFE (node, &out->registrations)
        unlink_it(CONTAINER_OF(node, struct registration, node));
}

/* ---- homes that change -------------------------------------------------------------------------
 */

/* Its epoch is that of the home, or older. */
static struct cluster_home home_of(const struct registration *registration, uint64_t *epoch)
{
    const struct tunnels *tunnels = registration->all->tunnels;
    const struct cluster *cluster = tunnels->owner;
    *epoch = places_epoch(&cluster->places, registration->shard % CLUSTER_GROUPS);
    return cluster_home_of(cluster, registration->shard);
}

uint32_t registration_lease_ms(const struct cluster *cluster)
{
    uint32_t asked_ms = cluster->options->edge_lease_ms;
    return asked_ms != 0 ? asked_ms : REGISTRATION_LEASE_MS;
}

uint32_t registered_lease_ms(const struct cluster *cluster)
{
    return 2 * registration_lease_ms(cluster);
}

static bool is_vacant(const struct registration *registration)
{
    const struct tunnels *tunnels = registration->all->tunnels;
    const struct cluster *cluster = tunnels->owner;
    return cluster->homes != NULL &&
           homes_is_vacant(cluster->homes, registration->shard % CLUSTER_GROUPS,
                           tunnels->is.loop->now_ms);
}

/* How long it is kept without a home. One that this node does not hear cannot be told that it has
 * it, and waits no longer than MEMBER_SERVES_MS (gather.c). */
static uint32_t patience_ms(const struct registration *registration)
{
    const struct cluster *cluster = registration->all->tunnels->owner;
    bool is_lost =
        cluster_is_cut_off(cluster) || cluster_is_out_of_reach(cluster, registration->shard);
    return is_lost ? 0 : registration_lease_ms(cluster);
}

/* Nobody can let another one in meanwhile, or that is to be put up with. */
static bool stays(const struct registration *registration)
{
    const struct cluster *cluster = registration->all->tunnels->owner;
    return is_vacant(registration) ||
           (cluster->options->serves_cut_off && cluster_is_cut_off(cluster));
}

/* For one that no link holds: asks the home that there is now. */
static void link_again(struct registration *registration)
{
    struct registrations *all = registration->all;
    uint64_t now_ms = all->tunnels->is.loop->now_ms;
    struct cluster_home home = home_of(registration, &registration->epoch);
    list_remove(&registration->node);
    list_add_last(&all->unlinked, &registration->node);
    bool waits = home.place == CLUSTER_NOWHERE && registration->lost_ms != 0 && stays(registration);
    if (waits)
        registration->lost_ms = now_ms;
    if (home.place == CLUSTER_HERE)
        settle_here(registration);
    else if (!waits && registration->lost_ms != 0 && registration->holder != NULL &&
             now_ms - registration->lost_ms >= patience_ms(registration))
        drop(registration, false);
    else if (home.place == CLUSTER_AWAY && (!registration->dropped || registration->holder == NULL))
        tell_at(registration, home.remote, registration->shard % home.workers);
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

static void unlink_if_moved(struct registration *registration)
{
    const struct tunnel_out *out = registration->out;
    uint64_t epoch;
    struct cluster_home home = home_of(registration, &epoch);
    bool same = out == NULL ? home.place == CLUSTER_HERE
                            : home.place == CLUSTER_AWAY && home.remote == out->remote;
    if (same && epoch == registration->epoch)
        return;
    /* It may be its home still when nobody is heard to be: it would let another one in. */
    if (!same && home.place != CLUSTER_NOWHERE)
        say(registration, LINK_UNREGISTER, UNREGISTER_ONLY);
    unlink_it(registration);
}

void registrations_homes_changed(struct registrations *registrations)
{
    struct tunnels *tunnels = registrations->tunnels;
    const struct cluster *cluster = tunnels->owner;
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++) {
        registrations->groups[group].epoch = 0;
        registrations->groups[group].next_epoch = places_epoch(&cluster->places, group);
    }
    LIST_FOR_EACH (out_node, &tunnels->outs) {
        struct tunnel_out *out = CONTAINER_OF(out_node, struct tunnel_out, node);
        LIST_FOR_EACH_SAFE (node, &out->registrations)
            unlink_if_moved(CONTAINER_OF(node, struct registration, node));
    }
    LIST_FOR_EACH_SAFE (node, &registrations->here)
        unlink_if_moved(CONTAINER_OF(node, struct registration, node));
    registrations_forget_unserved(registrations);
    if (registrations_look_at_unlinked(registrations))
        registrations_watch(registrations);
}

void registrations_all_said(struct registrations *registrations)
{
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++) {
        registrations->groups[group].epoch = registrations->groups[group].next_epoch;
        look_whether_told(registrations, &registrations->groups[group]);
    }
}

void registrations_close_edge(struct registrations *registrations)
{
    struct list *lists[] = {&registrations->unlinked, &registrations->here};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        LIST_FOR_EACH_SAFE (node, lists[i]) {
            struct registration *registration = CONTAINER_OF(node, struct registration, node);
            list_remove(&registration->waiter.link);
            if (registration->holder == NULL)
                registration_free(registration);
        }
    }
}
