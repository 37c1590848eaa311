/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames by which a node takes a copy of a group of shards from another one. Pure, as frame.h. Each
 * copy has a link of its own.
 *
 *     taker                                        giver
 *       ASK format, cluster, group, shards   --->
 *                                            <---  BEGIN where in its changelog the copy stands
 *                                            <---  CHUNK number, checksum, records
 *       CREDIT chunks written so far         --->  at most COPY_WINDOW of them are not
 *                                            <---  END chunks, bytes
 *     or, instead of BEGIN or later,         <---  REFUSED why
 *
 * The taker closes the link when it has written all.
 */
#ifndef LINK_COPY_H
#define LINK_COPY_H

#include "link/frame.h"

enum {
    COPY_FORMAT = 1, /* of ASK and all that follows it */
    COPY_WINDOW = 2, /* chunks that are not written */
    COPY_ID_MAX = 64,
    COPY_POSITION_MAX = 64,
    COPY_ASK_MAX = 1 + 2 + COPY_ID_MAX + 3 * 4,
    COPY_CHUNK_HEAD = 4 + 4,
    COPY_CREDIT_SIZE = 4,
    COPY_END_SIZE = 4 + 8,
};

enum copy_refusal {
    COPY_FORMAT_UNKNOWN = 1,
    COPY_OTHER_CLUSTER, /* or another number of shards or groups */
    COPY_NOT_WHOLE,     /* the giver does not have it, or does not follow it now */
    COPY_BUSY,          /* it gives as many as it can */
    COPY_NOT_READABLE,  /* its store is damaged or does not work */
    COPY_REFUSALS,
};

const char *copy_refusal_text(enum copy_refusal refusal);

struct copy_ask {
    uint8_t format;
    struct bytes cluster; /* the id; borrowed */
    uint32_t group, groups, shards;
};

/* Gives the body's length. */
size_t copy_ask_write(const struct copy_ask *ask, uint8_t out[COPY_ASK_MAX]);
/* False: it is malformed. Of a format that is not known only that is read. */
bool copy_ask_read(struct bytes body, struct copy_ask *ask);

/* The head of a CHUNK, which the records follow. */
void copy_chunk_write(uint32_t number, struct bytes records, uint8_t out[COPY_CHUNK_HEAD]);
/* Borrows the records. False: it is malformed, or the checksum does not fit. */
bool copy_chunk_read(struct bytes body, uint32_t *number, struct bytes *records);

void copy_credit_write(uint32_t written, uint8_t out[COPY_CREDIT_SIZE]);
bool copy_credit_read(struct bytes body, uint32_t *written);

void copy_end_write(uint32_t chunks, uint64_t bytes, uint8_t out[COPY_END_SIZE]);
bool copy_end_read(struct bytes body, uint32_t *chunks, uint64_t *bytes);

#endif
