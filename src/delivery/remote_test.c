/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to other nodes by an outbox: once, in order, and again when it did not get there. The
 * test is the other node. */
#include "delivery/node_fixture.h"

enum { SENT_MAX = 16 };

struct other_node {
    struct delivery_remote remote;
    struct subscription *subscription;
    bool there; /* else there is no way to it */
    bool hangs; /* it does not answer: */
    struct publish_ticket *hanging[SENT_MAX];
    enum rc answer; /* to what asks */
    bool is_home;   /* of all topics */
    int count, tries, asked_to_apply;
    uint64_t applied;
    struct {
        char payload[TEXT_ROOM];
        struct outbox_tag outbox;
        bool to_retain;
    } sent[SENT_MAX];
};

static struct other_node other;

static bool forward(struct delivery_hub *hub, uint32_t remote, const struct forwarding *forwarding)
{
    (void)hub;
    assert_int_equal(remote, 0);
    other.tries++;
    if (!other.there)
        return false;
    assert_true(other.count < SENT_MAX);
    struct bytes payload = forwarding->publication->payload;
    snprintf(other.sent[other.count].payload, TEXT_ROOM, "%.*s", (int)payload.len, payload.data);
    other.sent[other.count].outbox = forwarding->outbox;
    other.sent[other.count++].to_retain = forwarding->to_retain;
    if (forwarding->ticket != NULL && other.hangs)
        other.hanging[other.count - 1] = forwarding->ticket;
    else if (forwarding->ticket != NULL)
        ticket_answered(forwarding->ticket, other.answer);
    return true;
}

static bool is_behind(struct delivery_hub *hub, uint32_t remote)
{
    (void)hub;
    (void)remote;
    return false;
}

static enum delivery_place home_of(struct delivery_hub *hub, uint32_t shard, uint32_t *remote)
{
    (void)hub;
    (void)shard;
    *remote = 0;
    return other.is_home ? HOME_IS_REMOTE : HOME_IS_HERE;
}

static uint64_t sequence(struct delivery_hub *hub, uint32_t shard)
{
    (void)hub;
    (void)shard;
    return 17;
}

static bool is_spread(struct delivery_hub *hub, uint32_t shard, uint64_t to)
{
    (void)hub;
    (void)shard;
    return to <= other.applied;
}

static void spread(struct delivery_hub *hub)
{
    (void)hub;
    other.asked_to_apply++;
}

static const struct remote_ops other_ops = {.home_of = home_of,
                                            .sequence = sequence,
                                            .is_spread = is_spread,
                                            .spread = spread,
                                            .forward = forward,
                                            .is_behind = is_behind};

static void meet(struct node *n)
{
    static const struct subscription_options everything = {.qos = 2};
    other = (struct other_node){
        .remote = {.ops = &other_ops, .shards_have_homes = true}, .there = true, .answer = RC_OK};
    other.subscription =
        router_subscribe(&n->f->router, session_ref_of_remote(0), bytes_of_str("a"),
                         bytes_of_str(""), &everything, SUBSCRIPTION_DURABLE);
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        n->f->workers[worker].hub.remote = &other.remote;
}

static void part(struct node *n)
{
    router_unsubscribe(&n->f->router, other.subscription);
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        n->f->workers[worker].hub.remote = NULL;
}

static void publish_twice_safe(struct node *n, struct client *publisher, const char *payload)
{
    struct publication p = {.topic = bytes_of_str("a"),
                            .payload = bytes_of_str(payload),
                            .qos = 2,
                            .received_ms = NOW_MS,
                            .publisher = publisher->session->ref};
    delivery_publish(hub_of(publisher->session), &p, NULL, NULL);
    node_settle(n);
}

static void later(struct node *n)
{
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        n->f->workers[worker].table.now_ms += OUTBOX_AGAIN_MS;
    node_settle(n);
}

static void even_later(struct node *n)
{
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        n->f->workers[worker].table.now_ms += AGAIN_MS;
    node_settle(n);
}

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
    other.remote.moves++;
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

static void entry_that_waited_for_routes_goes_as_soon_as_they_are_there(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.remote.headless = 1;
    publish_twice_safe(n, publisher, "x");
    assert_int_equal(other.tries, 0);
    other.remote.headless = 0;
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

static void entry_from_another_node_comes_once(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), LONG_S);
    subscribe_as(here, "a", "", 2);
    meet(n);
    struct publication p = {
        .topic = bytes_of_str("a"), .payload = bytes_of_str("x"), .qos = 2, .received_ms = NOW_MS};
    struct outbox_tag tag = {.number = 7, .shard = 1};
    for (int i = 0; i < 3; i++) {
        struct publish_outcome outcome = delivery_publish_remote(hub_of(here->session), &p, 0, tag);
        if (outcome.ticket != NULL)
            outcome.ticket->owner = 0;
        node_settle(n);
        tag.replayed = true;
    }
    assert_int_equal(here->count, 1);
    tag.number = 8;
    delivery_publish_remote(hub_of(here->session), &p, 0, tag);
    node_settle(n);
    assert_int_equal(here->count, 2);
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
    struct publish_outcome outcome = delivery_publish_remote(hub_of(here->session), &p, 0, tag);
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

static void so_many_entries_that_were_overtaken_are_remembered(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), 0);
    subscribe_as(here, "a", "", 2);
    meet(n);
    for (uint64_t i = 1; i <= HIGH_WATER_MAX + 1; i++)
        high_water_set_clean(hub_of(here->session),
                             (struct outbox_tag){.number = 10 * i, .low = 1, .shard = 1});
    arrive(n, here, 15, 1, true); /* behind the first that is remembered */
    assert_int_equal(here->count, 1);
    arrive(n, here, 5, 1, true); /* before it */
    assert_int_equal(here->count, 1);
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

/* ---- shares --------------------------------------------------------------------------------- */

/* The other node has members of "team" on "g", whose sessions may be stored; so has this one. */
static struct subscription *join_there(struct node *n, uint32_t flags)
{
    static const struct subscription_options options = {.qos = 2};
    return router_subscribe(&n->f->router, session_ref_of_remote(0), bytes_of_str("g"),
                            bytes_of_str("team"), &options, flags);
}

/* So often that each member is chosen at some time. */
static void publish_to_team(struct node *n, uint8_t qos)
{
    for (int i = 0; i < 4; i++)
        publish(n->f, 0, "g", "x", qos);
    node_settle(n);
}

static void message_of_a_share_goes_to_another_member_when_a_node_cannot_be_reached(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(1), 0);
    subscribe_as(here, "g", "team", 2);
    meet(n);
    struct subscription *there = join_there(n, SUBSCRIPTION_DURABLE);
    other.there = false;
    for (uint8_t qos = 0; qos <= 2; qos++) {
        publish_to_team(n, qos);
        assert_int_equal(here->count, 4 * (qos + 1));
    }
    for (uint32_t i = 0; i < n->f->published_count; i++)
        assert_int_equal(n->f->published[i].rc, RC_OK);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void message_of_qos_1_goes_to_another_member_when_a_node_is_lost_before_it_answers(
    void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(1), 0);
    subscribe_as(here, "g", "team", 2);
    meet(n);
    struct subscription *there = join_there(n, 0);
    other.answer = RC_CLOSED;
    publish_to_team(n, 1);
    assert_int_equal(here->count, 4);
    assert_true(other.count > 0);
    for (uint32_t i = 0; i < n->f->published_count; i++)
        assert_int_equal(n->f->published[i].rc, RC_OK);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void message_goes_to_another_member_when_the_last_one_there_has_left(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(1), 0);
    subscribe_as(here, "g", "team", 2);
    meet(n);
    struct subscription *there = join_there(n, 0);
    other.answer = RC_NOT_FOUND;
    for (uint8_t qos = 1; qos <= 2; qos++) {
        publish_to_team(n, qos);
        assert_int_equal(here->count, 4 * qos);
    }
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void share_of_another_nodes_message_may_have_no_member_left(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), 0);
    subscribe_as(here, "g", "team", 1);
    meet(n);
    struct publication p = {
        .topic = bytes_of_str("g"), .payload = bytes_of_str("x"), .qos = 1, .received_ms = NOW_MS};
    uint64_t share = bytes_hash(bytes_of_str("$share/team/g"));
    struct delivery_hub *hub = hub_of(here->session);
    assert_int_equal(delivery_publish_remote(hub, &p, share, (struct outbox_tag){0}).rc, RC_OK);
    assert_int_equal(delivery_publish_remote(hub, &p, share + 1, (struct outbox_tag){0}).rc,
                     RC_NOT_FOUND);
    node_settle(n);
    assert_got(here, "x");
    part(n);
}

static void member_that_ends_leaves_its_messages_to_another_node(void **state)
{
    struct node *n = *state;
    struct client *clean = come(n, id_of(0), 0), *kept = come(n, id_of(1), LONG_S);
    subscribe_as(clean, "g", "team", 1);
    subscribe_as(kept, "h", "team", 1);
    publish(n->f, 0, "g", "clean", 1);
    publish(n->f, 0, "h", "kept", 1);
    node_settle(n);
    meet(n);
    static const struct subscription_options options = {.qos = 2};
    struct subscription *there[] = {
        join_there(n, 0), router_subscribe(&n->f->router, session_ref_of_remote(0),
                                           bytes_of_str("h"), bytes_of_str("team"), &options, 0)};
    leave(clean);
    session_end(kept->session);
    node_settle(n);
    assert_int_equal(other.count, 2);
    assert_string_equal(other.sent[0].payload, "clean");
    assert_string_equal(other.sent[1].payload, "kept");
    for (int i = 0; i < 2; i++)
        router_unsubscribe(&n->f->router, there[i]);
    part(n);
}

static void publisher_waits_for_the_stored_member_that_gets_it_instead(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), LONG_S);
    subscribe_as(here, "g", "team", 1);
    node_settle(n);
    meet(n);
    struct subscription *there = join_there(n, 0);
    other.answer = RC_CLOSED;
    for (int i = 0; i < 2; i++) {
        struct publish_outcome outcome = publish(n->f, 0, "g", "x", 1);
        assert_non_null(outcome.ticket);
        assert_int_equal(n->f->published_count, (uint32_t)i);
        node_settle(n);
        assert_int_equal(n->f->published_count, (uint32_t)i + 1);
        assert_int_equal(n->f->published[i].rc, RC_OK);
    }
    assert_int_equal(here->count, 2);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void entry_goes_to_another_member_when_a_node_cannot_be_reached(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S), *here = come(n, id_of(1), 0);
    subscribe_as(here, "g", "team", 2);
    meet(n);
    struct subscription *there = join_there(n, SUBSCRIPTION_DURABLE);
    other.there = false;
    for (int i = 0; i < 4; i++)
        publish_as(n->f, 0,
                   &(struct publication){.topic = bytes_of_str("g"),
                                         .payload = bytes_of_str("x"),
                                         .qos = 2,
                                         .received_ms = NOW_MS,
                                         .publisher = publisher->session->ref});
    node_settle(n);
    assert_int_equal(here->count, 4);
    later(n);
    assert_int_equal(here->count, 4);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void message_of_qos_2_that_may_have_been_sent_goes_to_no_other_member(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(1), 0);
    subscribe_as(here, "g", "team", 2);
    meet(n);
    struct subscription *there = join_there(n, 0);
    other.answer = RC_CLOSED;
    publish_to_team(n, 2);
    assert_int_equal(here->count + (uint32_t)other.count, 4);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void publication_waits_while_nobody_of_a_share_can_be_reached(void **state)
{
    struct node *n = *state;
    meet(n);
    struct subscription *there = join_there(n, SUBSCRIPTION_DURABLE);
    other.there = false;
    assert_non_null(publish(n->f, 0, "g", "x", 1).ticket);
    even_later(n);
    other.there = true;
    other.answer = RC_CLOSED;
    even_later(n);
    assert_int_equal(n->f->published_count, 0);
    other.answer = RC_OK;
    even_later(n);
    assert_int_equal(n->f->published_count, 1);
    assert_int_equal(n->f->published[0].rc, RC_OK);
    other.there = false;
    router_unsubscribe(&n->f->router, there);
    there = join_there(n, 0); /* its sessions have ended with it */
    assert_int_equal(publish(n->f, 0, "g", "x", 1).rc, RC_OK);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(entry_goes_to_the_other_node_with_its_tag),
        RULE(entry_that_did_not_get_there_is_sent_again_and_nothing_overtakes_it),
        RULE(entry_whose_fate_is_not_known_is_sent_again_with_the_same_tag),
        RULE(entry_waits_for_an_older_one_when_sessions_have_moved_since),
        RULE(entry_that_waited_for_routes_goes_as_soon_as_they_are_there),
        RULE(subscribers_here_get_an_entry_once_when_it_is_sent_there_again),
        RULE(entry_from_another_node_comes_once),
        RULE(entry_of_the_store_waits_until_all_groups_have_homes),
        RULE(clean_subscribers_get_an_entry_once_when_it_is_sent_there_again),
        RULE(entry_that_a_younger_one_has_overtaken_comes_all_the_same),
        RULE(entry_that_was_overtaken_is_known_after_a_restart),
        RULE(so_many_entries_that_were_overtaken_are_remembered),
        RULE(retained_publication_goes_to_the_home_of_its_topic),
        RULE(entry_is_retained_when_its_topic_has_a_home_again_and_its_publisher_waits),
        RULE(home_of_a_topic_retains_what_comes_from_another_node),
        RULE(publication_whose_home_has_moved_is_routed_anew_in_order_and_then_acknowledged),
        RULE(publication_to_a_node_without_a_way_is_routed_anew),
        RULE(publication_is_refused_when_too_many_wait_to_be_routed_anew),
        RULE(message_of_a_share_goes_to_another_member_when_a_node_cannot_be_reached),
        RULE(message_of_qos_1_goes_to_another_member_when_a_node_is_lost_before_it_answers),
        RULE(entry_goes_to_another_member_when_a_node_cannot_be_reached),
        RULE(message_goes_to_another_member_when_the_last_one_there_has_left),
        RULE(share_of_another_nodes_message_may_have_no_member_left),
        RULE(member_that_ends_leaves_its_messages_to_another_node),
        RULE(publisher_waits_for_the_stored_member_that_gets_it_instead),
        RULE(message_of_qos_2_that_may_have_been_sent_goes_to_no_other_member),
        RULE(publication_waits_while_nobody_of_a_share_can_be_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
