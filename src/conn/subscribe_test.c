/* SPDX-License-Identifier: Apache-2.0 */
/* SUBSCRIBE and UNSUBSCRIBE: what each filter is answered, and packets so long that they are worked
 * off in slices. */
#include "conn/conn_fixture.h"

/* One filter, and what it is answered. */
static void asks(struct client *client, const char *filter, struct subscription_options options,
                 uint8_t reason)
{
    send_subscribe(client, 7, filter, options);
    expect_suback(client, 7, reason);
}

static const struct subscription_options plain = {0};

static void send_unsubscribe(struct client *client, const char *filter)
{
    uint8_t packet[1024];
    struct bytes asked = bytes_of_str(filter);
    size_t size = unsubscribe_encode(9, client->version, NULL, &asked, 1, packet, sizeof(packet));
    send_raw(client, packet, size);
}

/* UNSUBACK with that reason; 3.x has none. */
static void unsubscribes(struct client *client, const char *filter, uint8_t reason)
{
    struct suback unsuback;
    send_unsubscribe(client, filter);
    const struct frame *frame = expect(client, PACKET_UNSUBACK);
    assert_int_equal(suback_decode(frame, client->version, &unsuback), MQTT_SUCCESS);
    assert_int_equal(unsuback.packet_id, 9);
    if (client->version == MQTT_V5)
        assert_int_equal(unsuback.reasons.data[0], reason);
}

/* ---- filters -------------------------------------------------------------------------------- */

static void filter_that_is_none_is_refused(void **state)
{
    static const char *const filters[] = {"a/#/b",     "a+",        "$share/g",
                                          "$share//a", "$share/g/", "$share/g/a#"};
    struct client *client = connected(*state, 0, MQTT_V5);
    for (size_t i = 0; i < sizeof(filters) / sizeof(*filters); i++) {
        asks(client, filters[i], plain, MQTT_TOPIC_FILTER_INVALID);
        unsubscribes(client, filters[i], MQTT_TOPIC_FILTER_INVALID);
    }
    assert_int_equal(session_of(client)->subscription_count, 0);
}

static void filter_that_is_empty_is_refused_or_a_fault(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    asks(client, "", plain, MQTT_TOPIC_FILTER_INVALID);
    unsubscribes(client, "", MQTT_TOPIC_FILTER_INVALID);
    for (int unsubscribe = 0; unsubscribe < 2; unsubscribe++) {
        client = connected(f, 0, MQTT_V311);
        if (unsubscribe)
            send_unsubscribe(client, "");
        else
            send_subscribe(client, 7, "", plain);
        expect_end(client);
    }
    assert_int_equal(metric(f, METRIC_PROTOCOL_ERRORS), 2);
}

static void filter_has_as_many_bytes_as_the_limit_allows(void **state)
{
    struct fixture *f = *state;
    f->config.limits.topic_bytes = 4;
    struct client *client = connected(f, 0, MQTT_V5);
    asks(client, "four", plain, 0);
    asks(client, "fives", plain, MQTT_QUOTA_EXCEEDED);
    asks(client, "$share/group/four", plain, 0);
    assert_int_equal(metric(f, METRIC_LIMIT_TOPIC), 1);
}

static void filter_has_as_many_levels_as_the_limit_allows(void **state)
{
    struct fixture *f = *state;
    f->config.limits.filter_levels = 2;
    struct client *client = connected(f, 0, MQTT_V5);
    asks(client, "a/b", plain, 0);
    asks(client, "a/b/c", plain, MQTT_QUOTA_EXCEEDED);
    assert_int_equal(metric(f, METRIC_LIMIT_FILTER_LEVELS), 1);
}

static void subscriptions_of_a_client_are_limited(void **state)
{
    struct fixture *f = *state;
    f->config.limits.subscriptions_per_client = 2;
    struct client *client = connected(f, 0, MQTT_V5);
    asks(client, "a", plain, 0);
    asks(client, "b", plain, 0);
    asks(client, "c", plain, MQTT_QUOTA_EXCEEDED);
    asks(client, "b", (struct subscription_options){.qos = 1}, 1); /* takes no room */
    assert_int_equal(metric(f, METRIC_LIMIT_SUBSCRIPTIONS), 1);
    assert_int_equal(metric(f, METRIC_LIMIT_MEMORY), 0);
    unsubscribes(client, "b", 0);
    asks(client, "c", plain, 0);
}

static void full_memory_takes_no_new_subscription(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    asks(client, "a", plain, 0);
    f->shared.memory_full = true;
    asks(client, "b", plain, MQTT_QUOTA_EXCEEDED);
    asks(client, "a", plain, 0);
    assert_int_equal(metric(f, METRIC_LIMIT_MEMORY), 1);
    assert_int_equal(metric(f, METRIC_LIMIT_SUBSCRIPTIONS), 0);
}

static void wildcards_can_be_unavailable(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.wildcard_available = false;
    struct client *client = connected(f, 0, MQTT_V5);
    asks(client, "a", plain, 0);
    asks(client, "$share/g/a", plain, 0);
    send_subscribe(client, 7, "a/#", plain);
    expect_fault(client, MQTT_WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
    client = connected(f, 0, MQTT_V311); /* could not know */
    asks(client, "a/+", plain, 0x80);
    asks(client, "a", plain, 0);
}

static void shares_can_be_unavailable(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.shared_available = false;
    struct client *client = connected(f, 0, MQTT_V5);
    asks(client, "a/#", plain, 0);
    send_subscribe(client, 7, "$share/g/a", plain);
    expect_fault(client, MQTT_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
    client = connected(f, 0, MQTT_V311);
    asks(client, "$share/g/a", plain, 0x80);
}

static void no_local_on_a_share_is_a_fault(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    asks(client, "a", (struct subscription_options){.no_local = true}, 0);
    send_subscribe(client, 7, "$share/g/a", (struct subscription_options){.no_local = true});
    expect_fault(client, MQTT_PROTOCOL_ERROR);
}

static void qos_is_granted_up_to_the_maximum(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.qos_max = 1;
    struct client *client = connected(f, 0, MQTT_V5);
    for (uint8_t qos = 0; qos <= 2; qos++)
        asks(client, "a", (struct subscription_options){.qos = qos}, qos > 1 ? 1 : qos);
}

static void unsubscribe_says_whether_there_was_a_subscription(void **state)
{
    struct fixture *f = *state;
    for (enum mqtt_version version = MQTT_V311; version <= MQTT_V5; version++) {
        struct client *client = connected(f, 0, version);
        asks(client, "a", plain, 0);
        asks(client, "$share/g/a", plain, 0);
        unsubscribes(client, "b", MQTT_NO_SUBSCRIPTION_EXISTED);
        unsubscribes(client, "$share/h/a", MQTT_NO_SUBSCRIPTION_EXISTED);
        unsubscribes(client, "a", 0);
        unsubscribes(client, "a", MQTT_NO_SUBSCRIPTION_EXISTED);
        assert_int_equal(session_of(client)->subscription_count, 1);
        unsubscribes(client, "$share/g/a", 0);
        assert_int_equal(session_of(client)->subscription_count, 0);
    }
}

/* A filter that begins like a share and is none. */
static void share_is_a_share_only_by_its_whole_name(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    asks(client, "$shared/g/a", plain, 0);
    unsubscribes(client, "$shared/g/a", 0);
    asks(client, "$share/g/a", plain, 0);
    struct client *publisher = connected(f, 0, MQTT_V5);
    struct publication p = {.topic = bytes_of_str("a"), .payload = bytes_of_str("x")};
    send_publication(publisher, &p, &(struct publish_form){.version = MQTT_V5});
    expect_publish(client, "x");
}

/* ---- packets -------------------------------------------------------------------------------- */

static void user_properties_are_counted(void **state)
{
    struct fixture *f = *state;
    f->config.limits.user_properties = 1;
    struct client *client = connected(f, 0, MQTT_V5);
    SEND(client, "\x82\x0e\0\1\7\x26\0\1a\0\1b\0\1a\0");
    expect_suback(client, 1, 0);
    SEND(client, "\x82\x15\0\1\x0e\x26\0\1a\0\1b\x26\0\1a\0\1b\0\1a\0");
    expect_fault(client, MQTT_QUOTA_EXCEEDED);
    client = connected(f, 0, MQTT_V5);
    SEND(client, "\xa2\x0d\0\1\7\x26\0\1a\0\1b\0\1a");
    expect(client, PACKET_UNSUBACK);
    SEND(client, "\xa2\x14\0\1\x0e\x26\0\1a\0\1b\x26\0\1a\0\1b\0\1a");
    expect_fault(client, MQTT_QUOTA_EXCEEDED);
    assert_int_equal(metric(f, METRIC_LIMIT_USER_PROPERTIES), 2);
}

static void subscription_identifier_comes_with_the_messages(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    SEND(client, "\x82\x09\0\1\2\x0b\x2a\0\1t\1");
    expect_suback(client, 1, 1);
    send_publish(client, 0, 0, "x");
    struct publish got = expect_publish(client, "x");
    assert_int_equal(got.subscription_identifiers, 1);
    assert_int_equal(publish_subscription_identifier(got.properties, 0), 42);
    subscribe(client, "t", 1); /* replaces it, without one */
    send_publish(client, 0, 0, "y");
    assert_int_equal(expect_publish(client, "y").subscription_identifiers, 0);
}

static void subscription_identifiers_can_be_unavailable(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.subscription_identifier_available = false;
    struct client *client = connected(f, 0, MQTT_V5);
    subscribe(client, "t", 1);
    SEND(client, "\x82\x09\0\1\2\x0b\x2a\0\1t\1");
    expect_fault(client, MQTT_SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED);
}

/* ---- retained messages ---------------------------------------------------------------------- */

static void retain(struct fixture *f, const char *topic, const char *payload)
{
    struct client *client = connected(f, 0, MQTT_V5);
    struct publication p = {.topic = bytes_of_str(topic), .payload = bytes_of_str(payload)};
    struct publish_form form = {.version = MQTT_V5, .qos = 2, .packet_id = 1, .retain = true};
    send_publication(client, &p, &form);
    expect_ack(client, PACKET_PUBREC, 1, 0);
}

static void retained_message_comes_behind_suback_with_qos_and_identifier(void **state)
{
    struct fixture *f = *state;
    retain(f, "t", "kept");
    struct client *client = connected(f, 0, MQTT_V5);
    SEND(client, "\x82\x09\0\1\2\x0b\x2a\0\1t\1");
    expect_suback(client, 1, 1);
    struct publish got = expect_publish(client, "kept");
    assert_true(got.retain);
    assert_int_equal(got.qos, 1);
    assert_int_equal(publish_subscription_identifier(got.properties, 0), 42);
}

static void retain_handling_says_when_retained_messages_come(void **state)
{
    struct fixture *f = *state;
    retain(f, "t", "kept");
    static const struct {
        uint8_t handling;
        bool again, comes;
    } cases[] = {{RETAIN_SEND, false, true},         {RETAIN_SEND, true, true},
                 {RETAIN_SEND_IF_NEW, false, true},  {RETAIN_SEND_IF_NEW, true, false},
                 {RETAIN_DO_NOT_SEND, false, false}, {RETAIN_DO_NOT_SEND, true, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct client *client = connected(f, 0, MQTT_V5);
        if (cases[i].again)
            asks(client, "t", (struct subscription_options){.retain_handling = RETAIN_DO_NOT_SEND},
                 0);
        asks(client, "t", (struct subscription_options){.retain_handling = cases[i].handling}, 0);
        if (cases[i].comes)
            expect_publish(client, "kept");
        expect_silence(client);
    }
}

static void share_gets_nothing_retained(void **state)
{
    struct fixture *f = *state;
    retain(f, "t", "kept");
    struct client *client = connected(f, 0, MQTT_V5);
    asks(client, "$share/g/t", plain, 0);
    expect_silence(client);
}

static void refused_filter_gets_nothing_retained(void **state)
{
    struct fixture *f = *state;
    retain(f, "t", "kept");
    struct client *client = connected(f, 0, MQTT_V5);
    f->shared.memory_full = true;
    asks(client, "t", plain, MQTT_QUOTA_EXCEEDED);
    expect_silence(client);
}

/* ---- many filters --------------------------------------------------------------------------- */

enum { MANY = 1000, AT_ONCE = 64, NAME = 8 };

/* One packet with `count` filters "f0" to "f999", every tenth of them invalid. */
static void send_many(struct client *client, enum packet_type type, size_t count)
{
    static char names[MANY][NAME];
    static struct subscribe_filter filters[MANY];
    static struct bytes plain_filters[MANY];
    static uint8_t packet[MANY * (NAME + 3) + 16];
    size_t size;
    assert_true(count <= MANY);
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], NAME, i % 10 == 9 ? "f%zu#" : "f%zu", i);
        filters[i] = (struct subscribe_filter){.filter = bytes_of_str(names[i]), .options.qos = 1};
        plain_filters[i] = filters[i].filter;
    }
    if (type == PACKET_SUBSCRIBE)
        size = subscribe_encode(5, client->version, NULL, filters, count, packet, sizeof(packet));
    else
        size = unsubscribe_encode(5, client->version, NULL, plain_filters, count, packet,
                                  sizeof(packet));
    assert_true(size <= sizeof(packet));
    send_raw(client, packet, size);
}

static void expect_many(struct client *client, enum packet_type type, size_t count, uint8_t reason)
{
    struct suback suback;
    const struct frame *frame = expect(client, type);
    assert_int_equal(suback_decode(frame, client->version, &suback), MQTT_SUCCESS);
    assert_int_equal(suback.packet_id, 5);
    assert_int_equal(suback.reasons.len, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(suback.reasons.data[i], i % 10 == 9 ? MQTT_TOPIC_FILTER_INVALID : reason);
}

static void each_of_many_filters_has_its_answer(void **state)
{
    struct fixture *f = *state;
    static const size_t counts[] = {AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE, MANY};
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        struct client *client = connected(f, 0, MQTT_V5);
        send_many(client, PACKET_SUBSCRIBE, counts[i]);
        expect_many(client, PACKET_SUBACK, counts[i], 1);
        assert_int_equal(session_of(client)->subscription_count, counts[i] - counts[i] / 10);
        send_many(client, PACKET_UNSUBSCRIBE, counts[i]);
        expect_many(client, PACKET_UNSUBACK, counts[i], 0);
        assert_int_equal(session_of(client)->subscription_count, 0);
        expect_silence(client);
        assert_int_equal(conn_of(client)->busy, 0);
    }
}

/* A packet of AT_ONCE filters is done while it is read; one more, and it is a job. */
static void packet_with_many_filters_is_a_job(void **state)
{
    struct fixture *f = *state;
    for (size_t count = AT_ONCE; count <= AT_ONCE + 1; count++) {
        struct client *client = connected(f, 0, MQTT_V5);
        f->workers[0].jobs_wait = true;
        send_many(client, PACKET_SUBSCRIBE, count);
        settle(f);
        assert_int_equal(conn_of(client)->job != NULL, count > AT_ONCE);
        f->workers[0].jobs_wait = false;
        expect_many(client, PACKET_SUBACK, count, 1);
    }
}

static void subscribe_just_enough(struct client *client)
{
    send_many(client, PACKET_SUBSCRIBE, AT_ONCE + 1);
    expect_many(client, PACKET_SUBACK, AT_ONCE + 1, 1);
    send_many(client, PACKET_SUBSCRIBE, 2 * AT_ONCE);
    expect_many(client, PACKET_SUBACK, 2 * AT_ONCE, 1);
}

static void jobs_and_their_answers_are_freed(void **state)
{
    assert_frees(connected(*state, 0, MQTT_V5), subscribe_just_enough);
}

/* One step of the only job. True: it has ended. */
static bool do_step(struct fixture *f)
{
    struct job *job = CONTAINER_OF(list_take_first(&f->workers[0].jobs.jobs), struct job, link);
    bool done = job->step(job);
    if (!done)
        list_add_last(&f->workers[0].jobs.jobs, &job->link);
    return done;
}

/* A client in the middle of MANY filters. */
static struct client *client_amid_many(struct fixture *f)
{
    struct client *client = connected(f, 0, MQTT_V5);
    f->workers[0].jobs_wait = true;
    send_many(client, PACKET_SUBSCRIBE, MANY);
    settle(f);
    assert_false(do_step(f));
    assert_int_equal(session_of(client)->subscription_count, AT_ONCE - AT_ONCE / 10);
    return client;
}

static void job_does_so_many_filters_in_a_step(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_amid_many(f);
    int steps = 1;
    while (!do_step(f))
        steps++;
    assert_int_equal(steps, 2 * MANY / AT_ONCE); /* subscribe, then what is retained */
    f->workers[0].jobs_wait = false;
    expect_many(client, PACKET_SUBACK, MANY, 1);
}

static void input_behind_many_filters_waits(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    send_many(client, PACKET_SUBSCRIBE, MANY);
    SEND(client, "\xc0\0");
    expect_many(client, PACKET_SUBACK, MANY, 1);
    expect(client, PACKET_PINGRESP);
}

static void retained_messages_of_many_filters_come_behind_suback(void **state)
{
    struct fixture *f = *state;
    retain(f, "f0", "first");
    retain(f, "f998", "last");
    struct client *client = connected(f, 0, MQTT_V5);
    send_many(client, PACKET_SUBSCRIBE, MANY);
    expect_many(client, PACKET_SUBACK, MANY, 1);
    expect_publish(client, "first");
    expect_publish(client, "last");
    expect_silence(client);
}

static void client_that_goes_amid_many_filters_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_amid_many(f);
    conn_close(conn_of(client), MQTT_ADMINISTRATIVE_ACTION);
    assert_true(list_empty(&f->workers[0].jobs.jobs));
    f->workers[0].jobs_wait = false;
    settle(f);
    assert_null(session_of(client));
    assert_int_equal(metric(f, METRIC_SUBSCRIPTIONS_CURRENT), 0);
}

/* A fault in the middle, found by the job itself. */
static void fault_amid_many_filters_ends_the_job(void **state)
{
    enum { FILTERS = 200 };
    struct fixture *f = *state;
    f->config.mqtt.wildcard_available = false;
    struct client *client = connected(f, 0, MQTT_V5);
    static uint8_t packet[4096];
    struct subscribe_filter filters[FILTERS];
    for (int i = 0; i < FILTERS; i++)
        filters[i] =
            (struct subscribe_filter){.filter = bytes_of_str(i == FILTERS / 2 ? "a/#" : "a")};
    send_raw(client, packet,
             subscribe_encode(1, MQTT_V5, NULL, filters, FILTERS, packet, sizeof(packet)));
    expect_fault(client, MQTT_WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
    assert_int_equal(metric(f, METRIC_SUBSCRIPTIONS_CURRENT), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(filter_that_is_none_is_refused),
        RULE(filter_that_is_empty_is_refused_or_a_fault),
        RULE(filter_has_as_many_bytes_as_the_limit_allows),
        RULE(filter_has_as_many_levels_as_the_limit_allows),
        RULE(subscriptions_of_a_client_are_limited),
        RULE(full_memory_takes_no_new_subscription),
        RULE(wildcards_can_be_unavailable),
        RULE(shares_can_be_unavailable),
        RULE(no_local_on_a_share_is_a_fault),
        RULE(qos_is_granted_up_to_the_maximum),
        RULE(unsubscribe_says_whether_there_was_a_subscription),
        RULE(share_is_a_share_only_by_its_whole_name),
        RULE(user_properties_are_counted),
        RULE(subscription_identifier_comes_with_the_messages),
        RULE(subscription_identifiers_can_be_unavailable),
        RULE(retained_message_comes_behind_suback_with_qos_and_identifier),
        RULE(retain_handling_says_when_retained_messages_come),
        RULE(share_gets_nothing_retained),
        RULE(refused_filter_gets_nothing_retained),
        RULE(each_of_many_filters_has_its_answer),
        RULE(packet_with_many_filters_is_a_job),
        RULE(jobs_and_their_answers_are_freed),
        RULE(job_does_so_many_filters_in_a_step),
        RULE(input_behind_many_filters_waits),
        RULE(retained_messages_of_many_filters_come_behind_suback),
        RULE(client_that_goes_amid_many_filters_leaves_nothing),
        RULE(fault_amid_many_filters_ends_the_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
