/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/testament.h"

#include "base/clock.h"
#include "base/memory.h"
#include "delivery/batch.h"
#include "store/record.h"

struct testament {
    struct list node; /* in hub->unclaimed, in the order of since_ms; alone: it is claimed */
    uint64_t since_ms;
    uint64_t number;
    struct store_shard *store;
    struct message *will;
    uint32_t hash;
    uint16_t len;
    uint8_t client_id[];
};

struct testament_key {
    struct bytes client_id;
    uint64_t number;
};

static struct bytes client_id_of(const struct testament *testament)
{
    return bytes_of(testament->client_id, testament->len);
}

static bool is_same(const void *element, const void *key)
{
    const struct testament *testament = element;
    const struct testament_key *wanted = key;
    return testament->number == wanted->number &&
           bytes_equal(client_id_of(testament), wanted->client_id);
}

static bool is_unclaimed(const void *element, const void *key)
{
    const struct testament *testament = element;
    return list_linked(&testament->node) &&
           bytes_equal(client_id_of(testament), *(const struct bytes *)key);
}

static struct testament *find(struct delivery_hub *hub, struct bytes client_id, uint64_t number)
{
    struct testament_key key = {client_id, number};
    return map_find(&hub->testaments, client_id_hash(client_id), is_same, &key);
}

struct store_shard *testament_shard(struct delivery_hub *hub, struct bytes client_id)
{
    struct session_table *table = hub->sessions;
    return &table->stores[client_id_hash(client_id) % table->shard_count];
}

/* ---- begin -------------------------------------------------------------------------------------
 */

static struct testament *testament_new(struct delivery_hub *hub, struct store_shard *store,
                                       struct bytes client_id, uint64_t number,
                                       struct message *will)
{
    struct testament *testament = mem_new(sizeof(*testament) + client_id.len);
    *testament = (struct testament){.number = number,
                                    .store = store,
                                    .will = message_hold(will),
                                    .hash = client_id_hash(client_id),
                                    .len = (uint16_t)client_id.len};
    memcpy(testament->client_id, client_id.data, client_id.len);
    list_init(&testament->node);
    map_insert(&hub->testaments, testament->hash, testament);
    return testament;
}

static void unclaim(struct delivery_hub *hub, struct testament *testament)
{
    testament->since_ms = hub->sessions->now_ms;
    list_remove(&testament->node);
    list_add_last(&hub->unclaimed, &testament->node);
    hub->sessions->wake_at(hub->sessions->wake_arg, testament->since_ms + TESTAMENT_UNCLAIMED_MS);
}

void testament_keep(struct delivery_hub *hub, struct bytes client_id, uint64_t number,
                    struct message *will)
{
    struct store_shard *store = testament_shard(hub, client_id);
    if (testament_claim(hub, client_id, number))
        return;
    testament_new(hub, store, client_id, number, will);
    struct store_key key = record_key_testament(store->shard, number, client_id);
    struct record_clock clock = {hub->sessions->now_ms, clock_wall_ms()};
    struct will_record record = {.publication = will->publication};
    struct record_value value;
    will_record_encode(&record, &clock, &value);
    record_put(store, STORE_STATE, &key, &value);
}

void testament_load(struct delivery_hub *hub, struct store_shard *store, struct bytes client_id,
                    uint64_t number, struct message *will)
{
    unclaim(hub, testament_new(hub, store, client_id, number, will));
}

bool testament_claim(struct delivery_hub *hub, struct bytes client_id, uint64_t number)
{
    struct testament *testament = find(hub, client_id, number);
    if (testament == NULL)
        return false;
    list_remove(&testament->node);
    return true;
}

void testament_disown(struct delivery_hub *hub, struct bytes client_id, uint64_t number)
{
    struct testament *testament = find(hub, client_id, number);
    if (testament != NULL && !list_linked(&testament->node))
        unclaim(hub, testament);
}

/* ---- end ---------------------------------------------------------------------------------------
 */

static void testament_free(struct testament *testament)
{
    list_remove(&testament->node);
    message_drop(testament->will);
    mem_free(testament);
}

/* Another node is home of its shard, or will be: that one sees to it. */
static bool is_out_of_hands(const struct testament *testament)
{
    return store_trouble(testament->store) == RC_CLOSED;
}

static void delete_record(const struct testament *testament)
{
    struct store_key key =
        record_key_testament(testament->store->shard, testament->number, client_id_of(testament));
    store_delete(testament->store, STORE_STATE, &key);
}

static void publish(struct delivery_hub *hub, struct testament *testament)
{
    map_remove(&hub->testaments, testament->hash, testament);
    delete_record(testament);
    metric_inc(hub->metrics, METRIC_WILLS_PUBLISHED);
    testament->will->publication.received_ms = hub->sessions->now_ms; /* it expires from now on */
    if (testament->will->publication.retain)
        delivery_retain(hub, testament->will);
    outbox_add(hub, testament->store, testament->will, OUTBOX_PROMISED, NULL);
    testament_free(testament);
}

void testament_void(struct delivery_hub *hub, struct bytes client_id, uint64_t number)
{
    struct testament *testament = find(hub, client_id, number);
    if (testament == NULL || is_out_of_hands(testament))
        return;
    map_remove(&hub->testaments, testament->hash, testament);
    delete_record(testament);
    testament_free(testament);
}

void testament_due(struct delivery_hub *hub, struct bytes client_id, uint64_t number)
{
    struct testament *testament = find(hub, client_id, number);
    if (testament != NULL && !is_out_of_hands(testament))
        publish(hub, testament);
}

void testaments_succeed(struct delivery_hub *hub, struct bytes client_id)
{
    struct testament *testament;
    while ((testament = map_find(&hub->testaments, client_id_hash(client_id), is_unclaimed,
                                 &client_id)) != NULL) {
        if (is_out_of_hands(testament))
            return;
        publish(hub, testament);
    }
}

void testaments_turn(struct delivery_hub *hub)
{
    uint64_t now_ms = hub->sessions->now_ms;
    while (!list_empty(&hub->unclaimed)) {
        struct testament *testament = CONTAINER_OF(hub->unclaimed.next, struct testament, node);
        if (now_ms < testament->since_ms + TESTAMENT_UNCLAIMED_MS)
            return;
        if (is_out_of_hands(testament))
            unclaim(hub, testament);
        else
            publish(hub, testament);
    }
}

void testaments_forget(struct delivery_hub *hub, struct shard_group group)
{
    struct testament *testament;
    size_t cursor = 0;
    struct map left;
    map_init(&left);
    while ((testament = map_next(&hub->testaments, &cursor)) != NULL)
        if (testament->store->shard % group.of == group.group)
            testament_free(testament);
        else
            map_insert(&left, testament->hash, testament);
    map_deinit(&hub->testaments);
    hub->testaments = left;
}

void testaments_init(struct delivery_hub *hub)
{
    map_init(&hub->testaments);
    list_init(&hub->unclaimed);
}

void testaments_deinit(struct delivery_hub *hub)
{
    struct testament *testament;
    size_t cursor = 0;
    while ((testament = map_next(&hub->testaments, &cursor)) != NULL)
        testament_free(testament);
    map_deinit(&hub->testaments);
}
