/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file `cluster` in the data directory: which cluster what is in it belongs to. Written by
 * whoever initialises the cluster before anything is made, and by the others when it is there.
 *
 *     skein-cluster 1
 *     name plant
 *     id 0123456789abcdef
 *     groups 16
 *     state founding | seeding | founded | growing
 *     instance 0123456789abcdef       of this data directory
 */
#ifndef HOMES_MARK_H
#define HOMES_MARK_H

#include "homes/homes.h"

#define MARK_FILE "cluster"

struct mark {
    char name[HOMES_NAME_MAX];
    char id[HOMES_ID]; /* "": none yet */
    bool founded;
    bool seeding;      /* its streams are there, and this node's store is what it begins with */
    bool growing;      /* founded by one node; the streams of more are not there yet: growing.c */
    uint64_t instance; /* 0: the file is from before there was one */
};

/* RC_NOT_FOUND: there is no such file. RC_INVALID: it is none that is known. RC_IO: errno. */
MUST_USE enum rc mark_read(const char *data_dir, struct mark *mark);

/* Whole or not at all, flushed. RC_IO: errno. */
MUST_USE enum rc mark_write(const char *data_dir, const struct mark *mark);

/* One of these files, which need not be there. RC_IO: errno. */
MUST_USE enum rc mark_remove(const char *data_dir, const char *name);

/* One line of text in a small file; "" when there is none. */
void mark_read_text(const char *data_dir, const char *name, char *out, size_t room);
/* Whole or not at all, flushed. RC_IO: errno. */
MUST_USE enum rc mark_write_text(const char *data_dir, const char *name, const char *text);

/* A new id. */
void mark_draw(char id[HOMES_ID]);

/* A number that no other data directory has; not 0. */
uint64_t mark_draw_instance(void);

bool mark_id_valid(const char *id);

#endif
