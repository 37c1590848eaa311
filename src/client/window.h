/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet ids of what a client has published with QoS 1 and 2 and the server has not finished,
 * in the order of publishing. A ring of fixed size: id n lives in slot n - 1, so an answer finds
 * its slot at once, and walking from the oldest gives the order in which things are sent again
 * [MQTT-4.6.0-1]. A slot is used again when everything older is finished too.
 *
 *   FREE --take--> SENT --PUBACK, or PUBREC with an error--> FREE
 *                   '--PUBREC--> RELEASED --PUBCOMP--> FREE
 */
#ifndef CLIENT_WINDOW_H
#define CLIENT_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum window_state {
    WINDOW_FREE,
    WINDOW_SENT_QOS_1,
    WINDOW_SENT_QOS_2,
    WINDOW_RELEASED, /* PUBREL is sent, the message itself may be forgotten */
};

struct window {
    uint8_t *slots;   /* enum window_state */
    uint16_t size;    /* ids 1..size */
    uint16_t oldest;  /* slot of the oldest that is not finished; where nothing is left: the next */
    uint16_t span;    /* slots from the oldest to the newest */
    uint16_t pending; /* of them not finished */
};

/* size: 1..65535. */
void window_init(struct window *window, uint16_t size);
void window_deinit(struct window *window);

/* Forgets everything: the session is gone. */
void window_clear(struct window *window);

/* Gives a packet id for a message of QoS 1 or 2, 0 when the ring is full. */
uint16_t window_take(struct window *window, uint8_t qos);

static inline enum window_state window_state(const struct window *window, uint16_t id)
{
    return id == 0 || id > window->size ? WINDOW_FREE : (enum window_state)window->slots[id - 1];
}

/* PUBREC has come for a WINDOW_SENT_QOS_2. */
static inline void window_release(struct window *window, uint16_t id)
{
    window->slots[id - 1] = WINDOW_RELEASED;
}

/* The message with this id, which is not WINDOW_FREE, is finished. */
void window_finish(struct window *window, uint16_t id);

/* Walks over what is not finished, oldest first: start with *at = 0; gives an id, 0 at the end. */
uint16_t window_next(const struct window *window, uint16_t *at);

#endif
