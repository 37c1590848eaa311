# SPDX-License-Identifier: Apache-2.0
"""CONNECT: what is accepted and what is refused."""

import string as alphabet

import pytest

from kit import (CONNACK, PINGRESP, V5, V311, Will, WireError, disconnect, encode, pingreq, puback,
                 publish, subscribe, unique, unsubscribe, wire)
from kit.wire import string


@pytest.mark.rule("v3.1.1 MQTT-3.1.0-1")
@pytest.mark.parametrize("packet", [
    publish("a", "x"), subscribe("a"), unsubscribe("a"), pingreq(), puback(1), disconnect()],
    ids=["PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE", "PINGREQ", "PUBACK", "DISCONNECT"])
def test_first_packet_other_than_connect_ends_the_connection(dial, packet):
    alice = dial(V311)
    alice.send(packet)
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.1.0-2")
def test_second_connect_ends_the_connection(connect):
    alice = connect(V311)
    alice.send(wire.connect(alice.client_id))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-1")
@pytest.mark.parametrize("name", ["MQTX", "mqtt", "MQT", "MQTTT", "", "HTTP/1.1"])
def test_unknown_protocol_name_is_refused(dial, name):
    alice = dial(V311)
    body = string(name) + b"\4\2\0\0" + string(unique())
    alice.send(wire.connect().but(body=body))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-2")
@pytest.mark.parametrize("level", [0, 1, 2])
def test_unknown_protocol_level_is_refused_with_0x01(dial, level):
    alice = dial(V311)
    alice.send(wire.connect(unique(), level=level))
    alice.expect_refused(0x01)


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-2")
@pytest.mark.parametrize("level", [6, 9, 0x7f, 0xff])
def test_protocol_level_of_the_future_is_refused(dial, level):
    """In the form of one version or the other: the broker cannot know what is understood."""
    alice = dial(V5)
    alice.send(encode(wire.connect(unique(), level=level), V311))
    try:
        alice.expect_refused(0x84)
    except WireError:
        assert bytes(alice.received) == b"\x20\x02\x00\x01"


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-3")
def test_reserved_connect_flag_is_refused(dial):
    alice = dial(V311)
    alice.send(wire.connect(unique(), connect_flags=0x03))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-9")
@pytest.mark.parametrize("payload", [
    string("c"), string("c") + string("topic"), string("c") + string("topic") + b"\0\5abc"],
    ids=["neither", "no message", "cut short"])
def test_will_flag_without_will_fields_is_refused(dial, payload):
    alice = dial(V311)
    alice.send(wire.connect(connect_flags=0x06, payload=payload))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-11")
def test_will_fields_without_will_flag_are_refused(dial):
    alice = dial(V311)
    payload = string(unique()) + string("topic") + string("message")
    alice.send(wire.connect(connect_flags=0x02, payload=payload))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-13", "v3.1.1 MQTT-3.1.2-11")
@pytest.mark.parametrize("qos", [1, 2, 3])
def test_will_qos_without_will_flag_is_refused(dial, qos):
    alice = dial(V311)
    alice.send(wire.connect(unique(), connect_flags=0x02 | qos << 3))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-14")
def test_will_qos_3_is_refused(dial):
    alice = dial(V311)
    alice.send(wire.connect(unique(), will=Will("a", "x", qos=3)))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-15", "v3.1.1 MQTT-3.1.2-11")
def test_will_retain_without_will_flag_is_refused(dial):
    alice = dial(V311)
    alice.send(wire.connect(unique(), connect_flags=0x22))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-18")
def test_user_name_without_its_flag_is_refused(dial):
    alice = dial(V311)
    alice.send(wire.connect(connect_flags=0x02, payload=string(unique()) + string("user")))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-19")
def test_user_name_flag_without_user_name_is_refused(dial):
    alice = dial(V311)
    alice.send(wire.connect(unique(), connect_flags=0x82))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-20")
def test_password_without_its_flag_is_refused(dial):
    alice = dial(V311)
    payload = string(unique()) + string("user") + string("password")
    alice.send(wire.connect(connect_flags=0x82, payload=payload))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-21")
def test_password_flag_without_password_is_refused(dial):
    alice = dial(V311)
    alice.send(wire.connect(unique(), connect_flags=0xC2, username="user"))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-22")
def test_password_without_user_name_is_refused(dial):
    alice = dial(V311)
    alice.send(wire.connect(unique(), password="secret"))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.3-1")
def test_fields_of_the_payload_are_taken_in_their_order(connect, topic):
    """Client id, will topic, will message, user name, password."""
    bob = connect(V311)
    bob.subscribe(topic)
    alice = connect(V311, will=Will(topic, "message"), username="user", password="password")
    alice.close()
    bob.receive(topic=topic, payload="message")


@pytest.mark.rule("v3.1.1 MQTT-3.1.3-3")
def test_connect_without_client_id_field_is_refused(dial):
    alice = dial(V311)
    alice.send(wire.connect(payload=b""))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.3-5")
def test_client_ids_of_23_letters_and_digits_are_accepted(connect):
    letters = alphabet.digits + alphabet.ascii_letters
    start = unique()
    for at in range(0, len(letters), 8):
        connect(V311, client_id=(start + letters[at:at + 8] * 3)[:23]).disconnect()


@pytest.mark.rule("v3.1.1 MQTT-3.1.3-5")
def test_client_id_of_one_character_is_accepted(connect):
    connect(V311, client_id="Z").disconnect()


@pytest.mark.rule("X3.1.1-3.1.3.1-1")
@pytest.mark.parametrize("tail", ["x" * 200, "-._ /+#$", "\u00e4\u20ac\U0001f980"],
                         ids=["long", "signs", "unicode"])
def test_long_and_unusual_client_ids_are_accepted(connect, tail):
    connect(V311, client_id=unique() + tail).disconnect()


@pytest.mark.rule("v3.1.1 MQTT-3.1.3-6")
def test_clients_without_client_id_get_different_ones(connect, topic):
    """Two of them are two sessions: neither is thrown out, each has its own subscriptions."""
    alice, bob = connect(V311, client_id=""), connect(V311, client_id="")
    alice.subscribe(topic)
    bob.publish(topic, "x")
    alice.receive(payload="x")
    bob.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.1.3-7", "v3.1.1 MQTT-3.1.3-8", "v3.1.1 MQTT-3.2.2-4")
def test_empty_client_id_with_clean_session_0_is_refused_with_0x02(dial):
    alice = dial(V311)
    alice.send(wire.connect("", clean_start=False))
    alice.expect_refused(0x02)


@pytest.mark.rule("v3.1.1 MQTT-3.1.3-9", "v3.1.1 MQTT-3.2.2-5")
def test_client_id_that_the_broker_rejects_is_refused_with_0x02(dial, broker_with):
    broker = broker_with({"limits": {"client_id_bytes": 23}})
    alice = dial(V311, broker=broker)
    alice.send(wire.connect("x" * 24))
    alice.expect_refused(0x02)


@pytest.mark.rule("v3.1.1 MQTT-3.1.3-9")
def test_empty_client_id_is_refused_with_0x02_where_it_is_not_allowed(dial, broker_with):
    broker = broker_with({"mqtt": {"allow_empty_client_id": False}})
    alice = dial(V311, broker=broker)
    alice.send(wire.connect(""))
    alice.expect_refused(0x02)


@pytest.mark.rule("v3.1.1 MQTT-3.1.4-1")
@pytest.mark.parametrize("body", [
    b"", b"\0", b"\0\4MQTT", b"\0\4MQTT\4", b"\0\4MQTT\4\2", b"\0\4MQTT\4\2\0",
    b"\0\4MQTT\4\2\0\0", b"\0\4MQTT\4\2\0\0\0", b"\0\4MQTT\4\2\0\0\0\5abcd",
    b"\0\4MQTT\4\2\0\0\0\1a!"], ids=lambda body: body.hex() or "empty")
def test_connect_that_does_not_conform_is_closed_without_connack(dial, body):
    alice = dial(V311)
    alice.send(wire.connect().but(body=body))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.4-2")
def test_connect_with_a_client_id_in_use_ends_the_older_connection(connect, client_id):
    older = connect(V311, client_id=client_id)
    newer = connect(V311, client_id=client_id)
    older.expect_closed()
    newer.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.1.4-2")
def test_malformed_connect_with_a_client_id_in_use_ends_only_itself(connect, dial, client_id):
    older = connect(V311, client_id=client_id)
    newer = dial(V311)
    newer.send(wire.connect(client_id, connect_flags=0x03))
    newer.expect_refused()
    older.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.1.4-4", "v3.1.1 MQTT-3.2.0-1")
def test_connect_is_answered_by_connack_0_first_of_all(connect):
    assert connect(V311).connack.reason == 0


@pytest.mark.rule("v3.1.1 MQTT-3.1.4-5")
def test_nothing_behind_a_refused_connect_is_processed(connect, dial, topic):
    bob = connect(V311)
    bob.subscribe(topic)
    alice = dial(V311)
    alice.send(wire.connect("", clean_start=False), publish(topic, "x"),
               publish(topic, "y", retain=True))
    alice.expect_refused(0x02)
    bob.quiet_after(connect(V311))
    bob.subscribe(topic)
    bob.expect_quiet()


@pytest.mark.rule("X3.1.1-3.1.4-1")
def test_connection_without_connect_is_closed_after_a_time(dial, broker_with):
    broker = broker_with({"limits": {"connect_timeout": "300ms"}})
    silent, slow = dial(V311, broker=broker), dial(V311, broker=broker)
    slow.send(b"\x10\x20\0\4MQ")
    silent.expect_closed()
    slow.expect_closed()


@pytest.mark.rule("X3.1.1-3.1.4-2", "X3.1.1-3.2.2.3-1")
def test_connection_above_the_limit_is_refused_with_0x03_and_closed(connect, dial, broker_with):
    broker = broker_with({"limits": {"connections": 2}})
    first, second = connect(V311, broker=broker), connect(V311, broker=broker)
    third = dial(V311, broker=broker)
    third.send(wire.connect(unique()))
    third.expect_refused(0x03)
    first.expect_quiet()
    second.expect_quiet()


@pytest.mark.rule("X3.1.1-3.1.4-3")
def test_packets_behind_connect_need_not_wait_for_connack(dial, topic):
    alice = dial(V311)
    alice.send(wire.connect(unique()), subscribe(topic, id=9), publish(topic, "early"), pingreq())
    alice.expect(CONNACK, reason=0)
    alice.wait_for(wire.SUBACK, id=9)
    alice.receive(payload="early")
    alice.expect(PINGRESP)


@pytest.mark.rule("v3.1.1 MQTT-3.2.2-6")
def test_connect_that_no_return_code_fits_is_closed_without_connack(dial, broker_with):
    broker = broker_with({"limits": {"packet_bytes": 1024}})
    alice = dial(V311, broker=broker)
    alice.send(wire.connect(unique(), will=Will("a", b"x" * 2000)))
    alice.expect_refused()


@pytest.mark.rule("X3.1.1-3.2.2.1-1")
def test_reserved_bits_of_the_acknowledge_flags_are_0(connect, client_id):
    """wire.Decoder refuses any other value; here both values that are allowed come."""
    connect(V311, client_id=client_id, clean_start=False).disconnect()
    again = connect(V311, client_id=client_id, clean_start=False)
    assert again.connack.session_present is True
