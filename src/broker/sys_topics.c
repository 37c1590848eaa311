/* SPDX-License-Identifier: Apache-2.0 */
/* Publishes the $SYS topics, retained, every broker.sys_interval; what the configuration promises
 * once. On worker 0. */
#include "base/clock.h"
#include "base/memory.h"
#include "broker/node.h"
#include "config/address.h"
#include "config/version.h"

#include <stdio.h>

static void publish(void *arg, const char *topic, const char *text)
{
    struct worker *worker = arg;
    struct publication publication = {
        .topic = bytes_of_str(topic),
        .payload = bytes_of_str(text),
        .received_ms = worker->loop.now_ms,
        .retain = true,
    };
    struct message *message = message_new(&publication);
    if (message == NULL)
        return;
    delivery_retain(&worker->hub, message);
    delivery_publish(&worker->hub, &message->publication, message, NULL);
    message_drop(message);
}

/* Gauges that the retained store keeps itself. */
static void copy_retained_gauges(struct broker *broker)
{
    struct metrics_shard *shard = metrics_shard_get(&broker->metrics, broker->worker_count);
    const struct retained *retained = &broker->retained;
    metric_add(shard, METRIC_RETAINED_COUNT,
               atomic_load_explicit(&retained->count, memory_order_relaxed) -
                   metrics_read(&broker->metrics, METRIC_RETAINED_COUNT));
    metric_add(shard, METRIC_RETAINED_BYTES,
               atomic_load_explicit(&retained->bytes, memory_order_relaxed) -
                   metrics_read(&broker->metrics, METRIC_RETAINED_BYTES));
}

enum { DURABILITY_TEXT_MAX = CONFIG_TEXT_MAX + 256 };

static void tell_durability(struct worker *worker, const char *topic, const char *what,
                            enum durability durability)
{
    char text[DURABILITY_TEXT_MAX];
    snprintf(text, sizeof(text), "%s%s%s: %s", what, *what == '\0' ? "" : " ",
             config_durability_name(durability), config_durability_promise(durability));
    publish(worker, topic, text);
}

/* What an acknowledgement promises: by itself, through each listener, for each filter in order. */
static void tell_promises(struct worker *worker)
{
    const struct config *config = worker->broker->config;
    char topic[64], address[CONFIG_TEXT_MAX + 8];
    tell_durability(worker, SYS_DURABILITY, "", config->durability);
    for (uint32_t i = 0; i < config->listener_count; i++) {
        snprintf(topic, sizeof(topic), SYS_DURABILITY "/listeners/%u", i + 1);
        address_format(config->listeners[i].host, worker->broker->ports[i], address,
                       sizeof(address));
        tell_durability(worker, topic, address, config_listener_durability(config, i));
    }
    for (uint32_t i = 0; i < config->durability_topic_count; i++) {
        snprintf(topic, sizeof(topic), SYS_DURABILITY "/topics/%u", i + 1);
        tell_durability(worker, topic, config->durability_topics[i].filter,
                        config->durability_topics[i].durability);
    }
}

static void update(struct loop_timer *timer)
{
    struct broker *broker = CONTAINER_OF(timer, struct broker, sys_timer);
    struct worker *worker = &broker->workers[0];
    uint64_t now_ms = worker->loop.now_ms;
    uint64_t resident = resident_bytes();
    static uint64_t resident_max; /* worker 0 only */
    if (resident > resident_max)
        resident_max = resident;
    struct sys_facts facts = {
        .version = SKEIN_VERSION,
        .uptime_s = (now_ms - broker->started_ms) / 1000,
        .heap_bytes = resident,
        .heap_bytes_max = resident_max,
    };
    if (!broker->promises_told)
        tell_promises(worker);
    broker->promises_told = true;
    copy_retained_gauges(broker);
    sys_tree_update(broker->sys, &broker->metrics, &facts, now_ms, publish, worker);
    if (broker->cluster != NULL)
        sys_cluster_update(broker->sys_cluster, broker, publish, worker);
    loop_wake(&worker->loop); /* a turn posts what is for other workers */
    loop_timer_start(&worker->loop, timer, now_ms + broker->config->broker.sys_interval_s * 1000u);
}

void sys_topics_start(struct broker *broker)
{
    broker->sys = sys_tree_new();
    broker->sys_cluster = sys_cluster_new();
    loop_timer_init(&broker->sys_timer, update);
    if (broker->config->broker.sys_interval_s > 0)
        loop_timer_start(&broker->workers[0].loop, &broker->sys_timer,
                         broker->workers[0].loop.now_ms);
}

void sys_topics_stop(struct broker *broker)
{
    sys_tree_free(broker->sys);
    sys_cluster_free(broker->sys_cluster);
}
