/* SPDX-License-Identifier: Apache-2.0 */
/* Publishers that are slowed: when, for how long, and how they get free again. */
#include "conn/conn_fixture.h"

enum { STEP = 4, SHORTEST_MS = 4, LONGEST_MS = 128, ALLOWED_MAX = 512 };

static bool paused(const struct client *client)
{
    return (conn_of(client)->busy & CONN_BUSY_PAUSED) != 0;
}

static struct client *publisher_of(struct fixture *f)
{
    f->config.queue.slow_subscriber = SLOW_PAUSE_PUBLISHER;
    return connected(f, 0, MQTT_V5);
}

/* News of a lag on that worker. */
static void lag(struct client *client, uint32_t worker)
{
    conn_pause(conn_of(client), PAUSE_FOR_LAG, worker);
}

static void backlog(struct client *client, uint32_t worker)
{
    conn_pause(conn_of(client), PAUSE_FOR_BACKLOG, worker);
}

/* The home's turns only: the other worker answers nothing. */
static void turn_home(struct fixture *f)
{
    loop_turn(&f->workers[0].loop, LOOP_LOOK);
}

#define HOME_UNTIL(f, condition)                                                                   \
    for (uint64_t deadline_ms_ = clock_ms() + FIXTURE_DEADLINE_MS; !(condition); turn_home(f))     \
    assert_true(clock_ms() < deadline_ms_)

/* Milliseconds that the pause, or the wait behind it, goes on; negative when it is due. Its timer
 * is the only one: these clients have no keep alive. */
static int64_t pause_left_ms(struct fixture *f)
{
    struct loop *loop = &f->workers[0].loop;
    assert_int_equal(loop->wheel.count, 1);
    for (size_t level = 0; level < WHEEL_LEVELS; level++)
        for (size_t slot = 0; slot < WHEEL_SLOTS; slot++)
            LIST_FOR_EACH (link, &loop->wheel.slots[level][slot])
                return (int64_t)(CONTAINER_OF(link, struct timer, link)->deadline_ms -
                                 loop->now_ms);
    fail_msg("the wheel has lost its timer");
    return 0;
}

/* The pause is over by the clock. */
static void time_passes(struct fixture *f, const struct client *client)
{
    age(f, LONGEST_MS);
    TURN_UNTIL(f, !paused(client));
}

/* So many packets are taken before the next pause. */
static uint32_t allowed(struct fixture *f, struct client *client)
{
    for (uint32_t count = 1; count <= ALLOWED_MAX + STEP; count++) {
        SEND(client, "\xc0\0");
        turn_home(f);
        if (paused(client))
            return count;
    }
    return UINT32_MAX;
}

/* ---- the pause ------------------------------------------------------------------------------ */

static void paused_publisher_is_read_when_the_pause_is_over(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    lag(client, 0);
    assert_true(paused(client));
    age(f, (uint64_t)0 - 10000); /* so long that the test cannot miss it */
    SEND(client, "\xc0\0");
    expect_silence(client);
    age(f, 10000);
    time_passes(f, client);
    expect(client, PACKET_PINGRESP);
    assert_int_equal(metric(f, METRIC_PUBLISHER_PAUSES), 1);
}

static void lag_pauses_nobody_unless_the_policy_wants_it(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    f->config.queue.slow_subscriber = SLOW_DROP;
    lag(client, 0);
    assert_false(paused(client));
    assert_null(conn_of(client)->pace);
    backlog(client, 1); /* that is not for a subscriber's sake */
    assert_true(paused(client));
    TURN_UNTIL(f, !paused(client));
}

static void connection_without_a_session_is_not_paused(void **state)
{
    struct fixture *f = *state;
    dial(f, 0, MQTT_V5);
    struct conn *conn = CONTAINER_OF(f->workers[0].conns.connections.next, struct conn, link);
    conn_pause(conn, PAUSE_FOR_BACKLOG, 1);
    assert_int_equal(conn->busy, 0);
}

static void paused_publisher_is_not_paused_again(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    lag(client, 0);
    lag(client, 0);
    backlog(client, 1);
    assert_int_equal(metric(f, METRIC_PUBLISHER_PAUSES), 1);
    time_passes(f, client);
    assert_int_equal(allowed(f, client), STEP); /* the news counted once */
    time_passes(f, client);
    lag(client, 0);
    lag(client, 0);
    assert_int_equal(pause_left_ms(f), SHORTEST_MS);
    time_passes(f, client);
    lag(client, 0);
    assert_int_equal(pause_left_ms(f), 2 * SHORTEST_MS);
    time_passes(f, client);
}

static void connection_that_ends_in_a_pause_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        struct client *client = publisher_of(f);
        lag(client, worker);
        conn_close(conn_of(client), MQTT_ADMINISTRATIVE_ACTION);
        expect_fault(client, MQTT_ADMINISTRATIVE_ACTION);
        assert_int_equal(f->workers[0].loop.wheel.count, 0);
    }
}

/* ---- answers -------------------------------------------------------------------------------- */

static void backlog_pauses_until_that_worker_has_answered(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    backlog(client, 1);
    age(f, 10);
    for (int i = 0; i < 10; i++)
        turn_home(f);
    assert_true(paused(client));
    TURN_UNTIL(f, !paused(client));
    assert_null(conn_of(client)->pace); /* it is free */
}

static void wait_for_an_answer_has_a_limit(void **state)
{
    struct fixture *f = *state;
    static const uint32_t configured_ms[] = {50000, 10};
    for (int i = 0; i < 2; i++) {
        f->config.queue.publisher_pause_max_ms = configured_ms[i];
        int64_t limit_ms = i == 0 ? 50000 : LONGEST_MS;
        struct client *client = publisher_of(f);
        backlog(client, 1);
        HOME_UNTIL(f, pause_left_ms(f) > 20); /* from here on it waits */
        assert_in_range(pause_left_ms(f), limit_ms - 50, limit_ms);
        assert_true(paused(client));
        age(f, (uint64_t)limit_ms);
        HOME_UNTIL(f, !paused(client));
        settle(f); /* the answer is of no use any more */
        assert_false(paused(client));
        client_close(client);
    }
}

static void answer_to_an_earlier_question_ends_nothing(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    backlog(client, 1);
    uint32_t question = f->workers[0].conns.questions;
    HOME_UNTIL(f, pause_left_ms(f) > 20);
    conn_caught_up(conn_of(client), question - 1);
    assert_true(paused(client));
    conn_caught_up(conn_of(client), question);
    assert_false(paused(client));
    conn_caught_up(conn_of(client), question);
}

/* The answer is here first: the pause lasts as long as it was to. */
static void early_answer_does_not_shorten_the_pause(void **state)
{
    struct fixture *f = *state;
    f->config.queue.publisher_pause_max_ms = 1000 * 1000;
    struct client *client = publisher_of(f);
    lag(client, 1);
    age(f, (uint64_t)0 - 10000);
    settle(f);
    assert_true(paused(client));
    age(f, 10100);
    HOME_UNTIL(f, !paused(client)); /* and then nothing is waited for */
}

static void no_question_has_the_number_0(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    f->workers[0].conns.questions = UINT32_MAX;
    backlog(client, 1);
    assert_int_equal(f->workers[0].conns.questions, 1);
    HOME_UNTIL(f, pause_left_ms(f) > 20);
    assert_true(paused(client));
    settle(f);
    assert_false(paused(client));
}

static void lag_at_home_asks_nobody(void **state)
{
    struct fixture *f = *state;
    f->config.queue.publisher_pause_max_ms = 1000 * 1000;
    struct client *client = publisher_of(f);
    lag(client, 0);
    assert_int_equal(f->workers[0].conns.questions, 0);
    HOME_UNTIL(f, !paused(client));
}

/* A backlog at home is a question to ourselves: there is no other end of the pause. */
static void backlog_at_home_asks_ourselves(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    backlog(client, 0);
    assert_int_equal(f->workers[0].conns.questions, 1);
    settle(f);
    TURN_UNTIL(f, !paused(client));
}

/* ---- how long, and how much between --------------------------------------------------------- */

static void pause_is_twice_as_long_with_each_news(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    static const int64_t pauses_ms[] = {4, 8, 16, 32, 64, 128, 128};
    for (size_t i = 0; i < sizeof(pauses_ms) / sizeof(*pauses_ms); i++) {
        lag(client, 0);
        assert_int_equal(pause_left_ms(f), pauses_ms[i]);
        time_passes(f, client);
    }
}

static void publisher_may_send_more_after_each_pause_without_news(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    lag(client, 0);
    time_passes(f, client);
    uint32_t pauses = 0;
    for (uint32_t count = STEP; count <= ALLOWED_MAX; count += STEP, pauses++) {
        assert_int_equal(allowed(f, client), count);
        assert_true(pause_left_ms(f) <= SHORTEST_MS);
        time_passes(f, client);
    }
    assert_null(conn_of(client)->pace);
    assert_int_equal(metric(f, METRIC_PUBLISHER_PAUSES), 1 + pauses);
}

static void news_halve_what_a_publisher_may_send(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    lag(client, 0);
    time_passes(f, client);
    for (uint32_t count = STEP; count <= 5 * STEP; count += STEP) {
        assert_int_equal(allowed(f, client), count);
        time_passes(f, client);
    }
    lag(client, 0); /* 6 steps are 3 */
    time_passes(f, client);
    assert_int_equal(allowed(f, client), 3 * STEP);
    lag(client, 0); /* news of a pause that has begun: 3 steps are 1.5, and none are won */
    time_passes(f, client);
    assert_int_equal(allowed(f, client), 3 * STEP / 2);
    time_passes(f, client);
}

static void pause_without_news_is_short_again(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    for (int i = 0; i < 5; i++) {
        lag(client, 0);
        time_passes(f, client);
    }
    assert_int_equal(allowed(f, client), STEP);
    assert_int_equal(pause_left_ms(f), 64); /* as long as the last */
    time_passes(f, client);
    assert_int_equal(allowed(f, client), 2 * STEP);
    assert_int_equal(pause_left_ms(f), SHORTEST_MS);
    time_passes(f, client);
}

/* After a lag on another worker it is asked in each of the pauses that follow. */
static void pauses_after_a_lag_ask_the_same_worker(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    lag(client, 1);
    time_passes(f, client);
    uint32_t asked = f->workers[0].conns.questions;
    assert_int_equal(allowed(f, client), STEP);
    assert_int_equal(f->workers[0].conns.questions, asked + 1);
    time_passes(f, client);
}

/* A backlog says nothing of a lag. */
static void backlog_leaves_the_pace_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    lag(client, 0);
    time_passes(f, client);
    backlog(client, 1);
    TURN_UNTIL(f, !paused(client));
    assert_int_equal(allowed(f, client), 2 * STEP); /* a pause without news */
    time_passes(f, client);
}

/* ---- where the news come from --------------------------------------------------------------- */

/* A subscriber that reads nothing, with a full output and a short queue. */
static struct client *lagging_subscriber(struct fixture *f, uint32_t worker)
{
    static uint8_t payload[60000];
    f->workers[worker].sessions.limits.queue_messages_max = 4;
    struct client *subscriber = connected(f, worker, MQTT_V5);
    subscribe(subscriber, "t", 1);
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of(payload, 60000)};
    struct outgoing outgoing = {.publication = &p, .qos = 0};
    struct session_sink *sink = &conn_of(subscriber)->sink;
    while (!sink->hold) {
        assert_int_equal(sink->ops->publish(sink, &outgoing), SEND_OK);
        settle(f);
    }
    return subscriber;
}

static void publisher_pauses_when_its_subscriber_lags(void **state)
{
    struct fixture *f = *state;
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        lagging_subscriber(f, worker);
        struct client *client = publisher_of(f);
        uint64_t before = metric(f, METRIC_PUBLISHER_PAUSES);
        for (uint16_t id = 1; id <= 4; id++) {
            send_publish(client, 1, id, "x");
            settle(f);
        }
        assert_true(metric(f, METRIC_PUBLISHER_PAUSES) > before);
        assert_non_null(conn_of(client)->pace);
        time_passes(f, client);
    }
}

static void publisher_pauses_when_another_worker_is_behind(void **state)
{
    struct fixture *f = *state;
    struct client *keeper = connected(f, 1, MQTT_V5);
    subscribe(keeper, "t", 0);
    struct client *client = publisher_of(f);
    send_publish(client, 0, 0, "x");
    settle(f);
    assert_int_equal(metric(f, METRIC_PUBLISHER_PAUSES), 0);
    f->workers[1].hub.backlog += 2 * BACKLOG_HIGH;
    send_publish(client, 0, 0, "y");
    turn_home(f);
    f->workers[1].hub.backlog -= 2 * BACKLOG_HIGH;
    assert_true(paused(client));
    assert_int_equal(metric(f, METRIC_PUBLISHER_PAUSES), 1);
    TURN_UNTIL(f, !paused(client));
    assert_null(conn_of(client)->pace);
}

/* A session of this worker whose sink is not a connection. */
static enum send_result other_publish(struct session_sink *sink, const struct outgoing *outgoing)
{
    (void)sink;
    (void)outgoing;
    return SEND_OK;
}

static const struct session_sink_ops other_ops = {.publish = other_publish};

static void news_reach_the_connection_of_the_session_if_there_is_one(void **state)
{
    struct fixture *f = *state;
    struct client *client = publisher_of(f);
    struct delivery_hub *hub = &f->workers[0].hub;
    session_ref gone = session_of(connected(f, 0, MQTT_V5))->ref;
    client_close(&f->clients[1]);
    struct client *away = connected_durable(f, 0, MQTT_V5);
    client_close(away);
    struct session_sink sink = {.ops = &other_ops};
    struct session *other = NULL;
    assert_int_equal(session_new(&f->workers[0].sessions, bytes_of_str("other"), &other), RC_OK);
    session_attach(other, &sink, 0, UINT16_MAX);
    const session_ref refs[] = {gone, session_of(away)->ref, other->ref, session_of(client)->ref};
    for (int i = 0; i < 4; i++) {
        hub->ops->slow_down(hub, refs[i], 1);
        hub->ops->caught_up(hub, refs[i], 77);
    }
    assert_int_equal(metric(f, METRIC_PUBLISHER_PAUSES), 1);
    assert_true(paused(client));
    session_detach(other, SESSION_WILL_KEEP);
    time_passes(f, client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(paused_publisher_is_read_when_the_pause_is_over),
        RULE(lag_pauses_nobody_unless_the_policy_wants_it),
        RULE(connection_without_a_session_is_not_paused),
        RULE(paused_publisher_is_not_paused_again),
        RULE(connection_that_ends_in_a_pause_leaves_nothing),
        RULE(backlog_pauses_until_that_worker_has_answered),
        RULE(wait_for_an_answer_has_a_limit),
        RULE(answer_to_an_earlier_question_ends_nothing),
        RULE(early_answer_does_not_shorten_the_pause),
        RULE(no_question_has_the_number_0),
        RULE(lag_at_home_asks_nobody),
        RULE(backlog_at_home_asks_ourselves),
        RULE(pause_is_twice_as_long_with_each_news),
        RULE(publisher_may_send_more_after_each_pause_without_news),
        RULE(news_halve_what_a_publisher_may_send),
        RULE(pause_without_news_is_short_again),
        RULE(pauses_after_a_lag_ask_the_same_worker),
        RULE(backlog_leaves_the_pace_as_it_is),
        RULE(publisher_pauses_when_its_subscriber_lags),
        RULE(publisher_pauses_when_another_worker_is_behind),
        RULE(news_reach_the_connection_of_the_session_if_there_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
