/* SPDX-License-Identifier: Apache-2.0 */
/* QoS 1 publications that did not get to the home of some session: they are routed anew, in order.
 */
#include "delivery/other_node_fixture.h"

static void publish_once_safe(struct node *n, const char *payload, uint64_t number)
{
    struct publish_outcome outcome = publish(n->f, 0, "a", payload, 1);
    assert_int_equal(outcome.rc, RC_OK);
    if (outcome.ticket != NULL)
        outcome.ticket->number = number;
    node_settle(n);
}

static void publication_whose_home_has_moved_is_routed_anew_in_order_and_then_acknowledged(
    void **state)
{
    struct node *n = *state;
    struct delivery_hub *hub = &n->f->workers[0].hub;
    meet(n);
    other.answer = RC_CLOSED;
    publish_once_safe(n, "x", 1);
    publish_once_safe(n, "y", 2);
    assert_int_equal(n->f->published_count, 0);
    assert_true(delivery_routes_again(hub));
    even_later(n); /* still not there */
    assert_int_equal(other.count, 4);
    assert_int_equal(n->f->published_count, 0);
    other.remote.headless = 1;
    even_later(n); /* nobody is home now: it is not even tried */
    assert_int_equal(other.count, 4);
    other.remote.headless = 0;
    other.answer = RC_OK;
    even_later(n);
    assert_int_equal(other.count, 6);
    assert_string_equal(other.sent[4].payload, "x");
    assert_string_equal(other.sent[5].payload, "y");
    assert_int_equal(n->f->published_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(n->f->published[i].rc, RC_OK);
        assert_int_equal(n->f->published[i].number, i + 1);
    }
    assert_false(delivery_routes_again(hub));
    assert_int_equal(n->f->all_routed, 1);
    part(n);
}

static void are_published(const struct node *n, uint32_t count)
{
    assert_int_equal(n->f->published_count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(n->f->published[i].rc, RC_OK);
        assert_int_equal(n->f->published[i].number, i + 1);
    }
}

/* Else an older value would be the last that comes. */
static void what_came_behind_one_that_is_routed_anew_comes_behind_it_again(void **state)
{
    for (int failed_first = 0; failed_first < 2; failed_first++) {
        struct node *n = *state;
        n->f->published_count = 0;
        meet(n);
        other.hangs = true;
        publish_once_safe(n, "x", 1);
        publish_once_safe(n, "y", 2);
        publish_once_safe(n, "z", 3);
        assert_int_equal(other.count, 3);
        if (failed_first)
            ticket_answered(other.hanging[0], RC_CLOSED);
        ticket_answered(other.hanging[1], RC_OK);
        node_settle(n);
        assert_int_equal(n->f->published_count, 0);
        if (!failed_first)
            ticket_answered(other.hanging[0], RC_CLOSED);
        ticket_answered(other.hanging[2], RC_OK);
        other.hangs = false;
        even_later(n);
        assert_int_equal(other.count, 6);
        assert_string_equal(other.sent[3].payload, "x");
        assert_string_equal(other.sent[4].payload, "y");
        assert_string_equal(other.sent[5].payload, "z");
        are_published(n, 3);
        assert_false(delivery_routes_again(&n->f->workers[0].hub));
        part(n);
    }
}

static void what_was_on_its_way_when_an_older_one_was_routed_anew_follows_it(void **state)
{
    struct node *n = *state;
    meet(n);
    other.hangs = true;
    publish_once_safe(n, "x", 1);
    publish_once_safe(n, "y", 2);
    ticket_answered(other.hanging[0], RC_CLOSED);
    other.hangs = false;
    even_later(n);
    are_published(n, 1);
    ticket_answered(other.hanging[1], RC_OK); /* after all */
    even_later(n);
    assert_int_equal(other.count, 4);
    assert_string_equal(other.sent[2].payload, "x");
    assert_string_equal(other.sent[3].payload, "y");
    are_published(n, 2);
    assert_false(delivery_routes_again(&n->f->workers[0].hub));
    part(n);
}

/* Sessions have moved, and it may be that the older one is not where they are now. */
static void what_is_routed_anew_waits_for_an_older_one_that_may_be_astray(void **state)
{
    struct node *n = *state;
    meet(n);
    other.hangs = true;
    publish_once_safe(n, "x", 1);
    publish_once_safe(n, "y", 2);
    other.remote.told = ++other.remote.moves;
    ticket_answered(other.hanging[1], RC_CLOSED);
    other.hangs = false;
    even_later(n);
    even_later(n);
    assert_int_equal(other.count, 2);
    ticket_answered(other.hanging[0], RC_CLOSED);
    even_later(n);
    assert_int_equal(other.count, 4);
    assert_string_equal(other.sent[2].payload, "x");
    assert_string_equal(other.sent[3].payload, "y");
    are_published(n, 2);
    assert_false(delivery_routes_again(&n->f->workers[0].hub));
    part(n);
}

static void what_is_done_before_an_older_one_is_acknowledged_behind_it(void **state)
{
    struct node *n = *state;
    meet(n);
    other.hangs = true;
    publish_once_safe(n, "x", 1);
    publish_once_safe(n, "y", 2);
    publish_once_safe(n, "z", 3);
    ticket_answered(other.hanging[2], RC_OK);
    ticket_answered(other.hanging[1], RC_OK);
    assert_int_equal(n->f->published_count, 0);
    ticket_answered(other.hanging[0], RC_OK);
    are_published(n, 3);
    even_later(n);
    assert_int_equal(other.count, 3);
    part(n);
}

/* Routed anew, from an outbox, or on its way to another worker. */
static void publication_that_expires_while_it_waits_goes_nowhere(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    struct publication p = {.topic = bytes_of_str("a"),
                            .payload = bytes_of_str("x"),
                            .received_ms = NOW_MS,
                            .has_expiry = true,
                            .expiry_s = 1};
    meet(n);
    other.answer = RC_CLOSED;
    for (p.qos = 1; p.qos <= 2; p.qos++) {
        p.publisher = p.qos == 2 ? publisher->session->ref : 0;
        publish_as(n->f, 0, &p);
        node_settle(n);
    }
    int sent = (int)other.count;
    assert_true(sent >= 2);
    even_later(n);
    assert_true((int)other.count > sent);
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        n->f->workers[worker].table.now_ms = NOW_MS + 1000;
    sent = (int)other.count;
    other.answer = RC_OK;
    later(n);
    assert_int_equal(other.count, sent);
    assert_false(delivery_routes_again(&n->f->workers[0].hub));
    part(n);

    struct client *here = come(n, id_of(1), 0);
    subscribe_as(here, "a", "", 1);
    p.qos = 1;
    publish_as(n->f, 0, &p);
    p.expiry_s = 2;
    publish_as(n->f, 0, &p);
    node_settle(n);
    assert_int_equal(here->count, 1);
}

/* It may have come to nobody, and what follows it would be there first. */
static void what_follows_waits_until_it_is_known_what_came_where_when_sessions_move(void **state)
{
    struct node *n = *state;
    struct delivery_hub *hub = &n->f->workers[0].hub;
    meet(n);
    other.hangs = true;
    publish_once_safe(n, "x", 1);
    publish_once_safe(n, "y", 2);
    assert_false(delivery_routes_again(hub));
    other.remote.told = ++other.remote.moves;
    assert_true(delivery_routes_again(hub));
    ticket_answered(other.hanging[0], RC_OK);
    node_settle(n);
    assert_true(delivery_routes_again(hub));
    assert_int_equal(n->f->all_routed, 0);
    ticket_answered(other.hanging[1], RC_OK);
    node_settle(n);
    assert_false(delivery_routes_again(hub));
    assert_int_equal(n->f->all_routed, 1);
    publish_once_safe(n, "z", 3);
    assert_false(delivery_routes_again(hub));
    ticket_answered(other.hanging[2], RC_OK);
    node_settle(n);
    assert_int_equal(n->f->all_routed, 1);
    part(n);
}

/* It goes to that node as a subscriber's and as the home of its topic, and one answer is late. */
static void what_follows_one_that_has_failed_waits_for_it_before_its_last_answer(void **state)
{
    struct node *n = *state;
    struct delivery_hub *hub = &n->f->workers[0].hub;
    meet(n);
    other.is_home = other.hangs = true;
    struct publish_outcome outcome = publish_as(n->f, 0,
                                                &(struct publication){.topic = bytes_of_str("a"),
                                                                      .payload = bytes_of_str("x"),
                                                                      .qos = 1,
                                                                      .retain = true,
                                                                      .received_ms = NOW_MS});
    assert_non_null(outcome.ticket);
    outcome.ticket->number = 1;
    assert_int_equal(other.count, 2);
    assert_false(delivery_routes_again(hub));
    ticket_answered(other.hanging[0], RC_CLOSED);
    node_settle(n);
    assert_true(delivery_routes_again(hub));
    ticket_answered(other.hanging[1], RC_OK);
    node_settle(n);
    assert_true(delivery_routes_again(hub));
    assert_int_equal(n->f->all_routed, 0);
    other.hangs = false;
    even_later(n);
    are_published(n, 1);
    assert_int_equal(other.count, 4);
    assert_false(delivery_routes_again(hub));
    assert_int_equal(n->f->all_routed, 1);
    part(n);
}

static void publication_to_a_node_without_a_way_is_routed_anew(void **state)
{
    struct node *n = *state;
    meet(n);
    other.there = false;
    publish_once_safe(n, "x", 1);
    assert_int_equal(n->f->published_count, 0);
    other.there = true;
    even_later(n);
    assert_int_equal(n->f->published_count, 1);
    assert_int_equal(n->f->published[0].rc, RC_OK);
    part(n);
}

static void publication_is_refused_when_too_many_wait_to_be_routed_anew(void **state)
{
    struct node *n = *state;
    struct delivery_hub *hub = &n->f->workers[0].hub;
    meet(n);
    other.answer = RC_CLOSED;
    publish_once_safe(n, "x", 1);
    uint64_t bytes = hub->again_bytes;
    hub->again_bytes = AGAIN_BYTES_MAX - 1;
    assert_int_equal(publish(n->f, 0, "a", "y", 1).rc, RC_CLOSED);
    hub->again_bytes = bytes;
    assert_int_equal(hub->metrics->values[METRIC_PUBLISH_AGAIN_LIMIT], 1);
    part(n); /* what waits is freed with the hub */
}

static void unloaded(void *arg)
{
    (*(uint32_t *)arg)++;
}

/* Its client sends it again to where its session is now, and newer ones with it. */
static void publication_whose_publisher_has_moved_is_not_routed_anew(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    uint32_t done = 0;
    meet(n);
    other.hangs = true;
    for (uint64_t number = 1; number <= 3; number++)
        publish_as(n->f, 0,
                   &(struct publication){.topic = bytes_of_str("a"),
                                         .payload = bytes_of_str("x"),
                                         .qos = 1,
                                         .received_ms = NOW_MS,
                                         .publisher = number == 3 ? 0 : publisher->session->ref});
    node_settle(n);
    ticket_answered(other.hanging[0], RC_CLOSED); /* it waits when the publisher goes */
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        delivery_unload(&n->f->workers[worker].hub, (struct shard_group){0, 1}, unloaded, &done);
    node_settle(n);
    ticket_answered(other.hanging[1], RC_CLOSED); /* it was on its way */
    ticket_answered(other.hanging[2], RC_CLOSED); /* and is nobody's who has gone */
    other.hangs = false;
    for (int i = 0; i < 3; i++)
        even_later(n);
    assert_int_equal(other.count, 4);
    assert_int_equal(n->f->published_count, 3);
    uint32_t refused = 0;
    for (int i = 0; i < 3; i++)
        refused += n->f->published[i].rc == RC_CLOSED;
    assert_int_equal(refused, 2);
    assert_false(delivery_routes_again(&n->f->workers[0].hub));
    part(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(publication_whose_home_has_moved_is_routed_anew_in_order_and_then_acknowledged),
        RULE(publication_that_expires_while_it_waits_goes_nowhere),
        RULE(what_came_behind_one_that_is_routed_anew_comes_behind_it_again),
        RULE(what_was_on_its_way_when_an_older_one_was_routed_anew_follows_it),
        RULE(what_is_routed_anew_waits_for_an_older_one_that_may_be_astray),
        RULE(what_is_done_before_an_older_one_is_acknowledged_behind_it),
        RULE(what_follows_waits_until_it_is_known_what_came_where_when_sessions_move),
        RULE(what_follows_one_that_has_failed_waits_for_it_before_its_last_answer),
        RULE(publication_to_a_node_without_a_way_is_routed_anew),
        RULE(publication_is_refused_when_too_many_wait_to_be_routed_anew),
        RULE(publication_whose_publisher_has_moved_is_not_routed_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
