/* SPDX-License-Identifier: Apache-2.0 */
/* AUTH: the exchange before CONNACK and later ones, and everything that may not be said in them. */
#include "conn/conn_fixture.h"

#include "base/memory.h"

/* A mechanism that does what the client's data says: "no", "more" (asks "?"), "quiet" (asks without
 * data), anything else is success, with "!" for "shout". */
struct exchange {
    int steps;
};

static int exchanges; /* that have begun and not ended */
static bool out_of_memory;

static void *test_start(const struct auth_mechanism *mechanism)
{
    (void)mechanism;
    if (out_of_memory)
        return NULL;
    exchanges++;
    return NEW(struct exchange);
}

static bool says(struct bytes data, const char *text)
{
    return bytes_equal(data, bytes_of_str(text));
}

static enum auth_result test_step(void *exchange, struct bytes data, struct auth_reply *reply)
{
    ((struct exchange *)exchange)->steps++;
    if (says(data, "no"))
        return AUTH_FAILURE;
    if (says(data, "quiet"))
        return AUTH_CONTINUE;
    if (says(data, "more") || says(data, "shout")) {
        reply->data[0] = says(data, "more") ? '?' : '!';
        reply->len = 1;
    }
    return says(data, "more") ? AUTH_CONTINUE : AUTH_SUCCESS;
}

static void test_end(void *exchange)
{
    if (exchange != NULL)
        exchanges--;
    mem_free(exchange);
}

static const struct auth_mechanism mechanism = {
    .name = "TEST", .start = test_start, .step = test_step, .end = test_end};

static int auth_set_up(void **state)
{
    exchanges = 0;
    out_of_memory = false;
    fixture_set_up(state);
    auth_register(&((struct fixture *)*state)->shared.auth, &mechanism);
    return 0;
}

static int auth_tear_down(void **state)
{
    int failed = fixture_tear_down(state);
    return exchanges == 0 ? failed : -1;
}

static struct connect connect_saying(const struct client *client, const char *method,
                                     const char *data)
{
    struct connect connect = connect_of(client);
    struct properties *p = &connect.properties;
    property_set(p, PROPERTY_AUTHENTICATION_METHOD);
    p->authentication_method = bytes_of_str(method);
    if (data != NULL) {
        property_set(p, PROPERTY_AUTHENTICATION_DATA);
        p->authentication_data = bytes_of_str(data);
    }
    return connect;
}

static void send_auth(struct client *client, uint8_t reason, const char *method, const char *data)
{
    uint8_t packet[256];
    struct auth auth = {.reason = reason};
    property_set(&auth.properties, PROPERTY_AUTHENTICATION_METHOD);
    auth.properties.authentication_method = bytes_of_str(method);
    property_set(&auth.properties, PROPERTY_AUTHENTICATION_DATA);
    auth.properties.authentication_data = bytes_of_str(data);
    send_raw(client, packet, auth_encode(&auth, packet, sizeof(packet)));
}

/* AUTH with that reason and data; NULL: none. */
static void expect_auth(struct client *client, uint8_t reason, const char *data)
{
    struct auth auth;
    assert_int_equal(auth_decode(expect(client, PACKET_AUTH), &auth), MQTT_SUCCESS);
    assert_int_equal(auth.reason, reason);
    assert_true(says(auth.properties.authentication_method, "TEST"));
    assert_int_equal(property_present(&auth.properties, PROPERTY_AUTHENTICATION_DATA),
                     data != NULL);
    if (data != NULL)
        assert_true(says(auth.properties.authentication_data, data));
}

/* A client whose CONNECT says so. */
static struct client *asking(struct fixture *f, const char *method, const char *data)
{
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_saying(client, method, data);
    send_connect(client, &connect);
    return client;
}

/* ---- before CONNACK ------------------------------------------------------------------------- */

static void success_at_once_is_told_in_connack(void **state)
{
    struct fixture *f = *state;
    static const char *const data[] = {NULL, "please", "shout"};
    for (int i = 0; i < 3; i++) {
        struct client *client = asking(f, "TEST", data[i]);
        struct properties said = expect_connack(client, 0).properties;
        assert_true(says(said.authentication_method, "TEST"));
        assert_int_equal(property_present(&said, PROPERTY_AUTHENTICATION_DATA), i == 2);
        if (i == 2)
            assert_true(says(said.authentication_data, "!"));
        assert_int_equal(exchanges, 0);
    }
}

static void connack_names_no_method_when_connect_did_not(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    send_connect(client, &connect);
    struct properties said = expect_connack(client, 0).properties;
    assert_false(property_present(&said, PROPERTY_AUTHENTICATION_METHOD));
}

static void exchange_goes_on_until_connack(void **state)
{
    struct fixture *f = *state;
    struct client *client = asking(f, "TEST", "more");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
    assert_null(session_of(client));
    send_auth(client, MQTT_CONTINUE_AUTHENTICATION, "TEST", "quiet");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, NULL);
    assert_int_equal(exchanges, 1);
    send_auth(client, MQTT_CONTINUE_AUTHENTICATION, "TEST", "shout");
    struct properties said = expect_connack(client, 0).properties;
    assert_true(says(said.authentication_data, "!"));
    assert_int_equal(exchanges, 0);
    assert_non_null(session_of(client));
    SEND(client, "\xc0\0");
    expect(client, PACKET_PINGRESP);
}

static void failure_refuses_the_connect(void **state)
{
    struct fixture *f = *state;
    struct client *client = asking(f, "TEST", "no");
    expect_refusal(client, MQTT_NOT_AUTHORIZED);
    client = asking(f, "TEST", "more");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
    send_auth(client, MQTT_CONTINUE_AUTHENTICATION, "TEST", "no");
    expect_refusal(client, MQTT_NOT_AUTHORIZED);
}

static void unknown_method_refuses_the_connect(void **state)
{
    expect_refusal(asking(*state, "OTHER", NULL), MQTT_BAD_AUTHENTICATION_METHOD);
}

static void mechanism_without_memory_refuses_the_connect(void **state)
{
    out_of_memory = true;
    expect_refusal(asking(*state, "TEST", "more"), MQTT_QUOTA_EXCEEDED);
}

/* A length that no address space has stands for memory that is gone. */
static void connect_that_cannot_be_kept_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    struct conn *conn = CONTAINER_OF(f->workers[0].conns.connections.next, struct conn, link);
    struct connect connect = connect_saying(client, "TEST", "more");
    conn->version = MQTT_V5;
    assert_int_equal(conn_auth_begin(conn, &connect, (const uint8_t *)"", SIZE_MAX / 4),
                     AUTH_REFUSED);
    expect_refusal(client, MQTT_QUOTA_EXCEEDED);
}

static void only_auth_and_disconnect_come_before_connack(void **state)
{
    struct fixture *f = *state;
    struct client *client = asking(f, "TEST", "more");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
    SEND(client, "\xc0\0");
    expect_refusal(client, MQTT_PROTOCOL_ERROR);
    client = asking(f, "TEST", "more");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
    SEND(client, "\xe0\0");
    expect_end(client);
    assert_int_equal(metric(f, METRIC_PROTOCOL_ERRORS), 1);
}

static void packet_that_is_too_large_before_connack_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client *client = asking(f, "TEST", "more");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
    f->config.limits.packet_bytes = 100;
    SEND(client, "\xf0\x70");
    expect_refusal(client, MQTT_PACKET_TOO_LARGE);
}

static void exchange_that_takes_too_long_is_refused(void **state)
{
    struct fixture *f = *state;
    f->config.limits.connect_timeout_ms = 50000;
    struct client *client = asking(f, "TEST", "more");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
    pass(f, 51000);
    assert_int_equal(metric(f, METRIC_CONNECT_TIMEOUTS), 1);
    expect_refusal(client, MQTT_NOT_AUTHORIZED);
}

static void client_that_goes_amid_an_exchange_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct client *client = asking(f, "TEST", "more");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
    client_close(client);
    assert_int_equal(exchanges, 0);
    assert_int_equal(f->shared.connections, 0);
}

static void method_is_for_5_0_only(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V311);
    struct conn *conn = CONTAINER_OF(f->workers[0].conns.connections.next, struct conn, link);
    struct connect connect = connect_of(client);
    assert_int_equal(conn_auth_begin(conn, &connect, (const uint8_t *)"", 0), AUTH_NONE);
    assert_null(conn->extra);
}

/* ---- what AUTH may say ---------------------------------------------------------------------- */

static struct client *authenticated(struct fixture *f)
{
    struct client *client = asking(f, "TEST", "yes");
    expect_connack(client, 0);
    return client;
}

static void client_may_authenticate_again(void **state)
{
    struct client *client = authenticated(*state);
    for (int i = 0; i < 2; i++) {
        send_auth(client, MQTT_REAUTHENTICATE, "TEST", "more");
        expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
        assert_int_equal(exchanges, 1);
        send_auth(client, MQTT_CONTINUE_AUTHENTICATION, "TEST", "shout");
        expect_auth(client, MQTT_SUCCESS, "!");
        assert_int_equal(exchanges, 0);
    }
    SEND(client, "\xc0\0");
    expect(client, PACKET_PINGRESP);
}

static void client_may_begin_again_amid_an_exchange(void **state)
{
    struct client *client = authenticated(*state);
    send_auth(client, MQTT_REAUTHENTICATE, "TEST", "more");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
    send_auth(client, MQTT_REAUTHENTICATE, "TEST", "yes");
    expect_auth(client, MQTT_SUCCESS, NULL);
    assert_int_equal(exchanges, 0);
}

static void failure_to_authenticate_again_ends_the_connection(void **state)
{
    struct client *client = authenticated(*state);
    send_auth(client, MQTT_REAUTHENTICATE, "TEST", "no");
    expect_fault(client, MQTT_NOT_AUTHORIZED);
}

static void memory_for_another_exchange_may_be_missing(void **state)
{
    struct client *client = authenticated(*state);
    out_of_memory = true;
    send_auth(client, MQTT_REAUTHENTICATE, "TEST", "yes");
    expect_fault(client, MQTT_PROTOCOL_ERROR);
}

static void nothing_goes_on_that_has_not_begun(void **state)
{
    struct client *client = authenticated(*state);
    send_auth(client, MQTT_CONTINUE_AUTHENTICATION, "TEST", "yes");
    expect_fault(client, MQTT_PROTOCOL_ERROR);
}

static void client_does_not_say_success(void **state)
{
    struct client *client = authenticated(*state);
    send_auth(client, MQTT_REAUTHENTICATE, "TEST", "more");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
    send_auth(client, MQTT_SUCCESS, "TEST", "yes");
    expect_fault(client, MQTT_PROTOCOL_ERROR);
}

static void nobody_authenticates_again_before_connack(void **state)
{
    struct client *client = asking(*state, "TEST", "more");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
    send_auth(client, MQTT_REAUTHENTICATE, "TEST", "yes");
    expect_refusal(client, MQTT_PROTOCOL_ERROR);
}

static void method_does_not_change(void **state)
{
    struct fixture *f = *state;
    struct client *client = authenticated(f);
    send_auth(client, MQTT_REAUTHENTICATE, "OTHER", "yes");
    expect_fault(client, MQTT_PROTOCOL_ERROR);
    client = asking(f, "TEST", "more");
    expect_auth(client, MQTT_CONTINUE_AUTHENTICATION, "?");
    send_auth(client, MQTT_CONTINUE_AUTHENTICATION, "OTHER", "yes");
    expect_refusal(client, MQTT_PROTOCOL_ERROR);
}

static void auth_needs_a_connect_that_named_a_method(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    send_auth(client, MQTT_REAUTHENTICATE, "TEST", "yes");
    expect_fault(client, MQTT_PROTOCOL_ERROR);
    client = connected(f, 0, MQTT_V5);
    conn_extra(conn_of(client)); /* what aliases would have made */
    send_auth(client, MQTT_REAUTHENTICATE, "TEST", "yes");
    expect_fault(client, MQTT_PROTOCOL_ERROR);
}

static void malformed_auth_is_a_fault(void **state)
{
    struct client *client = authenticated(*state);
    SEND(client, "\xf0\2\x19\1");
    expect_fault(client, MQTT_MALFORMED_PACKET);
}

#define AUTH_RULE(rule) cmocka_unit_test_setup_teardown(rule, auth_set_up, auth_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUTH_RULE(success_at_once_is_told_in_connack),
        AUTH_RULE(connack_names_no_method_when_connect_did_not),
        AUTH_RULE(exchange_goes_on_until_connack),
        AUTH_RULE(failure_refuses_the_connect),
        AUTH_RULE(unknown_method_refuses_the_connect),
        AUTH_RULE(mechanism_without_memory_refuses_the_connect),
        AUTH_RULE(connect_that_cannot_be_kept_is_refused),
        AUTH_RULE(only_auth_and_disconnect_come_before_connack),
        AUTH_RULE(packet_that_is_too_large_before_connack_is_refused),
        AUTH_RULE(exchange_that_takes_too_long_is_refused),
        AUTH_RULE(client_that_goes_amid_an_exchange_leaves_nothing),
        AUTH_RULE(method_is_for_5_0_only),
        AUTH_RULE(client_may_authenticate_again),
        AUTH_RULE(client_may_begin_again_amid_an_exchange),
        AUTH_RULE(failure_to_authenticate_again_ends_the_connection),
        AUTH_RULE(memory_for_another_exchange_may_be_missing),
        AUTH_RULE(nothing_goes_on_that_has_not_begun),
        AUTH_RULE(client_does_not_say_success),
        AUTH_RULE(nobody_authenticates_again_before_connack),
        AUTH_RULE(method_does_not_change),
        AUTH_RULE(auth_needs_a_connect_that_named_a_method),
        AUTH_RULE(malformed_auth_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

const char *__asan_default_options(void);
const char *__tsan_default_options(void);

/* Sanitizers end the program when malloc() fails, unless told that a test wants to see it fail. */
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}
