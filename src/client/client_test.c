/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "client/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DEADLINE_MS = 10 * 1000, SEEN_MAX = 32 };

/* A client whose server is the test: it reads and writes bytes at the other end. */
struct fixture {
    struct loop loop;
    struct client client;
    int server;
    /* what the owner was told */
    size_t connected, messages, answered, ready, ended, closed, resent, done;
    uint16_t resent_ids[SEEN_MAX], done_ids[SEEN_MAX];
    uint8_t done_reason, end_reason;
    enum client_end why;
    char topic[64], payload[64];
};

static struct fixture *fixture_of(struct client *client)
{
    return client->owner;
}

static void on_connected(struct client *client, const struct connack *connack)
{
    (void)connack;
    fixture_of(client)->connected++;
}

static void on_message(struct client *client, const struct publish *publish)
{
    struct fixture *f = fixture_of(client);

    f->messages++;
    snprintf(f->topic, sizeof(f->topic), "%.*s", (int)publish->topic.len,
             (const char *)publish->topic.data);
    snprintf(f->payload, sizeof(f->payload), "%.*s", (int)publish->payload.len,
             (const char *)publish->payload.data);
}

static void on_done(struct client *client, uint16_t packet_id, uint8_t reason)
{
    struct fixture *f = fixture_of(client);

    assert_true(f->done < SEEN_MAX);
    f->done_ids[f->done++] = packet_id;
    f->done_reason = reason;
}

static struct publication hello(uint8_t qos)
{
    return (struct publication){
        .topic = bytes_of_str("t"), .payload = bytes_of_str("hello"), .qos = qos};
}

static void on_resend(struct client *client, uint16_t packet_id)
{
    struct fixture *f = fixture_of(client);
    struct publication publication = hello(1);

    assert_true(f->resent < SEEN_MAX);
    f->resent_ids[f->resent++] = packet_id;
    assert_int_equal(client_publish_again(client, &publication, packet_id), RC_OK);
}

static void on_answered(struct client *client, const struct suback *suback)
{
    (void)suback;
    fixture_of(client)->answered++;
}

static void on_ready(struct client *client)
{
    fixture_of(client)->ready++;
}

static void on_ended(struct client *client, enum client_end why, uint8_t reason)
{
    struct fixture *f = fixture_of(client);

    f->ended++;
    f->why = why;
    f->end_reason = reason;
}

static void on_closed(struct client *client)
{
    fixture_of(client)->closed++;
}

static const struct client_ops ops = {
    .connected = on_connected,
    .message = on_message,
    .done = on_done,
    .resend = on_resend,
    .answered = on_answered,
    .ready = on_ready,
    .ended = on_ended,
    .closed = on_closed,
};

static bool on_turn(void *owner)
{
    (void)owner;
    return false;
}

static const struct loop_ops loop_ops = {.turn = on_turn};

#define TURN_UNTIL(f, condition)                                                                   \
    do {                                                                                           \
        uint64_t deadline_ms_ = clock_ms() + DEADLINE_MS;                                          \
        while (!(condition)) {                                                                     \
            loop_turn(&(f)->loop, LOOP_LOOK);                                                      \
            if (clock_ms() > deadline_ms_)                                                         \
                fail_msg("never: %s", #condition);                                                 \
        }                                                                                          \
    } while (0)

static void say(struct fixture *f, const void *data, size_t len)
{
    assert_int_equal(send(f->server, data, len, MSG_NOSIGNAL), len);
}

#define SAY(f, ...)                                                                                \
    do {                                                                                           \
        const uint8_t said_[] = {__VA_ARGS__};                                                     \
        say(f, said_, sizeof(said_));                                                              \
    } while (0)

/* Turns until the client has sent `len` bytes, which are then compared. */
static void hear(struct fixture *f, const void *expected, size_t len)
{
    uint8_t heard[256];
    size_t have = 0;
    uint64_t deadline_ms = clock_ms() + DEADLINE_MS;

    assert_true(len <= sizeof(heard));
    while (have < len) {
        loop_turn(&f->loop, LOOP_LOOK);
        ssize_t n = recv(f->server, heard + have, len - have, MSG_DONTWAIT);
        have += n > 0 ? (size_t)n : 0;
        if (clock_ms() > deadline_ms)
            fail_msg("heard %zu of %zu bytes", have, len);
    }
    assert_memory_equal(heard, expected, len);
}

#define HEAR(f, ...)                                                                               \
    do {                                                                                           \
        const uint8_t expected_[] = {__VA_ARGS__};                                                 \
        hear(f, expected_, sizeof(expected_));                                                     \
    } while (0)

static void open_client(struct fixture *f, const struct connect *connect)
{
    uint8_t greeting[256];
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    f->server = ends[1];
    assert_int_equal(client_open(&f->client, ends[0], connect, NULL), RC_OK);
    hear(f, greeting, connect_encode(connect, greeting, sizeof(greeting)));
}

static struct connect greeting(enum mqtt_version version)
{
    return (struct connect){
        .version = version, .clean_start = true, .client_id = bytes_of_str("c")};
}

/* A client that is up. */
static struct fixture *fixture_new(enum mqtt_version version, uint16_t window)
{
    struct fixture *f = test_calloc(1, sizeof(*f));
    struct connect connect = greeting(version);

    loop_init(&f->loop, &loop_ops, f);
    client_init(&f->client, &f->loop, &ops, f, window);
    open_client(f, &connect);
    if (version == MQTT_V5)
        SAY(f, 0x20, 3, 0, 0, 0);
    else
        SAY(f, 0x20, 2, 0, 0);
    TURN_UNTIL(f, f->connected == 1);
    return f;
}

static void fixture_free(struct fixture *f)
{
    client_close(&f->client);
    TURN_UNTIL(f, f->client.state == CLIENT_CLOSED);
    client_deinit(&f->client);
    loop_deinit(&f->loop);
    close(f->server);
    test_free(f);
}

static uint16_t publish(struct fixture *f, uint8_t qos)
{
    struct publication publication = hello(qos);
    uint16_t id;

    assert_int_equal(client_publish(&f->client, &publication, 0, &id), RC_OK);
    return id;
}

/* ---- Publishing -------------------------------------------------------------------------------
 */

static void client_publish_of_qos_1_is_done_by_puback(void **state)
{
    struct fixture *f = fixture_new(MQTT_V311, 10);

    (void)state;
    assert_int_equal(publish(f, 1), 1);
    HEAR(f, 0x32, 10, 0, 1, 't', 0, 1, 'h', 'e', 'l', 'l', 'o');
    SAY(f, 0x40, 2, 0, 1);
    TURN_UNTIL(f, f->done == 1);
    assert_int_equal(f->done_ids[0], 1);
    fixture_free(f);
}

static void client_publish_of_qos_2_is_released_and_done_by_pubcomp(void **state)
{
    struct fixture *f = fixture_new(MQTT_V311, 10);

    (void)state;
    publish(f, 2);
    HEAR(f, 0x34, 10, 0, 1, 't', 0, 1, 'h', 'e', 'l', 'l', 'o');
    SAY(f, 0x50, 2, 0, 1);
    HEAR(f, 0x62, 2, 0, 1);
    assert_int_equal(f->done, 0);
    SAY(f, 0x70, 2, 0, 1);
    TURN_UNTIL(f, f->done == 1);
    fixture_free(f);
}

static void client_publish_that_is_refused_is_done_with_the_reason(void **state)
{
    struct fixture *f = fixture_new(MQTT_V5, 10);

    (void)state;
    publish(f, 2);
    SAY(f, 0x50, 3, 0, 1, MQTT_QUOTA_EXCEEDED);
    TURN_UNTIL(f, f->done == 1);
    assert_int_equal(f->done_reason, MQTT_QUOTA_EXCEEDED);
    assert_int_equal(f->client.window.pending, 0);
    fixture_free(f);
}

static void client_publish_with_a_full_window_asks_to_wait(void **state)
{
    struct fixture *f = fixture_new(MQTT_V311, 2);
    struct publication publication = hello(1);
    uint16_t id;

    (void)state;
    publish(f, 1);
    publish(f, 1);
    assert_int_equal(client_publish(&f->client, &publication, 0, &id), RC_AGAIN);
    publish(f, 0); /* needs no place in the window */
    SAY(f, 0x40, 2, 0, 1);
    TURN_UNTIL(f, f->ready == 1);
    publish(f, 1);
    fixture_free(f);
}

static void client_heeds_receive_maximum_and_maximum_packet_size(void **state)
{
    struct fixture *f = fixture_new(MQTT_V5, 10);
    struct connect connect = greeting(MQTT_V5);
    struct publication publication = hello(1);
    uint16_t id;

    (void)state;
    client_close(&f->client);
    TURN_UNTIL(f, f->closed == 1);
    close(f->server);
    open_client(f, &connect);
    SAY(f, 0x20, 11, 0, 0, 8, 0x21, 0, 1, 0x27, 0, 0, 0, 13);
    TURN_UNTIL(f, f->connected == 2);
    publication.payload = bytes_of_str("hello, but longer");
    assert_int_equal(client_publish(&f->client, &publication, 0, &id), RC_INVALID);
    assert_int_equal(f->client.window.pending, 0);
    publish(f, 1);
    publication = hello(1);
    assert_int_equal(client_publish(&f->client, &publication, 0, &id), RC_AGAIN);
    fixture_free(f);
}

static void client_resends_in_order_what_the_kept_session_has_not_finished(void **state)
{
    struct fixture *f = fixture_new(MQTT_V311, 10);
    struct connect connect = greeting(MQTT_V311);

    (void)state;
    publish(f, 1);
    publish(f, 2);
    publish(f, 1);
    SAY(f, 0x50, 2, 0, 2);
    TURN_UNTIL(f, window_state(&f->client.window, 2) == WINDOW_RELEASED);
    close(f->server);
    TURN_UNTIL(f, f->closed == 1);
    assert_int_equal(f->why, CLIENT_END_LOST);

    connect.clean_start = false;
    open_client(f, &connect);
    SAY(f, 0x20, 2, 1, 0);
    HEAR(f, 0x3A, 10, 0, 1, 't', 0, 1, 'h', 'e', 'l', 'l', 'o', /* DUP */
         0x62, 2, 0, 2,                                         /* PUBREL again */
         0x3A, 10, 0, 1, 't', 0, 3, 'h', 'e', 'l', 'l', 'o');
    assert_int_equal(f->resent, 2);
    assert_int_equal(f->connected, 2);
    fixture_free(f);
}

static void client_forgets_what_was_under_way_with_a_session_that_is_gone(void **state)
{
    struct fixture *f = fixture_new(MQTT_V311, 10);
    struct connect connect = greeting(MQTT_V311);

    (void)state;
    publish(f, 1);
    close(f->server);
    TURN_UNTIL(f, f->closed == 1);
    connect.clean_start = false;
    open_client(f, &connect);
    SAY(f, 0x20, 2, 0, 0);
    TURN_UNTIL(f, f->connected == 2);
    assert_int_equal(f->resent, 0);
    assert_int_equal(f->client.window.pending, 0);
    fixture_free(f);
}

/* ---- Receiving --------------------------------------------------------------------------------
 */

static void client_acknowledges_qos_1_behind_the_message(void **state)
{
    struct fixture *f = fixture_new(MQTT_V311, 10);

    (void)state;
    SAY(f, 0x32, 6, 0, 1, 'a', 0, 9, 'x');
    HEAR(f, 0x40, 2, 0, 9);
    assert_int_equal(f->messages, 1);
    assert_string_equal(f->topic, "a");
    assert_string_equal(f->payload, "x");
    fixture_free(f);
}

static void client_takes_a_message_of_qos_2_once(void **state)
{
    struct fixture *f = fixture_new(MQTT_V311, 10);

    (void)state;
    SAY(f, 0x34, 6, 0, 1, 'a', 0, 9, 'x', 0x3C, 6, 0, 1, 'a', 0, 9, 'x');
    HEAR(f, 0x50, 2, 0, 9, 0x50, 2, 0, 9);
    assert_int_equal(f->messages, 1);
    SAY(f, 0x62, 2, 0, 9);
    HEAR(f, 0x70, 2, 0, 9);
    SAY(f, 0x34, 6, 0, 1, 'a', 0, 9, 'y');
    TURN_UNTIL(f, f->messages == 2);
    fixture_free(f);
}

static void client_puts_in_the_topic_of_an_alias(void **state)
{
    struct fixture *f = fixture_new(MQTT_V5, 10);
    struct connect connect = greeting(MQTT_V5);

    (void)state;
    client_close(&f->client);
    TURN_UNTIL(f, f->closed == 1);
    close(f->server);
    property_set(&connect.properties, PROPERTY_TOPIC_ALIAS_MAXIMUM);
    connect.properties.topic_alias_maximum = 2;
    open_client(f, &connect);
    SAY(f, 0x20, 3, 0, 0, 0, 0x30, 8, 0, 1, 'a', 3, 0x23, 0, 2, 'x');
    SAY(f, 0x30, 7, 0, 0, 3, 0x23, 0, 2, 'y');
    TURN_UNTIL(f, f->messages == 2);
    assert_string_equal(f->topic, "a");
    SAY(f, 0x30, 7, 0, 0, 3, 0x23, 0, 1, 'z'); /* never said what it stands for */
    HEAR(f, 0xE0, 1, MQTT_TOPIC_ALIAS_INVALID);
    assert_int_equal(f->why, CLIENT_END_MALFORMED);
    fixture_free(f);
}

static void client_handles_one_byte_at_a_time(void **state)
{
    static const uint8_t publish[] = {0x32, 6, 0, 1, 'a', 0, 9, 'x'};
    struct fixture *f = fixture_new(MQTT_V311, 10);

    (void)state;
    for (size_t i = 0; i < sizeof(publish); i++) {
        say(f, publish + i, 1);
        loop_turn(&f->loop, LOOP_LOOK);
    }
    TURN_UNTIL(f, f->messages == 1);
    fixture_free(f);
}

/* ---- Ends -------------------------------------------------------------------------------------
 */

static void client_that_is_refused_says_why(void **state)
{
    struct fixture *f = fixture_new(MQTT_V311, 10);
    struct connect connect = greeting(MQTT_V311);

    (void)state;
    client_close(&f->client);
    TURN_UNTIL(f, f->closed == 1);
    close(f->server);
    open_client(f, &connect);
    SAY(f, 0x20, 2, 0, 5);
    TURN_UNTIL(f, f->ended == 2);
    assert_int_equal(f->why, CLIENT_END_REFUSED);
    assert_int_equal(f->end_reason, 5);
    fixture_free(f);
}

static void client_disconnect_goes_out_before_the_end(void **state)
{
    struct fixture *f = fixture_new(MQTT_V311, 10);

    (void)state;
    publish(f, 0);
    client_disconnect(&f->client, MQTT_NORMAL_DISCONNECTION, NULL);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->why, CLIENT_END_BY_US);
    HEAR(f, 0x30, 8, 0, 1, 't', 'h', 'e', 'l', 'l', 'o', 0xE0, 0);
    fixture_free(f);
}

static void client_names_the_reason_of_a_disconnect(void **state)
{
    struct fixture *f = fixture_new(MQTT_V5, 10);

    (void)state;
    SAY(f, 0xE0, 1, MQTT_SERVER_SHUTTING_DOWN);
    TURN_UNTIL(f, f->ended == 1);
    assert_int_equal(f->why, CLIENT_END_BY_SERVER);
    assert_int_equal(f->end_reason, MQTT_SERVER_SHUTTING_DOWN);
    fixture_free(f);
}

static void client_ends_at_a_packet_that_no_server_sends(void **state)
{
    struct fixture *f = fixture_new(MQTT_V311, 10);

    (void)state;
    SAY(f, 0xC0, 0); /* PINGREQ */
    TURN_UNTIL(f, f->ended == 1);
    assert_int_equal(f->why, CLIENT_END_MALFORMED);
    fixture_free(f);
}

static void client_pings_when_it_is_quiet_and_ends_without_an_answer(void **state)
{
    struct fixture *f = fixture_new(MQTT_V311, 10);
    struct connect connect = greeting(MQTT_V311);

    (void)state;
    client_close(&f->client);
    TURN_UNTIL(f, f->closed == 1);
    close(f->server);
    connect.keep_alive_s = 1;
    open_client(f, &connect);
    SAY(f, 0x20, 2, 0, 0);
    HEAR(f, 0xC0, 0);
    SAY(f, 0xD0, 0);
    HEAR(f, 0xC0, 0);
    TURN_UNTIL(f, f->ended == 2);
    assert_int_equal(f->why, CLIENT_END_SILENT);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_publish_of_qos_1_is_done_by_puback),
        cmocka_unit_test(client_publish_of_qos_2_is_released_and_done_by_pubcomp),
        cmocka_unit_test(client_publish_that_is_refused_is_done_with_the_reason),
        cmocka_unit_test(client_publish_with_a_full_window_asks_to_wait),
        cmocka_unit_test(client_heeds_receive_maximum_and_maximum_packet_size),
        cmocka_unit_test(client_resends_in_order_what_the_kept_session_has_not_finished),
        cmocka_unit_test(client_forgets_what_was_under_way_with_a_session_that_is_gone),
        cmocka_unit_test(client_acknowledges_qos_1_behind_the_message),
        cmocka_unit_test(client_takes_a_message_of_qos_2_once),
        cmocka_unit_test(client_puts_in_the_topic_of_an_alias),
        cmocka_unit_test(client_handles_one_byte_at_a_time),
        cmocka_unit_test(client_that_is_refused_says_why),
        cmocka_unit_test(client_disconnect_goes_out_before_the_end),
        cmocka_unit_test(client_names_the_reason_of_a_disconnect),
        cmocka_unit_test(client_ends_at_a_packet_that_no_server_sends),
        cmocka_unit_test(client_pings_when_it_is_quiet_and_ends_without_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
