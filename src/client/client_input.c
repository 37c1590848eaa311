/* SPDX-License-Identifier: Apache-2.0 */
/* What a client makes of what the server sends. */
#include "base/check.h"
#include "base/memory.h"
#include "client/client_internal.h"
#include "client/ws.h"

#include <string.h>

enum { IN_ROOM_MIN = 4096 };

static void malformed(struct client *client, uint8_t reason)
{
    if (client->state == CLIENT_UP && client->version == MQTT_V5)
        client_put_disconnect(client, reason, NULL);
    client_end(client, CLIENT_END_MALFORMED, reason);
}

/* ---- Packets ----------------------------------------------------------------------------------
 */

static void apply_limits(struct client *client, const struct properties *p)
{
    if (property_present(p, PROPERTY_RECEIVE_MAXIMUM) && p->receive_maximum < client->window_max)
        client->window_max = p->receive_maximum;
    if (property_present(p, PROPERTY_MAXIMUM_PACKET_SIZE))
        client->packet_max = p->maximum_packet_size;
    if (property_present(p, PROPERTY_SERVER_KEEP_ALIVE))
        client->keep_alive_s = p->server_keep_alive_s;
}

/* What was not finished when the last connection ended goes out again, in order [MQTT-4.4.0-1]. */
static void resend_all(struct client *client)
{
    uint16_t at = 0, id;

    while ((id = window_next(&client->window, &at)) != 0 && client->state == CLIENT_UP) {
        if (window_state(&client->window, id) == WINDOW_RELEASED)
            client_put_ack(client, PACKET_PUBREL, id, MQTT_SUCCESS);
        else
            client->ops->resend(client, id);
    }
}

static void take_connack(struct client *client, const struct frame *frame)
{
    struct connack connack;
    enum mqtt_reason reason = connack_decode(frame, (enum mqtt_version)client->version, &connack);

    if (reason != MQTT_SUCCESS) {
        malformed(client, reason);
        return;
    }
    if (connack.reason != 0) {
        client_end(client, CLIENT_END_REFUSED, connack.reason);
        return;
    }
    client->state = CLIENT_UP;
    apply_limits(client, &connack.properties);
    client_keep_alive_start(client);
    if (!connack.session_present || client->ops->resend == NULL)
        client_session_clear(client);
    resend_all(client); /* before anything new is published */
    if (client->state == CLIENT_UP)
        client->ops->connected(client, &connack);
}

static bool received_before(const struct client *client, uint16_t id)
{
    return client->received[id / 64] >> (id % 64) & 1;
}

/* Learns the alias or puts in the topic that it stands for. False: the server broke the rules. */
static bool resolve_alias(struct client *client, struct publish *publish)
{
    if (!publish->has_topic_alias)
        return publish->topic.len > 0;
    if (publish->topic_alias == 0 || publish->topic_alias > client->alias_max)
        return false;
    if (client->aliases == NULL)
        client->aliases = mem_new(client->alias_max * sizeof(struct client_alias));
    struct client_alias *alias = &client->aliases[publish->topic_alias - 1];
    if (publish->topic.len > 0) {
        mem_free(alias->topic);
        alias->topic = mem_new(publish->topic.len); /* at most 64 KiB */
        memcpy(alias->topic, publish->topic.data, publish->topic.len);
        alias->len = publish->topic.len;
    }
    publish->topic = bytes_of(alias->topic, alias->len);
    return publish->topic.len > 0;
}

static void take_publish(struct client *client, const struct frame *frame)
{
    struct publish publish;
    enum mqtt_reason reason = publish_decode(frame, (enum mqtt_version)client->version, &publish);

    if (reason != MQTT_SUCCESS) {
        malformed(client, reason);
        return;
    }
    if (!resolve_alias(client, &publish)) {
        malformed(client, MQTT_TOPIC_ALIAS_INVALID);
        return;
    }
    if (publish.qos < 2 || !received_before(client, publish.packet_id))
        client->ops->message(client, &publish);
    if (client->state != CLIENT_UP)
        return;
    if (publish.qos == 1)
        client_put_ack(client, PACKET_PUBACK, publish.packet_id, MQTT_SUCCESS);
    if (publish.qos == 2) {
        client->received[publish.packet_id / 64] |= (uint64_t)1 << (publish.packet_id % 64);
        client_put_ack(client, PACKET_PUBREC, publish.packet_id, MQTT_SUCCESS);
    }
}

static void take_pubrel(struct client *client, uint16_t id)
{
    bool known = received_before(client, id);

    client->received[id / 64] &= ~((uint64_t)1 << (id % 64));
    client_put_ack(client, PACKET_PUBCOMP, id,
                   known || client->version != MQTT_V5 ? MQTT_SUCCESS
                                                       : MQTT_PACKET_IDENTIFIER_NOT_FOUND);
}

static void take_ack(struct client *client, const struct frame *frame)
{
    struct ack ack;
    enum mqtt_reason reason = ack_decode(frame, (enum mqtt_version)client->version, &ack);

    if (reason != MQTT_SUCCESS) {
        malformed(client, reason);
        return;
    }
    if (ack.type == PACKET_PUBREL) {
        take_pubrel(client, ack.packet_id);
        return;
    }
    enum window_state state = window_state(&client->window, ack.packet_id);
    bool refused = ack.reason >= MQTT_UNSPECIFIED_ERROR;
    if (ack.type == PACKET_PUBREC && !refused &&
        (state == WINDOW_SENT_QOS_2 || state == WINDOW_RELEASED)) {
        window_release(&client->window, ack.packet_id);
        client_put_ack(client, PACKET_PUBREL, ack.packet_id, MQTT_SUCCESS);
        return;
    }
    bool expected = (ack.type == PACKET_PUBACK && state == WINDOW_SENT_QOS_1) ||
                    (ack.type == PACKET_PUBREC && state == WINDOW_SENT_QOS_2) ||
                    (ack.type == PACKET_PUBCOMP && state == WINDOW_RELEASED);
    if (!expected)
        return; /* of a message that is finished: harmless */
    window_finish(&client->window, ack.packet_id);
    client->ops->done(client, ack.packet_id, ack.reason);
    client_say_ready(client);
}

static void take_suback(struct client *client, const struct frame *frame)
{
    struct suback suback;
    enum mqtt_reason reason = suback_decode(frame, (enum mqtt_version)client->version, &suback);

    if (reason != MQTT_SUCCESS)
        malformed(client, reason);
    else if (client->ops->answered != NULL)
        client->ops->answered(client, &suback);
}

static void take_disconnect(struct client *client, const struct frame *frame)
{
    struct disconnect disconnect;
    enum mqtt_reason reason =
        disconnect_decode(frame, (enum mqtt_version)client->version, &disconnect);

    if (client->version != MQTT_V5)
        malformed(client, MQTT_PROTOCOL_ERROR); /* servers could not say it before 5.0 */
    else if (reason != MQTT_SUCCESS)
        malformed(client, reason);
    else
        client_end(client, CLIENT_END_BY_SERVER, disconnect.reason);
}

static void take(struct client *client, const struct frame *frame)
{
    if ((client->state == CLIENT_GREETING) != (frame->type == PACKET_CONNACK)) {
        malformed(client, MQTT_PROTOCOL_ERROR);
        return;
    }
    switch (frame->type) {
    case PACKET_CONNACK:
        take_connack(client, frame);
        break;
    case PACKET_PUBLISH:
        take_publish(client, frame);
        break;
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBREL:
    case PACKET_PUBCOMP:
        take_ack(client, frame);
        break;
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
        take_suback(client, frame);
        break;
    case PACKET_PINGRESP:
        client->ping_unanswered = false;
        break;
    case PACKET_DISCONNECT:
        take_disconnect(client, frame);
        break;
    default:
        malformed(client, MQTT_PROTOCOL_ERROR);
        break;
    }
}

/* Gives how many bytes whole packets took. */
static size_t take_packets(struct client *client, struct bytes in)
{
    size_t consumed = 0;
    struct frame frame;

    while (client->state == CLIENT_GREETING || client->state == CLIENT_UP) {
        enum frame_result result =
            frame_parse(bytes_of(in.data + consumed, in.len - consumed), SIZE_MAX, &frame);
        if (result == FRAME_MORE)
            break;
        if (result != FRAME_OK) {
            malformed(client, MQTT_MALFORMED_PACKET);
            break;
        }
        take(client, &frame);
        consumed += frame.size;
    }
    return consumed;
}

/* ---- The stream -------------------------------------------------------------------------------
 */

static void put_unframed(void *owner, const uint8_t *data, size_t len)
{
    struct client *client = owner;

    if (client->in_len + len > client->in_room) {
        size_t room = client->in_room < IN_ROOM_MIN ? IN_ROOM_MIN : client->in_room;
        while (room < client->in_len + len)
            room *= 2;
        uint8_t *in = mem_try_resize(client->in, room);
        if (in == NULL) {
            client_end(client, CLIENT_END_LOST, 0);
            return;
        }
        client->in = in;
        client->in_room = room;
    }
    memcpy(client->in + client->in_len, data, len);
    client->in_len += len;
}

static void received_frames(struct client *client, struct bytes in)
{
    enum rc rc = ws_read(client->ws, in, put_unframed, client, client_put_framed, client);
    size_t consumed = take_packets(client, bytes_of(client->in, client->in_len));

    if (client->state == CLIENT_ENDED || client->state == CLIENT_CLOSED)
        return;
    if (consumed > 0)
        memmove(client->in, client->in + consumed, client->in_len - consumed);
    client->in_len -= consumed;
    if (rc == RC_CLOSED)
        client_end(client, CLIENT_END_LOST, 0);
    else if (rc != RC_OK)
        malformed(client, MQTT_MALFORMED_PACKET);
}

size_t client_received(struct stream *stream, struct bytes in)
{
    struct client *client = CONTAINER_OF(stream, struct client, stream);
    size_t consumed = 0;

    if (client->ws == NULL)
        return take_packets(client, in);
    if (client->state == CLIENT_UPGRADING) {
        enum rc rc = ws_answer(client->ws, in, &consumed);
        if (rc == RC_AGAIN)
            return 0;
        if (rc != RC_OK) {
            client_end(client, CLIENT_END_NO_UPGRADE, 0);
            return in.len;
        }
        client_greet(client);
    }
    received_frames(client, bytes_of(in.data + consumed, in.len - consumed));
    return in.len;
}
