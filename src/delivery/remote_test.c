/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to other nodes by an outbox: once, in order, and again when it did not get there. */
#include "base/breaks.h"
#include "delivery/other_node_fixture.h"

/* ---- rules ---------------------------------------------------------------------------------- */

static void entry_goes_to_the_other_node_with_its_tag(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    publish_twice_safe(n, publisher, "x");
    assert_int_equal(other.count, 1);
    assert_string_equal(other.sent[0].payload, "x");
    assert_int_equal(other.sent[0].outbox.shard, publisher->session->store->shard);
    assert_true(other.sent[0].outbox.number > 0);
    assert_false(other.sent[0].outbox.replayed);
    assert_int_equal(key_count(store_engine(n->store), STORE_STATE), 2); /* meta and the session */
    part(n);
}

static void entry_that_did_not_get_there_is_sent_again_and_nothing_overtakes_it(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.there = false;
    publish_twice_safe(n, publisher, "1");
    other.there = true;
    publish_twice_safe(n, publisher, "2");
    assert_int_equal(other.count, 0);
    later(n);
    assert_int_equal(other.count, 2);
    assert_string_equal(other.sent[0].payload, "1");
    assert_string_equal(other.sent[1].payload, "2");
    assert_true(other.sent[0].outbox.replayed);
    assert_int_equal(key_count(store_engine(n->store), STORE_STATE), 2);
    part(n);
}

static void entry_whose_fate_is_not_known_is_sent_again_with_the_same_tag(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.answer = RC_CLOSED;
    publish_twice_safe(n, publisher, "x");
    other.answer = RC_OK;
    later(n);
    assert_int_equal(other.count, 2);
    assert_int_equal(other.sent[0].outbox.number, other.sent[1].outbox.number);
    later(n);
    assert_int_equal(other.count, 2);
    part(n);
}

/* It is on its way to a node that does not answer, and sessions move elsewhere meanwhile. */
static void entry_waits_for_an_older_one_when_sessions_have_moved_since(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.hangs = true;
    publish_twice_safe(n, publisher, "1");
    publish_twice_safe(n, publisher, "2");
    assert_int_equal(other.count, 2); /* nothing has moved: it may follow */
    other.remote.told = ++other.remote.moves;
    publish_twice_safe(n, publisher, "3");
    assert_int_equal(other.count, 2);
    other.hangs = false;
    ticket_answered(other.hanging[0], RC_CLOSED);
    ticket_answered(other.hanging[1], RC_CLOSED);
    later(n);
    assert_int_equal(other.count, 5);
    assert_string_equal(other.sent[2].payload, "1");
    assert_string_equal(other.sent[3].payload, "2");
    assert_string_equal(other.sent[4].payload, "3");
    part(n);
}

/* The oldest has been sent again since; the one behind it has not been heard of. */
static void entry_waits_for_any_older_one_that_was_sent_before_sessions_moved(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.hangs = true;
    publish_twice_safe(n, publisher, "1");
    publish_twice_safe(n, publisher, "2");
    other.remote.told = ++other.remote.moves;
    ticket_answered(other.hanging[0], RC_CLOSED);
    later(n);
    assert_int_equal(other.count, 3);
    assert_string_equal(other.sent[2].payload, "1");
    publish_twice_safe(n, publisher, "3");
    assert_int_equal(other.count, 3);
    other.hangs = false;
    ticket_answered(other.hanging[2], RC_OK);
    ticket_answered(other.hanging[1], RC_CLOSED);
    later(n);
    assert_int_equal(other.count, 5);
    assert_string_equal(other.sent[3].payload, "2");
    assert_string_equal(other.sent[4].payload, "3");
    part(n);
}

static void entry_that_waited_for_routes_goes_as_soon_as_they_are_there(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.remote.headless = 1;
    other.remote.moves = other.remote.told + 1;
    publish_twice_safe(n, publisher, "x");
    assert_int_equal(other.tries, 0);
    other.remote.headless = 0;
    node_settle(n);
    assert_int_equal(other.tries, 0); /* the other node would take it for one to the old homes */
    other.remote.told = other.remote.moves;
    node_settle(n);
    assert_int_equal(other.count, 1);
    part(n);
}

static void subscribers_here_get_an_entry_once_when_it_is_sent_there_again(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S), *here = come(n, id_of(1), LONG_S);
    subscribe_as(here, "a", "", 2);
    meet(n);
    other.there = false;
    publish_twice_safe(n, publisher, "x");
    assert_int_equal(here->count, 1);
    later(n);
    other.there = true;
    later(n);
    assert_int_equal(other.count, 1);
    assert_int_equal(here->count, 1);
    part(n);
}

/* The entry of that number comes from another node, and so often again. */
static void come_again(struct node *n, struct client *here, uint64_t number, int times)
{
    struct publication p = {
        .topic = bytes_of_str("a"), .payload = bytes_of_str("x"), .qos = 2, .received_ms = NOW_MS};
    struct outbox_tag tag = {.number = number, .shard = 1};
    for (int i = 0; i <= times; i++) {
        struct publish_outcome outcome =
            delivery_publish_remote(hub_of(here->session), &p, 0, NO_SHARD, tag, 0);
        if (outcome.ticket != NULL)
            outcome.ticket->owner = 0;
        node_settle(n);
        tag.replayed = true;
    }
}

static void node_without_dedupe_delivers_an_entry_as_often_as_it_comes(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), LONG_S);
    subscribe_as(here, "a", "", 2);
    meet(n);
    breaks_set(BREAK_NO_DEDUPE);
    come_again(n, here, 7, 2);
    breaks_set(BREAK_NOTHING);
    assert_int_equal(here->count, 3);
    part(n);
}

static void entry_from_another_node_comes_once(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), LONG_S);
    subscribe_as(here, "a", "", 2);
    meet(n);
    come_again(n, here, 7, 2);
    assert_int_equal(here->count, 1);
    come_again(n, here, 8, 0);
    node_settle(n);
    assert_int_equal(here->count, 2);
    part(n);
}

static struct publish_outcome come_from_there(struct node *n, uint8_t qos, struct outbox_tag tag,
                                              uint32_t elsewhere)
{
    struct publication p = {.topic = bytes_of_str("a"),
                            .payload = bytes_of_str("x"),
                            .qos = qos,
                            .received_ms = NOW_MS};
    n->f->published_count = 0;
    struct publish_outcome outcome =
        delivery_publish_remote(&n->f->workers[0].hub, &p, 0, NO_SHARD, tag, elsewhere);
    if (outcome.ticket != NULL)
        outcome.ticket->owner = 0;
    node_settle(n);
    return outcome;
}

/* Its sender has given it to the home of their group before that moved here, or is told that it
 * could not: they would have it twice. */
static void sessions_that_are_elsewhere_for_the_sender_get_nothing_from_it(void **state)
{
    const struct outbox_tag none = {0};
    struct node *n = *state;
    struct client *moved = come(n, id_of(0), LONG_S), *here = come(n, id_of(1), LONG_S),
                  *clean = come(n, "clean", 0);
    uint32_t elsewhere = 1u << moved->session->store->shard;
    subscribe_as(moved, "a", "", 2);
    subscribe_as(here, "a", "", 2);
    subscribe_as(clean, "a", "", 2);
    assert_int_not_equal(moved->session->store->shard, here->session->store->shard);
    meet(n);
    assert_non_null(come_from_there(n, 2, none, elsewhere).ticket);
    assert_int_equal(n->f->published[0].rc, RC_CLOSED);
    assert_int_equal(moved->count, 0);
    assert_int_equal(here->count, 1);
    assert_int_equal(clean->count, 1);
    come_from_there(n, 0, none, elsewhere);
    assert_int_equal(moved->count, 0);
    assert_int_equal(here->count, 2);
    assert_non_null(come_from_there(n, 2, none, 0).ticket);
    assert_int_equal(n->f->published[0].rc, RC_OK);
    assert_int_equal(moved->count, 1);
    part(n);
}

static void entry_for_sessions_that_are_elsewhere_for_its_sender_has_not_come(void **state)
{
    struct outbox_tag tag = {.number = 7, .shard = 1, .replayed = true};
    struct node *n = *state;
    struct client *moved = come(n, id_of(0), LONG_S), *here = come(n, id_of(1), LONG_S);
    subscribe_as(moved, "a", "", 2);
    subscribe_as(here, "a", "", 2);
    meet(n);
    come_from_there(n, 2, tag, 1u << moved->session->store->shard);
    assert_int_equal(n->f->published[0].rc, RC_CLOSED);
    assert_int_equal(moved->count, 0);
    come_from_there(n, 2, tag, 0);
    assert_int_equal(n->f->published[0].rc, RC_OK);
    assert_int_equal(moved->count, 1);
    assert_int_equal(here->count, 1);
    part(n);
}

/* Who sent it would delete it, and what is not safe here may be lost with its home. */
static void entry_that_comes_again_is_answered_when_the_first_is_safe(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), LONG_S);
    subscribe_as(here, "a", "", 2);
    meet(n);
    struct publication p = {
        .topic = bytes_of_str("a"), .payload = bytes_of_str("x"), .qos = 2, .received_ms = NOW_MS};
    struct outbox_tag tag = {.number = 7, .shard = 1, .replayed = true};
    for (int i = 0; i < 2; i++) {
        struct publish_outcome outcome =
            delivery_publish_remote(hub_of(here->session), &p, 0, NO_SHARD, tag, 0);
        assert_non_null(outcome.ticket);
        settle(n->f); /* without the store */
    }
    assert_int_equal(n->f->published_count, 0);
    node_settle(n);
    assert_int_equal(n->f->published_count, 2);
    assert_int_equal(here->count, 1);
    part(n);
}

/* When groups get their homes one after the other, the sessions of some have no routes yet. */
static void entry_of_the_store_waits_until_all_groups_have_homes(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.there = false;
    publish_twice_safe(n, publisher, "x");
    part(n);
    node_crash(n);
    node_open(n);
    meet(n);
    other.remote.headless = 1;
    node_load(n);
    later(n);
    assert_int_equal(other.tries, 0);
    other.remote.headless = 0;
    node_settle(n);
    assert_int_equal(other.count, 1);
    assert_true(other.sent[0].outbox.replayed);
    part(n);
}

static void node_that_breaks_its_lease_does_not_wait_for_homes(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.remote.headless = 1;
    publish_twice_safe(n, publisher, "x");
    node_settle(n);
    assert_int_equal(other.count, 0);
    breaks_set(BREAK_NO_LEASE);
    later(n);
    breaks_set(BREAK_NOTHING);
    assert_int_equal(other.count, 1);
    part(n);
}

static void clean_subscribers_get_an_entry_once_when_it_is_sent_there_again(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S), *here = come(n, id_of(1), 0);
    subscribe_as(here, "a", "", 2);
    meet(n);
    other.there = false;
    publish_twice_safe(n, publisher, "x");
    assert_int_equal(here->count, 1);
    other.there = true;
    later(n);
    assert_int_equal(other.count, 1);
    assert_int_equal(here->count, 1);
    publish_twice_safe(n, publisher, "y");
    assert_int_equal(here->count, 2);
    part(n);
}

/* One came from another node. */
static void arrive(struct node *n, struct client *here, uint64_t number, uint64_t low,
                   bool replayed)
{
    struct publication p = {
        .topic = bytes_of_str("a"), .payload = bytes_of_str("x"), .qos = 2, .received_ms = NOW_MS};
    struct outbox_tag tag = {.number = number, .low = low, .shard = 1, .replayed = replayed};
    struct publish_outcome outcome =
        delivery_publish_remote(hub_of(here->session), &p, 0, NO_SHARD, tag, 0);
    if (outcome.ticket != NULL)
        outcome.ticket->owner = 0;
    node_settle(n);
}

static void entry_that_a_younger_one_has_overtaken_comes_all_the_same(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), LONG_S), *clean = come(n, id_of(1), 0);
    subscribe_as(here, "a", "", 2);
    subscribe_as(clean, "a", "", 2);
    meet(n);
    arrive(n, here, 8, 7, false);
    arrive(n, here, 7, 7, true);
    assert_int_equal(here->count, 2);
    assert_int_equal(clean->count, 2);
    for (uint64_t number = 7; number <= 8; number++)
        arrive(n, here, number, 7, true);
    assert_int_equal(here->count, 2);
    assert_int_equal(clean->count, 2);
    arrive(n, here, 11, 11, false); /* 9 and 10 have come to all, who wanted them */
    arrive(n, here, 10, 10, true);
    assert_int_equal(here->count, 3);
    part(n);
}

static void entry_that_was_overtaken_is_known_after_a_restart(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), LONG_S);
    subscribe_as(here, "a", "", 2);
    meet(n);
    arrive(n, here, 9, 7, false);
    part(n);
    node_restart(n);
    here = come(n, id_of(0), LONG_S);
    meet(n);
    node_settle(n);
    uint32_t count = here->count;
    arrive(n, here, 9, 7, true);
    assert_int_equal(here->count, count);
    arrive(n, here, 8, 7, true);
    assert_int_equal(here->count, count + 1);
    part(n);
}

static void mark(struct client *client, uint64_t number)
{
    high_water_set_clean(hub_of(client->session),
                         (struct outbox_tag){.number = number, .low = 1, .shard = 1});
}

static void so_many_entries_that_were_overtaken_are_remembered(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), 0);
    subscribe_as(here, "a", "", 2);
    meet(n);
    for (uint64_t i = 1; i <= HIGH_WATER_MAX; i++)
        mark(here, 10 * i);
    mark(here, 10); /* is remembered already */
    assert_int_equal(metric(n->f, METRIC_OUTBOX_MARKS_LIMIT), 0);
    mark(here, 10 * (HIGH_WATER_MAX + 1));
    assert_int_equal(metric(n->f, METRIC_OUTBOX_MARKS_LIMIT), 1);
    arrive(n, here, 15, 1, true); /* behind the first that is remembered */
    assert_int_equal(here->count, 1);
    assert_int_equal(metric(n->f, METRIC_OUTBOX_MARKS_LIMIT), 2);
    arrive(n, here, 5, 1, true); /* before it */
    assert_int_equal(here->count, 1);
    assert_int_equal(metric(n->f, METRIC_OUTBOX_MARKS_LIMIT), 2);
    part(n);
}

/* Each is the oldest that has not come to all: what is before it need not be remembered. */
static void entries_that_come_in_order_never_reach_the_limit(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), 0);
    subscribe_as(here, "a", "", 2);
    meet(n);
    for (uint64_t i = 1; i <= HIGH_WATER_MAX + 10; i++)
        high_water_set_clean(hub_of(here->session),
                             (struct outbox_tag){.number = i, .low = i, .shard = 1});
    assert_int_equal(metric(n->f, METRIC_OUTBOX_MARKS_LIMIT), 0);
    part(n);
}

static void retained_publication_goes_to_the_home_of_its_topic(void **state)
{
    struct node *n = *state;
    meet(n);
    other.is_home = true;
    struct publication p = {.topic = bytes_of_str("b"),
                            .payload = bytes_of_str("x"),
                            .qos = 1,
                            .retain = true,
                            .received_ms = NOW_MS};
    struct delivery_hub *hub = &n->f->workers[0].hub;
    struct message *message = message_new(&p);
    assert_int_equal(delivery_retain(hub, message), RC_OK);
    struct publish_outcome outcome = delivery_publish(hub, &p, message, NULL);
    assert_null(outcome.ticket);
    assert_int_equal(outcome.rc, RC_OK);
    assert_int_equal(other.count, 1);
    assert_true(other.sent[0].to_retain);
    assert_null(retained_get(&n->f->retained, p.topic, NOW_MS));
    other.there = false;
    assert_non_null(delivery_publish(hub, &p, message, NULL).ticket);
    message_drop(message);
    other.there = true;
    even_later(n);
    assert_int_equal(other.count, 2);
    assert_true(other.sent[1].to_retain);
    assert_int_equal(n->f->published[0].rc, RC_OK);
    part(n);
}

/* Refused it would be published again by its publisher, and delivered twice. */
static void entry_is_retained_when_its_topic_has_a_home_again_and_its_publisher_waits(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S), *here = come(n, id_of(1), LONG_S);
    subscribe_as(here, "b", "", 2);
    meet(n);
    other.is_home = true;
    other.there = false;
    struct publication p = {.topic = bytes_of_str("b"),
                            .payload = bytes_of_str("x"),
                            .qos = 2,
                            .retain = true,
                            .received_ms = NOW_MS,
                            .publisher = publisher->session->ref};
    node_settle(n);
    uint32_t before = key_count(store_engine(n->store), STORE_STATE);
    assert_non_null(delivery_publish(hub_of(publisher->session), &p, NULL, NULL).ticket);
    node_settle(n);
    assert_int_equal(here->count, 1);
    assert_int_equal(n->f->published_count, 0);
    later(n);
    other.there = true;
    later(n);
    assert_int_equal(other.count, 1);
    assert_true(other.sent[0].to_retain);
    assert_int_equal(here->count, 1);
    assert_int_equal(n->f->published_count, 1);
    assert_int_equal(n->f->published[0].rc, RC_OK);
    assert_int_equal(key_count(store_engine(n->store), STORE_STATE), before + 1); /* a mark */
    part(n);
}

static bool is_retained(const struct node *n, const char *topic)
{
    struct message *message = retained_get(&n->f->retained, bytes_of_str(topic), NOW_MS);
    message_drop(message);
    return message != NULL;
}

/* Nobody has subscribed: what is retained by another shard than the publisher's must come once,
 * too, and its home may have become this node, or again, by the time that it is sent on its way. */
static void publication_is_retained_when_its_topic_has_come_home_meanwhile(void **state)
{
    for (uint8_t qos = 1; qos <= 2; qos++) {
        struct node *n = *state;
        struct client *publisher = come(n, id_of(qos - 1), LONG_S);
        meet(n);
        other.is_home = true;
        other.there = false;
        struct publication p = {.topic = bytes_of_str(qos == 1 ? "b" : "c"),
                                .payload = bytes_of_str("x"),
                                .qos = qos,
                                .retain = true,
                                .received_ms = NOW_MS,
                                .publisher = publisher->session->ref};
        struct message *message = message_new(&p);
        uint32_t before = n->f->published_count;
        assert_int_equal(delivery_retain(hub_of(publisher->session), message), RC_OK);
        assert_non_null(delivery_publish(hub_of(publisher->session), &p, message, NULL).ticket);
        message_drop(message);
        node_settle(n);
        assert_false(is_retained(n, qos == 1 ? "b" : "c"));
        other.is_home = false;
        later(n);
        even_later(n);
        assert_int_equal(n->f->published_count, before); /* the other has not applied it */
        assert_true(is_retained(n, qos == 1 ? "b" : "c"));
        assert_int_equal(key_count(store_engine(n->store), STORE_RETAINED), qos);
        other.applied = 17 * qos;
        node_settle(n);
        assert_int_equal(n->f->published_count, before + 1);
        assert_int_equal(n->f->published[before].rc, RC_OK);
        part(n);
    }
}

static void home_of_a_topic_retains_what_comes_from_another_node(void **state)
{
    struct node *n = *state;
    meet(n);
    struct publication p = {.topic = bytes_of_str("b"),
                            .payload = bytes_of_str("x"),
                            .qos = 1,
                            .retain = true,
                            .received_ms = NOW_MS};
    struct delivery_hub *hub = &n->f->workers[0].hub;
    struct publish_outcome outcome = delivery_retain_remote(hub, &p);
    assert_non_null(outcome.ticket);
    node_settle(n);
    assert_int_equal(key_count(store_engine(n->store), STORE_RETAINED), 1);
    assert_int_equal(n->f->published_count, 0); /* the other has not applied it */
    assert_true(other.asked_to_apply > 0);
    other.applied = 17;
    node_settle(n);
    assert_int_equal(n->f->published_count, 1);
    assert_int_equal(n->f->published[0].rc, RC_OK);
    other.is_home = true;
    assert_int_equal(delivery_retain_remote(hub, &p).rc, RC_CLOSED);
    part(n);
}

/* ---- routed anew ---------------------------------------------------------------------------- */

/* One that comes again is not acknowledged before what it repeats is where it should be. */
static void who_awaits_an_outbox_is_told_when_what_was_in_it_has_come_to_all(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    struct delivery_hub *hub = hub_of(publisher->session);
    meet(n);
    assert_null(delivery_await_outbox(hub, publisher->session));
    other.answer = RC_CLOSED;
    publish_twice_safe(n, publisher, "x");
    uint32_t before = n->f->published_count;
    struct publish_ticket *ticket = delivery_await_outbox(hub, publisher->session);
    assert_non_null(ticket);
    ticket->number = 4711;
    later(n);
    assert_int_equal(n->f->published_count, before);
    publish_twice_safe(n, publisher, "y"); /* it is not waited for */
    other.answer = RC_OK;
    other.hangs = true;
    later(n);
    assert_int_equal(n->f->published_count, before);
    for (uint32_t i = 0; i < (uint32_t)other.count; i++)
        if (other.hanging[i] != NULL && strcmp(other.sent[i].payload, "x") == 0)
            ticket_answered(other.hanging[i], RC_OK);
    node_settle(n);
    assert_int_equal(n->f->published_count, before + 1);
    assert_int_equal(n->f->published[before].number, 4711);
    assert_int_equal(n->f->published[before].rc, RC_OK);
    for (uint32_t i = 0; i < (uint32_t)other.count; i++)
        if (other.hanging[i] != NULL && strcmp(other.sent[i].payload, "y") == 0)
            ticket_answered(other.hanging[i], RC_OK);
    node_settle(n);
    assert_null(delivery_await_outbox(hub, publisher->session));
    part(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(entry_goes_to_the_other_node_with_its_tag),
        RULE(entry_that_did_not_get_there_is_sent_again_and_nothing_overtakes_it),
        RULE(entry_whose_fate_is_not_known_is_sent_again_with_the_same_tag),
        RULE(entry_waits_for_an_older_one_when_sessions_have_moved_since),
        RULE(entry_waits_for_any_older_one_that_was_sent_before_sessions_moved),
        RULE(entry_that_waited_for_routes_goes_as_soon_as_they_are_there),
        RULE(subscribers_here_get_an_entry_once_when_it_is_sent_there_again),
        RULE(sessions_that_are_elsewhere_for_the_sender_get_nothing_from_it),
        RULE(entry_for_sessions_that_are_elsewhere_for_its_sender_has_not_come),
        RULE(entry_from_another_node_comes_once),
        RULE(entry_that_comes_again_is_answered_when_the_first_is_safe),
        RULE(node_that_breaks_its_lease_does_not_wait_for_homes),
        RULE(node_without_dedupe_delivers_an_entry_as_often_as_it_comes),
        RULE(entry_of_the_store_waits_until_all_groups_have_homes),
        RULE(clean_subscribers_get_an_entry_once_when_it_is_sent_there_again),
        RULE(entry_that_a_younger_one_has_overtaken_comes_all_the_same),
        RULE(entry_that_was_overtaken_is_known_after_a_restart),
        RULE(so_many_entries_that_were_overtaken_are_remembered),
        RULE(entries_that_come_in_order_never_reach_the_limit),
        RULE(retained_publication_goes_to_the_home_of_its_topic),
        RULE(entry_is_retained_when_its_topic_has_a_home_again_and_its_publisher_waits),
        RULE(publication_is_retained_when_its_topic_has_come_home_meanwhile),
        RULE(home_of_a_topic_retains_what_comes_from_another_node),
        RULE(who_awaits_an_outbox_is_told_when_what_was_in_it_has_come_to_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
