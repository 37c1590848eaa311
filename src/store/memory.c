/* SPDX-License-Identifier: Apache-2.0 */
/* The store of a broker that keeps its state in memory: everything is as safe as it gets, at once.
 */
#include "store/store.h"

static enum rc memory_wait(struct store_shard *shard, struct store_waiter *waiter)
{
    (void)waiter;
    shard->commits++;
    return RC_OK;
}

static const struct store_ops memory_ops = {.wait = memory_wait, .at_once = true};

void store_memory_init(struct store_shard *shard, uint32_t number)
{
    *shard = (struct store_shard){.ops = &memory_ops, .shard = number};
    list_init(&shard->waiting);
}

bool store_turn(struct store_shard *shard, uint64_t now_ms)
{
    if (shard->ops->turn == NULL || list_empty(&shard->waiting))
        return false;
    shard->ops->turn(shard, now_ms);
    return !list_empty(&shard->waiting);
}
