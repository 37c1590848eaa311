/* SPDX-License-Identifier: Apache-2.0 */
/* MQTT 5.0 properties from the command line: -D PACKET NAME VALUE. What is legal where the codec
 * knows: a block is put together in its wire form and then decoded as if it had come by wire. */
#ifndef CLI_CLIENT_PROPERTIES_H
#define CLI_CLIENT_PROPERTIES_H

#include "cli/options.h"
#include "codec/property.h"

enum property_place {
    PLACE_CONNECT,
    PLACE_PUBLISH,
    PLACE_SUBSCRIBE,
    PLACE_UNSUBSCRIBE,
    PLACE_DISCONNECT,
    PLACE_WILL,
    PROPERTY_PLACES,
};

struct property_block {
    uint8_t *data; /* NULL: empty. Once decoded, the block's length stands before it */
    size_t len, prefix;
    struct properties properties; /* decoded, ready to be encoded; borrows data */
};

/* Reads what follows -D and adds it to the block of its packet; fails the walk when it cannot. */
void properties_take(struct property_block blocks[PROPERTY_PLACES], struct options *o);

/* After the walk: decodes all; fails the walk when a property is not legal where it stands. */
void properties_finish(struct property_block blocks[PROPERTY_PLACES], struct options *o);

void properties_free(struct property_block blocks[PROPERTY_PLACES]);

/* All of the block as it goes by wire, without its length. */
static inline struct bytes properties_wire(const struct property_block *block)
{
    return bytes_of(block->data + block->prefix, block->len);
}

#endif
