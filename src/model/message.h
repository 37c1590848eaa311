/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is published. A `struct publication` is a view: it borrows its bytes, most often from a read
 * buffer, and can be delivered to every ready subscriber without one allocation. It becomes a
 * `struct message` (immutable, counted, shared between threads) only when somebody has to keep it:
 * a queue, an in-flight window, another worker, the retained store.
 */
#ifndef MODEL_MESSAGE_H
#define MODEL_MESSAGE_H

#include "base/bytes.h"
#include "base/rc.h"
#include "model/durability.h"

#include <stdatomic.h>

struct publication {
    struct bytes topic; /* never empty: aliases are resolved */
    /* MQTT 5 properties that go on unaltered and in order (payload format, content type, response
     * topic, correlation data, user properties), in their wire form, without a length before them.
     */
    struct bytes properties;
    struct bytes payload;
    uint64_t received_ms; /* clock_ms() when it came in; expiry counts from here */
    uint32_t expiry_s;    /* message expiry interval; meaningless unless has_expiry */
    uint8_t qos;          /* 0..2, of the publisher */
    bool retain;          /* of the publisher */
    bool has_expiry;
    uint8_t durability;      /* enum durability */
    uint32_t publisher_hash; /* of the publisher's client id, for sticky shares */
    uint64_t publisher;      /* session reference of the publisher for No Local; 0: nobody */
};

struct message {
    _Atomic uint32_t references;
    uint32_t size;                  /* bytes of the whole allocation; for accounting */
    struct publication publication; /* its spans point into data[] */
    uint8_t data[];                 /* topic, properties, payload */
};

/* Gives a message with one reference and a copy of the bytes, NULL when there is no memory. */
struct message *message_new(const struct publication *publication);

static inline struct message *message_hold(struct message *message)
{
    atomic_fetch_add_explicit(&message->references, 1, memory_order_relaxed);
    return message;
}

/* Drops one reference; the last one frees. NULL is fine. Any thread. */
void message_drop(struct message *message);

/* True when the message expiry interval has passed at now_ms [MQTT-3.3.2-5]. */
static inline bool publication_expired(const struct publication *p, uint64_t now_ms)
{
    /* Another worker's clock may be a moment ahead of ours: then nothing has passed. */
    return p->has_expiry && now_ms >= p->received_ms &&
           now_ms - p->received_ms >= (uint64_t)p->expiry_s * 1000;
}

/* The same of one that has waited at all: an interval of 0 is for who is there at once. */
static inline bool publication_overdue(const struct publication *p, uint64_t now_ms)
{
    return publication_expired(p, now_ms) && now_ms > p->received_ms;
}

/* The interval to send on: what came in minus the whole seconds waited here [MQTT-3.3.2-6]. */
static inline uint32_t publication_expiry_left_s(const struct publication *p, uint64_t now_ms)
{
    uint64_t waited_s = now_ms < p->received_ms ? 0 : (now_ms - p->received_ms) / 1000;
    return waited_s >= p->expiry_s ? 0 : p->expiry_s - (uint32_t)waited_s;
}

#endif
