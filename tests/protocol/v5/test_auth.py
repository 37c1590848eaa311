# SPDX-License-Identifier: Apache-2.0
"""AUTH (3.15) and enhanced authentication (4.12).

The broker under test has a mechanism for tests, SKEIN-TEST-CHALLENGE: it asks with some bytes,
wants them back reversed, and says "welcome". The data "again" asks for another round.
"""

import pytest

from kit import (AUTH, CONNACK, PUBACK, PINGRESP, V5, auth, disconnect, pingreq, publish, subscribe,
                 wire)

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
NOT_AUTHORIZED, BAD_METHOD = 0x87, 0x8C
CONTINUE, REAUTHENTICATE = 0x18, 0x19

METHOD = "SKEIN-TEST-CHALLENGE"


@pytest.fixture
def auth_broker(broker_with):
    return broker_with({}, environment={"SKEIN_TEST_AUTH": "1"})


def _properties(data=None, method=METHOD):
    out = {"authentication_method": method}
    if data is not None:
        out["authentication_data"] = data
    return out


def _answer(challenge):
    return challenge.properties.get("authentication_data")[::-1]


@pytest.fixture
def asked(dial, auth_broker):
    """asked(): a client whose CONNECT named the method, and the challenge it got."""
    def start(client_id="", properties=None):
        client = dial(V5, broker=auth_broker)
        client.send(wire.connect(client_id, properties={**_properties(), **(properties or {})}))
        return client, client.expect(AUTH, reason=CONTINUE)
    return start


@pytest.fixture
def authenticated(asked):
    """authenticated(): a client that answered and was let in."""
    def start(**fields):
        client, challenge = asked(**fields)
        client.send(auth(CONTINUE, _properties(_answer(challenge))))
        client.connack = client.expect(CONNACK, reason=0)
        return client
    return start


# ---- before CONNACK ----------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-4.12.0-1")
@pytest.mark.parametrize("method", ["SCRAM-SHA-256", "", "skein-test-challenge", METHOD + "x"])
def test_an_unknown_method_is_refused(dial, auth_broker, method):
    alice = dial(V5, broker=auth_broker)
    alice.send(wire.connect("", properties=_properties(b"x", method)))
    alice.expect_refused({BAD_METHOD, NOT_AUTHORIZED})


@pytest.mark.rule("v5 MQTT-4.12.0-1")
def test_a_broker_without_mechanisms_refuses_every_method(dial):
    alice = dial(V5)
    alice.send(wire.connect("", properties=_properties()))
    alice.expect_refused({BAD_METHOD, NOT_AUTHORIZED})


@pytest.mark.rule("v5 MQTT-4.12.0-2", "v5 MQTT-3.15.2-1")
def test_the_broker_asks_with_auth_continue(asked):
    _, challenge = asked()
    assert challenge.reason == CONTINUE
    assert challenge.properties.get("authentication_data").startswith(b"challenge:")


@pytest.mark.rule("v5 MQTT-4.12.0-5")
def test_auth_and_connack_carry_the_method_of_connect(asked):
    alice, challenge = asked()
    assert challenge.properties.get("authentication_method") == METHOD
    alice.send(auth(CONTINUE, _properties(_answer(challenge))))
    connack = alice.expect(CONNACK, reason=0)
    assert connack.properties.get("authentication_method") == METHOD
    assert connack.properties.get("authentication_data") == b"welcome"


@pytest.mark.rule("v5 MQTT-4.12.0-3", "v5 MQTT-4.12.0-2")
def test_an_exchange_may_take_several_rounds(asked):
    alice, challenge = asked()
    for _ in range(5):
        alice.send(auth(CONTINUE, _properties(b"again")))
        last, challenge = challenge, alice.expect(AUTH, reason=CONTINUE)
        assert _answer(last) != _answer(challenge)
    alice.send(auth(CONTINUE, _properties(_answer(challenge))))
    alice.expect(CONNACK, reason=0)


@pytest.mark.rule("v5 MQTT-4.12.0-3", "v5 MQTT-3.15.2-1")
@pytest.mark.parametrize("reason", [0x00, REAUTHENTICATE, 0x01, 0x17, 0x80, 0xFF], ids=hex)
def test_an_answer_with_another_reason_code_is_refused(asked, reason):
    alice, challenge = asked()
    alice.send(auth(reason, _properties(_answer(challenge))))
    alice.expect_refused({MALFORMED, PROTOCOL_ERROR})


@pytest.mark.rule("v5 MQTT-4.12.0-4")
def test_a_wrong_answer_is_refused(asked):
    alice, _ = asked()
    alice.send(auth(CONTINUE, _properties(b"wrong")))
    alice.expect_refused(NOT_AUTHORIZED)


@pytest.mark.rule("v5 MQTT-4.12.0-4")
def test_the_answer_to_another_challenge_is_refused(asked):
    (_, other), (alice, _) = asked(), asked()
    alice.send(auth(CONTINUE, _properties(_answer(other))))
    alice.expect_refused(NOT_AUTHORIZED)


@pytest.mark.rule("v5 MQTT-4.12.0-5")
def test_an_answer_that_names_another_method_is_refused(asked):
    alice, challenge = asked()
    alice.send(auth(CONTINUE, _properties(_answer(challenge), "PLAIN")))
    alice.expect_refused({PROTOCOL_ERROR, BAD_METHOD, NOT_AUTHORIZED})


@pytest.mark.rule("v5 MQTT-3.1.2-30")
@pytest.mark.parametrize("packet", [publish("t"), subscribe("t"), pingreq(), wire.connect("c")],
                         ids=["PUBLISH", "SUBSCRIBE", "PINGREQ", "CONNECT"])
def test_nothing_but_auth_and_disconnect_may_come_before_connack(asked, packet):
    alice, _ = asked()
    alice.send(packet)
    alice.expect_refused(PROTOCOL_ERROR)


@pytest.mark.rule("v5 MQTT-3.1.2-30")
def test_a_client_may_give_up_before_connack(asked):
    alice, _ = asked()
    alice.send(disconnect())
    assert alice.expect_refused() is None


@pytest.mark.rule("v5 MQTT-4.12.0-4")
def test_a_session_is_not_taken_over_before_authentication_succeeds(asked, connect, auth_broker,
                                                                    client_id):
    alice = connect(V5, client_id, broker=auth_broker)
    mallory, _ = asked(client_id=client_id)
    alice.expect_quiet()
    mallory.send(auth(CONTINUE, _properties(b"wrong")))
    mallory.expect_refused(NOT_AUTHORIZED)
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-4.12.0-6")
def test_without_a_method_there_is_no_auth_and_no_method(connect, auth_broker):
    alice = connect(V5, broker=auth_broker)
    assert "authentication_method" not in alice.connack.properties
    assert "authentication_data" not in alice.connack.properties
    alice.expect_quiet()


# ---- the packet --------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.15.1-1")
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15], ids=bin)
def test_auth_with_flags_is_malformed_before_connack(asked, flags):
    alice, challenge = asked()
    alice.send(auth(CONTINUE, _properties(_answer(challenge)), flags=flags))
    alice.expect_refused(MALFORMED)


@pytest.mark.rule("v5 MQTT-3.15.1-1")
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15], ids=bin)
def test_auth_with_flags_is_malformed_after_connack(authenticated, flags):
    alice = authenticated()
    alice.send(auth(REAUTHENTICATE, _properties(), flags=flags))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-3.15.2-1")
@pytest.mark.parametrize("reason", [0x00, CONTINUE, 0x01, 0x17, 0x80, 0xFF], ids=hex)
def test_only_reauthenticate_may_start_an_exchange_after_connack(authenticated, reason):
    alice = authenticated()
    alice.send(auth(reason, _properties()))
    alice.expect_closed({MALFORMED, PROTOCOL_ERROR})


@pytest.mark.rule("X5.0-3.15.2.2-1")
@pytest.mark.parametrize("properties", [
    {"authentication_data": b"x"},
    {"authentication_method": [METHOD, METHOD]},
    {"authentication_method": METHOD, "authentication_data": [b"x", b"x"]},
    {"authentication_method": METHOD, "reason_string": ["a", "b"]},
], ids=["no-method", "two-methods", "data-twice", "reason-string-twice"])
def test_auth_with_a_property_missing_or_twice_is_a_protocol_error(authenticated, properties):
    alice = authenticated()
    alice.send(auth(REAUTHENTICATE, properties))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("X5.0-3.15.2.1-1")
def test_an_empty_auth_says_success_without_a_method_and_is_refused(authenticated):
    alice = authenticated()
    alice.send(auth())
    alice.expect_closed({MALFORMED, PROTOCOL_ERROR})


@pytest.mark.rule("v5 MQTT-4.12.0-7", "X5.0-3.15-1")
@pytest.mark.parametrize("reason", [0x00, CONTINUE, REAUTHENTICATE], ids=hex)
def test_auth_without_a_method_in_connect_is_a_protocol_error(connect, auth_broker, reason):
    alice = connect(V5, broker=auth_broker)
    alice.send(auth(reason, _properties()))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("v5 MQTT-3.15.2-2", "v5 MQTT-3.15.2-3")
def test_auth_fits_the_maximum_packet_size(asked):
    alice, challenge = asked(properties={"maximum_packet_size": 100})
    assert challenge.size <= 100
    alice.send(auth(CONTINUE, _properties(b"again")))
    assert alice.expect(AUTH).size <= 100


# ---- again, while connected --------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-4.12.1-1", "X5.0-4.12.1-1")
def test_a_client_may_authenticate_again(authenticated):
    alice = authenticated()
    for _ in range(3):
        alice.send(auth(REAUTHENTICATE, _properties()))
        challenge = alice.expect(AUTH, reason=CONTINUE)
        assert challenge.properties.get("authentication_method") == METHOD
        alice.send(auth(CONTINUE, _properties(_answer(challenge))))
        done = alice.expect(AUTH, reason=0)
        assert done.properties.get("authentication_method") == METHOD
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-4.12.1-1", "X5.0-3.15-1")
def test_reauthentication_by_another_method_is_a_protocol_error(authenticated):
    alice = authenticated()
    alice.send(auth(REAUTHENTICATE, _properties(method="PLAIN")))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("v5 MQTT-4.12.1-2")
def test_failing_reauthentication_ends_the_connection(authenticated):
    alice = authenticated()
    alice.send(auth(REAUTHENTICATE, _properties()))
    alice.expect(AUTH, reason=CONTINUE)
    alice.send(auth(CONTINUE, _properties(b"wrong")))
    alice.expect_closed(NOT_AUTHORIZED)


@pytest.mark.rule("v5 MQTT-4.12.0-3", "v5 MQTT-3.15.2-1")
def test_a_client_may_not_say_success_in_the_middle_of_reauthentication(authenticated):
    alice = authenticated()
    alice.send(auth(REAUTHENTICATE, _properties()))
    challenge = alice.expect(AUTH, reason=CONTINUE)
    alice.send(auth(0x00, _properties(_answer(challenge))))
    alice.expect_closed({MALFORMED, PROTOCOL_ERROR})


@pytest.mark.rule("X5.0-4.12.1-1")
def test_other_packets_go_on_during_reauthentication(authenticated, topic):
    alice = authenticated()
    alice.send(auth(REAUTHENTICATE, _properties()))
    challenge = alice.expect(AUTH, reason=CONTINUE)
    alice.subscribe(topic)
    alice.send(publish(topic, "m", 1, 5), pingreq())
    alice.wait_for(PUBACK, id=5)
    alice.wait_for(PINGRESP)
    alice.receive(payload="m")
    alice.send(auth(CONTINUE, _properties(_answer(challenge))))
    alice.expect(AUTH, reason=0)
