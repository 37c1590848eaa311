# SPDX-License-Identifier: Apache-2.0
"""Properties of PUBLISH that are handed on as they are (3.3.2.3)."""

import pytest

from kit import PUBACK, PUBREC, V311, V5, Will, publish, wire

MALFORMED, PROTOCOL_ERROR, PAYLOAD_FORMAT_INVALID = 0x81, 0x82, 0x99
KEPT = {"session_expiry_interval": 60}
CHECKING = {"mqtt": {"check_payload_format": True}}
TEXT = {"payload_format_indicator": 1}


def _rules(*rows):
    return [pytest.param(*values, marks=pytest.mark.rule(rule), id=values[0])
            for rule, *values in rows]


def _each(value):
    """What a property that may repeat stands for on the wire."""
    return value if isinstance(value, list) else [value]


FORWARDED = _rules(
    ("v5 MQTT-3.3.2-4", "payload_format_indicator", 0),
    ("v5 MQTT-3.3.2-4", "payload_format_indicator", 1),
    ("v5 MQTT-3.3.2-15", "response_topic", "answers/é"),
    ("v5 MQTT-3.3.2-16", "correlation_data", b"\x00\x01\xff" * 100),
    ("v5 MQTT-3.3.2-16", "correlation_data", b""),
    ("v5 MQTT-3.3.2-20", "content_type", "text/plain; charset=utf-8"),
    ("v5 MQTT-3.3.2-20", "content_type", ""),
    ("v5 MQTT-3.3.2-17", "user_property", [("a", "1")]),
    ("v5 MQTT-3.3.2-17", "user_property", [("", "")]),
    ("v5 MQTT-3.3.2-17", "user_property", [("name", "x" * 2_000)]))


# ---- handed on ----------------------------------------------------------------------------------

@pytest.mark.parametrize("name, value", FORWARDED)
def test_a_property_is_handed_on_to_every_receiver(connect, topic, name, value):
    alices, bob = [connect(V5), connect(V5)], connect(V5)
    for qos, alice in enumerate(alices):
        alice.subscribe(topic, qos)
    bob.publish(topic, "x", qos=1, properties={name: value})
    for alice in alices:
        seen = alice.receive(payload="x").properties
        assert seen == [(name, each) for each in _each(value)]


@pytest.mark.parametrize("name, value", FORWARDED)
def test_a_property_is_handed_on_beside_an_alias_and_an_expiry(connect, topic, name, value):
    alice = connect(V5)
    alice.subscribe(topic)
    connect(V5).publish(topic, "x", properties=[
        ("topic_alias", 1), *((name, each) for each in _each(value)),
        ("message_expiry_interval", 1000)])
    seen = alice.receive(payload="x").properties
    assert seen.all(name) == _each(value)


@pytest.mark.parametrize("name, value", FORWARDED)
def test_a_property_is_handed_on_after_a_wait(connect, client_id, topic, name, value):
    alice = connect(V5, client_id, properties=KEPT)
    alice.subscribe(topic, qos=1)
    alice.disconnect()
    connect(V5).publish(topic, "x", qos=1, properties={name: value})
    again = connect(V5, client_id, clean_start=False)
    assert again.receive().properties.all(name) == _each(value)


@pytest.mark.rule("v5 MQTT-3.3.2-4", "v5 MQTT-3.3.2-20", "v5 MQTT-3.3.2-16")
def test_properties_that_were_not_sent_are_not_made_up(connect, topic):
    alice = connect(V5)
    alice.subscribe(topic, qos=1)
    connect(V5).publish(topic, "x", qos=1)
    assert alice.receive(payload="x").properties == []


@pytest.mark.rule("v5 MQTT-3.3.2-18", "v5 MQTT-3.3.2-17")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_user_properties_keep_their_order_and_their_repetitions(connect, topic, qos):
    pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("a", "1"), ("", "x"), ("a", "2")]
    alice = connect(V5)
    alice.subscribe(topic, qos)
    connect(V5).publish(topic, qos=qos, properties={"user_property": pairs})
    assert alice.receive().properties.all("user_property") == pairs


@pytest.mark.rule("v5 MQTT-3.3.2-18")
def test_user_properties_keep_their_order_among_other_properties(connect, topic):
    alice = connect(V5)
    alice.subscribe(topic)
    connect(V5).publish(topic, properties=[
        ("user_property", ("z", "1")), ("content_type", "c"), ("user_property", ("y", "2")),
        ("message_expiry_interval", 99), ("user_property", ("x", "3"))])
    assert alice.receive().properties.all("user_property") == [("z", "1"), ("y", "2"), ("x", "3")]


@pytest.mark.rule("v5 MQTT-3.3.2-17")
def test_as_many_user_properties_as_the_broker_takes_are_handed_on(connect, topic):
    pairs = [(f"name {number}", f"value {number}") for number in range(1000)]
    alice = connect(V5)
    alice.subscribe(topic)
    connect(V5).publish(topic, properties={"user_property": pairs})
    assert alice.receive().properties.all("user_property") == pairs


@pytest.mark.rule("v5 MQTT-3.3.2-20")
def test_a_client_of_3_1_1_gets_the_message_without_properties(connect, topic):
    old = connect(V311)
    old.subscribe(topic)
    connect(V5).publish(topic, "x", properties={"content_type": "text", **TEXT})
    old.receive(topic=topic, payload="x")


# ---- refused ------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, value", _rules(
    ("v5 MQTT-3.3.2-13", "response_topic", b"\xff"),
    ("v5 MQTT-3.3.2-13", "response_topic", b"a\0b"),
    ("v5 MQTT-3.3.2-13", "response_topic", b"\xed\xa0\x80"),
    ("v5 MQTT-3.3.2-19", "content_type", b"\xff"),
    ("v5 MQTT-3.3.2-19", "content_type", b"a\0b"),
    ("v5 MQTT-3.3.2-19", "content_type", b"\xed\xa0\x80")))
def test_a_text_that_is_not_utf8_is_malformed(connect, topic, name, value):
    alice = connect(V5)
    alice.send(publish(topic, properties={name: value}))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-3.3.2-14")
@pytest.mark.parametrize("response_topic", ["#", "+", "a/#", "a/+/b", "a+"])
def test_a_wildcard_in_a_response_topic_is_a_protocol_error(connect, topic, response_topic):
    alice = connect(V5)
    alice.send(publish(topic, properties={"response_topic": response_topic}))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("v5 MQTT-3.3.2-14")
def test_a_wildcard_in_the_response_topic_of_a_will_is_refused(dial, topic):
    alice = dial(V5)
    alice.send(wire.connect("c", will=Will(topic, properties={"response_topic": "a/#"})))
    alice.expect_refused(PROTOCOL_ERROR)


@pytest.mark.parametrize("name, value", _rules(
    ("X5.0-3.3.2.3.5-1", "response_topic", "answers"),
    ("X5.0-3.3.2.3.5-1", "correlation_data", b"x"),
    ("X5.0-3.3.2.3.5-1", "content_type", "text"),
    ("X5.0-3.3.2.3.4-1", "topic_alias", 1)))
def test_a_property_of_publish_twice_is_a_protocol_error(connect, topic, name, value):
    alice = connect(V5)
    alice.send(publish(topic, properties=[(name, value), (name, value)]))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("v5 MQTT-3.3.2-4")
@pytest.mark.parametrize("name", ["payload_format_indicator", "message_expiry_interval"])
def test_a_payload_format_or_an_expiry_twice_is_a_protocol_error(connect, topic, name):
    alice = connect(V5)
    alice.send(publish(topic, properties=[(name, 1), (name, 1)]))
    alice.expect_closed(PROTOCOL_ERROR)


# ---- payload format -----------------------------------------------------------------------------

@pytest.mark.rule("X5.0-3.3.2.3.2-1", "X5.0-3.3.2.3.2-2")
@pytest.mark.parametrize("qos, answer", [(1, PUBACK), (2, PUBREC)])
@pytest.mark.parametrize("payload", [b"\xff", b"\xed\xa0\x80", b"cut \xe2\x82"], ids=repr)
def test_a_payload_that_is_no_text_as_it_says_is_refused_where_formats_are_checked(
        broker_with, connect, topic, qos, answer, payload):
    broker = broker_with(CHECKING)
    watcher, alice = connect(V5, broker=broker), connect(V5, broker=broker)
    watcher.subscribe(topic, qos)
    alice.send(publish(topic, payload, qos=qos, id=7, properties=TEXT))
    alice.expect(answer, id=7, reason=PAYLOAD_FORMAT_INVALID)
    watcher.quiet_after(alice)


@pytest.mark.rule("X5.0-3.3.2.3.2-1")
def test_a_qos_0_payload_that_is_no_text_as_it_says_ends_the_connection(
        broker_with, connect, topic):
    broker = broker_with(CHECKING)
    watcher, alice = connect(V5, broker=broker), connect(V5, broker=broker)
    watcher.subscribe(topic)
    alice.send(publish(topic, b"\xff", properties=TEXT))
    alice.expect_closed(PAYLOAD_FORMAT_INVALID)
    watcher.quiet_after(connect(V5, broker=broker))


@pytest.mark.rule("X5.0-3.3.2.3.2-2")
@pytest.mark.parametrize("payload, properties", [("é\0€", TEXT), (b"\xff", None),
                                                 (b"\xff", {"payload_format_indicator": 0})])
def test_payloads_that_are_as_they_say_pass_where_formats_are_checked(
        broker_with, connect, topic, payload, properties):
    alice = connect(V5, broker=broker_with(CHECKING))
    alice.subscribe(topic, qos=1)
    assert alice.publish(topic, payload, qos=1, properties=properties).reason == 0
    alice.receive(payload=payload)


@pytest.mark.rule("X5.0-3.3.2.3.2-1", "v5 MQTT-3.3.2-4")
def test_payload_formats_are_passed_on_unchecked_by_default(connect, topic):
    alice = connect(V5)
    alice.subscribe(topic)
    connect(V5).publish(topic, b"\xff", properties=TEXT)
    assert alice.receive(payload=b"\xff").properties == list(TEXT.items())
