/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that are gone for good. Whom this node has met is noted in the file `members`; whom an
 * operator has removed, in the file `removed`, which goes over the links to all others. What is
 * removed is the instance, that is, a data directory: should it come back, it is told so and takes
 * no part. A new one under the same name or address is another node.
 */
#include "homes/inside.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "changelog/jetstream_servers.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>

#define MEMBERS_FILE "members"
#define REMOVED_FILE "removed"

enum { REMOVE_STEP_MS = 2000, REMOVE_AGAIN_MS = 200 };

/* ---- the two lists -----------------------------------------------------------------------------
 */

static void write_list(const struct homes *homes, const char *name, const struct known_list *list)
{
    if (known_write(homes->data_dir, name, list) != RC_OK)
        LOG(LOG_ERROR, "homes.note_failed", log_text("folder", homes->data_dir),
            log_text("file", name));
}

static void read_list(struct homes *homes, const char *name, struct known_list *list)
{
    if (known_read(homes->data_dir, name, list) != RC_OK)
        LOG(LOG_WARN, "homes.note_damaged", log_text("folder", homes->data_dir),
            log_text("file", name), log_uint("nodes", list->count));
}

bool peer_is_replaced(const struct homes *homes, const struct peer *peer)
{
    if (peer->news.server[0] == '\0' || peer->news.engine == HOMES_ENGINE_UP)
        return false;
    const struct homes_known *noted = known_node(&homes->known, peer->node);
    return noted != NULL && noted->server[0] != '\0' &&
           strcmp(noted->server, peer->news.server) != 0;
}

/* It was met, or something of it is new. */
static void note(struct homes *homes, struct peer *peer, struct homes_known *node)
{
    struct homes_known *noted = known_node(&homes->known, node->node);

    if (peer_is_replaced(homes, peer)) /* its old one has to be taken out first, and is told */
        memcpy(node->server, noted->server, sizeof(node->server));
    if (noted != NULL && noted->instance == node->instance &&
        strcmp(noted->address, node->address) == 0 && strcmp(noted->server, node->server) == 0)
        return;
    pthread_mutex_lock(&homes->lock);
    if (noted != NULL)
        *noted = *node;
    else
        known_add(&homes->known, node);
    pthread_mutex_unlock(&homes->lock);
    write_list(homes, MEMBERS_FILE, &homes->known);
}

/* Somebody else is at that address now, and has to be there. */
static void expect_at(struct homes *homes, const char *address)
{
    bool changed = false;

    pthread_mutex_lock(&homes->lock);
    for (uint32_t i = 0; i < homes->removed.count; i++) {
        struct homes_known *removed = &homes->removed.at[i];
        if (removed->address[0] == '\0' || strcmp(removed->address, address) != 0)
            continue;
        removed->address[0] = '\0';
        changed = true;
    }
    pthread_mutex_unlock(&homes->lock);
    if (changed)
        write_list(homes, REMOVED_FILE, &homes->removed);
}

void removal_heard(struct homes *homes, struct peer *peer, const char *address)
{
    struct homes_known node = {.instance = peer->news.instance};

    peer->removed = known_instance(&homes->removed, peer->news.instance) != NULL;
    if (peer->removed) {
        LOG_LIMITED(LOG_WARN, "homes.removed_node_is_here", log_text("node", peer->node),
                    log_text("meaning", "it is told so, and takes no part"));
        return;
    }
    if (!peer_takes_part(homes, peer) || node.instance == 0)
        return;
    memcpy(node.node, peer->node, sizeof(node.node));
    const struct homes_known *noted = known_node(&homes->known, peer->node);
    bool unsaid = peer->news.server[0] == '\0'; /* it has not looked at what it has yet */
    memcpy(node.server, unsaid && noted != NULL ? noted->server : peer->news.server,
           sizeof(node.server));
    snprintf(node.address, sizeof(node.address), "%s", address);
    note(homes, peer, &node);
    expect_at(homes, address);
}

void removal_left(const struct homes *homes, char server[HOMES_SERVER_MAX])
{
    uint32_t count = atomic_load_explicit(&homes->peer_count, memory_order_relaxed);

    server[0] = '\0';
    for (uint32_t i = 0; i < count && server[0] == '\0'; i++) {
        const struct peer *peer = atomic_load_explicit(&homes->peers[i], memory_order_relaxed);
        if (peer_is_replaced(homes, peer))
            memcpy(server, known_node(&homes->known, peer->node)->server, HOMES_SERVER_MAX);
    }
}

bool homes_removed(struct homes *homes, uint32_t at, struct homes_known *removed)
{
    pthread_mutex_lock(&homes->lock);
    bool is = at < homes->removed.count;
    if (is)
        *removed = homes->removed.at[at];
    pthread_mutex_unlock(&homes->lock);
    return is;
}

bool homes_is_forgotten(struct homes *homes, const char *node, const char *address)
{
    bool is = false;

    pthread_mutex_lock(&homes->lock);
    for (uint32_t i = 0; i < homes->removed.count && !is; i++) {
        const struct homes_known *removed = &homes->removed.at[i];
        bool by_name = node != NULL && strcmp(removed->node, node) == 0 &&
                       known_node(&homes->known, node) == NULL; /* not even a new one */
        is = by_name || (removed->address[0] != '\0' && strcmp(removed->address, address) == 0);
    }
    pthread_mutex_unlock(&homes->lock);
    return is;
}

/* ---- being removed -----------------------------------------------------------------------------
 */

bool homes_is_removed(const struct homes *homes)
{
    return atomic_load_explicit(&homes->out, memory_order_relaxed); /* stands for itself */
}

static void be_out(struct homes *homes)
{
    atomic_store_explicit(&homes->out, true, memory_order_relaxed);
    homes_enter(homes, HOMES_REMOVED);
    homes_say(homes, "this node was removed from the cluster: what is in its data directory is "
                     "not part of it any more. Start it with an empty one, and it joins as a new "
                     "node");
}

/* Told so by another node. */
static void leave_at_once(struct homes *homes)
{
    if (homes->phase >= HOMES_REMOVED)
        return;
    groups_close(homes);
    engine_disconnect(homes);
    homes->connected = false;
    managed_stop(&homes->process, homes->now_ms);
    be_out(homes);
}

void removal_start(struct homes *homes)
{
    char folder[MANAGED_PATH_MAX + 16];

    read_list(homes, MEMBERS_FILE, &homes->known);
    read_list(homes, REMOVED_FILE, &homes->removed);
    if (known_instance(&homes->removed, homes->mark.instance) == NULL)
        return;
    be_out(homes);
    snprintf(folder, sizeof(folder), "%s/engine", homes->data_dir);
    pid_t left = managed_find(folder); /* by a broker that was killed */
    if (left > 0)
        kill(left, SIGTERM);
}

/* ---- removing ----------------------------------------------------------------------------------
 */

/* From here or from another node. RC_EXISTS: it was before. */
static enum rc add_removed(struct homes *homes, const struct homes_known *node)
{
    if (known_instance(&homes->removed, node->instance) != NULL)
        return RC_EXISTS;
    if (homes->removed.count == HOMES_REMOVED_MAX)
        return RC_FULL;
    pthread_mutex_lock(&homes->lock);
    known_add(&homes->removed, node);
    struct homes_known *noted = known_instance(&homes->known, node->instance);
    if (noted != NULL)
        known_take_out(&homes->known, noted);
    pthread_mutex_unlock(&homes->lock);
    LOG(LOG_WARN, "homes.node_removed", log_text("node", node->node),
        log_text("address", node->address), log_text("server", node->server));
    write_list(homes, REMOVED_FILE, &homes->removed);
    write_list(homes, MEMBERS_FILE, &homes->known);
    struct peer *peer = peer_find(homes, node->node);
    if (peer != NULL && peer->news.instance == node->instance)
        peer->removed = true;
    homes_hurry(homes);
    return RC_OK;
}

struct removed_mail {
    struct homes_mail mail;
    struct homes_known removed;
};

static void open_removed(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    const struct removed_mail *told = CONTAINER_OF(mail, struct removed_mail, mail);
    (void)now_ms;

    enum rc rc = add_removed(homes, &told->removed);
    if (rc == RC_OK && told->removed.instance == homes->mark.instance)
        leave_at_once(homes);
}

void homes_heard_removed(struct homes *homes, const struct homes_known *removed)
{
    struct removed_mail *mail = NEW(struct removed_mail);

    mail->mail.open = open_removed;
    mail->removed = *removed;
    mailbox_post(&homes->mailbox, &mail->mail.letter);
}

/* "n0, n2" */
static void list_names(const struct known_list *list, char *out, size_t room)
{
    size_t used = 0;

    snprintf(out, room, "none");
    for (uint32_t i = 0; i < list->count && used < room; i++)
        used +=
            (size_t)snprintf(out + used, room - used, "%s%s", i == 0 ? "" : ", ", list->at[i].node);
}

enum rc homes_find(struct homes *homes, const char *node, char why[HOMES_WHY_MAX])
{
    char names[HOMES_WHY_MAX / 2];

    pthread_mutex_lock(&homes->lock);
    bool known = known_node(&homes->known, node) != NULL;
    enum homes_phase phase = homes->status.phase;
    list_names(&homes->known, names, sizeof(names));
    pthread_mutex_unlock(&homes->lock);
    if (known)
        return RC_OK;
    if (phase != HOMES_RUNNING) {
        snprintf(why, HOMES_WHY_MAX, "This node is no working part of a cluster: its state is %s.",
                 homes_phase_name(phase));
        return RC_REFUSED;
    }
    snprintf(why, HOMES_WHY_MAX,
             "No node of that name is part of this cluster: this is %s, the others are: %s.",
             homes->node, names);
    return RC_NOT_FOUND;
}

/* Whether it may be asked for now; else it has been answered why not. */
static bool may_remove(struct homes *homes, struct homes_order *order)
{
    const struct peer *peer = peer_find(homes, order->node);
    bool cold = homes->phase == HOMES_RUNNING ? homes->cold : engine_is_unclean(homes);
    bool waits = homes->phase == HOMES_JOINING || (homes->phase == HOMES_RUNNING && cold);
    const char *wrong = NULL;

    if (strcmp(order->node, homes->node) == 0)
        wrong = "A node does not remove itself: stop it, and ask one that stays.";
    else if (peer != NULL && peer->here && !peer->removed)
        wrong = "That node is here. Drain it, stop it, then remove it.";
    else if (order->farewell == HOMES_GONE && cold)
        wrong = "After a loss of power this node waits for that one, which may hold what the "
                "others lack. If its disk is lost for ever: skein cluster recover --without it.";
    else if (order->farewell == HOMES_RECOVERED && !waits && homes->phase == HOMES_RUNNING)
        wrong = "Nothing waits for that node here. If it is gone for good: skein cluster remove.";
    if (wrong != NULL)
        orders_answer(homes, order, RC_REFUSED, "%s", wrong);
    return wrong == NULL &&
           ((order->farewell == HOMES_RECOVERED && waits) || orders_runs(homes, order));
}

static void open_remove(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    struct homes_order *order = mail->order;
    char names[HOMES_WHY_MAX / 2];
    (void)now_ms;

    if (!may_remove(homes, order))
        return;
    const struct homes_known *found = known_node(&homes->known, order->node);
    if (found == NULL)
        found = known_node(&homes->removed, order->node); /* perhaps its engine is still there */
    if (found == NULL) {
        list_names(&homes->known, names, sizeof(names));
        orders_answer(homes, order, RC_NOT_FOUND,
                      "No node of that name was ever part of this cluster; known are: %s.", names);
        return;
    }
    struct homes_known node = *found;
    enum rc rc = add_removed(homes, &node);
    memcpy(order->server, node.server, sizeof(order->server));
    const struct peer *peer = peer_find(homes, node.node);
    if (peer != NULL && peer_is_replaced(homes, peer) && peer->news.instance == node.instance)
        memcpy(order->joins, peer->news.server, sizeof(order->joins));
    if (rc == RC_FULL)
        orders_answer(homes, order, rc, "More than %d nodes have been removed already.",
                      HOMES_REMOVED_MAX);
    else
        orders_answer(homes, order, RC_OK, "%s", "");
}

/* Its place in the engine becomes free, and streams have their replicas on those that remain. On
 * the thread of who asked. */
static enum rc take_out(struct homes *homes, const char *server, char why[HOMES_WHY_MAX])
{
    const struct managed_nats *nats = &homes->options.nats;
    char error[JETSTREAM_ERROR_MAX] = "", url[64];
    uint64_t until_ms = clock_ms() + HOMES_REMOVE_MS;
    enum rc rc = RC_AGAIN;

    snprintf(url, sizeof(url), "nats://127.0.0.1:%u", nats->client_port);
    while (rc == RC_AGAIN && clock_ms() < until_ms && !homes_ends(homes)) {
        struct pollfd nothing = {.fd = -1};
        rc = jetstream_remove_server(url, MANAGED_SYSTEM_USER, nats->credentials.system, server,
                                     REMOVE_STEP_MS, error);
        if (rc == RC_AGAIN)
            (void)poll(&nothing, 1, REMOVE_AGAIN_MS);
    }
    LOG(rc == RC_AGAIN ? LOG_WARN : LOG_INFO, "engine.server_removed", log_text("server", server),
        log_text("result", rc_name(rc)), log_text("why", error));
    if (rc == RC_OK || rc == RC_NOT_FOUND)
        return RC_OK;
    snprintf(why, HOMES_WHY_MAX,
             "The brokers have forgotten it, but its engine, %.80s, has still a place among the "
             "others' (%.60s). Most engines have to be there for that: ask again then.",
             server, error);
    return RC_AGAIN;
}

enum rc homes_remove(struct homes *homes, const char *node, enum homes_farewell farewell,
                     char why[HOMES_WHY_MAX])
{
    struct homes_order order = {.node = node, .farewell = farewell, .why = why};

    enum rc rc = orders_ask(homes, &order, open_remove);
    if (rc != RC_OK || homes->options.program == NULL || order.server[0] == '\0')
        return rc;
    rc = take_out(homes, order.server, why);
    return rc == RC_OK && order.joins[0] != '\0' ? take_out(homes, order.joins, why) : rc;
}
