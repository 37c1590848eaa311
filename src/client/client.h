/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of MQTT 3.1, 3.1.1 and 5.0, over TCP or WebSocket, on one loop: what `skein
 * pub` and `skein sub` are made of. It keeps packet ids, windows, acknowledgements and the keep
 * alive; messages it does not keep: it says by done() when one is finished and by resend() when one
 * that is not has to be sent again. Nothing is allocated per message. One thread, the loop's.
 *
 *   CLOSED --open--> [UPGRADING] --> GREETING --CONNACK--> UP
 *     ^                  |              |                   |
 *     '---- closed() ----'--- ended() --'-------------------'
 *
 * After closed() the client can be opened again, with the session that it had: that is
 * reconnecting.
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "client/window.h"
#include "codec/packet.h"
#include "net/stream.h"

struct client;
struct ws;

enum client_state {
    CLIENT_CLOSED,
    CLIENT_UPGRADING, /* WebSocket */
    CLIENT_GREETING,  /* CONNECT is sent */
    CLIENT_UP,
    CLIENT_ENDED, /* ended() was called, closed() will be */
};

/* Why a connection is over. */
enum client_end {
    CLIENT_END_BY_US,
    CLIENT_END_REFUSED,    /* CONNACK with a reason */
    CLIENT_END_BY_SERVER,  /* DISCONNECT with a reason (5.0) */
    CLIENT_END_LOST,       /* the server closed, or the network did */
    CLIENT_END_SILENT,     /* no answer to a ping */
    CLIENT_END_MALFORMED,  /* what the server sent is not MQTT, or not allowed; the reason says what
                            */
    CLIENT_END_NO_UPGRADE, /* no WebSocket is spoken there */
};

/* All run on the loop's thread; all spans are borrowed until the return. Any of them may close the
 * client. Those that may be NULL say so. */
struct client_ops {
    void (*connected)(struct client *client, const struct connack *connack);
    /* A message; it is acknowledged afterwards. QoS 2: comes once. */
    void (*message)(struct client *client, const struct publish *publish);
    /* What was published with this id is finished; reason >= 0x80: refused. */
    void (*done)(struct client *client, uint16_t packet_id, uint8_t reason);
    /* Before connected(), when the session is still there: call client_publish_again() for this id.
     * May be NULL: then the session's messages are dropped. */
    void (*resend)(struct client *client, uint16_t packet_id);
    /* SUBACK or UNSUBACK. May be NULL. */
    void (*answered)(struct client *client, const struct suback *suback);
    /* client_publish() has said RC_AGAIN, and may be tried again. May be NULL. */
    void (*ready)(struct client *client);
    /* reason: of CONNACK, DISCONNECT or our own judgement; 0 when there is none. */
    void (*ended)(struct client *client, enum client_end why, uint8_t reason);
    /* The memory of the client may go, or be used for the next client_open(). */
    void (*closed)(struct client *client);
};

/* The topic that an alias of this connection stands for. */
struct client_alias {
    uint8_t *topic;
    size_t len;
};

struct client {
    struct stream stream;
    struct loop *loop;
    const struct client_ops *ops;
    void *owner;
    uint8_t state;   /* enum client_state */
    uint8_t version; /* enum mqtt_version */
    bool waits;      /* ready() is owed */
    bool ping_unanswered;
    uint16_t keep_alive_s;
    uint16_t last_ask_id; /* of SUBSCRIBE and UNSUBSCRIBE */
    uint16_t window_max;  /* of this connection: the server's receive maximum counts too */
    uint32_t packet_max;  /* that the server takes */
    uint64_t sent_ms;     /* when the last packet was written */
    struct loop_timer keep_alive;
    struct window window;
    uint64_t *received;           /* bit n: QoS 2 message with id n has come and is not released */
    struct client_alias *aliases; /* of the server, alias_max of them; NULL until one is used */
    uint16_t alias_max;           /* what CONNECT allowed */
    /* WebSocket */
    struct ws *ws;
    uint8_t *greeting; /* the CONNECT that waits for the upgrade */
    size_t greeting_len;
    uint8_t *in; /* MQTT bytes taken out of frames */
    size_t in_len, in_room;
};

enum {
    CLIENT_WINDOW_MAX = 65000, /* the ids above are for subscribing */
    CLIENT_LINGER_MS = 2000,
};

/* Borrows loop, ops and owner. window: messages of QoS 1 and 2 under way, 1..CLIENT_WINDOW_MAX. */
void client_init(struct client *client, struct loop *loop, const struct client_ops *ops,
                 void *owner, uint16_t window);

/* The client is CLOSED. */
void client_deinit(struct client *client);

/* How to upgrade to WebSocket; borrowed while client_open() runs. */
struct client_websocket {
    const char *host, *path;
    uint16_t port;
};

/*
 * Takes the descriptor (connected, non-blocking) and greets with `connect`, which is borrowed while
 * this runs. websocket NULL: plain TCP. RC_OK: ended() and closed() will come. RC_IO, RC_NO_MEMORY:
 * the descriptor is closed and nothing will be called.
 */
MUST_USE enum rc client_open(struct client *client, int fd, const struct connect *connect,
                             const struct client_websocket *websocket);

/*
 * Publishes. RC_OK: *packet_id (0 with QoS 0) is what done() will name. RC_AGAIN: the window or the
 * output is full, ready() will come. RC_CLOSED: not UP. RC_INVALID: larger than the server takes.
 * RC_NO_MEMORY. topic_alias 0: none. Borrows publication.
 */
MUST_USE enum rc client_publish(struct client *client, const struct publication *publication,
                                uint16_t topic_alias, uint16_t *packet_id);

/* From resend(): the message of this id, again. */
MUST_USE enum rc client_publish_again(struct client *client, const struct publication *publication,
                                      uint16_t packet_id);

/* Gives the packet id that answered() will show, 0 when the client is not UP or there is no memory.
 * Borrows everything. */
uint16_t client_subscribe(struct client *client, const struct properties *properties,
                          const struct subscribe_filter *filters, size_t count);
uint16_t client_unsubscribe(struct client *client, const struct properties *properties,
                            const struct bytes *filters, size_t count);

/* Says DISCONNECT, writes what was written before, closes. ended(CLIENT_END_BY_US) is called from
 * here. Harmless when the client is ENDED or CLOSED. */
void client_disconnect(struct client *client, uint8_t reason, const struct properties *properties);

/* Closes without a word: the server publishes the will. The rest as client_disconnect(). */
void client_close(struct client *client);

#endif
