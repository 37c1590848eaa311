/* SPDX-License-Identifier: Apache-2.0 */
/* One property after the other, checked against the table. Internal to codec/. */
#ifndef CODEC_PROPERTY_WALK_H
#define CODEC_PROPERTY_WALK_H

#include "codec/property.h"
#include "codec/wire.h"

/* One property as it stands in a block. */
struct property {
    uint8_t id;         /* enum property_id */
    uint32_t number;    /* bytes, integers, variable byte integers */
    struct bytes text;  /* strings and binary data; the name of a user property */
    struct bytes value; /* of a user property */
    struct bytes raw;   /* all of it, id included */
};

/*
 * Reads the next property of a block in a packet of type `where`. MQTT_SUCCESS,
 * MQTT_MALFORMED_PACKET, or what its table line says about a value that is not legal. *seen has a
 * bit for each id that came before; a second one of a property that may not repeat is
 * MQTT_PROTOCOL_ERROR. The reader must not be at its end.
 */
enum mqtt_reason property_read(struct reader *r, int where, uint64_t *seen, struct property *out);

/* Takes the first property off a block that was decoded before, so nothing is checked again; false
 * when the block is empty. */
bool property_skim(struct bytes *rest, struct property *out);

/* Reads the property length and gives a reader of the block; *r moves behind it. On truncation *r
 * has failed and the block is empty. */
static inline struct reader properties_open(struct reader *r)
{
    return reader_of(read_bytes(r, read_varint(r)));
}

/* `p` without what must give way so that a packet with `others` more bytes behind its fixed header
 * is not larger than `room`: first the user properties, then the reason string. */
struct properties properties_fit(const struct properties *p, size_t others, size_t room);

/* Bytes of a block and of the length before it. */
static inline size_t properties_whole_size(const struct properties *p)
{
    size_t size = properties_size(p);
    return size + varint_size((uint32_t)size);
}

#endif
