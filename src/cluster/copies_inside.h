/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of copies, for the control. Inside cluster/ only. */
#ifndef CLUSTER_COPIES_INSIDE_H
#define CLUSTER_COPIES_INSIDE_H

#include "cluster/copies.h"
#include "link/handshake.h"

struct copies;

/* `dial` is asked for a link to the node of that name: copies_post_out() follows with the same
 * group. Any thread. */
struct copies *copies_new(const struct copies_ops *ops, void *owner,
                          void (*dial)(void *cluster, uint32_t group), void *cluster);
/* RC_IO: there is no thread. */
MUST_USE enum rc copies_start(struct copies *copies);
void copies_want(struct copies *copies, uint32_t group, const char *node);
void copies_written(struct copies *copies, uint32_t group, uint64_t token, uint32_t chunks);
bool copies_progress(struct copies *copies, uint32_t group, struct copies_progress *out);

/* From the control. Both take the descriptor and copy `unread`; -1: the node was not reached. */
void copies_post_out(struct copies *copies, uint32_t group, int fd, struct bytes unread);
void copies_post_in(struct copies *copies, int fd, struct bytes unread);

/* Ends the thread: copies under way come to nothing. When the control posts no more. */
void copies_stop(struct copies *copies);
/* NULL is fine. */
void copies_free(struct copies *copies);

#endif
