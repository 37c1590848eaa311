/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes say of themselves and their groups, as a frame's body. Pure; what is read comes from
 * other nodes and is checked. Inside cluster/. */
#ifndef CLUSTER_NEWS_H
#define CLUSTER_NEWS_H

#include "homes/homes.h"
#include "link/frame.h"

enum { NEWS_GROUP = 1 + 8 + 8 + 8 + 8 + 8 + 16 + 1, NEWS_BYTES = 32 + HOMES_GROUPS * NEWS_GROUP };

/* Gives the body's length. */
size_t news_write(const struct homes_news *news, uint8_t out[NEWS_BYTES]);

/* False: it is malformed. */
bool news_read(struct bytes body, struct homes_news *news);

#endif
