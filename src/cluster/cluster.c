/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/cluster.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "cluster/dial.h"
#include "cluster/inside.h"
#include "cluster/registration.h"
#include "metrics/metrics.h"

#include <sys/random.h>
#include <unistd.h>

/* ---- the thread --------------------------------------------------------------------------------
 */

void control_post(struct cluster *cluster, const struct control_mail *what)
{
    struct control_mail *mail = NEW(struct control_mail);
    *mail = *what;
    mail->cluster = cluster;
    mailbox_post(&cluster->mailbox, &mail->letter);
}

static void open_mail(struct cluster *cluster)
{
    struct letter *letter = mailbox_take_all(&cluster->mailbox);
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct control_mail *mail = CONTAINER_OF(letter, struct control_mail, letter);
        mail->open(mail);
        mem_free(mail);
        letter = next;
    }
}

/* Workers have ended: what it would tell them nobody would open. */
static void drop_mail(struct cluster *cluster)
{
    struct letter *letter = mailbox_take_all(&cluster->mailbox);
    while (letter != NULL) {
        struct letter *next = letter->next;
        mem_free(CONTAINER_OF(letter, struct control_mail, letter));
        letter = next;
    }
}

static void take_interest(struct cluster *cluster, const struct interest *interest)
{
    enum interest_level level = interest->level;
    struct route_key key = {bytes_of(interest->filter, interest->len), interest->shard};
    struct own_route *route = own_routes_find(&cluster->own_routes, &key);
    if (level == INTEREST_NONE && route != NULL) {
        tell_forget(cluster, route);
        own_routes_remove(&cluster->own_routes, route);
    } else if (level != INTEREST_NONE) {
        if (route == NULL)
            route = own_routes_add(&cluster->own_routes, &key);
        route->level = level;
    }
    tell_change(cluster, &key, level);
}

/* What this node's clients have begun or ceased to want. */
static void take_interests(struct cluster *cluster)
{
    uint64_t count;
    struct interest *interest = router_take_interests(cluster->router, &count);
    if (interest == NULL)
        return;
    tell_moves(cluster);
    while (interest != NULL) {
        struct interest *next = interest->next;
        take_interest(cluster, interest);
        mem_free(interest);
        interest = next;
    }
    cluster->interests = count;
    tell_mark(cluster);
    members_settle(cluster);
}

static void say_news(struct cluster *cluster)
{
    struct homes_news before;
    if (cluster->homes == NULL)
        return;
    own_news(cluster, &before);
    take_interests(cluster);
    tell_news(cluster, &before);
}

static bool turn(void *owner)
{
    struct cluster *cluster = owner;
    open_mail(cluster);
    take_interests(cluster);
    if (cluster->stopping && greeter_idle(&cluster->greeter))
        loop_stop(&cluster->loop);
    return false;
}

static void tick(struct loop_timer *timer)
{
    struct cluster *cluster = CONTAINER_OF(timer, struct cluster, tick);
    uint64_t now_ms = cluster->loop.now_ms;
    loop_timer_start(&cluster->loop, timer, now_ms + TICK_MS);
    if (cluster->stopping)
        return;
    stall_look(cluster);
    if (now_ms - cluster->heartbeat_ms >= HEARTBEAT_MS) {
        cluster->heartbeat_ms = now_ms;
        tell_heartbeat(cluster);
        say_news(cluster);
        tell_gathered(cluster);
    }
    members_watch(cluster);
    members_tell(cluster);
    members_tell_homes(cluster);
    members_dial(cluster);
    dial_look_at_homes(cluster);
    gather_look(cluster);
}

static void close_all(void *owner)
{
    struct cluster *cluster = owner;
    LIST_FOR_EACH (link, &cluster->members)
        talk_close(CONTAINER_OF(link, struct member, link));
}

static const struct loop_ops loop_ops = {.turn = turn, .stopping = close_all};

static void *run(void *arg)
{
    struct cluster *cluster = arg;
    if (greeter_start(&cluster->greeter, &cluster->loop, cluster->listening_fd, &cluster->own,
                      &member_greeter_ops, cluster) != RC_OK)
        CHECK(!"the loop does not take the listening socket");
    loop_timer_start(&cluster->loop, &cluster->tick, cluster->loop.now_ms);
    loop_run(&cluster->loop);
    return NULL;
}

uint32_t cluster_members(struct cluster *cluster, struct cluster_member *out, uint32_t max)
{
    pthread_mutex_lock(&cluster->told_lock);
    uint32_t count = cluster->told_count;
    for (uint32_t i = 0; i < count && i < max; i++)
        out[i] = cluster->told[i];
    pthread_mutex_unlock(&cluster->told_lock);
    return count;
}

/* ---- workers -----------------------------------------------------------------------------------
 */

/* The member whose road that is; NULL: it has another one by now, or none. */
static struct member *member_of_mail(const struct control_mail *mail)
{
    LIST_FOR_EACH (link, &mail->cluster->members) {
        struct member *member = CONTAINER_OF(link, struct member, link);
        const struct member_road *road = &member->roads[mail->worker];
        if (member->remote == mail->remote)
            return road->state >= ROAD_GIVEN && road->serial == mail->serial ? member : NULL;
    }
    return NULL;
}

static void open_lost(struct control_mail *mail)
{
    struct member *member = member_of_mail(mail);
    if (member != NULL)
        member->roads[mail->worker].state = ROAD_NONE;
}

static void open_opened(struct control_mail *mail)
{
    struct member *member = member_of_mail(mail);
    if (member == NULL)
        return;
    member->roads[mail->worker].state = ROAD_OPEN;
    member_roads_changed(member);
}

static void road_lost(void *owner, uint32_t worker, uint32_t remote, uint32_t serial)
{
    control_post(owner,
                 &(struct control_mail){
                     .open = open_lost, .worker = worker, .remote = remote, .serial = serial});
}

static void road_opened(void *owner, uint32_t worker, uint32_t remote, uint32_t serial)
{
    control_post(owner,
                 &(struct control_mail){
                     .open = open_opened, .worker = worker, .remote = remote, .serial = serial});
}

static const struct roads_ops roads_ops = {.opened = road_opened, .lost = road_lost};

struct delivery_remote *cluster_remote(struct cluster *cluster, uint32_t worker)
{
    return roads_remote(cluster->roads[worker]);
}

void cluster_join_worker(struct cluster *cluster, uint32_t worker, const struct cluster_worker *is)
{
    cluster->workers[worker] = *is;
    roads_join(cluster->roads[worker], is);
    tunnels_join(cluster->tunnels[worker], is);
}

void cluster_leave_worker(struct cluster *cluster, uint32_t worker)
{
    tunnels_close(cluster->tunnels[worker]);
    roads_close(cluster->roads[worker]);
}

/* ---- homes -------------------------------------------------------------------------------------
 */

void cluster_set_homes(struct cluster *cluster, struct homes *homes)
{
    cluster->homes = homes;
}

uint64_t cluster_incarnation(const struct cluster *cluster)
{
    return cluster->own.incarnation;
}

static void open_news(struct control_mail *mail)
{
    say_news(mail->cluster);
}

void cluster_news_changed(struct cluster *cluster)
{
    control_post(cluster, &(struct control_mail){.open = open_news});
}

/* ---- homes of sessions -------------------------------------------------------------------------
 */

static void open_places(struct control_mail *mail)
{
    dial_look_at_homes(mail->cluster);
}

struct cluster_home cluster_home_of(const struct cluster *cluster, uint32_t shard)
{
    return places_get(&cluster->places, shard % CLUSTER_GROUPS);
}

bool cluster_has_gathered(const struct cluster *cluster, uint32_t worker, uint32_t shard)
{
    uint32_t group = shard % CLUSTER_GROUPS;
    if (!delivery_has_homes(cluster->workers[worker].hub))
        return true;
    uint64_t epoch = places_epoch(&cluster->places, group);
    return epoch != 0 &&
           atomic_load_explicit(&cluster->places.gathered[group], memory_order_acquire) == epoch;
}

void cluster_tell_view(struct cluster *cluster, uint32_t worker)
{
    roads_tell_view(cluster->roads[worker]);
}

void cluster_hurry(struct cluster *cluster)
{
    if (cluster->homes != NULL)
        homes_hurry(cluster->homes);
}

void cluster_set_behind(struct cluster *cluster, uint32_t groups)
{
    for (uint32_t i = 0; i < cluster->worker_count; i++) {
        struct delivery_remote *remote = roads_remote(cluster->roads[i]);
        uint32_t was = atomic_exchange_explicit(&remote->behind, groups, memory_order_relaxed);
        if (was != 0 && groups == 0)
            tunnels_post_homes_changed(cluster->tunnels[i]);
    }
}

bool cluster_is_cut_off(const struct cluster *cluster)
{
    return cluster->homes != NULL && homes_is_cut_off(cluster->homes);
}

bool cluster_is_out_of_reach(const struct cluster *cluster, uint32_t shard)
{
    /* Relaxed: whoever hears of a change otherwise (homes_changed()) does so by mail. */
    return atomic_load_explicit(&cluster->places.out_of_reach, memory_order_relaxed) >>
               shard % CLUSTER_GROUPS &
           1;
}

bool cluster_may_act(const struct cluster *cluster, uint32_t shard)
{
    return cluster->homes == NULL || places_epoch(&cluster->places, shard % CLUSTER_GROUPS) == 0 ||
           homes_lease_fresh(cluster->homes, shard % CLUSTER_GROUPS, clock_ms());
}

uint64_t cluster_sequence(const struct cluster *cluster, uint32_t shard)
{
    return cluster->homes == NULL ? 0 : homes_sequence(cluster->homes, shard % CLUSTER_GROUPS);
}

bool cluster_is_spread(const struct cluster *cluster, uint32_t shard, uint64_t sequence)
{
    return cluster->homes == NULL ||
           homes_is_spread(cluster->homes, shard % CLUSTER_GROUPS, sequence);
}

void cluster_set_home(struct cluster *cluster, uint32_t group, const char *node, uint64_t epoch)
{
    if (places_set(cluster, group, node, epoch))
        control_post(cluster, &(struct control_mail){.open = open_places});
}

void cluster_tunnel(struct cluster *cluster, uint32_t worker, const struct cluster_home *home,
                    int fd, const struct cluster_client *client, struct stream_filter *filter,
                    uint8_t *unread, size_t unread_len)
{
    uint32_t shard = client->hash % cluster->workers[worker].hub->sessions->shard_count;
    tunnels_client(cluster->tunnels[worker], home->remote, shard % home->workers, fd, client,
                   filter, unread, unread_len);
}

struct registration *cluster_register(struct cluster *cluster, uint32_t worker,
                                      const struct cluster_home *home, struct bytes client_id,
                                      void *holder, enum register_kind kind, struct message *will)
{
    return registration_new(cluster->tunnels[worker], home, client_id, holder, kind, will);
}

bool cluster_is_registered(const struct registration *registration)
{
    return registration_is_held(registration);
}

void cluster_unregister(struct registration *registration, enum cluster_will will)
{
    registration_end(registration, will);
}

bool cluster_vacate(struct cluster *cluster, uint32_t worker, struct bytes client_id, void *holder)
{
    return registrations_vacate(cluster->tunnels[worker]->registrations, client_id, holder);
}

void cluster_forget(struct cluster *cluster, uint32_t worker, const void *holder)
{
    registrations_forget(cluster->tunnels[worker]->registrations, holder);
}

/* ---- copies ------------------------------------------------------------------------------------
 */

void cluster_set_copies(struct cluster *cluster, const struct copies_ops *ops, void *owner)
{
    cluster->copies = copies_new(ops, owner, dial_copy, cluster);
}

void cluster_copy(struct cluster *cluster, uint32_t group, const char *node)
{
    copies_want(cluster->copies, group, node);
}

void cluster_copy_written(struct cluster *cluster, uint32_t group, uint64_t token, uint32_t chunks)
{
    copies_written(cluster->copies, group, token, chunks);
}

bool cluster_copy_progress(struct cluster *cluster, uint32_t group, struct copies_progress *out)
{
    return cluster->copies != NULL && copies_progress(cluster->copies, group, out);
}

bool cluster_drain_worker(struct cluster *cluster, uint32_t worker, uint32_t max)
{
    return tunnels_drain(cluster->tunnels[worker], max);
}

/* ---- start and stop ----------------------------------------------------------------------------
 */

static void wake(void *owner)
{
    struct cluster *cluster = owner;
    loop_wake(&cluster->loop);
}

struct cluster *cluster_new(const struct cluster_options *options, struct router *router,
                            struct metrics_shard *metrics, uint32_t worker_count)
{
    struct cluster *cluster = NEW(struct cluster);
    cluster->options = options;
    cluster->own = options->identity;
    cluster->own.workers = (uint16_t)worker_count;
    CHECK(getrandom(&cluster->own.incarnation, sizeof(uint64_t), 0) == sizeof(uint64_t));
    cluster->router = router;
    cluster->metrics = metrics;
    cluster->worker_count = worker_count;
    list_init(&cluster->members);
    list_init(&cluster->targets);
    list_init(&cluster->dials);
    places_init(&cluster->places);
    own_routes_init(&cluster->own_routes);
    loop_init(&cluster->loop, &loop_ops, cluster);
    loop_timer_init(&cluster->tick, tick);
    mailbox_init(&cluster->mailbox, wake, cluster);
    pthread_mutex_init(&cluster->told_lock, NULL);
    orders_init(cluster);
    cluster->workers = mem_new(worker_count * sizeof(*cluster->workers));
    cluster->roads = mem_new(worker_count * sizeof(struct roads *));
    cluster->tunnels = mem_new(worker_count * sizeof(struct tunnels *));
    for (uint32_t i = 0; i < worker_count; i++) {
        cluster->roads[i] = roads_new(i, &roads_ops, cluster);
        cluster->tunnels[i] = tunnels_new(i, &dial_tunnels_ops, cluster);
    }
    router_watch(router, &(struct interest_watch){wake, cluster});
    return cluster;
}

enum rc cluster_start(struct cluster *cluster, int listening_fd)
{
    for (uint32_t i = 0; i < cluster->options->address_count; i++)
        target_new(cluster, &cluster->options->addresses[i])->configured = true;
    cluster->listening_fd = listening_fd;
    if (cluster->copies != NULL && copies_start(cluster->copies) != RC_OK) {
        close(listening_fd);
        return RC_IO;
    }
    if (pthread_create(&cluster->thread, NULL, run, cluster) != 0) {
        close(listening_fd);
        return RC_IO;
    }
    pthread_setname_np(cluster->thread, "cluster");
    return RC_OK;
}

static void open_stop(struct control_mail *mail)
{
    mail->cluster->stopping = true;
    greeter_stop(&mail->cluster->greeter);
    tell_goodbye(mail->cluster);
}

void cluster_stop(struct cluster *cluster)
{
    control_post(cluster, &(struct control_mail){.open = open_stop});
    pthread_join(cluster->thread, NULL);
    if (cluster->copies != NULL)
        copies_stop(cluster->copies);
    for (uint32_t i = 0; i < cluster->worker_count; i++)
        atomic_store_explicit(&roads_remote(cluster->roads[i])->settled, UINT64_MAX,
                              memory_order_release);
}

void cluster_free(struct cluster *cluster)
{
    if (cluster == NULL)
        return;
    drop_mail(cluster);
    members_free(cluster);
    own_routes_deinit(&cluster->own_routes);
    for (uint32_t i = 0; i < cluster->worker_count; i++)
        roads_free(cluster->roads[i]);
    for (uint32_t i = 0; i < cluster->worker_count; i++)
        tunnels_free(cluster->tunnels[i]);
    dial_free(cluster);
    copies_free(cluster->copies);
    places_deinit(&cluster->places);
    loop_deinit(&cluster->loop);
    pthread_mutex_destroy(&cluster->told_lock);
    orders_deinit(cluster);
    mem_free(cluster->told);
    mem_free(cluster->roads);
    mem_free(cluster->tunnels);
    mem_free(cluster->workers);
    mem_free(cluster);
}
