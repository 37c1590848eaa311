/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books of one flow: messages 0, 1, 2 ... that one publisher sends to one subscriber. A flow
 * without a hole costs 40 bytes and one comparison a message; from the first hole on, what arrives
 * is kept as bits behind it until the hole is filled.
 */
#ifndef CLI_BENCH_ACCOUNT_H
#define CLI_BENCH_ACCOUNT_H

#include <stddef.h>
#include <stdint.h>

struct flow {
    uint64_t whole; /* every message below this number has come */
    uint64_t next;  /* one more than the highest that has come */
    uint8_t *bits;  /* bit n: whole_at_hole + n has come; NULL without a hole */
    uint64_t whole_at_hole;
    size_t room;
};

enum flow_result {
    FLOW_NEW,       /* the next one, or one that leaves a hole before it */
    FLOW_LATE,      /* new, but a higher one came before */
    FLOW_DUPLICATE, /* it had come already */
};

/* All zero is an empty flow. */
void flow_deinit(struct flow *flow);

enum flow_result flow_add_slow(struct flow *flow, uint64_t number);

static inline enum flow_result flow_add(struct flow *flow, uint64_t number)
{
    if (__builtin_expect(number == flow->whole && flow->bits == NULL, 1)) {
        flow->whole = flow->next = number + 1;
        return FLOW_NEW;
    }
    return flow_add_slow(flow, number);
}

#endif
