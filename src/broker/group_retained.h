/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The retained messages of groups, which are in the memory of every node. What another home appends
 * gets there as it is read. What this node, as their home, has put there goes again when it was not
 * appended after all, since this node is home no longer: then memory gets what the store has.
 */
#ifndef BROKER_GROUP_RETAINED_H
#define BROKER_GROUP_RETAINED_H

#include "base/bytes.h"

struct broker;
struct group_retained;

/* Borrows. */
struct group_retained *group_retained_new(struct broker *broker);
void group_retained_free(struct group_retained *retained);

/* Puts what a serialised batch has of retained messages into memory; true when that was anything.
 * Any thread, one for each group. */
bool group_retained_apply(struct broker *broker, struct bytes batch);

/* The commit thread: a batch that was recorded here is nowhere. */
void group_retained_refused(struct group_retained *retained, uint32_t group, struct bytes batch);

/* The homes thread: a batch of another home has been applied in memory, and is on its way into the
 * store; the commit thread: everything up to there is in it. */
void group_retained_applied(struct group_retained *retained, uint32_t group, uint64_t sequence);
void group_retained_written(struct group_retained *retained, uint32_t group, uint64_t sequence);

/* Gives memory what the store has of what was refused. The homes thread, while another node is
 * home: nothing happens as long as something applied is not written. Or while the group is being
 * loaded, when everything is. */
void group_retained_restore(struct group_retained *retained, uint32_t group);

#endif
