/* SPDX-License-Identifier: Apache-2.0 */
/* What client.c and client_input.c call of each other. Inside client only. */
#ifndef CLIENT_CLIENT_INTERNAL_H
#define CLIENT_CLIENT_INTERNAL_H

#include "client/client.h"

/* The stream's received(). */
size_t client_received(struct stream *stream, struct bytes in);

/* The connection is over: tells the owner once, and closes when what was written is out. */
void client_end(struct client *client, enum client_end why, uint8_t reason);

/* Sends the CONNECT that was made by client_open(). */
void client_greet(struct client *client);

void client_put_ack(struct client *client, enum packet_type type, uint16_t packet_id,
                    uint8_t reason);

/* DISCONNECT, and what a WebSocket says behind it. properties may be NULL. */
void client_put_disconnect(struct client *client, uint8_t reason,
                           const struct properties *properties);

/* A ws_put_fn: bytes of a frame go to the stream. */
void client_put_framed(void *owner, const uint8_t *data, size_t len);

/* Forgets what was under way in both directions. */
void client_session_clear(struct client *client);

void client_keep_alive_start(struct client *client);

/* A ping is due when nothing was sent for half the keep alive, so one is never late. */
static inline uint64_t client_ping_interval_ms(const struct client *client)
{
    return (uint64_t)client->keep_alive_s * 500;
}

static inline void client_say_ready(struct client *client)
{
    if (!client->waits || client->state != CLIENT_UP)
        return;
    client->waits = false;
    if (client->ops->ready != NULL)
        client->ops->ready(client);
}

#endif
