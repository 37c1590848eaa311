# SPDX-License-Identifier: Apache-2.0
"""Malformed packets, protocol errors and other errors (4.13)."""

import pytest

from kit import (CONNACK, V5, auth, encode, pingreq, puback, publish, pubrel, subscribe,
                 unsubscribe, wire)

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
EITHER = {MALFORMED, PROTOCOL_ERROR}

# What a client may not send once it is connected, and the code it is told.
MALFORMED_PACKETS = {
    "type-0": (b"\x00\x00", MALFORMED),
    "length-of-five-bytes": (b"\xc0\xff\xff\xff\xff\x01", MALFORMED),
    "PINGREQ-with-flags": (pingreq(flags=1), MALFORMED),
    "PUBLISH-of-qos-3": (publish("t", "m", 3, 5), MALFORMED),
    "PUBLISH-cut-off": (publish("t", body=b"\0\x09t"), MALFORMED),
    "PUBLISH-without-identifier": (publish("t", qos=1, body=b"\0\1t"), MALFORMED),
    "PUBACK-cut-off": (puback(1, body=b"\0"), MALFORMED),
    "PUBREL-with-flags": (pubrel(1, flags=0), MALFORMED),
    "SUBSCRIBE-with-flags": (subscribe("t", flags=0), MALFORMED),
    "SUBSCRIBE-cut-off": (subscribe("t", body=b"\0\1\0\0\x09t"), MALFORMED),
    "UNSUBSCRIBE-cut-off": (unsubscribe("t", body=b"\0\1\0\0\x09t"), MALFORMED),
    "property-of-another-packet": (publish("t", properties={"server_keep_alive": 1}), MALFORMED),
    "property-unknown": (publish("t", properties=[(0x7F, b"\0")]), MALFORMED),
    "properties-cut-off": (publish("t", properties_raw=b"\x7f"), MALFORMED),
}
PROTOCOL_ERRORS = {
    "second-CONNECT": (wire.connect("c"), PROTOCOL_ERROR),
    "AUTH-without-method": (auth(0x18, {"authentication_method": "m"}), PROTOCOL_ERROR),
    "SUBSCRIBE-of-nothing": (subscribe([]), PROTOCOL_ERROR),
    "UNSUBSCRIBE-of-nothing": (unsubscribe([]), PROTOCOL_ERROR),
    "identifier-from-a-client": (publish("t", properties={"subscription_identifier": 1}),
                                 PROTOCOL_ERROR),
    "CONNACK-from-a-client": (b"\x20\x03\x00\x00\x00", EITHER),
    "SUBACK-from-a-client": (b"\x90\x04\x00\x01\x00\x00", EITHER),
    "UNSUBACK-from-a-client": (b"\xb0\x04\x00\x01\x00\x00", EITHER),
    "PINGRESP-from-a-client": (b"\xd0\x00", EITHER),
}
FAULTS = {**MALFORMED_PACKETS, **PROTOCOL_ERRORS}


@pytest.mark.rule("v5 MQTT-4.13.1-1", "X5.0-4.13.1-1")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_by_disconnect_and_ends_the_connection(connect, name):
    packet, reason = FAULTS[name]
    alice = connect(V5)
    alice.send(packet)
    alice.expect_closed(reason)


@pytest.mark.rule("v5 MQTT-4.13.1-1", "X5.0-4.13.1-1")
@pytest.mark.parametrize("name, wrong, reason", [
    ("reserved-flag", {"connect_flags": 0x03}, MALFORMED),
    ("unknown-property", {"properties": [(0x7F, b"\0")]}, MALFORMED),
    ("cut-off", {"payload": b"\0\x09c"}, MALFORMED),
    ("property-twice", {"properties": {"receive_maximum": [1, 2]}}, PROTOCOL_ERROR),
    ("property-of-0", {"properties": {"receive_maximum": 0}}, PROTOCOL_ERROR),
    ("nul-in-client-id", {"client_id": b"a\0b"}, MALFORMED),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_in_connect_is_named_by_connack_or_just_ends_the_connection(dial, name, wrong,
                                                                            reason):
    alice = dial(V5)
    alice.send(wire.connect(**{"client_id": "c", **wrong}))
    packet = alice.expect_refused()
    assert packet is None or packet.type == CONNACK and packet.reason == reason


@pytest.mark.rule("v5 MQTT-4.13.1-1")
def test_what_follows_a_fault_is_not_processed(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([f"{topic}/before", f"{topic}/behind", f"{topic}/end"])
    alice.send(publish(f"{topic}/before"), subscribe("t", flags=0), publish(f"{topic}/behind"))
    alice.expect_closed(MALFORMED)
    connect(V5).publish(f"{topic}/end")
    bob.receive(topic=f"{topic}/before")
    bob.receive(topic=f"{topic}/end")


@pytest.mark.rule("v5 MQTT-4.13.2-1")
@pytest.mark.parametrize("fields, reason", [
    ({"client_id": "x" * 2000}, 0x85),
    ({"client_id": "x", "properties": {"authentication_method": "none"}}, {0x8C, 0x87}),
    ({"client_id": "x", "level": 6}, 0x84),
], ids=["client-id", "authentication-method", "version"])
def test_a_connection_refused_by_connack_is_closed(dial, fields, reason):
    alice = dial(V5)
    alice.send(wire.connect(**fields))
    alice.expect_refused(reason)


@pytest.mark.rule("v5 MQTT-4.13.2-1")
def test_a_connection_ended_by_the_brokers_disconnect_is_closed(connect, client_id):
    alice = connect(V5, client_id)
    connect(V5, client_id)
    alice.expect_closed(0x8E)


@pytest.mark.rule("v5 MQTT-4.13.2-1")
def test_a_connection_is_closed_although_its_client_reads_nothing(connect, dial, broker, topic):
    bob = dial(V5, receive_buffer=4096)
    bob.connect()
    bob.subscribe(topic)
    alice = connect(V5)
    for _ in range(50):
        alice.publish(topic, b"x" * 100_000)
    bob.send(subscribe("t", flags=0))
    bob.rest()


@pytest.mark.rule("X5.0-4.13.1-2")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_one_connection_leaves_others_alone(connect, topic, name):
    alice, bob, mallory = connect(V5), connect(V5), connect(V5)
    bob.subscribe(topic, 1)
    mallory.subscribe(topic, 1)
    alice.publish(topic, "before", 1)
    mallory.send(FAULTS[name][0])
    mallory.rest()
    alice.publish(topic, "after", 1)
    bob.receive(payload="before")
    bob.receive(payload="after")
    bob.expect_quiet()


@pytest.mark.rule("X5.0-4.13.1-2")
def test_a_packet_that_never_ends_holds_up_nobody_else(connect, topic):
    alice, bob, mallory = connect(V5), connect(V5), connect(V5)
    bob.subscribe(topic)
    mallory.send(encode(publish("t", b"x" * 1_000_000), V5)[:500_000])
    alice.publish(topic, "m")
    bob.receive(payload="m")
