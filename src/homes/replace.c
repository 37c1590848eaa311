/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine's server that begins without what it had is another one to the others. The old one
 * keeps its place among them, which counts against their majority, until it is taken out; only
 * then do its streams get a copy here. Until all of them have it, this node says that it joins:
 * were another machine to go down meanwhile, the others could do without neither of the two.
 *
 * What the old one was called is in the file `engine-server`, or, when that has gone with the disk,
 * is said by the nodes that knew it. The file is written when all is done.
 */
#include "homes/inside.h"

#include "base/log.h"
#include "changelog/jetstream_servers.h"

#include <stdio.h>

enum {
    REMOVE_MS = 1000, /* the engine has so long to answer */
    REMOVE_AGAIN_MS = 8000,
    LOOK_MS = 500,
    TOLD_MS = 10000, /* others have said by then which server there was */
    SURE_MS = 2500,  /* what the engine says of copies is as old as that */
    KNOWN_MS = 2500, /* from its start until the others know what room it has (copies.c) */
    SLOW_MS = 30000, /* it is said what is missing */
};

#define SERVER_FILE "engine-server"

static void note_old(struct homes *homes, const char *server)
{
    snprintf(homes->replaced, sizeof(homes->replaced), "%s", server);
    homes->taken_out = false;
    homes->replace_ms = 0;
}

void replace_look(struct homes *homes)
{
    char last[HOMES_SERVER_MAX] = "";

    mark_read_text(homes->data_dir, SERVER_FILE, last, sizeof(last));
    homes->noted = strcmp(last, homes->server) == 0;
    homes->replaces = !homes->noted && (last[0] != '\0' || (homes->fresh && homes->mark.founded));
    homes->replaced[0] = '\0';
    homes->whole_ms = 0;
    if (homes->replaces && last[0] != '\0')
        note_old(homes, last);
}

void replace_forget(struct homes *homes)
{
    homes->replaced[0] = '\0';
}

void replace_heard(struct homes *homes, const struct peer *peer)
{
    const char *left = peer->news.left;
    size_t name = strlen(homes->node);

    bool ours = strncmp(left, homes->node, name) == 0 && left[name] == '-';
    bool first = !homes->noted || homes->now_ms < homes->running_ms + TOLD_MS;
    if ((!homes->replaces && !first) || !ours || strcmp(left, homes->server) == 0 ||
        strcmp(left, homes->replaced) == 0)
        return;
    homes->replaces = true;
    note_old(homes, left);
}

static bool take_out(struct homes *homes)
{
    const struct managed_nats *nats = &homes->options.nats;
    char error[JETSTREAM_ERROR_MAX] = "", url[64];

    if (homes->replaced[0] == '\0' || homes->taken_out || nats->route_count == 0)
        return true;
    if (homes->now_ms < homes->process.since_ms + KNOWN_MS)
        return false;
    snprintf(url, sizeof(url), "nats://127.0.0.1:%u", nats->client_port);
    enum rc rc = jetstream_remove_server(url, MANAGED_SYSTEM_USER, nats->credentials.system,
                                         homes->replaced, REMOVE_MS, error);
    LOG(rc == RC_OK ? LOG_INFO : LOG_WARN, "engine.server_replaced",
        log_text("old", homes->replaced), log_text("new", homes->server),
        log_text("result", rc_name(rc)), log_text("why", error));
    homes->taken_out = rc != RC_AGAIN;
    if (!homes->taken_out)
        homes->replace_ms = homes->now_ms + REMOVE_AGAIN_MS;
    return homes->taken_out;
}

/* As far as the engine has been asked: copies_turn(). That another server is down is no matter of
 * ours. */
static bool all_have_copies(struct homes *homes, uint64_t now_ms)
{
    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        struct jetstream_copies copies = jetstream_copies(homes->jetstream, i);
        if (copies.wanted > 0 && copies.current >= copies.wanted / 2 + 1 &&
            copies.current + copies.away >= copies.wanted)
            continue;
        if (now_ms >= homes->process.since_ms + SLOW_MS)
            homes_say(homes,
                      "the engine's server %s joins for long: of %u copies of changelog %u %u are "
                      "whole, and %u out of reach",
                      homes->server, copies.wanted, i, copies.current, copies.away);
        return false;
    }
    return true;
}

/* From now on it is the one that there was. */
static void note_ours(struct homes *homes)
{
    homes->noted = mark_write_text(homes->data_dir, SERVER_FILE, homes->server) == RC_OK;
    if (!homes->noted)
        LOG_LIMITED(LOG_ERROR, "engine.note_failed", log_text("folder", homes->data_dir));
}

void replace_turn(struct homes *homes, uint64_t now_ms)
{
    bool done = homes->noted && !homes->replaces;
    if (homes->options.program == NULL || done || !homes->connected || now_ms < homes->replace_ms)
        return;
    homes->replace_ms = now_ms + LOOK_MS;
    if (!homes->replaces) {
        note_ours(homes);
        return;
    }
    if (!take_out(homes))
        return;
    if (!all_have_copies(homes, now_ms))
        homes->whole_ms = 0;
    else if (homes->whole_ms == 0)
        homes->whole_ms = now_ms;
    if (homes->whole_ms == 0 || now_ms < homes->whole_ms + SURE_MS)
        return;
    note_ours(homes);
    if (!homes->noted)
        return;
    homes->replaces = false;
    homes->why[0] = '\0';
    LOG(LOG_INFO, "engine.has_joined", log_text("server", homes->server));
}
