/* SPDX-License-Identifier: Apache-2.0 */
/* The MQTT side of bench_wire: what goes into a connection's output and what is done with its
 * input. Only bench_wire.c and bench_packets.c include this. */
#ifndef CLI_BENCH_PACKETS_H
#define CLI_BENCH_PACKETS_H

#include "cli/bench_wire.h"

/* Room for `size` bytes at the end; valid until the next call. The caller adds to buffer->len. */
uint8_t *wire_reserve(struct wire_buffer *buffer, size_t size);

/* The connection is over and it was not us: counts, closes, calls lost(). */
void wire_lose(struct wire *wire, struct wire_conn *conn);

void packets_put_connect(struct wire *wire, struct wire_conn *conn);
void packets_put_disconnect(struct wire_conn *conn);

/* Handles every whole packet of `in`; gives how many bytes those were. The connection may be closed
 * afterwards. */
size_t packets_take(struct wire *wire, struct wire_conn *conn, struct bytes in);

#endif
