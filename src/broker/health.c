/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/health.h"

#include "admin/call.h"
#include "admin/server.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "broker/node.h"
#include "net/listener.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { HEALTH_BACKLOG = 128 };

/* Cut off from most other nodes, home of nothing, and not told to go on all the same. */
static bool serves_nobody(const struct broker *broker)
{
    const struct cluster *cluster = broker->cluster;

    if (cluster == NULL || !cluster_is_cut_off(cluster) ||
        broker->config->cluster.cut_off == CLUSTER_CUT_OFF_SERVE)
        return false;
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++)
        if (cluster_home_of(cluster, group).place == CLUSTER_HERE)
            return false;
    return true;
}

static struct condition condition_now(struct broker *broker)
{
    struct vitals *vitals = &broker->vitals;
    uint64_t now_ms = clock_ms();
    uint64_t turned_ms = atomic_load_explicit(&vitals->turned_ms, memory_order_relaxed);
    uint64_t since_ms = atomic_load_explicit(&vitals->serving_since_ms, memory_order_relaxed);

    return (struct condition){
        .phase = atomic_load_explicit(&vitals->phase, memory_order_acquire),
        .stuck = now_ms > turned_ms + HEALTH_PATIENCE_MS,
        .memory_full = atomic_load_explicit(&broker->shared.memory_full, memory_order_relaxed),
        .cut_off = serves_nobody(broker),
        .waits = broker->groups != NULL && groups_wait(broker->groups),
        .drained = broker->homes != NULL && homes_drained(broker->homes),
        .removed = broker->homes != NULL && homes_is_removed(broker->homes),
        .busy_percent = atomic_load_explicit(&vitals->busy_percent, memory_order_relaxed),
        .connections = atomic_load_explicit(&broker->shared.connections, memory_order_relaxed),
        .connections_max = broker->config->limits.connections,
        .serving_ms = now_ms > since_ms ? now_ms - since_ms : 0,
    };
}

/* ---- what is answered --------------------------------------------------------------------------
 */

static void tell_health(struct admin_call *call)
{
    struct condition condition = condition_now(call_context(call));
    const char *failure = condition_failure(&condition);

    if (failure == NULL)
        call_answer(call, 200, json_pack("{s:s}", "status", "ok"));
    else
        call_answer(call, 503, json_pack("{s:s, s:s}", "status", "failed", "reason", failure));
}

static void tell_ready(struct admin_call *call)
{
    struct condition condition = condition_now(call_context(call));
    const char *obstacle = condition_obstacle(&condition);

    if (obstacle == NULL)
        call_answer(call, 200, json_pack("{s:s}", "status", "ready"));
    else
        call_answer(call, 503, json_pack("{s:s, s:s}", "status", "not ready", "reason", obstacle));
}

static const struct resource health_resources[] = {
    {.method = HTTP_GET,
     .path = "/health",
     .name = "get_health",
     .summary = "Whether the process works",
     .handle = tell_health},
    {.method = HTTP_GET,
     .path = "/ready",
     .name = "get_ready",
     .summary = "Whether clients are let in",
     .handle = tell_ready},
    {0},
};

static void write_agent_line(void *context, char *out, size_t room)
{
    struct condition condition = condition_now(context);
    condition_agent_line(&condition, out, room);
}

/* ---- the ports ---------------------------------------------------------------------------------
 */

/* Gives a listening descriptor, -1 if none is asked for or (then *code says so) if it fails. */
static int bind_to(const struct config_address *wanted, const char *key, int *code)
{
    struct listener_address address = {.port = wanted->port, .exclusive = true};

    if (wanted->host[0] == '\0' || *code != BROKER_EXIT_OK)
        return -1;
    snprintf(address.host, sizeof(address.host), "%s", wanted->host);
    int fd = bind_or_say(key, &address, HEALTH_BACKLOG);
    if (fd < 0)
        *code = BROKER_EXIT_UNAVAILABLE;
    else
        LOG(LOG_INFO, "broker.health_listening", log_text("key", key),
            log_text("host", wanted->host), log_uint("port", wanted->port));
    return fd;
}

bool health_configured(const struct broker *broker)
{
    return broker->config->health.listen.host[0] != '\0' ||
           broker->config->health.agent_listen.host[0] != '\0';
}

int health_open(struct health *health, const struct broker *broker)
{
    const struct config *config = broker->config;
    int code = BROKER_EXIT_OK;

    health->fd = bind_to(&config->health.listen, "health.listen", &code);
    health->agent_fd = bind_to(&config->health.agent_listen, "health.agent_listen", &code);
    return code;
}

void health_start(struct health *health, struct broker *broker)
{
    if (health->fd < 0 && health->agent_fd < 0)
        return;
    health->server = admin_server_start(&(struct admin_server_options){
        .listening_fd = health->fd,
        .table = health_resources,
        .line_fd = health->agent_fd,
        .line = write_agent_line,
        .context = broker,
        .limits = &server_limits_open,
        .name = "health",
    });
    health->fd = health->agent_fd = -1;
    CHECK(health->server != NULL);
}

void health_stop(struct health *health)
{
    admin_server_stop(health->server);
    admin_server_free(health->server);
    if (health->fd >= 0)
        close(health->fd);
    if (health->agent_fd >= 0)
        close(health->agent_fd);
}
