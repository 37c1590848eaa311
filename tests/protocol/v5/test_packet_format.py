# SPDX-License-Identifier: Apache-2.0
"""What all packets share: variable byte integers (1.5.5), flags (2.1.3), properties (2.2.2)."""

import csv
import pathlib

import pytest

from kit import (DISCONNECT, PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBSCRIBE, UNSUBSCRIBE, V5,
                 Will, disconnect, pingreq, puback, pubcomp, publish, pubrec, pubrel, subscribe,
                 unsubscribe, wire)

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82

SPEC = pathlib.Path(__file__).parents[2] / "spec" / "mqtt-5.0-properties.csv"


# ---- variable byte integers ---------------------------------------------------------------------

# Where a client sends one; `number` is its bytes.
INTEGERS = {
    "remaining-length": lambda number: pingreq(remaining_raw=number),
    "property-length": lambda number: publish("t", properties_raw=number),
    "subscription-identifier": lambda number: subscribe("t", properties=[(0x0B, number)]),
    "will-property-length": lambda number: wire.connect("c", will=Will("t", properties_raw=number)),
}


def _refused(connect, dial, field, number, reason):
    packet = INTEGERS[field](number)
    if field.startswith("will"):
        alice = dial(V5)
        alice.send(packet)
        alice.expect_refused(reason)
    else:
        alice = connect(V5)
        alice.send(packet)
        alice.expect_closed(reason)


@pytest.mark.rule("v5 MQTT-1.5.5-1")
@pytest.mark.parametrize("number", [b"\x80\x00", b"\x80\x80\x00", b"\x80\x80\x80\x00"],
                         ids=lambda raw: f"{len(raw)}-bytes")
@pytest.mark.parametrize("field", INTEGERS)
def test_an_integer_in_more_bytes_than_it_needs_is_malformed(connect, dial, field, number):
    if field == "subscription-identifier":
        number = b"\x81" + number[1:]  # 1: 0 would be wrong by itself
    _refused(connect, dial, field, number, MALFORMED)


@pytest.mark.rule("X5.0-1.5.5-1")
@pytest.mark.parametrize("field", INTEGERS)
def test_an_integer_that_goes_on_after_four_bytes_is_malformed(connect, dial, field):
    _refused(connect, dial, field, b"\xff\xff\xff\xff\x01", MALFORMED)


@pytest.mark.rule("v5 MQTT-1.5.5-1")
@pytest.mark.parametrize("remaining", [127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_remaining_length_goes_out_in_the_fewest_bytes(connect, topic, remaining):
    alice = connect(V5)
    alice.subscribe(topic)
    payload = b"x" * (remaining - 2 - len(topic) - 1)
    alice.publish(topic, payload)
    packet = alice.receive(payload=payload)  # decoding checks how the length is written
    assert packet.size == 1 + len(wire.varint(remaining)) + remaining


@pytest.mark.rule("v5 MQTT-1.5.5-1")
@pytest.mark.parametrize("identifier", [1, 127, 128, 16_383, 16_384, 2_097_152, 268_435_455])
def test_subscription_identifiers_go_out_in_the_fewest_bytes(connect, topic, identifier):
    alice = connect(V5)
    alice.subscribe(topic, properties={"subscription_identifier": identifier})
    alice.publish(topic)
    assert alice.receive().properties == [("subscription_identifier", identifier)]


@pytest.mark.rule("v5 MQTT-1.5.5-1")
@pytest.mark.parametrize("size", [127, 128, 16_383, 16_384])
def test_property_lengths_go_out_in_the_fewest_bytes(connect, topic, size):
    alice = connect(V5)
    alice.subscribe(topic)
    data = b"x" * (size - 3)  # behind its identifier and length
    alice.publish(topic, properties={"correlation_data": data})
    assert alice.receive().properties == [("correlation_data", data)]


# ---- flags --------------------------------------------------------------------------------------

FLAGGED = {
    PUBACK: puback(1), PUBREC: pubrec(1), PUBREL: pubrel(1), PUBCOMP: pubcomp(1),
    SUBSCRIBE: subscribe("t"), UNSUBSCRIBE: unsubscribe("t"), PINGREQ: pingreq(),
    DISCONNECT: disconnect(),
}


@pytest.mark.rule("v5 MQTT-2.1.3-1")
@pytest.mark.parametrize("type", FLAGGED, ids=lambda type: type.name)
def test_reserved_flags_with_another_value_are_malformed(connect, type):
    right = 2 if type in (PUBREL, SUBSCRIBE, UNSUBSCRIBE) else 0
    for flags in {right ^ bit for bit in (1, 2, 4, 8)} | {15}:
        alice = connect(V5)
        alice.send(FLAGGED[type].but(flags=flags))
        alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-2.1.3-1", "v5 MQTT-3.1.4-1")
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_reserved_flags_of_connect_with_another_value_are_refused(dial, client_id, flags):
    alice = dial(V5)
    alice.send(wire.connect(client_id, flags=flags))
    alice.expect_refused()


# ---- properties ---------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-2.2.2-1")
def test_a_packet_without_properties_has_a_property_length_of_0(connect, topic):
    alice = connect(V5)
    assert alice.subscribe(topic).size == 2 + 2 + 1 + 1
    alice.publish(topic, "four")
    assert alice.receive(payload="four").size == 2 + 2 + len(topic) + 1 + 4
    assert alice.unsubscribe(topic).size == 2 + 2 + 1 + 1


@pytest.mark.rule("v5 MQTT-2.2.2-1")
@pytest.mark.parametrize("packet", [
    subscribe("t", body=b"\0\1"), unsubscribe("t", body=b"\0\1"), publish("t", body=b"\0\1t"),
    publish("t", qos=1, body=b"\0\1t\0\1")],
    ids=["subscribe", "unsubscribe", "publish", "publish-qos-1"])
def test_a_packet_that_ends_before_its_property_length_is_malformed(connect, packet):
    alice = connect(V5)
    alice.send(packet)
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-2.2.2-1")
def test_a_connect_that_ends_before_its_property_length_is_malformed(dial):
    alice = dial(V5)
    alice.send(wire.connect(properties_raw=b"", payload=b""))
    alice.expect_refused(MALFORMED)


@pytest.mark.rule("X5.0-2.2.2.2-1")
@pytest.mark.parametrize("properties_raw", [b"\x03\x01\x01", b"\x05\x01\x01", b"\x01\x02",
                                            b"\x04\x02\x00\x00\x00", b"\x03\x03\x00\x02",
                                            b"\x01\x26", b"\x03\x26\x00\x00"],
                         ids=lambda raw: raw.hex())
def test_a_property_that_is_cut_short_is_malformed(connect, properties_raw):
    alice = connect(V5)
    alice.send(publish("t", properties_raw=properties_raw))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("X5.0-2.2.2.2-1")
@pytest.mark.parametrize("properties", [{"payload_format_indicator": 2},
                                        {"payload_format_indicator": 255}], ids=str)
def test_a_value_that_is_not_of_the_propertys_type_is_an_error(connect, properties):
    alice = connect(V5)
    alice.send(publish("t", properties=properties))
    alice.expect_closed({MALFORMED, PROTOCOL_ERROR})


CARRIERS = {
    "PUBLISH": lambda p: publish("t", properties=p),
    "PUBACK": lambda p: puback(1, 0, p),
    "PUBREC": lambda p: pubrec(1, 0, p),
    "PUBREL": lambda p: pubrel(1, 0, p),
    "PUBCOMP": lambda p: pubcomp(1, 0, p),
    "SUBSCRIBE": lambda p: subscribe("t", properties=p),
    "UNSUBSCRIBE": lambda p: unsubscribe("t", properties=p),
    "DISCONNECT": lambda p: disconnect(0, p),
}
CONNECT_CARRIERS = {
    "CONNECT": lambda p: wire.connect("c", properties=p),
    "Will": lambda p: wire.connect("c", will=Will("t", properties=p)),
}
SAMPLES = {"byte": 1, "two": 1, "four": 1, "varint": 1, "string": "x", "binary": b"x",
           "pair": ("n", "v")}


def _strangers(packet):
    """Properties that have no business in that packet, one at a time."""
    with SPEC.open(newline="") as table:
        for row in csv.DictReader(table):
            if packet not in row["packets"].split(";"):
                name = row["name"].lower().replace(" ", "_")
                yield [(name, SAMPLES[wire.PROPERTIES[name][1]])]
    for unknown in (0x00, 0x04, 0x7E, 0x7F):
        yield [(unknown, b"\x01")]


@pytest.mark.rule("X5.0-2.2.2.2-1")
@pytest.mark.parametrize("packet", CARRIERS)
def test_a_property_that_is_not_of_the_packet_is_malformed(connect, packet):
    for properties in _strangers(packet):
        alice = connect(V5)
        alice.send(CARRIERS[packet](properties))
        alice.expect_closed(MALFORMED)


@pytest.mark.rule("X5.0-2.2.2.2-1")
@pytest.mark.parametrize("packet", CONNECT_CARRIERS)
def test_a_property_that_is_not_of_connect_is_malformed(dial, packet):
    for properties in _strangers(packet):
        alice = dial(V5)
        alice.send(CONNECT_CARRIERS[packet](properties))
        alice.expect_refused(MALFORMED)


@pytest.mark.rule("X5.0-2.2.2.2-2")
def test_properties_may_come_in_any_order(connect, topic):
    properties = [("content_type", "text"), ("payload_format_indicator", 1),
                  ("user_property", ("a", "b")), ("correlation_data", b"c"),
                  ("message_expiry_interval", 100), ("response_topic", "r")]
    for order in (properties, properties[::-1]):
        alice = connect(V5, properties=[("receive_maximum", 9), ("session_expiry_interval", 1),
                                        ("topic_alias_maximum", 3), ("user_property", ("a", "b"))])
        alice.subscribe(topic)
        alice.publish(topic, properties=order)
        seen = alice.receive(topic=topic).properties
        for name, value in properties:
            if name != "message_expiry_interval":
                assert seen.get(name) == value
