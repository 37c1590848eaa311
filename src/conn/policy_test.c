/* SPDX-License-Identifier: Apache-2.0 */
/* Durability by topic and by listener, as the client's side of the road has it. */
#include "conn/conn_fixture.h"

#include "base/memory.h"

static void set_topic(struct config *config, const char *filter, enum durability durability)
{
    struct config_durability_topic *topic =
        &config->durability_topics[config->durability_topic_count++];
    snprintf(topic->filter, sizeof(topic->filter), "%s", filter);
    topic->durability = durability;
}

/* ---- by topic ------------------------------------------------------------------------------- */

static enum durability look_up(struct topic_policy *policy, const char *topic)
{
    return topic_policy_of(policy, bytes_of_str(topic), DURABILITY_INTERVAL);
}

static void policy_without_topics_is_none(void **state)
{
    struct fixture *f = *state;
    assert_null(topic_policy_new(&f->config));
    assert_null(f->workers[0].conns.policy);
}

static void policy_is_that_of_the_first_filter_that_matches(void **state)
{
    struct fixture *f = *state;
    set_topic(&f->config, "a/b", DURABILITY_FSYNC);
    set_topic(&f->config, "a/#", DURABILITY_MEMORY);
    set_topic(&f->config, "+/c", DURABILITY_FSYNC);
    struct topic_policy *policy = topic_policy_new(&f->config);
    for (int again = 0; again < 3; again++) {
        assert_int_equal(look_up(policy, "a/b"), DURABILITY_FSYNC);
        assert_int_equal(look_up(policy, "a/c"), DURABILITY_MEMORY);
        assert_int_equal(look_up(policy, "b/c"), DURABILITY_FSYNC);
        assert_int_equal(look_up(policy, "b/d"), DURABILITY_INTERVAL); /* the caller's */
    }
    mem_free(policy);
}

static void policy_of_more_topics_than_are_remembered_is_right(void **state)
{
    struct fixture *f = *state;
    set_topic(&f->config, "+/even", DURABILITY_MEMORY);
    struct topic_policy *policy = topic_policy_new(&f->config);
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < 5000; i++) {
            char topic[64];
            snprintf(topic, sizeof(topic), "%d/%s", i, i % 2 == 0 ? "even" : "odd");
            assert_int_equal(look_up(policy, topic),
                             i % 2 == 0 ? DURABILITY_MEMORY : DURABILITY_INTERVAL);
        }
    }
    mem_free(policy);
}

static void policy_of_a_topic_too_long_to_be_remembered_is_right(void **state)
{
    struct fixture *f = *state;
    char topic[512];
    set_topic(&f->config, "long/#", DURABILITY_MEMORY);
    struct topic_policy *policy = topic_policy_new(&f->config);
    for (int len = 100; len < 500; len++) {
        snprintf(topic, sizeof(topic), "long/%0*d", len, 0);
        assert_int_equal(look_up(policy, topic), DURABILITY_MEMORY);
        topic[0] = 'x';
        assert_int_equal(look_up(policy, topic), DURABILITY_INTERVAL);
    }
    mem_free(policy);
}

/* ---- what is waited for --------------------------------------------------------------------- */

static struct list *waiting_of(const struct client *client)
{
    return &session_of(client)->store->waiting;
}

/* How whoever waits for that client's shard waits; there is one. */
static bool waits_for_written(const struct client *client)
{
    struct list *waiting = waiting_of(client);
    assert_false(list_empty(waiting));
    assert_ptr_equal(waiting->next, waiting->prev);
    return CONTAINER_OF(waiting->next, struct store_waiter, link)->written_is_enough;
}

static struct client *subscriber(struct fixture *f)
{
    struct client *bob = connected_durable(f, 0, MQTT_V5);
    subscribe(bob, "t", 2);
    make_late(f);
    return bob;
}

static void set_listener(struct fixture *f, enum durability durability)
{
    f->config.listeners[0].has_durability = true;
    f->config.listeners[0].durability = durability;
}

static void puback_of_fsync_waits_for_the_disk(void **state)
{
    struct fixture *f = *state;
    struct client *bob = subscriber(f);
    struct client *alice = connected(f, 0, MQTT_V5);
    send_publish(alice, 1, 7, "x");
    settle(f);
    assert_false(waits_for_written(bob));
    expect_silence(alice);
    answer_all(f, RC_OK);
    expect_ack(alice, PACKET_PUBACK, 7, MQTT_SUCCESS);
}

static void puback_of_interval_waits_for_what_is_written(void **state)
{
    struct fixture *f = *state;
    struct client *bob = subscriber(f);
    set_listener(f, DURABILITY_INTERVAL);
    struct client *alice = connected(f, 0, MQTT_V5);
    send_publish(alice, 1, 7, "x");
    settle(f);
    assert_true(waits_for_written(bob));
    expect_silence(alice);
    answer_all(f, RC_OK);
    expect_ack(alice, PACKET_PUBACK, 7, MQTT_SUCCESS);
}

static void puback_of_interval_waits_on_another_worker_for_what_is_written(void **state)
{
    struct fixture *f = *state;
    struct client *bob = subscriber(f);
    set_listener(f, DURABILITY_INTERVAL);
    struct client *alice = connected(f, 1, MQTT_V5);
    send_publish(alice, 1, 7, "x");
    settle(f);
    assert_true(waits_for_written(bob));
    answer_all(f, RC_OK);
    expect_ack(alice, PACKET_PUBACK, 7, MQTT_SUCCESS);
}

static void puback_of_memory_waits_for_nothing(void **state)
{
    struct fixture *f = *state;
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        struct client *bob = subscriber(f);
        set_listener(f, DURABILITY_MEMORY);
        struct client *alice = connected(f, worker, MQTT_V5);
        send_publish(alice, 1, 7, "x");
        expect_ack(alice, PACKET_PUBACK, 7, MQTT_SUCCESS);
        assert_true(list_empty(waiting_of(bob)));
        make_early(f);
        set_listener(f, DURABILITY_FSYNC);
    }
}

static void suback_waits_as_the_listener_says(void **state)
{
    static const enum durability all[] = {DURABILITY_FSYNC, DURABILITY_INTERVAL};
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        set_listener(f, all[i]);
        struct client *bob = connected_durable(f, 0, MQTT_V5);
        make_late(f);
        send_subscribe(bob, 1, "t", (struct subscription_options){.qos = 1});
        settle(f);
        assert_int_equal(waits_for_written(bob), all[i] == DURABILITY_INTERVAL);
        answer_all(f, RC_OK);
        expect_suback(bob, 1, 1);
        make_early(f);
    }
    set_listener(f, DURABILITY_MEMORY);
    struct client *bob = connected_durable(f, 0, MQTT_V5);
    make_late(f);
    send_subscribe(bob, 1, "t", (struct subscription_options){.qos = 1});
    expect_suback(bob, 1, 1);
    answer_all(f, RC_OK);
}

/* An identifier that came back after a loss of power would hide a message that was promised more.
 */
static void pubcomp_of_interval_waits_for_the_disk(void **state)
{
    struct fixture *f = *state;
    set_listener(f, DURABILITY_INTERVAL);
    struct client *alice = connected_durable(f, 0, MQTT_V5);
    send_publish(alice, 2, 7, "x");
    expect_ack(alice, PACKET_PUBREC, 7, MQTT_NO_MATCHING_SUBSCRIBERS);
    make_late(f);
    send_ack(alice, PACKET_PUBREL, 7, MQTT_SUCCESS);
    settle(f);
    assert_false(waits_for_written(alice));
    answer_all(f, RC_OK);
    expect_ack(alice, PACKET_PUBCOMP, 7, MQTT_SUCCESS);
}

static void exchange_of_qos_2_of_memory_waits_for_nothing(void **state)
{
    struct fixture *f = *state;
    set_listener(f, DURABILITY_MEMORY);
    struct client *alice = connected_durable(f, 0, MQTT_V5);
    make_late(f);
    send_publish(alice, 2, 7, "x");
    expect_ack(alice, PACKET_PUBREC, 7, MQTT_NO_MATCHING_SUBSCRIBERS);
    send_publish(alice, 2, 7, "x"); /* a repeat */
    expect_ack(alice, PACKET_PUBREC, 7, MQTT_SUCCESS);
    send_ack(alice, PACKET_PUBREL, 7, MQTT_SUCCESS);
    expect_ack(alice, PACKET_PUBCOMP, 7, MQTT_SUCCESS);
}

static void will_has_the_durability_of_its_listener(void **state)
{
    static const enum durability all[] = {DURABILITY_FSYNC, DURABILITY_INTERVAL, DURABILITY_MEMORY};
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        set_listener(f, all[i]);
        struct client *alice = dial(f, 0, MQTT_V5);
        struct connect connect = connect_with_will(alice, "w");
        connected_with(alice, &connect);
        assert_int_equal(session_of(alice)->will->publication.durability, all[i]);
    }
}

static void connection_that_moves_keeps_its_listener(void **state)
{
    struct fixture *f = *state;
    set_listener(f, DURABILITY_MEMORY);
    struct client *alice = dial(f, 0, MQTT_V5);
    name_of_worker(alice, 1);
    struct connect connect = connect_of(alice);
    connected_with(alice, &connect);
    assert_int_equal(f->moves, 1);
    assert_int_equal(conn_of(alice)->durability, DURABILITY_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(policy_without_topics_is_none),
        RULE(policy_is_that_of_the_first_filter_that_matches),
        RULE(policy_of_more_topics_than_are_remembered_is_right),
        RULE(policy_of_a_topic_too_long_to_be_remembered_is_right),
        RULE(puback_of_fsync_waits_for_the_disk),
        RULE(puback_of_interval_waits_for_what_is_written),
        RULE(puback_of_interval_waits_on_another_worker_for_what_is_written),
        RULE(puback_of_memory_waits_for_nothing),
        RULE(suback_waits_as_the_listener_says),
        RULE(pubcomp_of_interval_waits_for_the_disk),
        RULE(exchange_of_qos_2_of_memory_waits_for_nothing),
        RULE(will_has_the_durability_of_its_listener),
        RULE(connection_that_moves_keeps_its_listener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
