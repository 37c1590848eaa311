/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a session is and its client's transport is not: the stream that conn/ has is carried by a
 * link. Credit is given for what conn/ has taken, or keeps because a packet is not complete; none
 * while it does not want to read.
 */
#include "cluster/registration.h"

#include "base/memory.h"
#include "metrics/metrics.h"

struct home_end {
    struct stream_carrier carrier;
    struct metrics_shard *metrics;
    struct tunnel_in *in; /* NULL: the link has ended */
    uint32_t id;
    struct list wait; /* in in->waiting */
    struct tunnel_flow flow;
    bool said_end, heard_end;
    bool has_stream; /* conn/ has one that we carry */
};

static struct home_end *end_of(const struct stream_carrier *carrier)
{
    return CONTAINER_OF((struct stream_carrier *)(uintptr_t)carrier, struct home_end, carrier);
}

static struct tunnel_in *in_of(struct link *link)
{
    return CONTAINER_OF(link, struct tunnel_in, link);
}

static void free_if_over(struct home_end *end)
{
    if (end->has_stream || (end->in != NULL && !(end->said_end && end->heard_end)))
        return;
    if (end->in != NULL)
        slots_release(&end->in->ends, end->id);
    list_remove(&end->wait);
    mem_free(end);
}

static void say_end(struct home_end *end, enum tunnel_end why)
{
    if (end->in != NULL && !end->said_end)
        tunnel_say_end(&end->in->link, end->id, why);
    end->said_end = true;
}

/* ---- what the stream calls ---------------------------------------------------------------------
 */

static size_t send_output(struct stream_carrier *carrier, struct bytes bytes,
                          struct message *message, size_t left)
{
    struct home_end *end = end_of(carrier);
    (void)left;
    if (end->in == NULL || end->said_end)
        return 0;
    size_t sent = flow_send(&end->flow, &end->in->link, end->id, bytes, message);
    if (sent < bytes.len && link_is_high(&end->in->link) && !list_linked(&end->wait))
        list_add_last(&end->in->waiting, &end->wait);
    return sent;
}

static void wanted(struct stream_carrier *carrier)
{
    struct home_end *end = end_of(carrier);
    if (end->in != NULL && !end->said_end && !end->heard_end)
        flow_give(&end->flow, &end->in->link, end->id);
}

static void finished(struct stream_carrier *carrier)
{
    say_end(end_of(carrier), TUNNEL_END_FINISHED);
}

static void stream_is_closed(struct stream_carrier *carrier)
{
    struct home_end *end = end_of(carrier);
    metric_dec(end->metrics, METRIC_TUNNELS_HOME);
    end->has_stream = false;
    say_end(end, TUNNEL_END_CLOSED);
    free_if_over(end);
}

static size_t unsent(const struct stream_carrier *carrier)
{
    const struct tunnel_flow *flow = &end_of(carrier)->flow;
    return (size_t)(flow->sent - flow->worked_off);
}

static const struct stream_carrier_ops carrier_ops = {.send = send_output,
                                                      .wanted = wanted,
                                                      .finished = finished,
                                                      .closed = stream_is_closed,
                                                      .unsent = unsent};

/* ---- what the edge says ------------------------------------------------------------------------
 */

static bool take_open(struct tunnel_in *in, const struct link_frame *frame)
{
    const struct cluster_worker *is = &in->tunnels->is;
    struct tunnel_open open;
    if (!tunnel_open_read(frame->body, &open))
        return false;
    struct home_end *end = NEW(struct home_end);
    if (!slots_put(&in->ends, end, open.id)) {
        mem_free(end);
        return false;
    }
    end->carrier.ops = &carrier_ops;
    end->metrics = is->hub->metrics;
    end->in = in;
    end->id = open.id;
    list_init(&end->wait);
    struct cluster_client client = {.hash = open.hash,
                                    .transport = open.transport,
                                    .listener = open.listener,
                                    .durability = open.durability,
                                    .peer = {.family = open.family, .port = open.port}};
    memcpy(client.peer.address, open.address, sizeof(open.address));
    end->has_stream = true;
    if (is->clients->accept(is->clients_owner, &end->carrier, &client)) {
        metric_inc(is->hub->metrics, METRIC_TUNNELS_HOME);
    } else {
        end->has_stream = false;
        say_end(end, TUNNEL_END_CLOSED);
    }
    return true;
}

static bool take_data(struct tunnel_in *in, const struct link_frame *frame)
{
    uint32_t id;
    struct bytes data;
    struct home_end *end =
        tunnel_data_read(frame->body, &id, &data) ? slots_get(&in->ends, id) : NULL;
    if (end == NULL || end->heard_end || !flow_take(&end->flow, data.len))
        return false;
    if (!end->has_stream)
        return true; /* it was under way */
    struct stream *stream = end->carrier.stream;
    stream_carry_in(&end->carrier, data);
    if (end->has_stream && !end->said_end && !stream->paused)
        flow_give(&end->flow, &in->link, id);
    return true;
}

static bool take_credit(struct tunnel_in *in, const struct link_frame *frame)
{
    uint32_t id;
    uint64_t worked_off;
    bool read = tunnel_credit_read(frame->body, &id, &worked_off);
    struct home_end *end = read ? slots_get(&in->ends, id) : NULL;
    if (end == NULL || !flow_credit(&end->flow, worked_off))
        return false;
    if (end->has_stream && !list_linked(&end->wait))
        stream_carry_on(&end->carrier);
    return true;
}

static enum stream_close_reason reason_of(enum tunnel_end why)
{
    return why == TUNNEL_END_ERROR ? STREAM_CLOSED_BY_ERROR : STREAM_CLOSED_BY_PEER;
}

static bool take_end(struct tunnel_in *in, const struct link_frame *frame)
{
    uint32_t id;
    enum tunnel_end why;
    struct home_end *end = tunnel_end_read(frame, &id, &why) ? slots_get(&in->ends, id) : NULL;
    if (end == NULL || end->heard_end)
        return false;
    end->heard_end = true;
    if (end->has_stream)
        stream_carry_end(&end->carrier, reason_of(why));
    else
        free_if_over(end);
    return true;
}

static bool in_frame(struct link *link, const struct link_frame *frame)
{
    struct tunnel_in *in = in_of(link);
    switch (frame->kind) {
    case LINK_TUNNEL_OPEN:
        return take_open(in, frame);
    case LINK_TUNNEL_DATA:
        return take_data(in, frame);
    case LINK_TUNNEL_CREDIT:
        return take_credit(in, frame);
    case LINK_TUNNEL_END:
        return take_end(in, frame);
    default:
        return registration_home_frame(in, frame);
    }
}

static void in_drained(struct link *link)
{
    for (struct list *wait; (wait = list_take_first(&in_of(link)->waiting)) != NULL;) {
        struct home_end *end = CONTAINER_OF(wait, struct home_end, wait);
        if (end->has_stream)
            stream_carry_on(&end->carrier);
    }
}

/* ---- links -------------------------------------------------------------------------------------
 */

static void in_ended(struct link *link)
{
    struct tunnel_in *in = in_of(link);
    list_remove(&in->node);
    registrations_in_lost(in);
    for (uint32_t id = 0; id < in->ends.used; id++) {
        struct home_end *end = in->ends.at[id];
        if (end == NULL)
            continue;
        in->ends.at[id] = NULL;
        end->in = NULL;
        list_remove(&end->wait);
        if (end->has_stream)
            stream_carry_end(&end->carrier, STREAM_CLOSED_BY_ERROR);
        else
            free_if_over(end);
    }
}

static void in_closed(struct link *link)
{
    struct tunnel_in *in = in_of(link);
    slots_free(&in->ends);
    mem_free(in);
}

static const struct link_ops in_ops = {
    .frame = in_frame, .drained = in_drained, .ended = in_ended, .closed = in_closed};

void tunnel_in_open(struct tunnels *tunnels, uint32_t remote, int fd, struct bytes unread)
{
    struct tunnel_in *in = NEW(struct tunnel_in);
    in->tunnels = tunnels;
    in->remote = remote;
    list_init(&in->registered);
    list_init(&in->answers);
    list_init(&in->waiting);
    if (link_open(&in->link, tunnels->is.loop, &in_ops, fd, unread) != RC_OK)
        mem_free(in);
    else
        list_add_last(&tunnels->ins, &in->node);
}

void tunnel_in_close(struct tunnel_in *in)
{
    link_close(&in->link);
}
