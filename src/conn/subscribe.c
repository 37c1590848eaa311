/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11): one reason code a filter, in order, then one
 * acknowledgement, then the retained messages. A packet with many filters is worked off in slices;
 * the connection's further input waits meanwhile.
 */
#include "conn/connection.h"

#include "base/memory.h"
#include "model/topic.h"

enum { FILTERS_AT_ONCE = 64, FILTER_WORK = 8 /* what one counts in the hub's `work` */ };

/* A packet that is being worked off. */
struct filter_job {
    struct job job;
    struct conn *conn;
    uint8_t type; /* PACKET_SUBSCRIBE or PACKET_UNSUBSCRIBE */
    uint16_t packet_id;
    uint32_t identifier;  /* subscription identifier, 0: none */
    struct bytes filters; /* the payload */
    struct bytes rest;    /* of it: not looked at */
    uint32_t count, done;
    bool acknowledged;
    uint8_t *reasons;  /* one a filter */
    uint8_t *retained; /* bool: send what is retained */
};

/* ---- one filter ---------------------------------------------------------------------------------
 */

/* What the configuration forbids. CONNACK of 5.0 has said so, hence asking ends the connection;
 * a 3.x client could not know [v3.1.1 MQTT-3.8.3-2]. */
static uint8_t check_available(struct conn *conn, struct bytes filter, bool shared)
{
    const struct config *config = conn_config(conn);
    enum mqtt_reason reason = MQTT_SUCCESS;
    if (shared && !config->mqtt.shared_available)
        reason = MQTT_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
    else if (!config->mqtt.wildcard_available && topic_filter_has_wildcard(filter))
        reason = MQTT_WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED;
    if (reason != MQTT_SUCCESS && conn->version == MQTT_V5)
        conn_fault(conn, reason, "CONNACK said that this is not available");
    return (uint8_t)reason;
}

static uint8_t check_limits(struct conn *conn, struct bytes filter, struct bytes share)
{
    const struct config *config = conn_config(conn);
    struct metrics_shard *metrics = conn->worker->metrics;
    if (filter.len > config->limits.topic_bytes) {
        metric_inc(metrics, METRIC_LIMIT_TOPIC);
        return MQTT_QUOTA_EXCEEDED;
    }
    if (topic_levels(filter) > config->limits.filter_levels) {
        metric_inc(metrics, METRIC_LIMIT_FILTER_LEVELS);
        return MQTT_QUOTA_EXCEEDED;
    }
    bool full = conn->session->subscription_count >= config->limits.subscriptions_per_client ||
                atomic_load_explicit(&conn->worker->shared->memory_full, memory_order_relaxed);
    if (!full || delivery_has_subscription(conn->worker->hub, conn->session, filter, share))
        return MQTT_SUCCESS; /* replacing takes no room [MQTT-3.8.4-3] */
    if (conn->session->subscription_count >= config->limits.subscriptions_per_client) {
        metric_inc(metrics, METRIC_LIMIT_SUBSCRIPTIONS);
        return MQTT_QUOTA_EXCEEDED;
    }
    metric_inc(metrics, METRIC_LIMIT_MEMORY);
    return MQTT_QUOTA_EXCEEDED;
}

/* Gives the reason code; *retained: retained messages are due. The connection may have ended. */
static uint8_t subscribe_one(struct filter_job *job, const struct subscribe_filter *asked,
                             uint8_t *retained)
{
    struct conn *conn = job->conn;
    struct bytes share = bytes_of("", 0), filter = asked->filter;
    if (filter.len == 0 && conn->version != MQTT_V5) {
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "empty filter [v3.1.1 MQTT-4.7.3-1]");
        return MQTT_UNSPECIFIED_ERROR;
    }
    enum share_parse parsed = topic_share_parse(filter, &share, &filter);
    if (parsed == SHARE_INVALID)
        return MQTT_TOPIC_FILTER_INVALID; /* [MQTT-4.8.2-1] */
    if (!topic_filter_valid(filter))
        return MQTT_TOPIC_FILTER_INVALID; /* [MQTT-4.7.1-1] */
    uint8_t reason = check_available(conn, filter, parsed == SHARE_OK);
    if (reason != MQTT_SUCCESS)
        return reason;
    if (parsed == SHARE_OK && asked->options.no_local) {
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "No Local on a share [MQTT-3.8.3-4]");
        return MQTT_UNSPECIFIED_ERROR;
    }
    reason = check_limits(conn, filter, share);
    if (reason != MQTT_SUCCESS)
        return reason;
    struct subscription_options options = asked->options;
    options.identifier = job->identifier;
    uint8_t max = conn_config(conn)->mqtt.qos_max;
    if (options.qos > max)
        options.qos = max; /* [MQTT-3.2.2-10] */
    enum subscribe_result result =
        delivery_subscribe(conn->worker->hub, conn->session, filter, share, &options);
    if (result == SUBSCRIBE_NO_MEMORY)
        return MQTT_QUOTA_EXCEEDED;
    *retained = parsed == SHARE_NONE &&
                (options.retain_handling == RETAIN_SEND ||
                 (options.retain_handling == RETAIN_SEND_IF_NEW && result == SUBSCRIBED_NEW));
    return options.qos;
}

static uint8_t unsubscribe_one(struct filter_job *job, struct bytes filter)
{
    struct conn *conn = job->conn;
    struct bytes share = bytes_of("", 0), inner = filter;
    if (filter.len == 0 && conn->version != MQTT_V5) {
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "empty filter [v3.1.1 MQTT-4.7.3-1]");
        return MQTT_UNSPECIFIED_ERROR;
    }
    enum share_parse parsed = topic_share_parse(filter, &share, &inner);
    if (parsed == SHARE_INVALID || !topic_filter_valid(inner))
        return MQTT_TOPIC_FILTER_INVALID;
    bool was = delivery_unsubscribe(conn->worker->hub, conn->session, inner, share);
    return was ? MQTT_SUCCESS : MQTT_NO_SUBSCRIPTION_EXISTED;
}

/* ---- the packet ---------------------------------------------------------------------------------
 */

static void acknowledge(struct filter_job *job)
{
    struct conn *conn = job->conn;
    struct suback suback = {
        .type = job->type == PACKET_SUBSCRIBE ? PACKET_SUBACK : PACKET_UNSUBACK,
        .packet_id = job->packet_id,
        .reasons = bytes_of(job->reasons, job->count),
    };
    size_t room = job->count + 16;
    uint8_t small[FILTERS_AT_ONCE + 16];
    uint8_t *packet = room <= sizeof(small) ? small : mem_new(room);
    size_t size = suback_encode(&suback, conn->version, packet, room);
    struct publish_ticket *everywhere =
        job->type == PACKET_SUBSCRIBE ? delivery_await_routes(conn->worker->hub) : NULL;
    conn_owe(conn, bytes_of(packet, size), everywhere, conn_session_changed(conn));
    if (packet != small)
        mem_free(packet);
    job->acknowledged = true;
    job->rest = job->filters;
    job->done = 0;
}

/* First pass: the filters. */
static void next_filter(struct filter_job *job)
{
    if (job->type == PACKET_SUBSCRIBE) {
        struct subscribe_filter asked;
        subscribe_next(&job->rest, job->conn->version, &asked);
        job->reasons[job->done] = subscribe_one(job, &asked, &job->retained[job->done]);
    } else {
        struct bytes filter;
        unsubscribe_next(&job->rest, &filter);
        job->reasons[job->done] = unsubscribe_one(job, filter);
    }
    job->done++;
}

/* Second pass: what is retained. */
static void next_retained(struct filter_job *job)
{
    struct conn *conn = job->conn;
    struct subscribe_filter asked;
    subscribe_next(&job->rest, conn->version, &asked);
    if (job->retained[job->done++]) {
        asked.options.identifier = job->identifier;
        uint8_t granted = job->reasons[job->done - 1];
        asked.options.qos = granted;
        delivery_send_retained(conn->worker->hub, conn->session, asked.filter, &asked.options);
    }
}

/* Up to `max` filters; true when all is done, or the connection has ended. */
static bool work(struct filter_job *job, uint32_t max)
{
    for (; max > 0; max--) {
        if (job->conn == NULL || job->conn->state != CONN_CONNECTED)
            return true;
        if (job->done < job->count) {
            if (job->acknowledged)
                next_retained(job);
            else
                next_filter(job);
        } else if (!job->acknowledged) {
            acknowledge(job);
            if (job->type == PACKET_UNSUBSCRIBE)
                return true;
        } else {
            return true;
        }
    }
    return false;
}

static void job_free(struct filter_job *job)
{
    mem_free((void *)job->filters.data);
    mem_free(job->reasons);
    mem_free(job->retained);
    mem_free(job);
}

void conn_job_cancel(struct conn *conn)
{
    struct filter_job *job = conn->job;
    if (job == NULL)
        return;
    conn->job = NULL;
    if (list_linked(&job->job.link)) { /* else it is running: its own step frees it */
        job_cancel(&job->job);
        job_free(job);
    } else {
        job->conn = NULL;
    }
}

static bool job_step(struct job *base)
{
    struct filter_job *job = CONTAINER_OF(base, struct filter_job, job);
    struct conn *conn = job->conn;
    if (!work(job, FILTERS_AT_ONCE))
        return false;
    if (job->conn != NULL) {
        conn->job = NULL;
        conn_clear_busy(conn, CONN_BUSY_JOB);
    }
    job_free(job);
    return true;
}

/* A packet with many filters: copied, and worked off by a job. */
static void start_job(struct conn *conn, const struct filter_job *packet)
{
    struct filter_job *job = mem_try(sizeof(*job));
    uint8_t *filters = mem_try(packet->filters.len);
    uint8_t *reasons = mem_try(packet->count), *retained = mem_try(packet->count);
    if (job == NULL || filters == NULL || reasons == NULL || retained == NULL) {
        mem_free(job);
        mem_free(filters);
        mem_free(reasons);
        mem_free(retained);
        conn_fault(conn, MQTT_QUOTA_EXCEEDED, "no memory for so many filters");
        return;
    }
    *job = *packet;
    memcpy(filters, packet->filters.data, packet->filters.len);
    memset(retained, 0, packet->count);
    job->filters = job->rest = bytes_of(filters, packet->filters.len);
    job->reasons = reasons;
    job->retained = retained;
    list_init(&job->job.link);
    conn->job = job;
    conn_set_busy(conn, CONN_BUSY_JOB);
    job_start(conn->worker->jobs, &job->job, job_step);
}

static void start(struct conn *conn, struct filter_job *packet)
{
    if (packet->count > FILTERS_AT_ONCE) {
        start_job(conn, packet);
        return;
    }
    uint8_t reasons[FILTERS_AT_ONCE], retained[FILTERS_AT_ONCE] = {0};
    packet->reasons = reasons;
    packet->retained = retained;
    conn->worker->hub->work += packet->count * FILTER_WORK;
    work(packet, UINT32_MAX);
    packet->reasons = packet->retained = NULL; /* they end here */
}

void conn_handle_subscribe(struct conn *conn, const struct frame *frame)
{
    struct subscribe subscribe;
    enum mqtt_reason reason = subscribe_decode(frame, conn->version, &subscribe);
    if (reason != MQTT_SUCCESS) {
        conn_fault(conn, reason, "SUBSCRIBE");
        return;
    }
    if (!conn_user_properties_ok(conn, subscribe.properties.user)) {
        conn_fault(conn, MQTT_QUOTA_EXCEEDED, "too many user properties");
        return;
    }
    struct filter_job packet = {
        .conn = conn,
        .type = PACKET_SUBSCRIBE,
        .packet_id = subscribe.packet_id,
        .filters = subscribe.filters,
        .rest = subscribe.filters,
        .count = subscribe.count,
    };
    if (property_present(&subscribe.properties, PROPERTY_SUBSCRIPTION_IDENTIFIER)) {
        if (!conn_config(conn)->mqtt.subscription_identifier_available) {
            conn_fault(conn, MQTT_SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
                       "subscription identifier");
            return;
        }
        packet.identifier = subscribe.properties.subscription_identifier;
    }
    start(conn, &packet);
}

void conn_handle_unsubscribe(struct conn *conn, const struct frame *frame)
{
    struct unsubscribe unsubscribe;
    enum mqtt_reason reason = unsubscribe_decode(frame, conn->version, &unsubscribe);
    if (reason != MQTT_SUCCESS) {
        conn_fault(conn, reason, "UNSUBSCRIBE");
        return;
    }
    if (!conn_user_properties_ok(conn, unsubscribe.properties.user)) {
        conn_fault(conn, MQTT_QUOTA_EXCEEDED, "too many user properties");
        return;
    }
    struct filter_job packet = {
        .conn = conn,
        .type = PACKET_UNSUBSCRIBE,
        .packet_id = unsubscribe.packet_id,
        .filters = unsubscribe.filters,
        .rest = unsubscribe.filters,
        .count = unsubscribe.count,
    };
    start(conn, &packet);
}
