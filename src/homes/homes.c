/* SPDX-License-Identifier: Apache-2.0 */
/* The homes thread, and what other threads call: they post mail, and read what is published. */
#include "homes/homes.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "homes/inside.h"

#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static const char *const phase_names[] = {
    [HOMES_ALONE] = "not_initialised", [HOMES_GATHERING] = "gathering",
    [HOMES_FOUNDING] = "founding",     [HOMES_JOINING] = "joining",
    [HOMES_RUNNING] = "running",       [HOMES_LOST] = "lost",
    [HOMES_REMOVED] = "removed",       [HOMES_ENDING] = "ending",
    [HOMES_ENDED] = "ended",
};

const char *homes_phase_name(enum homes_phase phase)
{
    return phase_names[phase];
}

/* ---- mail --------------------------------------------------------------------------------------
 */

/* News, or who is here. */
struct peers_mail {
    struct homes_mail mail;
    char node[HOMES_NAME_MAX];
    struct homes_news news;
    char address[HOMES_ADDRESS_MAX];
    bool all_here;
    uint32_t count, gone; /* of `here`: all, and the last of them, which are not */
    char here[][HOMES_NAME_MAX];
};

void homes_post(struct homes *homes, const struct homes_mail *what)
{
    struct homes_mail *mail = NEW(struct homes_mail);
    *mail = *what;
    mailbox_post(&homes->mailbox, &mail->letter);
}

static bool open_all(struct homes *homes)
{
    struct letter *letter = mailbox_take_all(&homes->mailbox);
    bool any = letter != NULL;

    while (letter != NULL) {
        struct homes_mail *mail = CONTAINER_OF(letter, struct homes_mail, letter);
        letter = letter->next;
        mail->open(homes, mail, clock_ms());
        mem_free(mail);
    }
    return any;
}

static void wake(void *owner)
{
    const struct homes *homes = owner;
    (void)!write(homes->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

/* ---- groups ------------------------------------------------------------------------------------
 */

static void open_append(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    group_append(&homes->groups[mail->group], mail->epoch, mail->batch, now_ms);
}

enum rc homes_append(struct homes *homes, uint32_t group, uint64_t epoch, struct bytes batch)
{
    CHECK(group < HOMES_GROUPS && batch.len > 0);
    if (batch.len > CHANGELOG_BATCH_MAX)
        return RC_FULL;
    homes_post(homes, &(struct homes_mail){
                          .open = open_append, .group = group, .epoch = epoch, .batch = batch});
    return RC_OK;
}

static void open_serving(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    group_serving(&homes->groups[mail->group], mail->epoch, now_ms);
}

void homes_serving(struct homes *homes, uint32_t group, uint64_t epoch)
{
    CHECK(group < HOMES_GROUPS);
    homes_post(homes, &(struct homes_mail){.open = open_serving, .group = group, .epoch = epoch});
}

static void open_closed(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    group_closed(&homes->groups[mail->group], mail->epoch, now_ms);
}

void homes_closed(struct homes *homes, uint32_t group, uint64_t epoch)
{
    CHECK(group < HOMES_GROUPS);
    homes_post(homes, &(struct homes_mail){.open = open_closed, .group = group, .epoch = epoch});
}

static void open_flushed(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    (void)now_ms;
    group_flushed(&homes->groups[mail->group], &mail->position);
}

void homes_flushed(struct homes *homes, uint32_t group, const struct changelog_position *position)
{
    CHECK(group < HOMES_GROUPS);
    homes_post(homes,
               &(struct homes_mail){.open = open_flushed, .group = group, .position = *position});
}

static void open_position(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    (void)now_ms;
    group_place(&homes->groups[mail->group], &mail->position);
}

void homes_position_set(struct homes *homes, uint32_t group,
                        const struct changelog_position *position)
{
    CHECK(group < HOMES_GROUPS);
    homes_post(homes,
               &(struct homes_mail){.open = open_position, .group = group, .position = *position});
}

void homes_lacks(struct homes *homes, uint32_t group)
{
    CHECK(group < HOMES_GROUPS && !homes->started);
    group_lacks(&homes->groups[group]);
}

static void open_copying(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    (void)now_ms;
    group_copying(&homes->groups[mail->group], &mail->position);
}

static void open_not_copying(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    (void)now_ms;
    group_copying(&homes->groups[mail->group], NULL);
}

void homes_copying(struct homes *homes, uint32_t group, const struct changelog_position *position)
{
    CHECK(group < HOMES_GROUPS);
    struct homes_mail mail = {.open = open_not_copying, .group = group};
    if (position != NULL) {
        mail.open = open_copying;
        mail.position = *position;
    }
    homes_post(homes, &mail);
}

struct home homes_of(const struct homes *homes, uint32_t group)
{
    CHECK(group < HOMES_GROUPS);
    return group_home(&homes->groups[group]);
}

const char *homes_node_name(const struct homes *homes, uint16_t node)
{
    /* partner: peer_get() */
    if (node >= atomic_load_explicit(&homes->peer_count, memory_order_acquire))
        return NULL;
    return atomic_load_explicit(&homes->peers[node], memory_order_relaxed)->node;
}

bool homes_lease_fresh(const struct homes *homes, uint32_t group, uint64_t now_ms)
{
    return homes_of(homes, group).place == HOME_HERE &&
           changelog_lease_fresh(&homes->groups[group].log, now_ms);
}

/* ---- other nodes -------------------------------------------------------------------------------
 */

/* How far the log is known to be. Who only reads up to there shows no home that acts. */
static uint64_t known_sequence(const struct homes *homes, uint32_t group)
{
    uint64_t known = homes->groups[group].log.chain.at.sequence;
    uint64_t heard = peers_furthest(homes, group);
    return heard > known ? heard : known;
}

static void open_news(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    const struct peers_mail *told = CONTAINER_OF(mail, struct peers_mail, mail);
    struct peer *peer = peer_get(homes, told->node);

    if (peer == NULL)
        return;
    pthread_mutex_lock(&homes->lock);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        if (told->news.groups[i].sequence > known_sequence(homes, i))
            homes->groups[i].moved_ms = now_ms;
    peer->news = told->news;
    peer->heard = true;
    pthread_mutex_unlock(&homes->lock);
    removal_heard(homes, peer, told->address);
    if (peer->removed)
        return;
    founding_heard(homes, peer);
    replace_heard(homes, peer);
    orders_heard(homes, peer, now_ms);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        if (homes->groups[i].attached)
            changelog_hint(&homes->groups[i].log, peer->news.groups[i].sequence, now_ms);
}

uint64_t homes_sequence(const struct homes *homes, uint32_t group)
{
    return atomic_load_explicit(&homes->groups[group].committed, memory_order_acquire);
}

bool homes_is_vacant(const struct homes *homes, uint32_t group, uint64_t now_ms)
{
    return now_ms < atomic_load_explicit(&homes->groups[group].vacant_ms, memory_order_acquire);
}

bool homes_is_cut_off(const struct homes *homes)
{
    /* relaxed: nothing is read after it that it would vouch for */
    return atomic_load_explicit(&homes->cut_off, memory_order_relaxed);
}

bool homes_is_spread(const struct homes *homes, uint32_t group, uint64_t sequence)
{
    return atomic_load_explicit(&homes->groups[group].spread, memory_order_acquire) >= sequence;
}

void homes_heard(struct homes *homes, const char *node, const char *address,
                 const struct homes_news *news)
{
    struct peers_mail *mail = NEW(struct peers_mail);

    mail->mail.open = open_news;
    snprintf(mail->node, sizeof(mail->node), "%s", node);
    snprintf(mail->address, sizeof(mail->address), "%s", address);
    mail->news = *news;
    mailbox_post(&homes->mailbox, &mail->mail.letter);
}

/* Where it stands; count: nowhere. */
static uint32_t place_among(const struct peers_mail *told, const char *node)
{
    uint32_t i = 0;

    while (i < told->count && strcmp(told->here[i], node) != 0)
        i++;
    return i;
}

static void open_members(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    const struct peers_mail *told = CONTAINER_OF(mail, struct peers_mail, mail);

    homes->all_here = told->all_here;
    for (uint32_t i = 0; i < told->count - told->gone; i++)
        (void)peer_get(homes, told->here[i]);
    pthread_mutex_lock(&homes->lock); /* homes_news_of() reads whether it was heard */
    uint32_t count = atomic_load_explicit(&homes->peer_count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        struct peer *peer = atomic_load_explicit(&homes->peers[i], memory_order_relaxed);
        uint32_t place = place_among(told, peer->node);
        bool here = place < told->count - told->gone;
        peer_seen(peer, here, !here && place < told->count, now_ms);
    }
    pthread_mutex_unlock(&homes->lock);
}

void homes_members(struct homes *homes, const char *const *nodes, uint32_t count, uint32_t gone,
                   bool all_here)
{
    count += gone;
    struct peers_mail *mail = mem_new(sizeof(*mail) + count * sizeof(mail->here[0]));

    mail->mail.open = open_members;
    mail->all_here = all_here;
    mail->count = count;
    mail->gone = gone;
    for (uint32_t i = 0; i < count; i++)
        snprintf(mail->here[i], sizeof(mail->here[i]), "%s", nodes[i]);
    mailbox_post(&homes->mailbox, &mail->mail.letter);
}

uint32_t homes_behind(const struct homes *homes)
{
    return atomic_load_explicit(&homes->behind, memory_order_relaxed);
}

void homes_news(struct homes *homes, struct homes_news *news)
{
    pthread_mutex_lock(&homes->lock);
    *news = homes->news;
    pthread_mutex_unlock(&homes->lock);
}

bool homes_news_of(struct homes *homes, const char *node, struct homes_news *news)
{
    const struct peer *peer = NULL;
    uint32_t count = atomic_load_explicit(&homes->peer_count, memory_order_acquire);

    pthread_mutex_lock(&homes->lock);
    for (uint32_t i = 0; i < count && peer == NULL; i++) {
        peer = atomic_load_explicit(&homes->peers[i], memory_order_relaxed);
        if (strcmp(peer->node, node) != 0)
            peer = NULL;
    }
    bool heard = peer != NULL && peer->heard;
    if (heard)
        *news = peer->news;
    pthread_mutex_unlock(&homes->lock);
    return heard;
}

/* ---- what is told ------------------------------------------------------------------------------
 */

static enum homes_engine engine_now(const struct homes *homes)
{
    bool runs = homes->connected && !engine_is_behind(homes, homes->now_ms);
    if (runs && homes->replaces && !homes->cold)
        return HOMES_ENGINE_JOINS;
    if (runs)
        return homes->cold ? HOMES_ENGINE_KEPT : HOMES_ENGINE_UP;
    return engine_is_unclean(homes) ? HOMES_ENGINE_UNCLEAN : HOMES_ENGINE_OFF;
}

static void make_news(const struct homes *homes, struct homes_news *news)
{
    *news = (struct homes_news){.founded = homes->mark.founded && !growing_is_one(homes),
                                .holds = homes->holds,
                                .standby = homes->options.standby,
                                .drained = homes_drained(homes),
                                .rebalance = homes->rebalance,
                                .instance = homes->mark.instance,
                                .engine = (uint8_t)engine_now(homes),
                                .weight = (uint16_t)homes->options.weight,
                                .workers = (uint16_t)homes->options.workers};
    memcpy(news->id, homes->mark.id, sizeof(news->id));
    memcpy(news->server, homes->server, sizeof(news->server));
    removal_left(homes, news->left);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        group_news(&homes->groups[i], &news->groups[i]);
}

static void make_status(const struct homes *homes, struct homes_status *status)
{
    *status = (struct homes_status){.phase = homes->phase,
                                    .founded = homes->mark.founded,
                                    .drained = homes_drained(homes),
                                    .managed = homes->options.program != NULL,
                                    .connected = homes->connected,
                                    .rests = homes->process.rests ||
                                             homes->process.state == MANAGED_RESTS,
                                    .engine_pid = homes->process.pid,
                                    .engine_starts = homes->process.starts};
    memcpy(status->id, homes->mark.id, sizeof(status->id));
    memcpy(status->why, homes->why, sizeof(status->why));
    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        group_status(&homes->groups[i], &status->groups[i]);
        observe_status(&homes->groups[i], &status->groups[i]);
    }
}

static void count_all(struct homes *homes)
{
    struct metrics_shard *metrics = homes->options.metrics;

    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        group_count(&homes->groups[i], metrics);
    observe_count(homes);
    if (homes->connected_counted && !homes->connected)
        metric_inc(metrics, METRIC_ENGINE_DISCONNECTS);
    metric_add(metrics, METRIC_ENGINE_CONNECTED,
               (uint64_t)homes->connected - homes->connected_counted);
    homes->connected_counted = homes->connected;
    metric_add(metrics, METRIC_ENGINE_STARTS, homes->process.starts - homes->starts_counted);
    homes->starts_counted = homes->process.starts;
}

void homes_publish(struct homes *homes, bool hurry)
{
    struct homes_news news;
    struct homes_status status;
    bool changed = false;

    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        changed |= group_publish(&homes->groups[i]);
    make_news(homes, &news);
    make_status(homes, &status);
    pthread_mutex_lock(&homes->lock);
    homes->news = news;
    homes->status = status;
    pthread_cond_broadcast(&homes->told_more);
    pthread_mutex_unlock(&homes->lock);
    count_all(homes);
    if (peers_note_spread(homes))
        homes->options.ops->spread(homes->options.owner);
    if (changed || hurry)
        homes->options.ops->changed(homes->options.owner);
}

void homes_hurry(struct homes *homes)
{
    atomic_store_explicit(&homes->hurry, true, memory_order_release);
    (void)!write(homes->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

void homes_status(struct homes *homes, struct homes_status *status)
{
    pthread_mutex_lock(&homes->lock);
    *status = homes->status;
    pthread_mutex_unlock(&homes->lock);
}

/* ---- init --------------------------------------------------------------------------------------
 */

static void open_init(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    (void)mail;
    (void)now_ms;
    founding_begin(homes);
}

void homes_wait(struct homes *homes)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    (void)pthread_cond_timedwait(&homes->told_more, &homes->lock, &until);
}

enum rc homes_init(struct homes *homes, uint64_t timeout_ms, char why[HOMES_WHY_MAX])
{
    uint64_t until_ms = clock_ms() + timeout_ms;
    enum rc rc = RC_AGAIN;

    pthread_mutex_lock(&homes->lock);
    uint32_t refusals = homes->refusals;
    if (homes->status.founded) {
        snprintf(why, HOMES_WHY_MAX,
                 "It has been done: this node belongs to the cluster with id %s.", homes->news.id);
        rc = RC_EXISTS;
    } else if (homes->news.id[0] == '\0' && seed_refuses(homes, why)) {
        rc = RC_REFUSED;
    } else {
        homes_post(homes, &(struct homes_mail){.open = open_init});
    }
    while (rc == RC_AGAIN && !homes->leaving && clock_ms() < until_ms) {
        if (homes->status.founded && homes->status.phase == HOMES_RUNNING)
            rc = RC_OK;
        else if (homes->refusals != refusals)
            rc = RC_REFUSED;
        else
            homes_wait(homes);
        if (rc == RC_REFUSED)
            memcpy(why, homes->refusal, sizeof(homes->refusal));
    }
    if (rc == RC_AGAIN)
        snprintf(why, HOMES_WHY_MAX, "Not done yet, it goes on by itself: %.250s.",
                 homes->status.why[0] != '\0' ? homes->status.why : "nothing is known to be wrong");
    pthread_mutex_unlock(&homes->lock);
    return rc;
}

/* ---- the thread --------------------------------------------------------------------------------
 */

static uint64_t deadline_of(const struct homes *homes, uint64_t now_ms)
{
    uint64_t deadline_ms = now_ms + HOMES_TURN_MS;

    if (homes->phase != HOMES_RUNNING && homes->phase != HOMES_ENDING)
        return homes->phase == HOMES_ALONE ? now_ms + 1000 : deadline_ms;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        if (group_deadline_ms(&homes->groups[i]) < deadline_ms)
            deadline_ms = group_deadline_ms(&homes->groups[i]);
    return deadline_ms;
}

/* Groups that this node is home of still; true: none, or it has lasted long enough. */
static bool leave(struct homes *homes, uint64_t now_ms)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        left += group_leave(&homes->groups[i], now_ms);
    if (left > 0 && now_ms >= homes->leave_ms + HOMES_STOP_MS)
        LOG(LOG_WARN, "homes.not_all_released", log_uint("groups", left),
            log_uint("waited_ms", HOMES_STOP_MS));
    return left == 0 || now_ms >= homes->leave_ms + HOMES_STOP_MS;
}

static void open_leave(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    (void)mail;
    if (homes->leave_ms == 0)
        homes->leave_ms = now_ms;
}

/* False: it is the end. */
static bool turn(struct homes *homes)
{
    homes->now_ms = clock_ms();
    bool news = open_all(homes);
    uint64_t now_ms = homes->now_ms = clock_ms();

    peers_look_whether_cut_off(homes, now_ms);
    seed_look(homes, now_ms);
    if (homes->leave_ms == 0 || homes->phase == HOMES_RUNNING)
        founding_turn(homes, now_ms);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        group_turn(&homes->groups[i], now_ms);
    bool left = homes->leave_ms != 0 && leave(homes, now_ms);
    bool hurry = atomic_exchange_explicit(&homes->hurry, false, memory_order_acquire);
    if (news || left || hurry || now_ms >= homes->tell_ms) {
        homes->tell_ms = now_ms + HOMES_TURN_MS;
        homes_publish(homes, hurry);
    }
    return !left;
}

static void *run(void *arg)
{
    struct homes *homes = arg;
    struct pollfd woken = {.fd = homes->wake_fd, .events = POLLIN};
    uint64_t count;

    homes_publish(homes, false);
    while (turn(homes)) {
        uint64_t now_ms = clock_ms(), deadline_ms = deadline_of(homes, now_ms);
        if (poll(&woken, 1, deadline_ms > now_ms ? (int)(deadline_ms - now_ms) : 0) > 0)
            (void)!read(homes->wake_fd, &count, sizeof(count));
    }
    homes_enter(homes, HOMES_ENDING);
    groups_close(homes);
    homes->connected = false;
    engine_stop(homes);
    homes_enter(homes, HOMES_ENDED);
    homes_publish(homes, false);
    return NULL;
}

struct homes *homes_new(const struct homes_options *options)
{
    struct homes *homes = NEW(struct homes);

    homes->options = *options;
    if (options->keep == 0)
        homes->options.keep = JUDGE_KEEP;
    snprintf(homes->cluster, sizeof(homes->cluster), "%s", options->cluster);
    snprintf(homes->node, sizeof(homes->node), "%s", options->node);
    snprintf(homes->data_dir, sizeof(homes->data_dir), "%s", options->data_dir);
    homes->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(homes->wake_fd >= 0);
    mailbox_init(&homes->mailbox, wake, homes);
    pthread_mutex_init(&homes->lock, NULL);
    pthread_cond_init(&homes->told_more, NULL);
    homes->ranked = mem_new(HOMES_NODES_MAX * sizeof(*homes->ranked));
    homes->unranked = mem_new(HOMES_NODES_MAX * sizeof(*homes->unranked));
    homes->members = mem_new(HOMES_NODES_MAX * sizeof(*homes->members));
    homes->order = mem_new(HOMES_NODES_MAX * sizeof(*homes->order));
    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        homes->groups[i].homes = homes;
        homes->groups[i].log.group = i;
    }
    return homes;
}

enum rc homes_start(struct homes *homes, char why[HOMES_WHY_MAX])
{
    enum rc rc = founding_start(homes, why);

    if (rc != RC_OK)
        return rc;
    removal_start(homes);
    orders_start(homes);
    homes->most_ms = homes->looked_ms = clock_ms();
    bool drained = homes_drained(homes);
    pthread_mutex_lock(&homes->lock);
    homes->status.phase = homes->phase; /* for who asks before its first turn */
    homes->status.drained = drained;
    pthread_mutex_unlock(&homes->lock);
    if (pthread_create(&homes->thread, NULL, run, homes) != 0) {
        snprintf(why, HOMES_WHY_MAX, "a thread could not be started");
        return RC_IO;
    }
    pthread_setname_np(homes->thread, "homes");
    homes->started = true;
    return RC_OK;
}

bool homes_ends(struct homes *homes)
{
    pthread_mutex_lock(&homes->lock);
    bool ends = homes->leaving;
    pthread_mutex_unlock(&homes->lock);
    return ends;
}

void homes_leave(struct homes *homes)
{
    pthread_mutex_lock(&homes->lock);
    homes->leaving = true;
    pthread_cond_broadcast(&homes->told_more);
    pthread_mutex_unlock(&homes->lock);
    homes_post(homes, &(struct homes_mail){.open = open_leave});
}

void homes_stop(struct homes *homes)
{
    if (!homes->started)
        return;
    homes_leave(homes);
    pthread_join(homes->thread, NULL);
    homes->started = false;
}

void homes_free(struct homes *homes)
{
    if (homes == NULL)
        return;
    struct letter *letter = mailbox_take_all(&homes->mailbox);
    while (letter != NULL) {
        struct homes_mail *mail = CONTAINER_OF(letter, struct homes_mail, letter);
        letter = letter->next;
        mem_free(mail);
    }
    peers_free(homes);
    known_free(&homes->known);
    known_free(&homes->removed);
    mem_free(homes->ranked);
    mem_free(homes->unranked);
    mem_free(homes->members);
    mem_free(homes->order);
    pthread_cond_destroy(&homes->told_more);
    pthread_mutex_destroy(&homes->lock);
    close(homes->wake_fd);
    explicit_bzero(&homes->options, sizeof(homes->options));
    mem_free(homes);
}
