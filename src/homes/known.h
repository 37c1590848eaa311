/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files in the data directory that list nodes: `members`, whom this one has met, and `removed`,
 * whom an operator has removed. A node a line:
 *
 *     skein-nodes 1
 *     n2 192.0.2.3:7883 n2-0123456789abcdef fedcba9876543210
 *
 * that is, its name, the address of its links, its engine's server, and the instance of its data
 * directory; `-` where there is none.
 */
#ifndef HOMES_KNOWN_H
#define HOMES_KNOWN_H

#include "homes/homes.h"

struct known_list {
    struct homes_known *at;
    uint32_t count;
};

/* What can be read of it; nothing when there is no such file. RC_INVALID: not all of it can. */
MUST_USE enum rc known_read(const char *data_dir, const char *name, struct known_list *list);
/* Whole or not at all, flushed. RC_IO: errno. */
MUST_USE enum rc known_write(const char *data_dir, const char *name, const struct known_list *list);

/* NULL: it is not among them. */
struct homes_known *known_node(const struct known_list *list, const char *node);
struct homes_known *known_instance(const struct known_list *list, uint64_t instance);

/* Copies it, behind the others. */
void known_add(struct known_list *list, const struct homes_known *node);
/* One of the list's own. */
void known_take_out(struct known_list *list, struct homes_known *node);
void known_free(struct known_list *list);

#endif
