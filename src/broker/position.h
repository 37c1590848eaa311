/* SPDX-License-Identifier: Apache-2.0 */
/* Where a group stands in its changelog, as the store keeps it. Pure. */
#ifndef BROKER_POSITION_H
#define BROKER_POSITION_H

#include "changelog/chain.h"
#include "store/replicated.h"

void position_encode(const struct changelog_position *position, struct store_position *out);

/* Empty: the beginning. False: it is none. */
bool position_decode(const struct store_position *position, struct changelog_position *out);

#endif
