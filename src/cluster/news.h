/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes say of themselves and their groups, as a frame's body. Pure; what is read comes from
 * other nodes and is checked. Inside cluster/. */
#ifndef CLUSTER_NEWS_H
#define CLUSTER_NEWS_H

#include "homes/homes.h"
#include "link/frame.h"

enum {
    NEWS_GROUP = 1 + 8 + 8 + 8 + 8 + 8 + 16 + 1,
    NEWS_BYTES = 32 + 10 + 2 * HOMES_SERVER_MAX + HOMES_GROUPS * NEWS_GROUP,
    NEWS_REMOVED_BYTES = 16 + HOMES_NAME_MAX + HOMES_ADDRESS_MAX + HOMES_SERVER_MAX
};

/* Gives the body's length. `version` of the protocol is what both ends speak. */
size_t news_write(const struct homes_news *news, uint16_t version, uint8_t out[NEWS_BYTES]);

/* False: it is malformed. */
bool news_read(struct bytes body, uint16_t version, struct homes_news *news);

/* The same for a node that was removed. */
size_t news_write_removed(const struct homes_known *removed, uint8_t out[NEWS_REMOVED_BYTES]);
bool news_read_removed(struct bytes body, struct homes_known *removed);

#endif
