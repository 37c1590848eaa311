/* SPDX-License-Identifier: Apache-2.0 */
/* Life and output of a client; what comes in is in client_input.c. */
#include "client/client.h"

#include "base/check.h"
#include "base/memory.h"
#include "client/client_internal.h"
#include "client/ws.h"

#include <string.h>

enum {
    RECEIVED_WORDS = 65536 / 64,
    PUT_MAX = 64 * 1024, /* larger packets are written in pieces */
    REQUEST_MAX = 4096,
};

/* ---- Output -----------------------------------------------------------------------------------
 */

void client_put_framed(void *owner, const uint8_t *data, size_t len)
{
    struct client *client = owner;

    /* RC_NO_MEMORY shows in what is missing at the other end; the stream then ends. */
    if (stream_write(&client->stream, bytes_of(data, len)) != RC_OK)
        stream_close(&client->stream);
}

/* Writes MQTT bytes: to the stream, or around them a frame. */
static enum rc put(struct client *client, struct bytes bytes)
{
    client->sent_ms = client->loop->now_ms;
    if (client->ws == NULL)
        return stream_write(&client->stream, bytes);
    ws_write(client->ws, bytes, client_put_framed, client);
    return client->state == CLIENT_ENDED ? RC_CLOSED : RC_OK;
}

/* A packet that an encoder has made in memory of its own; frees it. */
static enum rc put_made(struct client *client, uint8_t *packet, size_t size)
{
    enum rc rc = put(client, bytes_of(packet, size));

    mem_free(packet);
    return rc;
}

void client_put_ack(struct client *client, enum packet_type type, uint16_t packet_id,
                    uint8_t reason)
{
    uint8_t packet[8];
    uint8_t *end =
        ack_write(packet, (enum mqtt_version)client->version, (uint8_t)type, packet_id, reason);

    put(client, bytes_of(packet, (size_t)(end - packet)));
}

static void put_empty(struct client *client, enum packet_type type)
{
    uint8_t packet[2];

    put(client, bytes_of(packet, (size_t)(empty_write(packet, type) - packet)));
}

/* ---- Life -------------------------------------------------------------------------------------
 */

static void on_keep_alive(struct loop_timer *timer)
{
    struct client *client = CONTAINER_OF(timer, struct client, keep_alive);

    if (client->ping_unanswered) {
        client_end(client, CLIENT_END_SILENT, MQTT_KEEP_ALIVE_TIMEOUT);
        return;
    }
    if (client->loop->now_ms - client->sent_ms >= client_ping_interval_ms(client)) {
        put_empty(client, PACKET_PINGREQ);
        client->ping_unanswered = true;
    }
    if (client->state == CLIENT_UP)
        client_keep_alive_start(client);
}

void client_keep_alive_start(struct client *client)
{
    if (client->keep_alive_s != 0)
        loop_timer_start(client->loop, &client->keep_alive,
                         client->loop->now_ms + client_ping_interval_ms(client));
}

void client_init(struct client *client, struct loop *loop, const struct client_ops *ops,
                 void *owner, uint16_t window)
{
    CHECK(window > 0 && window <= CLIENT_WINDOW_MAX);
    *client = (struct client){.loop = loop, .ops = ops, .owner = owner};
    window_init(&client->window, window);
    client->received = mem_new(RECEIVED_WORDS * sizeof(uint64_t));
    loop_timer_init(&client->keep_alive, on_keep_alive);
}

void client_deinit(struct client *client)
{
    CHECK(client->state == CLIENT_CLOSED);
    window_deinit(&client->window);
    mem_free(client->received);
    client->received = NULL;
}

void client_session_clear(struct client *client)
{
    window_clear(&client->window);
    memset(client->received, 0, RECEIVED_WORDS * sizeof(uint64_t));
}

static void on_drained(struct stream *stream)
{
    client_say_ready(CONTAINER_OF(stream, struct client, stream));
}

static void on_ended(struct stream *stream, enum stream_close_reason reason)
{
    struct client *client = CONTAINER_OF(stream, struct client, stream);

    client_end(client,
               reason == STREAM_CLOSED_BY_US || client->state == CLIENT_ENDED ? CLIENT_END_BY_US
                                                                              : CLIENT_END_LOST,
               0);
}

/* Aliases live as long as the connection [MQTT-3.3.2-7]. */
static void aliases_free(struct client *client)
{
    for (uint16_t i = 0; client->aliases != NULL && i < client->alias_max; i++)
        mem_free(client->aliases[i].topic);
    mem_free(client->aliases);
    client->aliases = NULL;
}

static void on_closed(struct stream *stream)
{
    struct client *client = CONTAINER_OF(stream, struct client, stream);

    aliases_free(client);
    ws_free(client->ws);
    client->ws = NULL;
    mem_free(client->greeting);
    mem_free(client->in);
    client->greeting = client->in = NULL;
    client->in_len = client->in_room = 0;
    client->state = CLIENT_CLOSED;
    client->ops->closed(client);
}

static const struct stream_ops stream_ops = {
    .received = client_received,
    .drained = on_drained,
    .ended = on_ended,
    .closed = on_closed,
};

void client_greet(struct client *client)
{
    client->state = CLIENT_GREETING;
    put_made(client, client->greeting, client->greeting_len);
    client->greeting = NULL;
}

static enum rc ask_for_upgrade(struct client *client, const struct client_websocket *websocket)
{
    char request[REQUEST_MAX];

    client->state = CLIENT_UPGRADING;
    size_t len = ws_request(client->ws, websocket->host, websocket->port, websocket->path, request,
                            sizeof(request));
    return len > 0 ? stream_write(&client->stream, bytes_of(request, len)) : RC_INVALID;
}

enum rc client_open(struct client *client, int fd, const struct connect *connect,
                    const struct client_websocket *websocket)
{
    CHECK(client->state == CLIENT_CLOSED);
    client->version = (uint8_t)connect->version;
    client->keep_alive_s = connect->keep_alive_s;
    client->window_max = client->window.size;
    client->packet_max = UINT32_MAX;
    client->alias_max = connect->properties.topic_alias_maximum; /* 0 when it is not there */
    client->waits = client->ping_unanswered = false;
    if (connect->clean_start)
        client_session_clear(client);
    client->greeting_len = connect_encode(connect, NULL, 0);
    client->greeting = mem_new(client->greeting_len);
    connect_encode(connect, client->greeting, client->greeting_len);

    enum rc rc = stream_open(&client->stream, client->loop, &stream_ops, fd, TRANSPORT_TCP, NULL,
                             bytes_of(NULL, 0));
    if (rc != RC_OK) {
        mem_free(client->greeting);
        client->greeting = NULL;
        return rc;
    }
    if (websocket == NULL) {
        client_greet(client);
        return RC_OK;
    }
    client->ws = ws_new();
    if (ask_for_upgrade(client, websocket) != RC_OK)
        client_end(client, CLIENT_END_NO_UPGRADE, 0);
    return RC_OK;
}

void client_end(struct client *client, enum client_end why, uint8_t reason)
{
    if (client->state == CLIENT_CLOSED || client->state == CLIENT_ENDED)
        return;
    client->state = CLIENT_ENDED;
    loop_timer_stop(client->loop, &client->keep_alive);
    client->ops->ended(client, why, reason);
    /* What was written goes out: a refusal of ours is to be read. */
    stream_close_after_flush(&client->stream, CLIENT_LINGER_MS);
}

/* ---- What the owner asks for ------------------------------------------------------------------
 */

/* A packet of any size: header and payload. */
static enum rc put_publish(struct client *client, const struct publication *publication,
                           const struct publish_form *form)
{
    size_t header_size = publish_header_size(publication, form);
    size_t size = header_size + publication->payload.len;

    if (size > client->packet_max || publication->payload.len > VARINT_MAX)
        return RC_INVALID;
    if (client->ws == NULL && size <= PUT_MAX) {
        uint8_t *at = stream_reserve(&client->stream, size);
        if (at == NULL)
            return RC_NO_MEMORY;
        at = publish_header_encode(at, publication, form);
        if (publication->payload.len > 0)
            memcpy(at, publication->payload.data, publication->payload.len);
        stream_commit(&client->stream, size);
        client->sent_ms = client->loop->now_ms;
        return RC_OK;
    }
    uint8_t *packet = mem_try(size);
    if (packet == NULL)
        return RC_NO_MEMORY;
    uint8_t *at = publish_header_encode(packet, publication, form);
    if (publication->payload.len > 0)
        memcpy(at, publication->payload.data, publication->payload.len);
    return put_made(client, packet, size);
}

static struct publish_form form_of(const struct client *client,
                                   const struct publication *publication)
{
    return (struct publish_form){
        .version = (enum mqtt_version)client->version,
        .qos = publication->qos,
        .retain = publication->retain,
        .expiry_left_s = publication->expiry_s,
    };
}

enum rc client_publish(struct client *client, const struct publication *publication,
                       uint16_t topic_alias, uint16_t *packet_id)
{
    struct publish_form form = form_of(client, publication);

    *packet_id = 0;
    if (client->state != CLIENT_UP)
        return RC_CLOSED;
    if (stream_is_high(&client->stream) ||
        (publication->qos > 0 && (client->window.pending >= client->window_max ||
                                  client->window.span == client->window.size))) {
        client->waits = true;
        return RC_AGAIN;
    }
    form.topic_alias = topic_alias;
    if (publication->qos > 0)
        *packet_id = form.packet_id = window_take(&client->window, publication->qos);
    enum rc rc = put_publish(client, publication, &form);
    if (rc != RC_OK && *packet_id != 0)
        window_finish(&client->window, *packet_id);
    return rc;
}

enum rc client_publish_again(struct client *client, const struct publication *publication,
                             uint16_t packet_id)
{
    struct publish_form form = form_of(client, publication);

    CHECK(window_state(&client->window, packet_id) != WINDOW_FREE);
    form.packet_id = packet_id;
    form.dup = true;
    return put_publish(client, publication, &form);
}

/* The ids above the window go round. */
static uint16_t ask_id(struct client *client)
{
    if (client->last_ask_id <= CLIENT_WINDOW_MAX || client->last_ask_id == UINT16_MAX)
        client->last_ask_id = CLIENT_WINDOW_MAX;
    return ++client->last_ask_id;
}

uint16_t client_subscribe(struct client *client, const struct properties *properties,
                          const struct subscribe_filter *filters, size_t count)
{
    enum mqtt_version version = (enum mqtt_version)client->version;

    if (client->state != CLIENT_UP)
        return 0;
    uint16_t id = ask_id(client);
    size_t size = subscribe_encode(id, version, properties, filters, count, NULL, 0);
    uint8_t *packet = mem_new(size);
    subscribe_encode(id, version, properties, filters, count, packet, size);
    return put_made(client, packet, size) == RC_OK ? id : 0;
}

uint16_t client_unsubscribe(struct client *client, const struct properties *properties,
                            const struct bytes *filters, size_t count)
{
    enum mqtt_version version = (enum mqtt_version)client->version;

    if (client->state != CLIENT_UP)
        return 0;
    uint16_t id = ask_id(client);
    size_t size = unsubscribe_encode(id, version, properties, filters, count, NULL, 0);
    uint8_t *packet = mem_new(size);
    unsubscribe_encode(id, version, properties, filters, count, packet, size);
    return put_made(client, packet, size) == RC_OK ? id : 0;
}

void client_put_disconnect(struct client *client, uint8_t reason,
                           const struct properties *properties)
{
    struct disconnect disconnect = {.reason = reason};
    enum mqtt_version version = (enum mqtt_version)client->version;

    if (properties != NULL)
        disconnect.properties = *properties;
    size_t room = FRAME_HEADER_MAX + 1 + FRAME_HEADER_MAX + properties_size(&disconnect.properties);
    uint8_t *packet = mem_new(room);
    put_made(client, packet, disconnect_encode(&disconnect, version, packet, room));
    if (client->ws != NULL)
        ws_write_close(client->ws, client_put_framed, client);
}

void client_disconnect(struct client *client, uint8_t reason, const struct properties *properties)
{
    if (client->state == CLIENT_UP)
        client_put_disconnect(client, reason, properties);
    client_end(client, CLIENT_END_BY_US, 0);
}

void client_close(struct client *client)
{
    if (client->state == CLIENT_CLOSED)
        return;
    stream_close(&client->stream); /* calls on_ended() */
}
