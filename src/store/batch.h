/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of one worker that wait for the next commit. Each stands in a frame of its own that
 * names its shard, so that the bytes of a shard can be told apart, and so that a record can be
 * taken back while nobody has committed it. What goes to the engine is RocksDB's serialised write
 * batch: a header of 12 bytes (sequence number 0, count), then the live records as they stand here.
 *
 * A record is written in that format where it is made, so a commit only copies bytes.
 */
#ifndef STORE_BATCH_H
#define STORE_BATCH_H

#include "base/bytes.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "store/engine.h"

enum {
    BATCH_HEADER = 12, /* of the serialised form */
    BATCH_ROOM_FIRST = 16 * 1024,
    BATCH_KEEP_ROOM = 512 * 1024, /* a buffer larger than that is given back after its commit */
};

enum batch_operation { BATCH_PUT, BATCH_DELETE, BATCH_DELETE_RANGE };

struct store_waiter;

struct batch {
    struct letter letter; /* on its way back to its worker; before that, to the next younger one */
    uint64_t number;      /* counts from 1 on each worker */
    uint8_t *data;
    size_t used, room;
    size_t live_bytes;
    uint32_t live; /* records */
    uint32_t held; /* of them, those that somebody waits for and that may be taken back soon */
    bool urgent;   /* somebody waits for all of it */
    bool sync;     /* somebody waits for the disk */
    enum rc rc;    /* of the commit */
    uint64_t opened_ns, posted_ns;
    uint64_t before, sync_before; /* numbers: what had been posted when this one was */
};

/* The next younger one, NULL: none. */
static inline struct batch *batch_next(const struct batch *batch)
{
    struct letter *next = batch->letter.next;
    return next == NULL ? NULL : CONTAINER_OF(next, struct batch, letter);
}

void batch_init(struct batch *batch);
void batch_deinit(struct batch *batch);

/* Empties it for another use. */
void batch_reset(struct batch *batch);

/* One span of a key or a value that is put together from several. */
struct batch_record {
    uint16_t shard;
    enum batch_operation operation;
    enum store_family family;
    const struct bytes *key; /* key_parts spans, one behind the other */
    uint32_t key_parts;
    const struct bytes *value; /* of a PUT; the end of the range of a DELETE_RANGE */
    uint32_t value_parts;
};

/* Adds a record; gives its place. */
size_t batch_add(struct batch *batch, const struct batch_record *record);

/* Notes who waits for the record at that place alone; only one can. False: it was taken back. */
bool batch_await(struct batch *batch, size_t at, struct store_waiter *waiter);

/* Takes back the record at that place: it will not be written. Gives who waited for it alone, or
 * NULL. False: it was taken back before. */
bool batch_cancel(struct batch *batch, size_t at, struct store_waiter **waiter);

/* Bytes of the live records in the serialised form, without the header. */
static inline size_t batch_size(const struct batch *batch)
{
    return batch->live_bytes;
}

/* Writes the live records to `out`, which has batch_size() bytes; gives the end. */
uint8_t *batch_serialise(const struct batch *batch, uint8_t *out);

/* Writes the header of a serialised batch of `count` records. */
void batch_header(uint8_t out[BATCH_HEADER], uint32_t count);

/* How many records a serialised batch has; 0 when it is shorter than its header. */
uint32_t batch_header_count(struct bytes serialised);

/* One change of a serialised batch. */
struct batch_change {
    enum batch_operation operation;
    enum store_family family;
    struct bytes key, value;
};

/* Takes the next change off the front of what follows the header; false at the end, or at what is
 * none. */
bool batch_change_next(struct bytes *rest, struct batch_change *out);

/* An entry behind the header that is in the log only and counts as nothing: up to which sequence
 * number everything is on disk. logs_check() tells torn ends from damage by it. */
enum { BATCH_MARK = 10 };

void batch_mark(uint8_t out[BATCH_MARK], uint64_t synced);
/* Reads it off the front of what follows the header. False: there is none. */
bool batch_mark_read(struct bytes behind_header, uint64_t *synced);

#endif
