/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection's life and the dispatch of its packets: bytes in, one handler per packet family.
 * Output is in send.c; the state machine is drawn in conn.h.
 */
#include "conn/connection.h"

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"

#include <unistd.h>

enum { LINGER_MS = 2000, PACKET_MAX_OUT = VARINT_MAX + FRAME_HEADER_MAX };

static const struct stream_ops conn_stream_ops;

/* ---- begin and end -----------------------------------------------------------------------------
 */

static void timer_fired(struct loop_timer *timer);

static struct conn *conn_new(struct conn_worker *worker, const struct conn_origin *origin)
{
    struct conn *conn = NEW(struct conn);
    conn->worker = worker;
    conn->sink.ops = &conn_sink_ops;
    conn->packet_max_out = PACKET_MAX_OUT;
    conn->problem_information = true;
    conn->last_in_ms = worker->loop->now_ms;
    conn->listener = (uint8_t)origin->listener;
    list_init(&conn->link);
    loop_timer_init(&conn->timer, timer_fired);
    return conn;
}

/* Its stream is open. */
static void begin(struct conn *conn, const struct stream_peer *peer)
{
    struct conn_worker *worker = conn->worker;
    const struct config *config = worker->shared->config;
    stream_set_peer(&conn->stream, peer);
    list_add_last(&worker->connections, &conn->link);
    uint32_t open =
        atomic_fetch_add_explicit(&worker->shared->connections, 1, memory_order_relaxed);
    conn->open = true;
    metric_inc(worker->metrics, METRIC_CONNECTIONS_OPENED);
    if (open >= config->limits.connections + CONNECTIONS_GRACE) {
        metric_inc(worker->metrics, METRIC_LIMIT_CONNECTIONS);
        conn->state = CONN_CLOSING;
        stream_close(&conn->stream);
        return;
    }
    loop_timer_start(worker->loop, &conn->timer,
                     worker->loop->now_ms + config->limits.connect_timeout_ms);
}

void conn_accept(struct conn_worker *worker, int fd, const struct conn_origin *origin,
                 struct stream_filter *filter, uint8_t *unread, size_t unread_len)
{
    if (worker->draining) { /* the loop may have stopped: what it opens now is never closed */
        close(fd);
        stream_filter_free(filter);
        mem_free(unread);
        return;
    }
    struct conn *conn = conn_new(worker, origin);
    conn->durability =
        (uint8_t)config_listener_durability(worker->shared->config, origin->listener);
    enum rc rc = stream_open(&conn->stream, worker->loop, &conn_stream_ops, fd, origin->transport,
                             filter, bytes_of(unread, unread_len));
    mem_free(unread);
    if (rc != RC_OK) {
        mem_free(conn);
        return;
    }
    if (origin->proxy_header)
        stream_expect_proxy_header(&conn->stream);
    begin(conn, &origin->peer);
}

bool conn_accept_tunnelled(struct conn_worker *worker, struct stream_carrier *carrier,
                           const struct conn_origin *origin)
{
    if (worker->draining)
        return false;
    struct conn *conn = conn_new(worker, origin);
    conn->durability = origin->durability;
    stream_open_carried(&conn->stream, worker->loop, &conn_stream_ops, origin->transport, carrier);
    begin(conn, &origin->peer);
    return true;
}

void conn_forget_session(struct conn *conn)
{
    conn->session = NULL;
    if (conn->counted)
        metric_dec(conn->worker->metrics, METRIC_CONNECTIONS_CURRENT);
    conn->counted = false;
}

static void leave_session(struct conn *conn, enum session_will will)
{
    struct session *session = conn->session;
    if (will == SESSION_WILL_DISCARD)
        conn->will_stands = false;
    if (session == NULL)
        return;
    conn_forget_session(conn);
    session->sink = NULL;
    delivery_session_changed(conn->worker->hub, session);
    session_detach(session, will); /* may free it */
}

/* Everything that must not outlive the state CONNECTED. Twice is once. */
static void let_go(struct conn *conn, enum session_will will)
{
    conn->state = CONN_CLOSING;
    loop_timer_stop(conn->worker->loop, &conn->timer);
    conn_job_cancel(conn);
    conn_pace_free(conn);
    conn_owed_forget(conn);
    leave_session(conn, will);
    conn_leave_home(conn);
}

void conn_end(struct conn *conn, enum session_will will)
{
    let_go(conn, will);
    stream_close_after_flush(&conn->stream, LINGER_MS);
}

void conn_end_by_client(struct conn *conn, enum session_will will)
{
    if (conn->stream.out_bytes > 0 || conn->stream.transport != TRANSPORT_TCP) {
        conn_end(conn, will);
        return;
    }
    /* The rest of let_go() comes with the end of the stream. */
    conn->state = CONN_CLOSING;
    loop_timer_stop(conn->worker->loop, &conn->timer);
    if (will == SESSION_WILL_DISCARD)
        conn->will_stands = false;
    if (will == SESSION_WILL_DISCARD && conn->session->will != NULL)
        session_set_will(conn->session, NULL, 0);
    stream_close_soon(&conn->stream);
}

static void count_fault(struct conn *conn, enum mqtt_reason reason)
{
    struct metrics_shard *metrics = conn->worker->metrics;
    switch (reason) {
    case MQTT_MALFORMED_PACKET:
    case MQTT_TOPIC_NAME_INVALID:
        metric_inc(metrics, METRIC_MALFORMED_PACKETS);
        break;
    case MQTT_PACKET_TOO_LARGE:
        metric_inc(metrics, METRIC_LIMIT_PACKET_SIZE);
        break;
    case MQTT_RECEIVE_MAXIMUM_EXCEEDED:
        metric_inc(metrics, METRIC_LIMIT_RECEIVE_MAXIMUM);
        break;
    case MQTT_KEEP_ALIVE_TIMEOUT:
        metric_inc(metrics, METRIC_KEEP_ALIVE_TIMEOUTS);
        break;
    default:
        metric_inc(metrics, METRIC_PROTOCOL_ERRORS);
        break;
    }
}

static const char *address_of(const struct conn *conn, char out[CONN_ADDRESS_MAX])
{
    stream_peer_name(&conn->stream, out, CONN_ADDRESS_MAX);
    return out;
}

void conn_fault(struct conn *conn, enum mqtt_reason reason, const char *text)
{
    if (conn->state == CONN_CLOSING)
        return;
    count_fault(conn, reason);
    struct bytes id = conn->session == NULL ? bytes_of("", 0) : session_client_id(conn->session);
    char address[CONN_ADDRESS_MAX];
    LOG_LIMITED(LOG_INFO, "conn.fault", log_bytes("client", id),
                log_text("address", address_of(conn, address)),
                log_text("reason", reason_name(reason)), log_text("detail", text));
    if (conn->state == CONN_CONNECTED) {
        conn_send_disconnect(conn, reason, text);
        conn_end(conn, SESSION_WILL_KEEP);
    } else {
        conn_refuse(conn, reason, text);
    }
}

bool conn_user_properties_ok(struct conn *conn, struct bytes block)
{
    enum { USER_PROPERTY_MIN = 5 }; /* id and two empty strings */
    uint32_t max = conn_config(conn)->limits.user_properties;
    if (block.len / USER_PROPERTY_MIN <= max ||
        properties_count(block, PROPERTY_USER_PROPERTY) <= max)
        return true;
    metric_inc(conn->worker->metrics, METRIC_LIMIT_USER_PROPERTIES);
    return false;
}

void conn_close(struct conn *conn, enum mqtt_reason reason)
{
    if (conn->state == CONN_CONNECTED)
        conn_send_disconnect(conn, reason, NULL);
    conn_end(conn, SESSION_WILL_KEEP);
}

static void extra_free(struct conn *conn)
{
    struct conn_extra *extra = conn->extra;
    if (extra == NULL)
        return;
    conn_auth_end(conn);
    for (int i = 0; extra->alias_in != NULL && i < conn_config(conn)->mqtt.topic_alias_max; i++)
        mem_free(extra->alias_in[i].topic);
    mem_free(extra->alias_in);
    conn_alias_out_free(extra);
    mem_free(extra->connect);
    mem_free(extra);
}

struct conn_extra *conn_extra(struct conn *conn)
{
    if (conn->extra == NULL)
        conn->extra = NEW(struct conn_extra);
    return conn->extra;
}

static void stream_ended(struct stream *stream, enum stream_close_reason reason)
{
    struct conn *conn = conn_of_stream(stream);
    if (reason == STREAM_CLOSED_BY_PROXY)
        metric_inc(conn->worker->metrics, METRIC_PROXY_HEADERS_REFUSED);
    let_go(conn, SESSION_WILL_KEEP); /* nothing of it is left to do when we ended the connection */
}

void conn_count_closed(struct conn *conn)
{
    if (!conn->open)
        return;
    conn->open = false;
    atomic_fetch_sub_explicit(&conn->worker->shared->connections, 1, memory_order_relaxed);
    metric_inc(conn->worker->metrics, METRIC_CONNECTIONS_CLOSED);
}

static void stream_closed(struct stream *stream)
{
    struct conn *conn = conn_of_stream(stream);
    list_remove(&conn->link);
    conn_count_closed(conn);
    extra_free(conn);
    mem_free(conn);
}

/* ---- timers ------------------------------------------------------------------------------------
 */

/* We do not read because the client does not: it has gone when a whole keep alive moves nothing. */
static void look_at_output(struct conn *conn)
{
    uint32_t left = (uint32_t)conn->stream.out_bytes;
    if (conn->stuck_bytes > 0 && left >= conn->stuck_bytes) {
        conn_fault(conn, MQTT_KEEP_ALIVE_TIMEOUT, "the client reads nothing");
        return;
    }
    conn->stuck_bytes = left;
    struct conn_worker *worker = conn->worker;
    loop_timer_start(worker->loop, &conn->timer, worker->loop->now_ms + conn_keep_alive_ms(conn));
}

static void timer_fired(struct loop_timer *timer)
{
    struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
    uint64_t now_ms = conn->worker->loop->now_ms;
    if (conn->state != CONN_CONNECTED) {
        metric_inc(conn->worker->metrics, METRIC_CONNECT_TIMEOUTS);
        if (conn->awaits_home)
            conn_refuse(conn, MQTT_SERVER_UNAVAILABLE,
                        "the home of the client identifier cannot be asked");
        else if (conn->state == CONN_AUTHENTICATING)
            conn_refuse(conn, MQTT_NOT_AUTHORIZED, "authentication took too long");
        else
            conn_end(conn, SESSION_WILL_KEEP);
        return;
    }
    uint64_t due_ms = conn->last_in_ms + conn_keep_alive_ms(conn);
    if (conn->busy & CONN_BUSY_OUTPUT) {
        look_at_output(conn);
        return;
    }
    if (now_ms >= due_ms && conn->busy == 0) {
        conn_fault(conn, MQTT_KEEP_ALIVE_TIMEOUT, "nothing came for 1.5 keep alive intervals");
        return;
    }
    session_trim(conn->session);
    loop_timer_start(conn->worker->loop, timer, now_ms >= due_ms ? now_ms + 100 : due_ms);
}

/* ---- dispatch ----------------------------------------------------------------------------------
 */

static void handle_pingreq(struct conn *conn, const struct frame *frame)
{
    enum mqtt_reason reason = empty_decode(frame);
    if (reason != MQTT_SUCCESS)
        conn_fault(conn, reason, "malformed PINGREQ");
    else
        conn_send_pingresp(conn);
}

static void dispatch(struct conn *conn, const struct frame *frame, const uint8_t *packet)
{
    switch (frame->type) {
    case PACKET_PUBLISH:
        conn_handle_publish(conn, frame, packet);
        break;
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBREL:
    case PACKET_PUBCOMP:
        conn_handle_ack(conn, frame);
        break;
    case PACKET_SUBSCRIBE:
        conn_handle_subscribe(conn, frame);
        break;
    case PACKET_UNSUBSCRIBE:
        conn_handle_unsubscribe(conn, frame);
        break;
    case PACKET_PINGREQ:
        handle_pingreq(conn, frame);
        break;
    case PACKET_DISCONNECT:
        conn_handle_disconnect(conn, frame);
        break;
    case PACKET_AUTH:
        if (conn->version == MQTT_V5) {
            conn_handle_auth(conn, frame);
            break;
        }
        conn_fault(conn, MQTT_MALFORMED_PACKET, "packet type 15 is reserved");
        break;
    case PACKET_CONNECT:
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "second CONNECT [MQTT-3.1.0-2]");
        break;
    case 0:
        conn_fault(conn, MQTT_MALFORMED_PACKET, "packet type 0 is reserved");
        break;
    default:
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "a packet that only a server sends");
        break;
    }
}

/* Before CONNACK. False: the connection went to another worker. */
static bool dispatch_early(struct conn *conn, const struct frame *frame, const uint8_t *packet,
                           size_t consumed)
{
    if (conn->state == CONN_WAIT_CONNECT) {
        if (frame->type == PACKET_CONNECT)
            return conn_handle_connect(conn, frame, packet, consumed);
        metric_inc(conn->worker->metrics, METRIC_PROTOCOL_ERRORS);
        conn_end(conn, SESSION_WILL_KEEP); /* [MQTT-3.1.0-1]; whom should we answer? */
        return true;
    }
    if (frame->type == PACKET_AUTH)
        conn_handle_auth(conn, frame);
    else if (frame->type == PACKET_DISCONNECT)
        conn_end(conn, SESSION_WILL_DISCARD);
    else
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "only AUTH may come now [MQTT-3.1.2-30]");
    return true;
}

static void frame_fault(struct conn *conn, enum frame_result result)
{
    if (result == FRAME_TOO_LARGE)
        conn_fault(conn, MQTT_PACKET_TOO_LARGE, "larger than the maximum packet size");
    else
        conn_fault(conn, MQTT_MALFORMED_PACKET, "remaining length");
}

/* A packet that cannot be a CONNECT need not be waited for; `in` is not empty before there was one.
 */
static bool cannot_be_connect(const struct conn *conn, struct bytes in)
{
    return conn->state == CONN_WAIT_CONNECT && in.data[0] != PACKET_CONNECT << 4;
}

/* In a cluster: it waits for other nodes, and comes again. */
static bool is_held(struct conn *conn, const struct frame *frame)
{
    if (conn_hold_stalled(conn))
        return true;
    switch (frame->type) {
    case PACKET_PUBLISH:
        return conn_hold_publish(conn, frame);
    case PACKET_SUBSCRIBE:
        return conn_hold_subscribe(conn);
    case PACKET_PINGREQ:
        return conn_hold_ping(conn);
    default:
        return false;
    }
}

static size_t received(struct stream *stream, struct bytes in)
{
    struct conn *conn = conn_of_stream(stream);
    struct conn_worker *worker = conn->worker;
    size_t at = 0;
    uint32_t packets = 0;
    while (conn->state != CONN_CLOSING && conn->busy == 0) {
        struct bytes rest = bytes_of(in.data + at, in.len - at);
        struct frame frame;
        if (cannot_be_connect(conn, rest)) {
            metric_inc(worker->metrics, METRIC_PROTOCOL_ERRORS);
            conn_end(conn, SESSION_WILL_KEEP);
            break;
        }
        enum frame_result result =
            frame_parse(rest, worker->shared->config->limits.packet_bytes, &frame);
        if (result == FRAME_MORE)
            break;
        if (result != FRAME_OK) {
            frame_fault(conn, result);
            break;
        }
        if (worker->hub->remote != NULL && conn->state == CONN_CONNECTED && is_held(conn, &frame))
            break;
        packets++;
        if (__builtin_expect(conn->state == CONN_CONNECTED, 1))
            dispatch(conn, &frame, rest.data);
        else if (!dispatch_early(conn, &frame, rest.data, at))
            return at; /* the other worker parses this packet again */
        at += frame.size;
        if (conn->state != CONN_CONNECTED)
            continue;
        if (stream_is_high(&conn->stream))
            conn_set_busy(conn, CONN_BUSY_OUTPUT);
        if (conn->pace != NULL)
            conn_pace_packet(conn);
        if (worker->hub->work > WORK_PER_TURN) {
            conn_yield(conn);
        }
    }
    if (packets > 0)
        conn->last_in_ms = worker->loop->now_ms;
    if (!(conn->busy & CONN_BUSY_HOME))
        conn->held_ms = 0; /* what comes next is read later */
    metric_add(worker->metrics, METRIC_PACKETS_RECEIVED, packets);
    metric_add(worker->metrics, METRIC_BYTES_RECEIVED, at);
    return conn->state == CONN_CLOSING ? in.len : at;
}

static void drained(struct stream *stream)
{
    struct conn *conn = conn_of_stream(stream);
    conn->sink.hold = false;
    conn->stuck_bytes = 0;
    conn_clear_busy(conn, CONN_BUSY_OUTPUT);
    if (conn->session == NULL)
        return;
    session_pump(conn->session);
    if (!list_empty(&conn->worker->hub->parked))
        loop_wake(
            conn->worker->loop); /* retained messages waited for this: see delivery_unpark() */
}

static const struct stream_ops conn_stream_ops = {
    .received = received,
    .drained = drained,
    .ended = stream_ended,
    .closed = stream_closed,
};

/* ---- not reading for a while -------------------------------------------------------------------
 */

void conn_set_busy(struct conn *conn, enum conn_busy why)
{
    if (conn->busy == 0)
        stream_pause(&conn->stream);
    conn->busy |= (uint8_t)why;
}

void conn_clear_busy(struct conn *conn, enum conn_busy why)
{
    conn->busy &= (uint8_t)~why;
    if (conn->busy == 0)
        stream_resume(&conn->stream);
}
