/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node that has nothing but changelogs, for tests with real nats-servers. Commands come on
 * standard input, what happens goes to standard output, one line each; see main.c.
 */
#ifndef CHANGELOG_NODE_H
#define CHANGELOG_NODE_H

#include "changelog/changelog.h"
#include "changelog/jetstream.h"

enum { NODE_GROUPS = 64, LINE_MAX_BYTES = 65536 };

struct member {
    struct changelog log;
    bool attached;
    char *text; /* of the batch on its way */
    uint64_t next_cookie, sent_ns;
};

struct bench {
    uint32_t groups, wanted, started, done;
    size_t size;
    char *batch;
    uint64_t *took_ns;
    uint64_t from_ns, cpu_ns;
};

struct node {
    struct jetstream *jetstream;
    const char *name;
    int wake_fd;
    struct member members[NODE_GROUPS];
    struct bench bench;
    bool connected;
};

/* One command; false: the last. */
bool node_command(struct node *node, char *line);

/* bench.c: COUNT appends of SIZE bytes over so many groups, one in flight in each. */
void bench_start(struct node *node, uint32_t groups, uint32_t count, size_t size);
void bench_committed(struct node *node, struct member *member);

/* engine.c: runs the nats-server of a node until standard input ends or says so. */
int engine_main(int argc, char **argv);
int discard_main(const char *folder);
int remove_main(char **argv);

#endif
