/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store for tests of the acknowledgement path: commits finish late, at another pace in each
 * shard, so completions of different shards come out of order, and some fail.
 */
#include "store/store.h"

#include "base/clock.h"

/* delay and failure rate, the same for all shards; set before the workers start. */
static uint32_t late_delay_ms, late_fail_every;

static enum rc late_wait(struct store_shard *shard, struct store_waiter *waiter)
{
    if (list_empty(&shard->waiting))
        shard->due_ms = clock_ms() + (uint64_t)late_delay_ms * (1 + shard->shard % 3);
    list_add_last(&shard->waiting, &waiter->link);
    return RC_AGAIN;
}

static void late_turn(struct store_shard *shard, uint64_t now_ms)
{
    if (now_ms < shard->due_ms)
        return;
    struct list due;
    list_init(&due);
    list_move_all(&due, &shard->waiting);
    struct list *link;
    while ((link = list_take_first(&due)) != NULL) {
        struct store_waiter *waiter = CONTAINER_OF(link, struct store_waiter, link);
        shard->commits++;
        bool fails = late_fail_every > 0 && shard->commits % late_fail_every == 0;
        waiter->done(waiter, fails ? RC_IO : RC_OK);
    }
}

static const struct store_ops late_ops = {.wait = late_wait, .turn = late_turn};

void store_late_init(struct store_shard *shard, uint32_t number, uint32_t delay_ms,
                     uint32_t fail_every)
{
    late_delay_ms = delay_ms;
    late_fail_every = fail_every;
    *shard = (struct store_shard){.ops = &late_ops, .shard = number};
    list_init(&shard->waiting);
}
