/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a cluster begins, and how a node finds its own again. Who initialises it draws an id, writes
 * it down, and tells it over the links; every other node takes it over and starts its engine. When
 * all that are configured say the same id, nobody can be initialising another one (of two ids the
 * smaller one wins), and the streams are made, with the id in their names. Then it is founded,
 * which the others hear and write down, too. Streams are not made again: a node whose cluster the
 * engine does not have stays LOST. But when all machines went down, and all nodes are back, their
 * stores have what the engines had not written yet, and so has the store of a cluster of one node
 * that gets more: growing.c. What the node holds that initialises it, it
 * brings along: seed.c.
 */
#include "homes/inside.h"

#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    STEP_MS = 1500,
    AGAIN_MS = 200,
    LOST_AGAIN_MS = 5000,
    MADE_MS = 30000, /* so long may it take until the engine has made what it is asked for */
};

void homes_say(struct homes *homes, const char *format, ...)
{
    char why[HOMES_WHY_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    if (strcmp(why, homes->why) == 0)
        return;
    memcpy(homes->why, why, sizeof(why));
    LOG(homes->phase == HOMES_LOST || homes->phase == HOMES_REMOVED ? LOG_ERROR : LOG_INFO,
        "homes.waits", log_text("phase", homes_phase_name(homes->phase)), log_text("for", why));
}

void homes_enter(struct homes *homes, enum homes_phase phase)
{
    if (homes->phase == phase)
        return;
    homes->phase = phase;
    homes->why[0] = '\0';
    homes->step_ms = 0;
    LOG(phase == HOMES_LOST ? LOG_ERROR : LOG_INFO, "homes.phase",
        log_text("phase", homes_phase_name(phase)), log_text("cluster", homes->mark.name),
        log_text("id", homes->mark.id));
}

/* ---- the id ------------------------------------------------------------------------------------
 */

enum rc founding_start(struct homes *homes, char why[HOMES_WHY_MAX])
{
    enum rc rc = mark_read(homes->data_dir, &homes->mark);

    if (rc == RC_INVALID)
        snprintf(why, HOMES_WHY_MAX, "the file %.200s/" MARK_FILE " is none that is known",
                 homes->data_dir);
    if (rc == RC_IO)
        snprintf(why, HOMES_WHY_MAX, "%.200s/" MARK_FILE ": %s", homes->data_dir, strerror(errno));
    if (rc != RC_OK && rc != RC_NOT_FOUND)
        return rc;
    if (rc == RC_OK && strcmp(homes->mark.name, homes->cluster) != 0) {
        snprintf(why, HOMES_WHY_MAX,
                 "the data directory %.128s belongs to cluster %s, and cluster.name is %s",
                 homes->data_dir, homes->mark.name, homes->cluster);
        return RC_INVALID;
    }
    memcpy(homes->mark.name, homes->cluster, sizeof(homes->mark.name));
    homes->marked = rc == RC_OK && homes->mark.instance != 0;
    if (homes->mark.instance == 0)
        homes->mark.instance = mark_draw_instance();
    homes->founder = rc == RC_OK && !homes->mark.founded && !homes->mark.seeding;
    homes->emptied = rc == RC_NOT_FOUND;
    if (rc == RC_OK)
        homes_enter(homes, homes->founder ? HOMES_GATHERING : HOMES_JOINING);
    if (rc == RC_OK && homes->options.program != NULL)
        engine_look(homes); /* what is told from the first moment on depends on it */
    return RC_OK;
}

static bool write_mark(struct homes *homes)
{
    if (homes->marked)
        return true;
    homes->marked = mark_write(homes->data_dir, &homes->mark) == RC_OK;
    if (!homes->marked)
        homes_say(homes, "%.200s/" MARK_FILE " cannot be written: %s", homes->data_dir,
                  strerror(errno));
    return homes->marked;
}

void founding_begin(struct homes *homes)
{
    if (homes->phase != HOMES_ALONE)
        return;
    mark_draw(homes->mark.id);
    homes->mark.founded = false;
    homes->marked = false;
    homes->founder = true;
    homes->id_holds = homes->holds;
    homes_enter(homes, HOMES_GATHERING);
}

/* It cannot go on: as if it had not begun. */
static void give_up(struct homes *homes, const char *why)
{
    if (mark_remove(homes->data_dir, MARK_FILE) != RC_OK)
        LOG(LOG_WARN, "homes.mark_left", log_text("folder", homes->data_dir));
    engine_disconnect(homes);
    homes->founder = homes->marked = homes->id_holds = homes->connected = false;
    homes->mark.id[0] = '\0';
    homes_enter(homes, HOMES_ALONE);
    homes_say(homes, "%s", why);
    pthread_mutex_lock(&homes->lock);
    snprintf(homes->refusal, sizeof(homes->refusal), "%s", why);
    homes->refusals++;
    pthread_mutex_unlock(&homes->lock);
}

/* Takes over another node's id. */
static void take_id(struct homes *homes, const struct peer *peer)
{
    if (homes->founder && mark_remove(homes->data_dir, MARK_FILE) != RC_OK)
        LOG(LOG_WARN, "homes.mark_left", log_text("folder", homes->data_dir));
    engine_disconnect(homes);
    homes->founder = homes->marked = false;
    homes->id_holds = peer->news.holds;
    memcpy(homes->mark.id, peer->news.id, sizeof(homes->mark.id));
    homes_enter(homes, HOMES_JOINING);
    LOG(LOG_INFO, "homes.id_heard", log_text("id", homes->mark.id), log_text("node", peer->node));
}

/* Of two ids that two nodes have drawn: one that is founded, else one of a node that holds
 * something, else the smaller one. */
static bool goes_before(const struct homes *homes, const struct homes_news *news)
{
    if (homes->mark.id[0] == '\0' || news->founded)
        return true;
    if (news->holds != homes->id_holds)
        return news->holds;
    return strcmp(news->id, homes->mark.id) < 0;
}

static bool takes_others_in(struct homes *homes)
{
    if (homes->options.program != NULL && homes->options.others == 0) {
        homes_say(homes, "another node is here that belongs to a cluster; this one is by itself by "
                         "its configuration: give it cluster.addresses");
        return false;
    }
    if (homes->options.ops->is_blank(homes->options.owner))
        return true;
    homes_say(homes, "%s", HOMES_NOT_BLANK);
    LOG_LIMITED(LOG_ERROR, "homes.not_blank", log_text("meaning", HOMES_NOT_BLANK));
    return false;
}

void founding_heard(struct homes *homes, const struct peer *peer)
{
    const struct homes_news *news = &peer->news;

    if (!mark_id_valid(news->id) || homes->phase >= HOMES_REMOVED)
        return;
    int order = strcmp(news->id, homes->mark.id);
    if ((homes->mark.founded || homes->mark.seeding) && order != 0) {
        LOG_LIMITED(
            LOG_ERROR, "homes.other_cluster", log_text("node", peer->node),
            log_text("its_id", news->id), log_text("id", homes->mark.id),
            log_text("meaning", "two clusters of one name; that node takes no part in ours"));
        return;
    }
    if (order != 0 && goes_before(homes, news) && takes_others_in(homes))
        take_id(homes, peer);
    if (strcmp(news->id, homes->mark.id) != 0 || homes->mark.founded || homes->mark.seeding ||
        !news->founded || !takes_others_in(homes))
        return;
    homes->mark.founded = true;
    homes->founder = homes->marked = false;
    homes_enter(homes, HOMES_JOINING);
}

/* ---- steps -------------------------------------------------------------------------------------
 */

static void say_not_connected(struct homes *homes)
{
    if (homes->process.state == MANAGED_PAUSES && homes->process.starts == 0)
        homes_say(homes, "%s cannot be started; is it installed?", homes->options.program);
    else
        homes_say(homes, "there is no connection to the engine");
}

static void gather(struct homes *homes, bool connected)
{
    uint32_t here = peers_here(homes);
    char why[HOMES_WHY_MAX];

    if (seed_refuses(homes, why)) {
        give_up(homes, why);
        return;
    }
    if (!write_mark(homes))
        return; /* so that a crash from here on is gone on from */
    if (!homes->all_here)
        homes_say(homes, "not all nodes of cluster.addresses are here: %u others are", here);
    else if (!peers_agree(homes))
        homes_say(homes, "not all nodes have heard of it");
    else if (!connected)
        say_not_connected(homes);
    else if (peers_connected(homes) < here)
        homes_say(homes, "not all engines run");
    else
        homes_enter(homes, HOMES_FOUNDING);
}

static enum rc create(struct homes *homes, const uint64_t *bases, uint32_t *replicas,
                      char error[JETSTREAM_ERROR_MAX])
{
    uint32_t nodes = peers_here(homes) + 1;
    bool few = homes->options.program != NULL && nodes < HOMES_REPLICAS; /* a server each */

    *replicas = few ? nodes : HOMES_REPLICAS;
    enum rc rc = jetstream_create(homes->jetstream, HOMES_GROUPS, *replicas, bases, STEP_MS, error);
    if (rc != RC_INVALID || homes->options.program != NULL)
        return rc; /* our own servers have only not found each other yet */
    *replicas = 1;
    return jetstream_create(homes->jetstream, HOMES_GROUPS, *replicas, bases, STEP_MS, error);
}

static void make_streams(struct homes *homes)
{
    char error[JETSTREAM_ERROR_MAX] = "";
    uint32_t nodes = peers_here(homes) + 1, replicas;

    if (create(homes, NULL, &replicas, error) != RC_OK) {
        homes_say(homes, "the engine has not made the changelogs: %s", error);
        return;
    }
    if (replicas == 1 && nodes > 1)
        LOG(LOG_WARN, "homes.one_copy", log_text("reason", "the engine is one server by itself"));
    LOG(LOG_INFO, "homes.founded", log_text("id", homes->mark.id), log_uint("nodes", nodes),
        log_uint("replicas", replicas));
    homes->mark.seeding = !homes->options.ops->is_blank(homes->options.owner);
    homes->mark.founded = !homes->mark.seeding;
    homes->marked = homes->founder = false;
    homes_enter(homes, HOMES_JOINING);
}

static uint64_t highest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static bool is_to_make_them(const struct homes *homes, uint64_t now_ms)
{
    struct judge_making making = {.waited_ms = now_ms - homes->make_ms,
                                  .before = peers_before(homes),
                                  .ran_on = !peers_are_cold(homes)};
    return homes->mark.growing || judge_makes(&making);
}

/* All have started anew; or most have, and the engines of the others, which ran on, have lost them,
 * too. */
static bool may_make_them(struct homes *homes)
{
    uint32_t kept = peers_with_engine(homes, HOMES_ENGINE_KEPT) + 1;
    if (homes->mark.growing)
        return growing_can_go_on(homes);
    if (!peers_are_all(homes))
        return false;
    return peers_are_cold(homes) || (peers_connected(homes) == homes->options.others &&
                                     2 * kept > homes->options.others + 1);
}

/* Servers of nats-server 2.9 that were cut off while they met for the first time may never find
 * that there are enough of them for a stream. */
static void restart_if_it_makes_nothing(struct homes *homes, uint64_t now_ms)
{
    if (homes->makes_ms == 0)
        homes->makes_ms = now_ms;
    if (homes->options.program == NULL || now_ms < homes->makes_ms + MADE_MS)
        return;
    homes->makes_ms = now_ms;
    managed_restart(&homes->process, "it does not make the changelogs again");
}

/* Most machines went down at once, and the engines have started anew, or have not written before
 * that there are streams; or a cluster of one node has begun to grow. What was in them is in the
 * stores: when all nodes are back, each goes on behind what the store has that has most of it. Who
 * has less takes a copy from there. */
static enum rc make_streams_again(struct homes *homes, uint64_t now_ms,
                                  char error[JETSTREAM_ERROR_MAX])
{
    uint64_t bases[HOMES_GROUPS];
    uint32_t replicas;

    bool may = may_make_them(homes);
    if (homes->make_ms == 0 || !may)
        homes->make_ms = now_ms;
    if (!may) {
        snprintf(error, JETSTREAM_ERROR_MAX,
                 "it has no changelogs, and not all nodes and their engines are back");
        return RC_AGAIN;
    }
    if (!is_to_make_them(homes, now_ms)) {
        snprintf(error, JETSTREAM_ERROR_MAX, "another node is making its changelogs again");
        return RC_AGAIN;
    }
    LOG_LIMITED(LOG_WARN, "homes.changelogs_made_again", log_text("id", homes->mark.id),
                log_text("meaning", "the engines have started anew; the stores of the nodes have "
                                    "what was in the changelogs"));
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        bases[i] = highest(homes->groups[i].flushed.sequence, peers_highest(homes, i));
    if (create(homes, bases, &replicas, error) == RC_OK)
        return RC_OK;
    restart_if_it_makes_nothing(homes, now_ms);
    return RC_AGAIN;
}

static void look_for_streams(struct homes *homes, uint64_t now_ms)
{
    char error[JETSTREAM_ERROR_MAX] = "";

    enum rc rc = jetstream_look(homes->jetstream, HOMES_GROUPS, STEP_MS, error);
    if (rc == RC_NOT_FOUND && homes->fresh && homes->mark.founded)
        homes->cold = true; /* it has heard that the cluster is founded after its engine began */
    if (rc == RC_NOT_FOUND && (homes->cold || homes->mark.growing))
        rc = make_streams_again(homes, now_ms, error);
    if (rc == RC_NOT_FOUND) {
        homes_enter(homes, HOMES_LOST);
        homes_say(homes,
                  "the engine does not have cluster %s with id %s: it is not the one that the "
                  "cluster was made on, or has lost its disks. Nothing is made again. Give it its "
                  "disks back, or name the right engine",
                  homes->mark.name, homes->mark.id);
        homes->step_ms = now_ms + LOST_AGAIN_MS;
        return;
    }
    if (rc != RC_OK) {
        homes_say(homes, "the engine is not ready: %s", error);
        return;
    }
    if (!growing_end(homes) || !seed_turn(homes))
        return;
    homes->running_ms = now_ms;
    homes->make_ms = homes->makes_ms = 0;
    homes_enter(homes, HOMES_RUNNING);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        group_open(&homes->groups[i], jetstream_engine(homes->jetstream));
}

/* All groups have been claimed with what this node holds: others may join. */
static void end_seeding(struct homes *homes)
{
    if (homes->mark.seeding && seed_done(homes)) {
        homes->mark.founded = true;
        homes->mark.seeding = homes->marked = false;
        LOG(LOG_INFO, "homes.seeded", log_text("id", homes->mark.id));
    }
    (void)write_mark(homes);
}

/* Who holds nothing may be a node of a cluster that has lost its disk, and the others are dark:
 * what it took in by itself would keep it out of that cluster. */
static void look_whether_alone(struct homes *homes)
{
    if (homes->told_alone)
        return;
    bool nobody_has = homes->options.others == 0 || homes->phase == HOMES_GATHERING ||
                      (homes->all_here && peers_have_spoken(homes));
    if (!nobody_has && homes->options.ops->is_blank(homes->options.owner)) {
        homes_say(homes, "this node holds nothing, and may be one of a cluster that has lost its "
                         "disk: it lets no clients in before all of cluster.addresses are here");
        return;
    }
    homes->told_alone = true;
    homes->options.ops->alone(homes->options.owner);
}

void founding_turn(struct homes *homes, uint64_t now_ms)
{
    if (homes->phase == HOMES_REMOVED)
        managed_turn(&homes->process, now_ms);
    if (homes->phase <= HOMES_GATHERING)
        look_whether_alone(homes);
    if (homes->phase == HOMES_ALONE || homes->phase >= HOMES_REMOVED)
        return;
    bool connected = engine_turn(homes, now_ms);
    homes->connected = connected;
    if (homes->phase == HOMES_RUNNING) {
        replace_turn(homes, now_ms);
        engine_warm(homes);
        end_seeding(homes);
        copies_turn(homes, now_ms);
        growing_turn(homes, now_ms);
        if (homes->phase == HOMES_RUNNING)
            remnant_turn(homes, now_ms);
        return;
    }
    if (now_ms < homes->step_ms)
        return;
    homes->step_ms = now_ms + AGAIN_MS;
    if (homes->phase == HOMES_GATHERING)
        gather(homes, connected);
    else if (!connected)
        say_not_connected(homes);
    else if (homes->phase == HOMES_FOUNDING)
        make_streams(homes);
    else if (!homes->mark.founded && !homes->mark.seeding)
        homes_say(homes, "the cluster is being initialised on another node, or is one node's which "
                         "has to be given cluster.addresses");
    else if (write_mark(homes))
        look_for_streams(homes, now_ms);
}
