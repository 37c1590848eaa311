/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/delivery_fixture.h"

/* ---- here and there ------------------------------------------------------------------------- */

static void publication_reaches_a_subscriber_of_the_same_worker_at_once(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    subscribe(client, "a/+", 0);
    assert_true(publish(f, 0, "a/b", "hello", 0).matched);
    assert_got(client, "hello");
    assert_string_equal(client->got[0].topic, "a/b");
}

static void publication_without_subscribers_says_so(void **state)
{
    struct publish_outcome outcome = publish(*state, 0, "a/b", "hello", 2);
    assert_false(outcome.matched);
    assert_null(outcome.ticket);
}

static void publication_reaches_another_worker_with_the_turns_of_both(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 1, 0);
    subscribe(client, "a", 1);
    assert_true(publish(f, 0, "a", "hello", 1).matched);
    turn(f, 1);
    assert_got(client, "");
    turn(f, 0); /* posts what it has collected */
    assert_true(f->workers[1].woken);
    turn(f, 1);
    assert_got(client, "hello");
    assert_int_equal(client->got[0].qos, 1);
}

static void publications_reach_another_worker_in_order(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 1, 0);
    char payload[TEXT_ROOM];
    subscribe(client, "a", 0);
    for (int i = 0; i < 5000; i++) { /* several batches in one turn */
        snprintf(payload, sizeof(payload), "%d", i);
        publish(f, 0, "a", payload, 0);
        if (i % 700 == 0)
            settle(f);
    }
    settle(f);
    assert_int_equal(client->count, 5000);
    for (uint32_t i = 5000 - GOT_MAX; i < 5000; i++)
        assert_int_equal(atoi(client->got[i % GOT_MAX].payload), i);
}

/* Inside the batch, shared, shared from the start. */
static void publication_of_any_size_reaches_another_worker_whole(void **state)
{
    static const size_t sizes[] = {0, 1, 1000, ITEM_INLINE_MAX + 1, DELIVERY_MESSAGE_MIN, 100000};
    struct fixture *f = *state;
    struct client *client = client_of(f, 1, 0);
    uint8_t *payload = mem_new(100000);
    memset(payload, 'x', 100000);
    subscribe(client, "a", 0);
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        publish_as(f, 0,
                   &(struct publication){.topic = bytes_of_str("a"),
                                         .payload = bytes_of(payload, sizes[i])});
        memset(payload, 'y', 1); /* the view is only borrowed */
        settle(f);
        assert_int_equal(client->got[i].payload_len, sizes[i]);
        assert_true(sizes[i] == 0 || client->got[i].payload[0] == 'x');
        memset(payload, 'x', 1);
    }
    mem_free(payload);
}

static void publication_that_is_ready_made_is_ready_made_elsewhere_too(void **state)
{
    static const char packet[] = "HEADER topic PROPERTIES payload";
    struct fixture *f = *state;
    struct client *here = client_of(f, 0, 0), *there = client_of(f, 1, 0);
    struct publication p = {.topic = bytes_of(packet + 7, 5),
                            .properties = bytes_of(packet + 13, 10),
                            .payload = bytes_of(packet + 24, 7)};
    struct ready_made ready_made = {.packet = bytes_of_str(packet), .v5 = true};
    subscribe(here, "topic", 0);
    subscribe(there, "topic", 0);
    delivery_publish(&f->workers[0].hub, &p, NULL, &ready_made);
    settle(f);
    assert_got(here, "payload");
    assert_got(there, "payload");
    assert_string_equal(there->got[0].topic, "topic");
    assert_int_equal(there->got[0].ready_made.len, strlen(packet));
    assert_memory_equal(there->got[0].ready_made_copy, packet, strlen(packet));
}

static void publication_waits_for_a_client_of_another_worker_that_is_away(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 1, 100);
    subscribe(client, "a", 1);
    session_detach(client->session, SESSION_WILL_KEEP);
    publish(f, 0, "a", "hello", 1);
    settle(f);
    session_attach(client->session, &client->sink, 100, 10);
    session_resume(client->session);
    assert_got(client, "hello");
}

static void publication_for_a_session_that_ended_meanwhile_is_nobodys(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 1, 0);
    subscribe(client, "a", 1);
    publish(f, 0, "a", "hello", 1);
    session_end(client->session);
    settle(f);
    assert_got(client, "");
    assert_int_equal(f->workers[1].hub.backlog, 0);
}

/* ---- one session, several subscriptions ----------------------------------------------------- */

static void overlap(struct fixture *f, struct client *client)
{
    subscribe_with(client->session, "a/b", "",
                   &(struct subscription_options){.qos = 0, .identifier = 1});
    subscribe_with(client->session, "a/+", "",
                   &(struct subscription_options){.qos = 2, .identifier = 2});
    subscribe_with(client->session, "a/#", "", &(struct subscription_options){.qos = 1});
    subscribe_with(client->session, "#", "",
                   &(struct subscription_options){.qos = 1, .identifier = 4});
    publish(f, 0, "a/b", "hello", 2);
    settle(f);
}

static void assert_one_copy_of_all(const struct client *client)
{
    uint32_t seen = 0;
    assert_int_equal(client->count, 1);
    assert_int_equal(client->got[0].qos, 2);
    assert_int_equal(client->got[0].identifier_count, 3);
    for (int i = 0; i < 3; i++)
        seen |= 1u << client->got[0].identifiers[i];
    assert_int_equal(seen, 1u << 1 | 1u << 2 | 1u << 4);
}

static void overlapping_filters_give_one_copy_at_the_highest_qos_with_all_identifiers(void **state)
{
    struct client *client = client_of(*state, 0, 0);
    overlap(*state, client);
    assert_one_copy_of_all(client);
}

static void overlapping_filters_give_one_copy_on_another_worker_too(void **state)
{
    struct client *client = client_of(*state, 1, 0);
    overlap(*state, client);
    assert_one_copy_of_all(client);
}

static void overlapping_filters_of_many_are_still_one_copy(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    static const char *const levels[] = {"a", "+"};
    char filter[TEXT_ROOM];
    for (uint32_t i = 0; i < 32; i++) {
        snprintf(filter, sizeof(filter), "%s/%s/%s/%s/%s", levels[i & 1], levels[i >> 1 & 1],
                 levels[i >> 2 & 1], levels[i >> 3 & 1], levels[i >> 4]);
        subscribe_with(client->session, filter, "",
                       &(struct subscription_options){.qos = 1, .identifier = i + 1});
    }
    publish(f, 0, "a/a/a/a/a", "hello", 1);
    assert_int_equal(client->count, 1);
    assert_in_range(client->got[0].identifier_count, 1, 20);
}

static void qos_is_the_lower_of_publication_and_subscription(void **state)
{
    struct fixture *f = *state;
    for (uint8_t granted = 0; granted < 3; granted++) {
        struct client *client = client_of(f, granted % 2, 0);
        subscribe(client, "a", granted);
        for (uint8_t qos = 0; qos < 3; qos++) {
            publish(f, 0, "a", "x", qos);
            settle(f);
            assert_int_equal(client->got[qos].qos, qos < granted ? qos : granted);
        }
        session_end(client->session);
    }
}

static void publish_by(struct fixture *f, const struct client *publisher, const char *topic)
{
    publish_as(f, session_ref_worker(publisher->session->ref),
               &(struct publication){.topic = bytes_of_str(topic),
                                     .payload = bytes_of_str("x"),
                                     .publisher = publisher->session->ref});
    settle(f);
}

static void no_local_spares_the_publisher_only(void **state)
{
    struct fixture *f = *state;
    struct client *publisher = client_of(f, 0, 0), *other = client_of(f, 0, 0);
    struct subscription_options no_local = {.no_local = true};
    subscribe_with(publisher->session, "a", "", &no_local);
    subscribe_with(other->session, "a", "", &no_local);
    publish_by(f, publisher, "a");
    assert_got(publisher, "");
    assert_got(other, "x");
}

static void no_local_of_one_filter_does_not_speak_for_another(void **state)
{
    struct fixture *f = *state;
    struct client *publisher = client_of(f, 0, 0);
    subscribe_with(publisher->session, "a", "",
                   &(struct subscription_options){.no_local = true, .identifier = 1});
    subscribe_with(publisher->session, "#", "", &(struct subscription_options){.identifier = 2});
    publish_by(f, publisher, "a");
    assert_int_equal(publisher->count, 1);
    assert_int_equal(publisher->got[0].identifier_count, 1);
    assert_int_equal(publisher->got[0].identifiers[0], 2);
}

static void retain_is_passed_on_only_to_those_who_asked(void **state)
{
    struct fixture *f = *state;
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        struct client *asked = client_of(f, worker, 0), *did_not = client_of(f, worker, 0);
        subscribe_with(asked->session, "a", "",
                       &(struct subscription_options){.retain_as_published = true});
        subscribe(did_not, "a", 0);
        struct publication p = {.topic = bytes_of_str("a"), .retain = true};
        publish_as(f, 0, &p);
        p.retain = false;
        publish_as(f, 0, &p);
        settle(f);
        assert_true(asked->got[0].retain);
        assert_false(asked->got[1].retain);
        assert_false(did_not->got[0].retain);
    }
}

/* ---- very many subscribers ------------------------------------------------------------------ */

enum { CROWD = DELIVERY_INLINE_MAX + 500 };

/* Sessions of worker 0 with one client between them, and one with a client of its own. */
static struct client *crowd_of(struct fixture *f, uint32_t expiry_s, struct client **watched)
{
    struct client *crowd = client_of(f, 0, expiry_s);
    char client_id[24];
    for (int i = 1; i < CROWD - 1; i++) {
        snprintf(client_id, sizeof(client_id), "crowd%d", i);
        struct session *session = session_of(f, 0, client_id);
        session_attach(session, &crowd->sink, expiry_s, UINT16_MAX);
        subscribe_with(session, "all", "", &(struct subscription_options){.qos = 1});
    }
    subscribe(crowd, "all", 1);
    *watched = client_of(f, 0, expiry_s);
    subscribe(*watched, "all", 1);
    subscribe(*watched, "one", 1);
    return crowd;
}

static void publication_for_very_many_is_not_worked_off_at_once(void **state)
{
    struct fixture *f = *state;
    struct client *watched, *crowd = crowd_of(f, 0, &watched);
    assert_true(publish(f, 0, "all", "hello", 0).matched);
    assert_int_equal(crowd->count + watched->count, 0);
    settle(f);
    assert_int_equal(crowd->count, CROWD - 1);
    assert_got(watched, "hello");
}

static void publication_for_very_many_is_bulk(void **state)
{
    struct fixture *f = *state;
    struct client *watched;
    crowd_of(f, 0, &watched);
    publish(f, 0, "one", "hello", 0);
    assert_int_equal(f->bulks, 0);
    publish(f, 0, "all", "hello", 0);
    publish(f, 0, "one", "hello", 0); /* behind it, and not bulk */
    settle(f);
    assert_int_equal(f->bulks, (CROWD + DELIVERY_SLICE - 1) / DELIVERY_SLICE);
    assert_int_equal(f->output, OUTPUT_PROMPT);
}

static void publication_for_very_many_is_not_overtaken(void **state)
{
    struct fixture *f = *state;
    struct client *watched;
    crowd_of(f, 0, &watched);
    publish(f, 0, "all", "first", 1);
    publish(f, 0, "one", "second", 1);
    publish(f, 0, "all", "third", 1);
    publish(f, 0, "one", "fourth", 1);
    settle(f);
    assert_got(watched, "first second third fourth");
    publish(f, 0, "one", "fifth", 1); /* nothing waits any more: at once */
    assert_got(watched, "first second third fourth fifth");
}

static void publication_for_very_many_is_not_overtaken_by_one_of_a_share(void **state)
{
    struct fixture *f = *state;
    struct client *watched;
    crowd_of(f, 0, &watched);
    join(watched, "shared", "group");
    publish(f, 0, "all", "first", 1);
    publish(f, 0, "shared", "second", 1);
    settle(f);
    assert_got(watched, "first second");
}

static void publication_for_very_many_is_acknowledged_when_all_have_it(void **state)
{
    struct fixture *f = *state;
    struct client *watched;
    crowd_of(f, 100, &watched);
    make_late(f, 0);
    assert_non_null(publish(f, 0, "all", "hello", 1).ticket);
    settle(f);
    answer(f, 0, 0, RC_OK);
    assert_int_equal(f->published_count, 0);
    answer(f, 0, 1, RC_OK);
    settle(f);
    assert_int_equal(f->published_count, 1);
}

static void publication_for_very_many_elsewhere_reaches_each_once(void **state)
{
    struct fixture *f = *state;
    struct client *watched, *crowd = crowd_of(f, 0, &watched);
    publish(f, 1, "all", "hello", 0);
    settle(f);
    assert_int_equal(crowd->count, CROWD - 1);
    assert_int_equal(watched->count, 1);
}

/* ---- subscribers that lag ------------------------------------------------------------------- */

static struct client *lagging(struct fixture *f, uint32_t worker)
{
    struct client *client = client_of(f, worker, 0);
    f->workers[worker].table.limits.queue_messages_max = 10;
    client->sink.hold = true;
    subscribe(client, "a", 0);
    return client;
}

static struct publish_outcome publish_ten(struct fixture *f, session_ref publisher)
{
    struct publish_outcome outcome = {0};
    for (int i = 0; i < 10; i++)
        outcome = publish_as(f, 0,
                             &(struct publication){.topic = bytes_of_str("a"),
                                                   .payload = bytes_of_str("x"),
                                                   .publisher = publisher});
    settle(f);
    return outcome;
}

static void subscriber_that_lags_slows_a_publisher_of_its_worker(void **state)
{
    struct fixture *f = *state;
    struct client *publisher = client_of(f, 0, 0);
    lagging(f, 0);
    assert_true(publish_ten(f, publisher->session->ref).slow);
}

static void subscriber_that_lags_slows_a_publisher_of_another_worker(void **state)
{
    struct fixture *f = *state;
    struct client *publisher = client_of(f, 0, 0);
    lagging(f, 1);
    publish_ten(f, publisher->session->ref);
    assert_true(f->slowed_count > 0);
    for (uint32_t i = 0; i < f->slowed_count; i++)
        assert_int_equal(f->slowed[i], publisher->session->ref);
}

static void subscriber_that_lags_slows_nobody_for_messages_of_our_own(void **state)
{
    struct fixture *f = *state;
    lagging(f, 1);
    publish_ten(f, 0);
    assert_int_equal(f->slowed_count, 0);
}

static void subscriber_that_keeps_up_slows_nobody(void **state)
{
    struct fixture *f = *state;
    struct client *publisher = client_of(f, 0, 0), *client = client_of(f, 1, 0);
    subscribe(client, "a", 0);
    assert_false(publish_ten(f, publisher->session->ref).slow);
    assert_int_equal(f->slowed_count, 0);
}

static void mail_that_piles_up_slows_publishers_until_it_is_worked_off(void **state)
{
    enum { PARTS = 16, SIZE = BACKLOG_HIGH / PARTS };
    struct fixture *f = *state;
    struct client *client = client_of(f, 1, 0);
    struct publication p = {.topic = bytes_of_str("a"), .payload = bytes_of(mem_new(SIZE), SIZE)};
    subscribe(client, "a", 0);
    uint32_t count = 0;
    while (!publish_as(f, 0, &p).backlog) {
        turn(f, 0); /* worker 1 takes no turn */
        assert_true(++count <= PARTS + 1);
    }
    assert_true(count >= PARTS - 1);
    settle(f);
    assert_int_equal(f->workers[1].hub.backlog, 0);
    assert_false(publish_as(f, 0, &p).backlog);
    assert_int_equal(client->count, count + 1);
    mem_free((void *)p.payload.data);
}

static void mail_of_one_turn_slows_publishers_even_if_it_is_worked_off_meanwhile(void **state)
{
    enum { SIZE = ITEM_INLINE_MAX / 2, MESSAGES = BACKLOG_HIGH / SIZE };
    static const uint8_t payload[SIZE];
    struct fixture *f = *state;
    struct client *client = client_of(f, 1, 0);
    struct publication p = {.topic = bytes_of_str("a"), .payload = bytes_of(payload, SIZE)};
    subscribe(client, "a", 0);
    uint32_t count = 0;
    while (!publish_as(f, 0, &p).backlog) {
        turn(f, 1);
        assert_true(++count <= MESSAGES);
    }
    assert_true(count > MESSAGES / 2);
    settle(f);
    assert_false(publish_as(f, 0, &p).backlog); /* a new turn */
}

static void mail_of_many_small_messages_slows_publishers_before_queues_overflow(void **state)
{
    enum { UNDER_WAY_MAX = 100 };
    struct fixture *f = *state;
    struct delivery_hub *hub = &f->workers[0].hub;
    subscribe(client_of(f, 1, 0), "a", 0);
    delivery_deinit(hub);
    hub->under_way_max = UNDER_WAY_MAX;
    delivery_init(hub);
    for (int i = 0; i < UNDER_WAY_MAX; i++) {
        assert_false(publish(f, 0, "a", "x", 0).backlog);
        turn(f, 0);
    }
    struct publish_outcome outcome = publish(f, 0, "a", "x", 0);
    assert_true(outcome.backlog);
    assert_int_equal(outcome.behind, 1);
}

static void question_is_answered_behind_what_was_sent_before(void **state)
{
    struct fixture *f = *state;
    session_ref publisher = client_of(f, 0, 0)->session->ref;
    struct client *client = lagging(f, 1);
    for (int i = 0; i < 10; i++)
        publish_as(f, 0,
                   &(struct publication){.topic = bytes_of_str("a"),
                                         .payload = bytes_of_str("x"),
                                         .publisher = publisher});
    assert_true(delivery_ask(&f->workers[0].hub, 1, publisher, 7));
    turn(f, 0);
    turn(f, 0);
    assert_int_equal(f->caught_up, 0); /* worker 1 took no turn */
    settle(f);
    assert_int_equal(f->caught_up, 7);
    assert_int_equal(client->session->queue->count, 10);
    assert_true(f->slowed_before > 0); /* with all news of a lag before it */
    assert_int_equal(f->slowed_before, f->slowed_count);
}

static void question_to_our_own_worker_is_answered_behind_what_waits_there(void **state)
{
    struct fixture *f = *state;
    struct client *watched, *crowd = crowd_of(f, 0, &watched);
    publish(f, 0, "all", "hello", 0);
    assert_true(delivery_ask(&f->workers[0].hub, 0, watched->session->ref, 7));
    assert_int_equal(f->caught_up, 0);
    settle(f);
    assert_int_equal(f->caught_up, 7);
    assert_int_equal(crowd->count, CROWD - 1);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void hub_that_ends_drops_what_is_on_its_way(void **state)
{
    static const uint8_t large[ITEM_INLINE_MAX + 1];
    struct publication p = {.topic = bytes_of_str("a"), .payload = bytes_of(large, sizeof(large))};
    struct fixture *f = *state;
    struct client *client = client_of(f, 1, 0);
    subscribe(client, "a", 0);
    for (int i = 0; i < 3; i++)
        publish_as(f, 0, &p);
    turn(f, 0);
    open_mail(&f->workers[1]); /* in the inbox of worker 1 */
    for (int i = 0; i < 3; i++)
        publish_as(f, 0, &p); /* in the batch of worker 0 */
    delivery_deinit(&f->workers[0].hub);
    delivery_deinit(&f->workers[1].hub);
    assert_int_equal(client->count, 0);
    for (uint32_t i = 0; i < WORKERS; i++) { /* for the tear-down */
        session_table_deinit(&f->workers[i].table);
        worker_set_up(f, i);
    }
    router_deinit(&f->router);
    router_init(&f->router, CHOOSE_ROUND_ROBIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(publication_reaches_a_subscriber_of_the_same_worker_at_once),
        RULE(publication_without_subscribers_says_so),
        RULE(publication_reaches_another_worker_with_the_turns_of_both),
        RULE(publications_reach_another_worker_in_order),
        RULE(publication_of_any_size_reaches_another_worker_whole),
        RULE(publication_that_is_ready_made_is_ready_made_elsewhere_too),
        RULE(publication_waits_for_a_client_of_another_worker_that_is_away),
        RULE(publication_for_a_session_that_ended_meanwhile_is_nobodys),
        RULE(overlapping_filters_give_one_copy_at_the_highest_qos_with_all_identifiers),
        RULE(overlapping_filters_give_one_copy_on_another_worker_too),
        RULE(overlapping_filters_of_many_are_still_one_copy),
        RULE(qos_is_the_lower_of_publication_and_subscription),
        RULE(no_local_spares_the_publisher_only),
        RULE(no_local_of_one_filter_does_not_speak_for_another),
        RULE(retain_is_passed_on_only_to_those_who_asked),
        RULE(publication_for_very_many_is_not_worked_off_at_once),
        RULE(publication_for_very_many_is_bulk),
        RULE(publication_for_very_many_is_not_overtaken),
        RULE(publication_for_very_many_is_not_overtaken_by_one_of_a_share),
        RULE(publication_for_very_many_is_acknowledged_when_all_have_it),
        RULE(publication_for_very_many_elsewhere_reaches_each_once),
        RULE(subscriber_that_lags_slows_a_publisher_of_its_worker),
        RULE(subscriber_that_lags_slows_a_publisher_of_another_worker),
        RULE(subscriber_that_lags_slows_nobody_for_messages_of_our_own),
        RULE(subscriber_that_keeps_up_slows_nobody),
        RULE(mail_that_piles_up_slows_publishers_until_it_is_worked_off),
        RULE(mail_of_one_turn_slows_publishers_even_if_it_is_worked_off_meanwhile),
        RULE(mail_of_many_small_messages_slows_publishers_before_queues_overflow),
        RULE(question_is_answered_behind_what_was_sent_before),
        RULE(question_to_our_own_worker_is_answered_behind_what_waits_there),
        RULE(hub_that_ends_drops_what_is_on_its_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
