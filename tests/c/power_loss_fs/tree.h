/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two trees of names over the same files: what programs see now, and what would be left after a
 * power cut. Changes of names wait in one list, in the order they were made, until a sync brings
 * them to the second tree; the second tree is an ordinary directory that anybody can look at.
 *
 * The rules (README.md of tests/crash has them for people):
 *   - fsync of a file: its data and size; and its own creation, with what stands before that in the
 *     list for the same directory, and the creation of the directories above it.
 *   - fsync of a directory: all changes of names in it; one that also concerns another directory (a
 *     rename) takes that directory's changes along.
 *   - a cut: the rest is gone; or, torn, a part of the list from its start survives, and for each
 *     file a part of what was written.
 *
 * One thread at a time: main.c holds a mutex.
 */
#ifndef POWER_LOSS_FS_TREE_H
#define POWER_LOSS_FS_TREE_H

#include "dirty.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum node_kind { NODE_FILE, NODE_DIRECTORY, NODE_OTHER /* a socket: never on disk */ };

struct name {
    char text[NAME_MAX + 1];
    struct node *node;
};

struct names {
    struct name *list;
    size_t count, room;
};

struct node {
    enum node_kind kind;
    bool gone; /* power was cut since: every use is an error */
    mode_t mode;
    uint64_t number;
    uint32_t references; /* names in either tree, changes that wait, open files */
    uint32_t names_now, names_on_disk;
    struct timespec changed;
    int fd;             /* the file or directory on disk */
    struct dirty dirty; /* a file's */
    struct names now;   /* a directory's */
    struct names disk;  /* a directory's */
    bool marked;        /* a directory's, while changes are chosen */
    struct node *next;  /* of all */
    struct node **back;
};

/* names[0] of directories[0] becomes targets[0] (NULL: goes away), then the second likewise. */
struct change {
    struct node *directories[2], *targets[2];
    char names[2][NAME_MAX + 1];
    bool creation;
};

struct tree {
    int disk, limbo; /* directories: the second tree; files that have no name in it */
    struct node *root, *all;
    uint64_t numbers;
    struct change **changes;
    size_t changes_count, changes_room;
};

/* `folder` gets disk/ and limbo/; what is in disk/ is what the tree begins with. 0 or an error. */
int tree_open(struct tree *tree, const char *folder);

/* After nothing is open any more. What was not synced is gone. */
void tree_close(struct tree *tree);

/* Borrows. NULL: no such name. `path` begins with a slash. */
struct node *tree_find(struct tree *tree, const char *path);

/* The directory that holds the last name of `path`, which *name then points to; or NULL. */
struct node *tree_parent(struct tree *tree, const char *path, const char **name);
struct node *names_find(const struct names *names, const char *text);

/* 0 or a negative error, all below. */
int tree_create(struct tree *tree, const char *path, enum node_kind kind, mode_t mode,
                struct node **node);
int tree_link(struct tree *tree, struct node *node, const char *path);
int tree_remove(struct tree *tree, const char *path, enum node_kind kind);
int tree_rename(struct tree *tree, const char *from, const char *to);
int tree_sync(struct tree *tree, struct node *node);

enum cut { CUT_DROP, CUT_TORN };

/* Power is cut and comes back: every node before is gone. */
int tree_cut(struct tree *tree, enum cut how, uint64_t seed);

void node_hold(struct node *node);
void node_drop(struct tree *tree, struct node *node);

#endif
