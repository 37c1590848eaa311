/* SPDX-License-Identifier: Apache-2.0 */
/* Wills of clients that are connected to whatever node: they come once, also from the store. */
#include "delivery/testament.h"

#include "delivery/node_fixture.h"

static const struct shard_group all_shards = {0, 1};

static struct delivery_hub *hub_at(struct node *n, const char *client_id)
{
    return table_of(n, client_id)->owner;
}

static void keep(struct node *n, const char *client_id, uint64_t number, const char *payload)
{
    struct publication p = {.topic = bytes_of_str("will"),
                            .payload = bytes_of_str(payload),
                            .received_ms = NOW_MS,
                            .qos = 2};
    struct message *will = message_new(&p);
    testament_keep(hub_at(n, client_id), bytes_of_str(client_id), number, will);
    message_drop(will);
}

static bool claim(struct node *n, const char *client_id, uint64_t number)
{
    return testament_claim(hub_at(n, client_id), bytes_of_str(client_id), number);
}

static void disown(struct node *n, const char *client_id, uint64_t number)
{
    testament_disown(hub_at(n, client_id), bytes_of_str(client_id), number);
}

static void due(struct node *n, const char *client_id, uint64_t number)
{
    testament_due(hub_at(n, client_id), bytes_of_str(client_id), number);
}

static void pass(struct node *n, uint64_t ms)
{
    for (uint32_t i = 0; i < WORKERS; i++)
        session_table_advance(&n->f->workers[i].table, n->f->workers[i].table.now_ms + ms);
    node_settle(n);
}

/* Somebody who gets all wills, also while he is away. */
static struct client *watcher(struct node *n)
{
    struct client *client = come(n, "watcher", LONG_S);
    subscribe_as(client, "will", "", 2);
    return client;
}

static void will_that_is_due_comes_once(void **state)
{
    struct node *n = *state;
    struct client *bob = watcher(n);
    keep(n, "c", 1, "gone");
    node_settle(n);
    assert_got(bob, "");
    due(n, "c", 1);
    due(n, "c", 1);
    node_settle(n);
    assert_got(bob, "gone");
    assert_int_equal(metric(n->f, METRIC_WILLS_PUBLISHED), 1);
    node_restart(n);
    bob = watcher(n);
    pass(n, TESTAMENT_UNCLAIMED_MS);
    assert_int_equal(metric(n->f, METRIC_WILLS_PUBLISHED), 0);
}

static void will_that_is_void_does_not_come(void **state)
{
    struct node *n = *state;
    struct client *bob = watcher(n);
    keep(n, "c", 1, "gone");
    testament_void(hub_at(n, "c"), bytes_of_str("c"), 1);
    due(n, "c", 1);
    node_restart(n);
    bob = watcher(n);
    pass(n, TESTAMENT_UNCLAIMED_MS);
    assert_got(bob, "");
}

static void will_that_nobody_claims_after_a_start_comes(void **state)
{
    struct node *n = *state;
    watcher(n);
    keep(n, "c", 1, "gone");
    node_restart(n);
    struct client *bob = watcher(n);
    pass(n, TESTAMENT_UNCLAIMED_MS - 1);
    assert_got(bob, "");
    pass(n, 1);
    assert_got(bob, "gone");
    pass(n, TESTAMENT_UNCLAIMED_MS);
    assert_got(bob, "gone");
}

static void will_whose_client_is_still_there_waits(void **state)
{
    struct node *n = *state;
    watcher(n);
    keep(n, "c", 1, "gone");
    node_restart(n);
    struct client *bob = watcher(n);
    assert_true(claim(n, "c", 1));
    assert_false(claim(n, "c", 2));
    assert_false(claim(n, "d", 1));
    pass(n, TESTAMENT_UNCLAIMED_MS);
    assert_got(bob, "");
    disown(n, "c", 1);
    pass(n, TESTAMENT_UNCLAIMED_MS);
    assert_got(bob, "gone");
}

static void will_that_is_disowned_and_claimed_again_waits(void **state)
{
    struct node *n = *state;
    struct client *bob = watcher(n);
    keep(n, "c", 1, "gone");
    disown(n, "c", 1);
    pass(n, TESTAMENT_UNCLAIMED_MS - 1);
    disown(n, "c", 1); /* it is: nothing begins anew */
    keep(n, "c", 1, "gone");
    pass(n, 1);
    assert_got(bob, "");
}

/* Those of connections that have gone, and not the one of a connection that is there. */
static void next_connection_of_the_client_id_makes_wills_due(void **state)
{
    struct node *n = *state;
    watcher(n);
    keep(n, "c", 1, "one");
    keep(n, "c", 2, "two");
    keep(n, "other", 3, "three");
    node_restart(n);
    struct client *bob = watcher(n);
    keep(n, "c", 4, "four");
    testaments_succeed(hub_at(n, "c"), bytes_of_str("c"));
    node_settle(n);
    assert_int_equal(bob->count, 2);
    due(n, "c", 4);
    node_settle(n);
    assert_int_equal(bob->count, 3);
}

static void wills_of_a_group_that_leaves_are_not_published(void **state)
{
    struct node *n = *state;
    watcher(n);
    keep(n, "c", 1, "gone");
    node_settle(n);
    testaments_forget(hub_at(n, "c"), all_shards);
    assert_false(claim(n, "c", 1));
    node_restart(n); /* their next home has them */
    struct client *bob = watcher(n);
    assert_true(claim(n, "c", 1));
    assert_got(bob, "");
}

static void will_of_qos_0_comes_when_its_end_is_safe(void **state)
{
    struct node *n = *state;
    struct client *bob = watcher(n);
    struct publication p = {.topic = bytes_of_str("will"), .payload = bytes_of_str("gone")};
    struct message *will = message_new(&p);
    testament_keep(hub_at(n, "c"), bytes_of_str("c"), 1, will);
    message_drop(will);
    due(n, "c", 1);
    settle(n->f);
    assert_got(bob, "");
    node_settle(n);
    assert_got(bob, "gone");
    assert_int_equal(bob->got[0].qos, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(will_that_is_due_comes_once),
        RULE(will_that_is_void_does_not_come),
        RULE(will_that_nobody_claims_after_a_start_comes),
        RULE(will_whose_client_is_still_there_waits),
        RULE(will_that_is_disowned_and_claimed_again_waits),
        RULE(next_connection_of_the_client_id_makes_wills_due),
        RULE(wills_of_a_group_that_leaves_are_not_published),
        RULE(will_of_qos_0_comes_when_its_end_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
