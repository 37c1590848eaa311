/* SPDX-License-Identifier: Apache-2.0 */
/* How a broker is, as those want to know it who send clients to it. Pure. */
#ifndef BROKER_CONDITION_H
#define BROKER_CONDITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum broker_phase {
    BROKER_LOADING, /* the store is opened and loaded; nobody is let in */
    BROKER_SERVING,
    BROKER_LEAVING, /* told to end */
};

struct condition {
    enum broker_phase phase;
    bool stuck;       /* a worker has not turned for a while */
    bool memory_full; /* limits.memory_bytes */
    bool cut_off;     /* from most other nodes, and serves nobody */
    bool waits;       /* holds nothing, and has not heard of all other nodes */
    bool drained;     /* an operator has said so */
    bool removed;     /* ... that it is not part of its cluster any more */
    uint32_t busy_percent;
    uint32_t connections, connections_max;
    uint64_t serving_ms; /* how long it has served */
};

/* The agent says for so long after the start that the server is ready again: see
 * condition_agent_line(). */
enum { CONDITION_NEW_MS = 60 * 1000 };

/* Why the process is not well, as a word; NULL: it is. */
const char *condition_failure(const struct condition *condition);

/* Why clients are not let in, as a word; NULL: they are. */
const char *condition_obstacle(const struct condition *condition);

/* The share of its clients that the broker wants, 5 to 100 in steps of 5. */
uint32_t condition_weight_percent(const struct condition *condition);

/*
 * What HAProxy's agent-check is answered: "up 85%", "drain", "stopped #loading". A balancer that
 * was told "drain" goes on with that until it hears "ready", so a broker says this when it is new;
 * later it does not, because that would undo what an operator has set at the balancer.
 */
void condition_agent_line(const struct condition *condition, char *out, size_t room);

#endif
