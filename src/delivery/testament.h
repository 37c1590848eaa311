/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wills of clients whose sessions end with their connection, in a cluster that has been
 * initialised. Such a session is in the memory of one node alone, the one that its client is
 * connected to; so the home of the client id keeps the will, as a record of its shard, and
 * publishes it in one batch with the record's end: once, whoever is home by then.
 *
 *     kept --> claimed --void--> gone
 *                 |  '---due---> outbox
 *                 |                ^
 *                 '--disowned--> unclaimed for TESTAMENT_UNCLAIMED_MS
 *                                  ^
 *                                read from the store
 *
 * Who is claimed is connected somewhere, and somebody will say how that ended. A client is known by
 * its id and the number of its connection. On the worker that has the client id's shard.
 *
 * Limits: one for each connection; it stands in memory, too.
 */
#ifndef DELIVERY_TESTAMENT_H
#define DELIVERY_TESTAMENT_H

#include "delivery/delivery.h"

/* By then a node that nobody hears has given its clients up: cluster/registration.h. */
enum { TESTAMENT_UNCLAIMED_MS = 8000 };

/* The shard of a client id: who has to know that a change is safe waits for it. */
struct store_shard *testament_shard(struct delivery_hub *hub, struct bytes client_id);

/* Shares will; claimed. Nothing is done when it is kept already. */
void testament_keep(struct delivery_hub *hub, struct bytes client_id, uint64_t number,
                    struct message *will);

/* Its client is connected. False: there is none. */
bool testament_claim(struct delivery_hub *hub, struct bytes client_id, uint64_t number);
/* Nobody can say that any more. */
void testament_disown(struct delivery_hub *hub, struct bytes client_id, uint64_t number);

/* The connection is over, and with it the will; or that is to be published. */
void testament_void(struct delivery_hub *hub, struct bytes client_id, uint64_t number);
void testament_due(struct delivery_hub *hub, struct bytes client_id, uint64_t number);
/* Another connection of that client id is let in: whoever had it before has gone. */
void testaments_succeed(struct delivery_hub *hub, struct bytes client_id);

/* From the store; unclaimed. Shares will. */
void testament_load(struct delivery_hub *hub, struct store_shard *store, struct bytes client_id,
                    uint64_t number, struct message *will);
/* Those of the group's shards, which go elsewhere. */
void testaments_forget(struct delivery_hub *hub, struct shard_group group);

/* Once a turn: publishes what nobody has claimed for long enough. */
void testaments_turn(struct delivery_hub *hub);
void testaments_init(struct delivery_hub *hub);
void testaments_deinit(struct delivery_hub *hub);

#endif
