/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine of this node and the connection to it. Managed, it is a nats-server that is started
 * when the cluster is initialised and from then on. One that has lost its store comes up under
 * another name, and takes the place of the old one (replace.c).
 *
 * A server whose machine went down may have lost what it had acknowledged, or may not even start on
 * what is left of its files. It is thrown away when most of the others ran on meanwhile, and joins
 * as another. When all machines went down, all nodes are waited for; then all servers are thrown
 * away, and the changelogs are made again from the nodes' stores (founding.c). When some ran on,
 * but too few, or a node's disk is lost, what there is left is kept, and all nodes are waited for
 * before anything is claimed. So does a node that has come with an empty disk to a cluster that is
 * founded: it waits for the others in the same way, since one that begins anew must not take part
 * in what others keep. One that is alone keeps it, too: no quorum's files can be torn. What was
 * kept is thrown away all the same when most other servers are gone with their disks, or when the
 * server dies on it again and again and most others run. When it is to be alone no longer:
 * growing.c.
 *
 * One that comes back to others that are a quorum without it begins without the ends of its
 * consensus logs (ADR 10); one that is alone rests (ADR 9).
 */
#include "homes/inside.h"
#include "homes/unclean.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum {
    TRY_MS = 2000,
    ASK_SERVERS_MS = 250,
    REST_MS = 1500,
    JOINS_MS = 3000, /* as long does it take to read what the others have */
    AGREED_LOOK_MS = 500,
    FLUSH_MS = 1000, /* for the servers to write down what has changed */
    HEAR_MS = 2000,  /* as long does it take to hear all nodes that are there */
};

#define KEPT_FILE                                                                                  \
    "engine-kept"    /* as long as not all nodes have been back: the server's name, or             \
                      */
#define KEPT_ANY "*" /* whichever it is now */

/* ---- the process -------------------------------------------------------------------------------
 */

static bool look(struct homes *homes)
{
    char folder[MANAGED_PATH_MAX + 16], error[MANAGED_ERROR_MAX] = "", last[HOMES_SERVER_MAX] = "";
    struct managed_nats *nats = &homes->options.nats;

    snprintf(folder, sizeof(folder), "%s/engine", homes->data_dir);
    if (managed_look(folder, nats, &homes->store, error) != RC_OK) {
        homes_say(homes, "the engine cannot be started: %s", error);
        return false;
    }
    bool first = !homes->looked;
    homes->looked = true;
    homes->lone =
        homes->options.others > 0 && homes->store != MANAGED_STORE_NEW && managed_was_alone(folder);
    nats->route_count = homes->lone ? 0 : homes->options.others;
    managed_server_name(nats, homes->server);
    mark_read_text(homes->data_dir, KEPT_FILE, last, sizeof(last));
    homes->fresh = homes->emptied && homes->store == MANAGED_STORE_NEW;
    homes->cold = strcmp(last, homes->server) == 0 || strcmp(last, KEPT_ANY) == 0 ||
                  (homes->fresh && homes->mark.founded);
    if (first && homes->fresh && homes->mark.founded)
        homes->store = MANAGED_STORE_UNCLEAN; /* it lacks all that its server had acknowledged */
    replace_look(homes);
    return true;
}

void engine_look(struct homes *homes)
{
    (void)look(homes); /* what does not work now is said, and tried again */
}

/* A majority of this node and the others in the configuration. */
static uint32_t majority(const struct homes *homes)
{
    return (homes->options.others + 1) / 2 + 1;
}

static bool discard(struct homes *homes, const char *reason)
{
    char folder[MANAGED_PATH_MAX + 16], error[MANAGED_ERROR_MAX] = "";

    snprintf(folder, sizeof(folder), "%s/engine", homes->data_dir);
    LOG(LOG_WARN, "engine.store_discarded", log_text("server", homes->server),
        log_text("reason", reason));
    if (managed_discard(folder, error) != RC_OK) {
        homes_say(homes, "the engine's store cannot be thrown away: %s", error);
        return false;
    }
    return look(homes);
}

/* From now on nothing is claimed before all nodes have been back. */
static bool be_cold(struct homes *homes, const char *server)
{
    homes->cold = mark_write_text(homes->data_dir, KEPT_FILE, server) == RC_OK;
    if (!homes->cold)
        homes_say(homes, "%.200s/" KEPT_FILE " cannot be written", homes->data_dir);
    return homes->cold;
}

/* Most machines went down, but some engine ran on; or there are no others. */
static bool keep(struct homes *homes, const char *reason)
{
    if (homes->options.others > 0 && !homes->lone && !be_cold(homes, homes->server))
        return false;
    LOG(LOG_WARN, "engine.store_kept", log_text("server", homes->server),
        log_text("reason", reason));
    homes->store = MANAGED_STORE_CLEAN;
    return true;
}

/* There is nothing of it yet. */
static bool begin(struct homes *homes, const char *reason)
{
    if (!be_cold(homes, KEPT_ANY))
        return false;
    LOG(LOG_INFO, "engine.store_begun", log_text("server", homes->server),
        log_text("reason", reason));
    homes->store = MANAGED_STORE_CLEAN;
    return true;
}

/* What becomes of a store that may lack what it has acknowledged. False: not known yet. */
static bool settle_unclean(struct homes *homes)
{
    const char *why = "";
    struct unclean unclean = {.others = homes->options.others,
                              .nodes = peers_nodes(homes),
                              .here = peers_here(homes),
                              .all_here = peers_are_all(homes),
                              .up = peers_with_engine(homes, HOMES_ENGINE_UP),
                              .joins = peers_with_engine(homes, HOMES_ENGINE_JOINS),
                              .kept = peers_with_engine(homes, HOMES_ENGINE_KEPT),
                              .unclean = peers_with_engine(homes, HOMES_ENGINE_UNCLEAN),
                              .replaced = peers_replaced(homes),
                              .lone = homes->lone,
                              .fresh = homes->fresh,
                              .emptied = homes->emptied};

    switch (unclean_judge(&unclean, &why)) {
    case UNCLEAN_WAITS:
        homes_say(homes, "%s; %u of %u others are here", why, unclean.here, unclean.others);
        return false;
    case UNCLEAN_IS_KEPT:
        return keep(homes, why);
    case UNCLEAN_BEGINS:
        return begin(homes, why);
    case UNCLEAN_JOINS:
        return discard(homes, why);
    case UNCLEAN_STARTS_ANEW:
        return be_cold(homes, KEPT_ANY) && discard(homes, why);
    }
    return false;
}

bool engine_is_behind(const struct homes *homes, uint64_t now_ms)
{
    const struct managed_process *process = &homes->process;
    return process->joined && now_ms < process->since_ms + JOINS_MS;
}

bool engine_is_unclean(const struct homes *homes)
{
    return homes->looked && homes->store == MANAGED_STORE_UNCLEAN;
}

/* A cluster of one becomes one of more. */
static bool discard_lone(struct homes *homes)
{
    pid_t left = managed_find(homes->options.nats.folder);

    if (left > 0) { /* by a broker that was killed */
        kill(left, SIGTERM);
        return false;
    }
    if (!discard(homes, "it was a server by itself, and becomes one of several"))
        return false;
    replace_forget(homes); /* nobody has heard of it */
    return true;
}

/* The engines of all others run, and are a quorum without this one. */
static bool joins_quorum(const struct homes *homes)
{
    uint32_t up = peers_with_engine(homes, HOMES_ENGINE_UP);
    return up >= majority(homes) && up >= homes->options.others;
}

/* Some nodes have not been heard yet, and may make that true. */
static bool waits_to_join(struct homes *homes, uint64_t now_ms)
{
    bool may_join =
        homes->options.others + 1 > majority(homes) && peers_heard(homes) < homes->options.others;
    if (homes->wait_ms == 0)
        homes->wait_ms = now_ms + HEAR_MS;
    return may_join && now_ms < homes->wait_ms;
}

static bool start_process(struct homes *homes, uint64_t now_ms)
{
    char error[MANAGED_ERROR_MAX] = "";

    if (homes->process.state != MANAGED_OFF)
        return homes->process.state != MANAGED_ENDS;
    if (!homes->looked && !look(homes))
        return false;
    if (growing_discards(homes) && !discard_lone(homes))
        return false;
    if (homes->store == MANAGED_STORE_UNCLEAN && !settle_unclean(homes))
        return false;
    if (homes->store == MANAGED_STORE_CLEAN && !homes->lone &&
        managed_find(homes->options.nats.folder) == 0 && waits_to_join(homes, now_ms))
        return false;
    if (managed_start(&homes->process, homes->options.program, &homes->options.nats, now_ms,
                      error) == RC_OK)
        return true;
    homes_say(homes, "the engine cannot be started: %s", error);
    return false;
}

/* ---- the connection ----------------------------------------------------------------------------
 */

static void wake(void *owner)
{
    const struct homes *homes = owner;
    (void)!write(homes->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static bool connect_to_it(struct homes *homes)
{
    char error[JETSTREAM_ERROR_MAX] = "", url[64], streams[HOMES_NAME_MAX + HOMES_ID];
    struct jetstream_options options = homes->options.engine;

    if (homes->jetstream != NULL)
        return true;
    if (homes->options.program != NULL) {
        snprintf(url, sizeof(url), "nats://127.0.0.1:%u", homes->options.nats.client_port);
        options = (struct jetstream_options){.urls = {url},
                                             .url_count = 1,
                                             .user = MANAGED_USER,
                                             .password = homes->options.nats.credentials.user};
    }
    /* So streams of another cluster of that name are never taken for ours. */
    snprintf(streams, sizeof(streams), "%s-%s", homes->mark.name, homes->mark.id);
    options.cluster = streams;
    options.wake = wake;
    options.owner = homes;
    homes->jetstream = jetstream_open(&options, error);
    if (homes->jetstream == NULL)
        homes_say(homes, "the engine cannot be reached: %s", error);
    return homes->jetstream != NULL;
}

void engine_disconnect(struct homes *homes)
{
    CHECK(!homes->groups[0].attached);
    jetstream_close(homes->jetstream);
    homes->jetstream = NULL;
}

/* Neither other nodes are heard nor other servers: this one can do nothing, and asks to be elected
 * all the same. Those that it cannot hear may hear it, or do when it is back, and lose their
 * leaders to elections that it cannot win. The first comes 4 s after a leader was heard last. */
static void rest_while_alone(struct homes *homes, uint64_t now_ms)
{
    bool alone = homes->mark.founded && homes->other_ms != 0 && now_ms > homes->other_ms;
    struct managed_process *process = &homes->process;

    if (!alone) {
        bool rests = process->rests || process->state == MANAGED_RESTS;
        if (rests && (process->joins || !waits_to_join(homes, now_ms)))
            managed_wake(process, now_ms);
        return;
    }
    homes->wait_ms = 0;
    if (process->state != MANAGED_RUNS || process->rests || homes->jetstream == NULL)
        return;
    uint64_t answered_ms = jetstream_other_ms(homes->jetstream);
    uint64_t since_ms = answered_ms > homes->other_ms ? answered_ms : homes->other_ms;
    if (now_ms >= since_ms + REST_MS) {
        LOG(LOG_WARN, "engine.rests", log_int("pid", process->pid),
            log_text("reason", "no other node is heard, and no other server; it is started again "
                               "when one is"));
        managed_rest(process, now_ms);
        metric_inc(homes->options.metrics, METRIC_ENGINE_RESTS);
    } else if (now_ms >= homes->servers_ms) {
        homes->servers_ms = now_ms + ASK_SERVERS_MS;
        jetstream_ask_servers(homes->jetstream);
    }
}

/* Which servers and streams there are has to be on the disk when the power goes, or those that come
 * back found another engine, beside what ran on. It may be written anew at any time, as when a
 * server takes another's place. What streams hold is in the nodes' stores. */
static void flush_what_is_agreed(struct homes *homes, uint64_t now_ms)
{
    if (!homes->connected || now_ms < homes->agreed_look_ms)
        return;
    homes->agreed_look_ms = now_ms + AGREED_LOOK_MS;
    uint64_t changed = managed_meta_changed(homes->process.folder);
    if (changed != homes->agreed && homes->flush_ms == 0)
        homes->flush_ms = now_ms + FLUSH_MS;
    homes->agreed = changed;
    if (homes->flush_ms == 0 || now_ms < homes->flush_ms)
        return;
    homes->flush_ms = 0;
    managed_flush(&homes->process);
}

/* It dies at each start, as nats-server 2.9 does on files that a loss of power has torn. Most
 * others have all that there is, or, as long as not all have been back, at least run: it joins them
 * as another server. */
static void replace_if_it_dies(struct homes *homes, uint64_t now_ms)
{
    struct managed_process *process = &homes->process;
    char error[MANAGED_ERROR_MAX] = "";

    uint32_t others =
        homes->cold ? peers_connected(homes) : peers_with_engine(homes, HOMES_ENGINE_UP);
    if (process->state != MANAGED_PAUSES || process->deaths < MANAGED_DEATHS ||
        others < majority(homes))
        return;
    if (!discard(homes, "it dies at each start, and most others run"))
        return;
    homes->replace_ms = 0;
    if (managed_start(process, homes->options.program, &homes->options.nats, now_ms, error) !=
        RC_OK)
        homes_say(homes, "the engine cannot be started: %s", error);
}

/* One that hangs lets the library connect, and answers nothing: most such connections begin and end
 * between two turns. */
static void note_losses(struct homes *homes, uint64_t now_ms)
{
    uint32_t losses = homes->jetstream == NULL ? 0 : jetstream_losses(homes->jetstream);

    for (; homes->losses < losses; homes->losses++)
        if (homes->options.program != NULL && managed_lost(&homes->process, now_ms))
            metric_inc(homes->options.metrics, METRIC_ENGINE_HANGS);
    homes->losses = losses;
}

bool engine_turn(struct homes *homes, uint64_t now_ms)
{
    if (homes->options.program != NULL) {
        homes->process.joins = joins_quorum(homes);
        rest_while_alone(homes, now_ms);
        flush_what_is_agreed(homes, now_ms);
        replace_if_it_dies(homes, now_ms);
    }
    managed_turn(&homes->process, now_ms);
    if (homes->jetstream != NULL)
        jetstream_turn(homes->jetstream);
    if (now_ms >= homes->try_ms && homes->jetstream == NULL && homes->mark.id[0] != '\0') {
        bool started = homes->options.program == NULL || start_process(homes, now_ms);
        if (!started || !connect_to_it(homes))
            homes->try_ms = now_ms + TRY_MS / 8;
    }
    bool connected = homes->jetstream != NULL && jetstream_is_connected(homes->jetstream);
    homes->process.answered |= connected;
    note_losses(homes, now_ms);
    if (!connected && managed_stuck(&homes->process, now_ms))
        metric_inc(homes->options.metrics, METRIC_ENGINE_HANGS);
    return connected;
}

uint64_t engine_deadline_ms(const struct homes *homes)
{
    return managed_deadline_ms(&homes->process);
}

/* ---- after a loss of power ---------------------------------------------------------------------
 */

void engine_warm(struct homes *homes)
{
    if (!homes->cold || !peers_are_all(homes))
        return;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        if (!homes->groups[i].warm)
            return;
    if (mark_remove(homes->data_dir, KEPT_FILE) != RC_OK)
        return;
    homes->cold = false;
    LOG(LOG_INFO, "engine.all_are_back", log_text("server", homes->server));
}

/* ---- it begins anew ----------------------------------------------------------------------------
 */

void engine_let_go(struct homes *homes, uint64_t now_ms)
{
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        homes->groups[i].start = homes->groups[i].flushed;
    groups_close(homes);
    engine_disconnect(homes);
    homes->connected = false;
    homes->replace_ms = 0;
    managed_stop(&homes->process, now_ms);
    homes_enter(homes, HOMES_JOINING);
}

/* ---- the end -----------------------------------------------------------------------------------
 */

void engine_stop(struct homes *homes)
{
    uint64_t until_ms = clock_ms() + HOMES_ENGINE_STOP_MS;

    jetstream_close(homes->jetstream);
    homes->jetstream = NULL;
    managed_stop(&homes->process, clock_ms());
    while (homes->process.state != MANAGED_OFF && clock_ms() < until_ms) {
        struct pollfd nothing = {.fd = -1};
        (void)poll(&nothing, 1, HOMES_TURN_MS / 4);
        homes->process.look_ms = 0;
        managed_turn(&homes->process, clock_ms());
    }
    if (homes->process.state != MANAGED_OFF)
        LOG(LOG_WARN, "engine.not_ended", log_int("pid", homes->process.pid),
            log_uint("waited_ms", HOMES_ENGINE_STOP_MS));
}
