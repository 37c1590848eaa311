/* SPDX-License-Identifier: Apache-2.0 */
/* What a broker does about copies of groups: from its store to other nodes, and from others into
 * its store and its memory. */
#ifndef BROKER_COPIES_H
#define BROKER_COPIES_H

#include "cluster/copies.h"

/* For cluster_set_copies(), with `struct broker *` as the owner. */
extern const struct copies_ops broker_copies_ops;

#endif
