# SPDX-License-Identifier: Apache-2.0
"""CONNECT: its place, header, flags and payload, and what the broker makes of it (3.1)."""

import string

import pytest

from kit import (CONNACK, PINGRESP, PUBLISH, SUBACK, V5, Will, auth, disconnect, encode, pingreq,
                 puback, publish, pubrel, subscribe, unsubscribe, wire)

MALFORMED, PROTOCOL_ERROR, UNSUPPORTED_VERSION = 0x81, 0x82, 0x84
CLIENT_ID_NOT_VALID, TOPIC_NAME_INVALID, QUOTA_EXCEEDED = 0x85, 0x90, 0x97

BAD_TEXTS = {"ff": b"\xff", "surrogate": b"\xed\xa0\x80", "nul": b"a\0"}

WILL, WILL_RETAIN, PASSWORD, USER_NAME, CLEAN_START = 0x04, 0x20, 0x40, 0x80, 0x02


def _refused(dial, reason, **fields):
    alice = dial(V5)
    alice.send(wire.connect(**fields))
    return alice.expect_refused(reason)


# ---- its place ----------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.1.0-1")
@pytest.mark.parametrize("packet", [
    publish("t", "x"), publish("t", qos=1, id=1), puback(1), pubrel(1), subscribe("t"),
    unsubscribe("t"), pingreq(), disconnect(), auth(0x18, {"authentication_method": "m"})], ids=str)
def test_another_packet_before_connect_closes_the_connection_without_a_word(dial, packet):
    alice = dial(V5)
    alice.send(packet)
    assert alice.expect_closed() is None


@pytest.mark.rule("v5 MQTT-3.1.0-1")
def test_what_comes_before_connect_is_not_processed(connect, dial, topic):
    watcher = connect(V5)
    watcher.subscribe(topic)
    alice = dial(V5)
    alice.send(publish(topic, "early"), wire.connect("c"), publish(topic, "late"))
    alice.expect_closed()
    watcher.quiet_after(connect(V5))


@pytest.mark.rule("v5 MQTT-3.1.0-2")
def test_a_second_connect_is_a_protocol_error(connect):
    alice = connect(V5)
    alice.send(wire.connect(alice.client_id))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("v5 MQTT-3.1.0-2", "v5 MQTT-3.2.0-2")
def test_two_connects_at_once_get_one_connack(dial, client_id):
    alice = dial(V5)
    alice.send(wire.connect(client_id), wire.connect(client_id))
    alice.expect(CONNACK, reason=0)
    alice.expect_closed(PROTOCOL_ERROR)


# ---- name, version, flags -----------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.1.2-1")
@pytest.mark.parametrize("name", ["MQTT5", "mqtt", "MQIsdp", "MQTT\x01", "HTTP", "MQ"], ids=ascii)
def test_another_protocol_name_is_refused(dial, client_id, name):
    _refused(dial, None, client_id=client_id, protocol_name=name)


@pytest.mark.rule("v5 MQTT-3.1.2-1")
def test_an_empty_protocol_name_is_refused(dial):
    alice = dial(V5)
    alice.send(wire.connect(body=b"\0\0\5\2\0\0\0\0\1c"))
    alice.expect_refused()


@pytest.mark.rule("v5 MQTT-3.1.2-2")
@pytest.mark.parametrize("level", [6, 7, 0x7F, 0xFF])
def test_an_unknown_protocol_version_is_refused_with_0x84(dial, client_id, level):
    _refused(dial, UNSUPPORTED_VERSION, client_id=client_id, level=level)


@pytest.mark.rule("v5 MQTT-3.1.2-3", "v5 MQTT-3.1.4-1")
def test_the_reserved_connect_flag_is_malformed(dial, client_id):
    _refused(dial, MALFORMED, client_id=client_id, connect_flags=CLEAN_START | 1)


@pytest.mark.rule("v5 MQTT-3.1.2-11")
@pytest.mark.parametrize("qos", [1, 2, 3])
def test_a_will_qos_without_a_will_is_malformed(dial, client_id, qos):
    _refused(dial, MALFORMED, client_id=client_id, connect_flags=CLEAN_START | qos << 3)


@pytest.mark.rule("v5 MQTT-3.1.2-12")
def test_a_will_of_qos_3_is_malformed(dial, client_id):
    _refused(dial, MALFORMED, client_id=client_id, will=Will("t", qos=3))


@pytest.mark.rule("v5 MQTT-3.1.2-13")
def test_will_retain_without_a_will_is_malformed(dial, client_id):
    _refused(dial, MALFORMED, client_id=client_id, connect_flags=CLEAN_START | WILL_RETAIN)


# ---- the payload against the flags --------------------------------------------------------------

def _fields(*texts):
    return b"".join(wire.string(text) for text in texts)


@pytest.mark.rule("v5 MQTT-3.1.2-9")
@pytest.mark.parametrize("rest", [
    b"", b"\0", b"\0" + _fields("topic"), _fields("topic", "payload")],
    ids=["nothing", "properties", "no-payload", "no-properties"])
def test_a_will_flag_without_the_whole_will_is_malformed(dial, rest):
    _refused(dial, MALFORMED, connect_flags=CLEAN_START | WILL, payload=_fields("c") + rest)


@pytest.mark.rule("v5 MQTT-3.1.2-9")
def test_a_will_without_its_flag_is_malformed(dial):
    _refused(dial, MALFORMED, connect_flags=CLEAN_START,
             payload=_fields("c") + b"\0" + _fields("topic", "payload"))


@pytest.mark.rule("v5 MQTT-3.1.2-16")
def test_a_user_name_without_its_flag_is_malformed(dial):
    _refused(dial, MALFORMED, connect_flags=CLEAN_START, payload=_fields("c", "user"))


@pytest.mark.rule("v5 MQTT-3.1.2-17")
def test_a_user_name_flag_without_a_user_name_is_malformed(dial):
    _refused(dial, MALFORMED, connect_flags=CLEAN_START | USER_NAME, payload=_fields("c"))


@pytest.mark.rule("v5 MQTT-3.1.2-18")
def test_a_password_without_its_flag_is_malformed(dial):
    _refused(dial, MALFORMED, connect_flags=CLEAN_START | USER_NAME,
             payload=_fields("c", "user", "password"))


@pytest.mark.rule("v5 MQTT-3.1.2-19")
def test_a_password_flag_without_a_password_is_malformed(dial):
    _refused(dial, MALFORMED, connect_flags=CLEAN_START | USER_NAME | PASSWORD,
             payload=_fields("c", "user"))


@pytest.mark.rule("v5 MQTT-3.1.2-19")
def test_a_password_without_a_user_name_is_allowed(connect):
    alice = connect(V5, password=b"\xff\x00 any bytes")
    alice.barrier()


@pytest.mark.rule("v5 MQTT-3.1.3-3")
def test_a_connect_without_a_client_identifier_field_is_malformed(dial):
    _refused(dial, MALFORMED, payload=b"")


@pytest.mark.rule("v5 MQTT-3.1.3-4")
@pytest.mark.parametrize("client_id", BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_a_client_identifier_that_is_not_utf8_is_refused(dial, client_id):
    _refused(dial, {MALFORMED, CLIENT_ID_NOT_VALID}, client_id=client_id)


@pytest.mark.rule("v5 MQTT-3.1.3-11")
@pytest.mark.parametrize("topic", BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_a_will_topic_that_is_not_utf8_is_malformed(dial, client_id, topic):
    _refused(dial, MALFORMED, client_id=client_id, will=Will(topic))


@pytest.mark.rule("v5 MQTT-3.1.3-12")
@pytest.mark.parametrize("name", BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_a_user_name_that_is_not_utf8_is_malformed(dial, client_id, name):
    _refused(dial, MALFORMED, client_id=client_id, username=name, password="p")


@pytest.mark.rule("v5 MQTT-3.1.3-12", "v5 MQTT-3.1.3-1")
def test_a_user_name_of_any_characters_is_read_behind_the_will(connect, client_id, topic):
    watcher = connect(V5)
    watcher.subscribe(topic)
    alice = connect(V5, client_id, username="пользователь", password="p",
                    will=Will(topic, "gone", properties={"content_type": "text"}))
    alice.close()
    assert watcher.receive(topic=topic, payload="gone").properties.get("content_type") == "text"


@pytest.mark.rule("v5 MQTT-3.1.3-1")
def test_payload_fields_are_read_in_the_order_of_the_standard(dial, connect, topic):
    watcher = connect(V5)
    watcher.subscribe(topic)
    alice = dial(V5)
    alice.send(wire.connect(
        connect_flags=CLEAN_START | WILL | USER_NAME | PASSWORD,
        payload=_fields("c") + b"\x02\x01\x01" + _fields(topic, "the payload", "user", "password")))
    alice.expect(CONNACK, reason=0)
    alice.close()
    packet = watcher.receive(topic=topic, payload="the payload")
    assert packet.properties == [("payload_format_indicator", 1)]


@pytest.mark.rule("v5 MQTT-3.1.4-1")
def test_bytes_behind_the_last_field_are_malformed(dial, client_id):
    _refused(dial, MALFORMED, client_id=client_id, tail=b"\0")


@pytest.mark.rule("v5 MQTT-3.1.4-1")
def test_a_connect_cut_short_anywhere_is_refused(dial, client_id):
    whole = wire.connect(client_id, will=Will("t", "x"), username="u", password="p",
                           properties={"receive_maximum": 5})
    body = encode(whole, V5)[2:]
    for length in range(len(body)):
        alice = dial(V5)
        alice.send(whole.but(body=body[:length]))
        alice.expect_refused()


# ---- client identifiers -------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.1.3-2")
def test_another_client_identifier_is_another_session(connect, topic):
    expiry = {"session_expiry_interval": 60}
    lower = connect(V5, topic.lower() + "a", properties=expiry)
    lower.subscribe(topic)
    lower.disconnect()
    for other in (topic.lower() + "A", topic.lower() + "aa", topic.lower()):
        assert not connect(V5, other, clean_start=False).connack.session_present
    assert connect(V5, topic.lower() + "a", clean_start=False).connack.session_present


@pytest.mark.rule("v5 MQTT-3.1.3-5")
@pytest.mark.parametrize("client_id", [
    "0", "Z", "0123456789ABCDEFGHIJKLM", "NOPQRSTUVWXYZabcdefghij", "klmnopqrstuvwxyz"])
def test_letters_and_digits_make_a_client_identifier(connect, client_id):
    assert set(client_id) <= set(string.ascii_letters + string.digits) and len(client_id) <= 23
    alice = connect(V5, client_id)
    assert "assigned_client_identifier" not in alice.connack.properties


@pytest.mark.rule("v5 MQTT-3.1.3-6", "v5 MQTT-3.2.2-16")
@pytest.mark.parametrize("clean_start", [True, False])
def test_clients_without_an_identifier_get_one_each(connect, clean_start):
    clients = [connect(V5, "", clean_start=clean_start) for _ in range(20)]
    given = [client.connack.properties.get("assigned_client_identifier") for client in clients]
    assert all(given) and len(set(given)) == 20
    assert not any(client.connack.session_present for client in clients)


@pytest.mark.rule("v5 MQTT-3.1.3-7")
def test_an_assigned_identifier_works_as_if_the_client_had_sent_it(connect, topic):
    expiry = {"session_expiry_interval": 60}
    alice = connect(V5, "", properties=expiry)
    alice.subscribe(topic, qos=1)
    alice.disconnect()
    again = connect(V5, alice.connack.properties.get("assigned_client_identifier"),
                    clean_start=False)
    assert again.connack.session_present
    connect(V5).publish(topic, "found", qos=1)
    again.receive(payload="found")


@pytest.mark.rule("v5 MQTT-3.1.3-8", "v5 MQTT-3.2.2-7")
def test_a_client_identifier_that_is_too_long_is_refused_with_0x85(broker_with, dial, connect):
    broker = broker_with({"limits": {"client_id_bytes": 30}})
    connect(V5, "x" * 30, broker=broker)
    alice = dial(V5, broker=broker)
    alice.send(wire.connect("x" * 31))
    alice.expect_refused(CLIENT_ID_NOT_VALID)


@pytest.mark.rule("v5 MQTT-3.1.3-8")
def test_no_client_identifier_is_refused_with_0x85_where_one_is_wanted(broker_with, dial):
    alice = dial(V5, broker=broker_with({"mqtt": {"allow_empty_client_id": False}}))
    alice.send(wire.connect(""))
    alice.expect_refused(CLIENT_ID_NOT_VALID)


# ---- what the broker makes of it ----------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.1.4-2")
def test_a_client_beyond_the_limit_of_connections_is_refused(own_broker, dial, connect):
    broker = own_broker({"limits": {"connections": 1}})
    alice = connect(V5, broker=broker)
    bob = dial(V5, broker=broker)
    bob.send(wire.connect("bob"))
    bob.expect_refused(QUOTA_EXCEEDED)
    alice.barrier()


@pytest.mark.rule("v5 MQTT-3.1.4-2")
@pytest.mark.parametrize("will_topic", ["a/#", "a/+/b", "+"])
def test_a_will_topic_with_wildcards_is_refused_with_0x90(dial, client_id, will_topic):
    _refused(dial, TOPIC_NAME_INVALID, client_id=client_id, will=Will(will_topic))


@pytest.mark.rule("v5 MQTT-3.1.4-1")
def test_an_empty_will_topic_is_refused(dial, client_id):
    _refused(dial, None, client_id=client_id, will=Will(""))


@pytest.mark.rule("v5 MQTT-3.1.4-5")
def test_a_good_connect_is_answered_by_connack_0x00(dial, client_id):
    alice = dial(V5)
    alice.send(wire.connect(client_id))
    alice.expect(CONNACK, reason=0, session_present=False)
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.1.4-6")
def test_nothing_behind_a_refused_connect_is_processed(connect, dial, topic):
    watcher = connect(V5)
    watcher.subscribe(topic)
    alice = dial(V5)
    alice.send(wire.connect("c", connect_flags=CLEAN_START | 1), publish(topic, "one"),
               wire.connect("c"), publish(topic, "two"))
    alice.expect_refused(MALFORMED)
    watcher.quiet_after(connect(V5))


@pytest.mark.rule("X5.0-3.1.4-2")
def test_packets_sent_behind_connect_at_once_are_processed_in_order(dial, client_id, topic):
    alice = dial(V5)
    alice.send(wire.connect(client_id), subscribe(topic, id=7), publish(topic, "x"), pingreq())
    alice.expect(CONNACK, reason=0)
    alice.expect(SUBACK, id=7)
    alice.expect(PUBLISH, payload="x")
    alice.expect(PINGRESP)


@pytest.mark.rule("X5.0-3.1.4-2")
@pytest.mark.parametrize("number", range(6))
def test_a_lot_sent_behind_connect_at_once_arrives_whole(connect, dial, topic, number):
    watcher = connect(V5)
    watcher.subscribe(topic)
    alice = dial(V5)  # clients of different identifiers may be at home in different threads
    payloads = [bytes([letter]) * 20_000 for letter in b"abcdefgh"]
    alice.send(wire.connect(f"{topic}{number}"), *(publish(topic, text) for text in payloads))
    alice.expect(CONNACK, reason=0)
    for text in payloads:
        watcher.receive(payload=text)


@pytest.mark.rule("X5.0-3.1.4-2")
def test_a_connect_may_come_byte_by_byte(dial, client_id):
    alice = dial(V5)
    alice.send_slowly(wire.connect(client_id, will=Will("t", "x"), username="u"))
    alice.expect(CONNACK, reason=0)


@pytest.mark.rule("X5.0-3.1.4-1")
def test_a_connection_without_a_connect_is_closed_in_time(broker_with, dial):
    broker = broker_with({"limits": {"connect_timeout": "200ms"}})
    silent, half = dial(V5, broker=broker), dial(V5, broker=broker)
    half.send(b"\x10\x20\x00\x04MQ")
    assert silent.expect_closed() is None
    assert half.expect_closed() is None
