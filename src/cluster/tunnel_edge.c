/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a client's transport is and its session is not. An edge passes bytes on and knows of MQTT
 * only where packets end: to put each into a WebSocket frame of its own, and to say a last word
 * between two of them.
 *
 *   the link is dialled --OPEN--> both ways --END from either side, answered--> gone
 *          '--not reached, link lost, drain: farewell, the transport is flushed--'
 */
#include "cluster/registration.h"

#include "base/check.h"
#include "base/memory.h"
#include "metrics/metrics.h"

#include <unistd.h>

enum { FAREWELL_MAX = 1024 };

struct edge {
    struct stream stream; /* the client's */
    struct tunnels *tunnels;
    struct tunnel_out *out; /* NULL: nothing links it to its home any more */
    uint32_t id;
    struct list node; /* in tunnels->edges */
    struct list wait; /* in out->waiting, or tunnels->cutting */
    struct cluster_client client;
    struct tunnel_flow flow;
    struct packet_cut cut; /* of what goes to the client */
    bool begun;            /* OPEN was said */
    bool said_end;
    bool answered;  /* something has come from its home */
    bool is_closed; /* the stream */
    bool counted;   /* why it ended */
};

static struct edge *edge_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct edge, stream);
}

static struct metrics_shard *metrics_of(const struct tunnels *tunnels)
{
    return tunnels->is.hub->metrics;
}

/* ---- begin and end -----------------------------------------------------------------------------
 */

static void free_if_over(struct edge *edge)
{
    if (edge->out == NULL && edge->is_closed)
        mem_free(edge);
}

/* Nothing comes from its home any more, or goes there. */
static void let_go(struct edge *edge)
{
    slots_release(&edge->out->edges, edge->id);
    list_remove(&edge->wait);
    edge->out = NULL;
}

static void say_end(struct edge *edge, enum tunnel_end why)
{
    if (edge->out == NULL || edge->said_end)
        return;
    edge->said_end = true;
    if (edge->begun)
        tunnel_say_end(&edge->out->link, edge->id, why);
    else
        let_go(edge);
}

static void count_end(struct edge *edge, enum metric reason)
{
    if (!edge->counted)
        metric_inc(metrics_of(edge->tunnels), reason);
    edge->counted = true;
}

/* The last thing that the client is told by us. */
static void send_away(struct edge *edge)
{
    const struct cluster_worker *is = &edge->tunnels->is;
    uint8_t packet[FAREWELL_MAX];
    if (edge->stream.state != STREAM_OPEN)
        return;
    if (packet_cut_between(&edge->cut)) {
        size_t len = is->clients->farewell(is->clients_owner, &edge->client, edge->answered, packet,
                                           sizeof(packet));
        if (stream_write(&edge->stream, bytes_of(packet, len)) != RC_OK)
            stream_close(&edge->stream);
    }
    stream_close_after_flush(&edge->stream, TUNNEL_LINGER_MS);
}

/* ---- from the client ---------------------------------------------------------------------------
 */

/* The client waits: for credit, or for room in the link. */
static void hold(struct edge *edge)
{
    stream_pause(&edge->stream);
    metric_inc(metrics_of(edge->tunnels), METRIC_TUNNELS_HELD);
    if (link_is_high(&edge->out->link) && !list_linked(&edge->wait))
        list_add_last(&edge->out->waiting, &edge->wait);
}

static size_t received(struct stream *stream, struct bytes in)
{
    struct edge *edge = edge_of(stream);
    if (edge->out == NULL || !edge->begun)
        return 0;
    size_t sent = flow_send(&edge->flow, &edge->out->link, edge->id, in, NULL);
    metric_add(metrics_of(edge->tunnels), METRIC_TUNNEL_BYTES_RECEIVED, sent);
    if (sent < in.len)
        hold(edge);
    return sent;
}

static void drained(struct stream *stream)
{
    struct edge *edge = edge_of(stream);
    if (edge->out != NULL && !edge->said_end)
        flow_give(&edge->flow, &edge->out->link, edge->id);
}

static void ended(struct stream *stream, enum stream_close_reason reason)
{
    struct edge *edge = edge_of(stream);
    bool well = reason == STREAM_CLOSED_BY_PEER || reason == STREAM_CLOSED_BY_US;
    count_end(edge, METRIC_TUNNELS_ENDED_BY_CLIENT);
    list_remove(&edge->wait);
    say_end(edge, well ? TUNNEL_END_CLOSED : TUNNEL_END_ERROR);
}

static void closed(struct stream *stream)
{
    struct edge *edge = edge_of(stream);
    struct tunnels *tunnels = edge->tunnels;
    list_remove(&edge->node);
    atomic_fetch_sub_explicit(tunnels->is.connections, 1, memory_order_relaxed);
    metric_inc(metrics_of(tunnels), METRIC_CONNECTIONS_CLOSED);
    metric_dec(metrics_of(tunnels), METRIC_TUNNELS_EDGE);
    edge->is_closed = true;
    free_if_over(edge);
}

static const struct stream_ops stream_ops = {
    .received = received, .drained = drained, .ended = ended, .closed = closed};

/* ---- from its home -----------------------------------------------------------------------------
 */

/* On a websocket each packet is to have a frame of its own. */
static void write_to_client(struct edge *edge, struct bytes bytes)
{
    bool framed = edge->client.transport == TRANSPORT_WEBSOCKET;
    struct bytes all = bytes;
    while (bytes.len > 0) {
        size_t len = packet_cut_next(&edge->cut, bytes);
        if (framed)
            stream_write(&edge->stream, bytes_of(bytes.data, len));
        bytes = bytes_of(bytes.data + len, bytes.len - len);
    }
    if (!framed)
        stream_write(&edge->stream, all); /* when that fails the stream ends */
}

static bool take_data(struct tunnel_out *out, const struct link_frame *frame)
{
    uint32_t id;
    struct bytes data;
    struct edge *edge =
        tunnel_data_read(frame->body, &id, &data) ? slots_get(&out->edges, id) : NULL;
    if (edge == NULL || !edge->begun || !flow_take(&edge->flow, data.len))
        return false;
    if (edge->said_end)
        return true; /* it was under way */
    edge->answered = true;
    metric_add(metrics_of(out->tunnels), METRIC_TUNNEL_BYTES_SENT, data.len);
    write_to_client(edge, data);
    if (edge->out != NULL && !edge->said_end && !stream_is_high(&edge->stream))
        flow_give(&edge->flow, &out->link, id);
    return true;
}

static bool take_credit(struct tunnel_out *out, const struct link_frame *frame)
{
    uint32_t id;
    uint64_t worked_off;
    bool read = tunnel_credit_read(frame->body, &id, &worked_off);
    struct edge *edge = read ? slots_get(&out->edges, id) : NULL;
    if (edge == NULL || !flow_credit(&edge->flow, worked_off))
        return false;
    if (!edge->said_end && !list_linked(&edge->wait))
        stream_resume(&edge->stream);
    return true;
}

static bool take_end(struct tunnel_out *out, const struct link_frame *frame)
{
    uint32_t id;
    enum tunnel_end why;
    struct edge *edge = tunnel_end_read(frame, &id, &why) ? slots_get(&out->edges, id) : NULL;
    if (edge == NULL || !edge->begun)
        return false;
    count_end(edge, METRIC_TUNNELS_ENDED_BY_HOME);
    say_end(edge, TUNNEL_END_CLOSED);
    let_go(edge);
    if (edge->stream.state != STREAM_OPEN)
        free_if_over(edge);
    else if (why == TUNNEL_END_FINISHED || edge->stream.out_bytes > 0)
        stream_close_after_flush(&edge->stream, TUNNEL_LINGER_MS);
    else
        stream_close_soon(&edge->stream);
    return true;
}

static struct tunnel_out *out_of(struct link *link)
{
    return CONTAINER_OF(link, struct tunnel_out, link);
}

static bool out_frame(struct link *link, const struct link_frame *frame)
{
    struct tunnel_out *out = out_of(link);
    switch (frame->kind) {
    case LINK_TUNNEL_DATA:
        return take_data(out, frame);
    case LINK_TUNNEL_CREDIT:
        return take_credit(out, frame);
    case LINK_TUNNEL_END:
        return take_end(out, frame);
    default:
        return registration_edge_frame(out, frame);
    }
}

static void out_drained(struct link *link)
{
    for (struct list *wait; (wait = list_take_first(&out_of(link)->waiting)) != NULL;)
        stream_resume(&CONTAINER_OF(wait, struct edge, wait)->stream);
}

/* ---- links that end ----------------------------------------------------------------------------
 */

/* Its clients are told so, some in each turn. */
static void cut_off(struct tunnel_out *out)
{
    struct tunnels *tunnels = out->tunnels;
    for (uint32_t id = 0; id < out->edges.used; id++) {
        struct edge *edge = out->edges.at[id];
        if (edge == NULL)
            continue;
        let_go(edge);
        count_end(edge, METRIC_TUNNELS_ENDED_BY_LINK);
        if (edge->stream.state != STREAM_OPEN) {
            free_if_over(edge);
            continue;
        }
        stream_pause(&edge->stream);
        list_add_last(&tunnels->cutting, &edge->wait);
    }
    if (!list_empty(&tunnels->cutting) && !timer_running(&tunnels->cutter.timer))
        loop_timer_start(tunnels->is.loop, &tunnels->cutter, tunnels->is.loop->now_ms);
}

void edges_cut(struct loop_timer *timer)
{
    struct tunnels *tunnels = CONTAINER_OF(timer, struct tunnels, cutter);
    struct list *wait;
    for (int n = 0; n < TUNNEL_CUT_AT_ONCE; n++) {
        if ((wait = list_take_first(&tunnels->cutting)) == NULL)
            return;
        send_away(CONTAINER_OF(wait, struct edge, wait));
    }
    loop_timer_start(tunnels->is.loop, timer, tunnels->is.loop->now_ms + 1);
}

static void out_ended(struct link *link)
{
    struct tunnel_out *out = out_of(link);
    out->state = TUNNEL_LOST;
    list_remove(&out->node);
    cut_off(out);
    registrations_out_lost(out);
}

static void out_free(struct tunnel_out *out)
{
    slots_free(&out->edges);
    mem_free(out);
}

static void out_closed(struct link *link)
{
    out_free(out_of(link));
}

static const struct link_ops out_ops = {
    .frame = out_frame, .drained = out_drained, .ended = out_ended, .closed = out_closed};

void tunnel_out_close(struct tunnel_out *out)
{
    if (out->state == TUNNEL_OPEN) {
        link_close(&out->link);
    } else {
        list_remove(&out->node);
        cut_off(out);
        registrations_out_lost(out);
        out_free(out);
    }
}

/* ---- links that begin --------------------------------------------------------------------------
 */

static struct tunnel_out *out_find(struct tunnels *tunnels, uint32_t remote, uint32_t home_worker)
{
    LIST_FOR_EACH (node, &tunnels->outs) {
        struct tunnel_out *out = CONTAINER_OF(node, struct tunnel_out, node);
        if (out->remote == remote && out->home_worker == home_worker)
            return out;
    }
    return NULL;
}

struct tunnel_out *tunnel_out_get(struct tunnels *tunnels, uint32_t remote, uint32_t home_worker)
{
    struct tunnel_out *out = out_find(tunnels, remote, home_worker);
    if (out != NULL)
        return out;
    out = NEW(struct tunnel_out);
    out->tunnels = tunnels;
    out->remote = remote;
    out->home_worker = home_worker;
    list_init(&out->registrations);
    list_init(&out->waiting);
    list_add_last(&tunnels->outs, &out->node);
    tunnels->ops->dial(tunnels->owner, tunnels->worker, remote, home_worker);
    return out;
}

static void begin(struct edge *edge)
{
    const struct cluster_client *client = &edge->client;
    struct tunnel_open open = {.id = edge->id,
                               .hash = client->hash,
                               .transport = client->transport,
                               .durability = client->durability,
                               .listener = client->listener,
                               .family = client->peer.family,
                               .port = client->peer.port};
    uint8_t body[TUNNEL_OPEN_SIZE];
    memcpy(open.address, client->peer.address, sizeof(open.address));
    tunnel_open_write(&open, body);
    edge->begun = true;
    link_send(&edge->out->link, LINK_TUNNEL_OPEN, 0, bytes_of(body, sizeof(body)));
    stream_resume(&edge->stream);
}

void tunnel_out_reached(struct tunnels *tunnels, uint32_t remote, uint32_t home_worker, int fd,
                        struct bytes unread)
{
    struct tunnel_out *out = out_find(tunnels, remote, home_worker);
    if (out == NULL || out->state != TUNNEL_DIALLING) {
        if (fd >= 0)
            close(fd);
        return;
    }
    if (fd < 0 || link_open(&out->link, tunnels->is.loop, &out_ops, fd, unread) != RC_OK) {
        tunnel_out_close(out);
        return;
    }
    out->state = TUNNEL_OPEN;
    for (uint32_t id = 0; id < out->edges.used; id++)
        if (out->edges.at[id] != NULL)
            begin(out->edges.at[id]);
    registrations_out_open(out);
}

/* ---- clients -----------------------------------------------------------------------------------
 */

void tunnels_client(struct tunnels *tunnels, uint32_t remote, uint32_t home_worker, int fd,
                    const struct cluster_client *client, struct stream_filter *filter,
                    uint8_t *unread, size_t unread_len)
{
    struct edge *edge = NEW(struct edge);
    edge->tunnels = tunnels;
    edge->client = *client;
    list_init(&edge->wait);
    enum rc rc =
        stream_open(&edge->stream, tunnels->is.loop, &stream_ops, fd,
                    (enum transport)client->transport, filter, bytes_of(unread, unread_len));
    mem_free(unread);
    if (rc != RC_OK) {
        mem_free(edge);
        return;
    }
    stream_set_peer(&edge->stream, &client->peer);
    edge->client.peer = stream_peer_known(&edge->stream);
    stream_pause(&edge->stream); /* until begin() */
    list_add_last(&tunnels->edges, &edge->node);
    atomic_fetch_add_explicit(tunnels->is.connections, 1, memory_order_relaxed);
    metric_inc(metrics_of(tunnels), METRIC_CONNECTIONS_OPENED);
    metric_inc(metrics_of(tunnels), METRIC_TUNNELS_OPENED);
    metric_inc(metrics_of(tunnels), METRIC_TUNNELS_EDGE);
    struct tunnel_out *out = tunnel_out_get(tunnels, remote, home_worker);
    if (!slots_take(&out->edges, edge, &edge->id)) {
        metric_inc(metrics_of(tunnels), METRIC_LIMIT_TUNNELS);
        send_away(edge);
        return;
    }
    edge->out = out;
    if (out->state == TUNNEL_OPEN)
        begin(edge);
}

bool tunnels_drain(struct tunnels *tunnels, uint32_t max)
{
    LIST_FOR_EACH (node, &tunnels->edges) {
        struct edge *edge = CONTAINER_OF(node, struct edge, node);
        if (edge->stream.state != STREAM_OPEN)
            continue;
        if (max-- == 0)
            return false;
        count_end(edge, METRIC_TUNNELS_ENDED_BY_DRAIN);
        say_end(edge, TUNNEL_END_DRAINED);
        send_away(edge);
    }
    return true;
}

void edges_close(struct tunnels *tunnels)
{
    LIST_FOR_EACH (node, &tunnels->edges)
        stream_close(&CONTAINER_OF(node, struct edge, node)->stream);
    LIST_FOR_EACH_SAFE (node, &tunnels->outs)
        tunnel_out_close(CONTAINER_OF(node, struct tunnel_out, node));
}
