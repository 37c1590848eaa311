# SPDX-License-Identifier: Apache-2.0
"""The first byte and the remaining length."""

import pytest

from kit import (CONNACK, PINGRESP, PUBACK, V311, Packet, disconnect, pingreq, puback, pubcomp,
                 publish, pubrec, pubrel, subscribe, unique, unsubscribe, wire)

PACKETS = {
    "PUBACK": puback(1), "PUBREC": pubrec(1), "PUBREL": pubrel(1), "PUBCOMP": pubcomp(1),
    "SUBSCRIBE": subscribe("a"), "UNSUBSCRIBE": unsubscribe("a"), "PINGREQ": pingreq(),
    "DISCONNECT": disconnect(),
}
RIGHT = {"PUBREL": 2, "SUBSCRIBE": 2, "UNSUBSCRIBE": 2}
WRONG = [(name, flags) for name in PACKETS for flags in (0, 1, 2, 4, 8, 15)
         if flags != RIGHT.get(name, 0)]


@pytest.mark.rule("v3.1.1 MQTT-2.2.2-1", "v3.1.1 MQTT-2.2.2-2")
@pytest.mark.parametrize("name,flags", WRONG)
def test_reserved_flags_with_another_value_end_the_connection(connect, name, flags):
    alice = connect(V311)
    alice.send(PACKETS[name].but(flags=flags))
    if name == "DISCONNECT":
        alice.expect_closed()
        return
    alice.send(pingreq())
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-2.2.2-2")
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_connect_with_wrong_flags_is_refused(dial, flags):
    alice = dial(V311)
    alice.send(wire.connect(unique()).but(flags=flags))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.6.1-1")
@pytest.mark.parametrize("flags", [0, 3, 6, 10])
def test_pubrel_with_wrong_flags_ends_the_connection(connect, topic, flags):
    alice = connect(V311)
    alice.send(publish(topic, "x", 2, 1), pubrel(1).but(flags=flags))
    alice.wait_for(wire.PUBREC, id=1)
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.8.1-1")
@pytest.mark.parametrize("flags", [0, 3, 6, 10])
def test_subscribe_with_wrong_flags_ends_the_connection(connect, topic, flags):
    alice = connect(V311)
    alice.send(subscribe(topic).but(flags=flags))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.10.1-1")
@pytest.mark.parametrize("flags", [0, 3, 6, 10])
def test_unsubscribe_with_wrong_flags_ends_the_connection(connect, topic, flags):
    alice = connect(V311)
    alice.send(unsubscribe(topic).but(flags=flags))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-4.8.0-1")
@pytest.mark.parametrize("type", [0, 15])
def test_reserved_packet_type_ends_the_connection(connect, type):
    alice = connect(V311)
    alice.send(bytes([type << 4, 0]))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-4.8.0-1")
@pytest.mark.parametrize("type", [wire.CONNACK, wire.SUBACK, wire.UNSUBACK, wire.PINGRESP])
def test_packet_that_only_a_server_sends_ends_the_connection(connect, type):
    bodies = {wire.CONNACK: b"\0\0", wire.SUBACK: b"\0\1\0", wire.UNSUBACK: b"\0\1"}
    alice = connect(V311)
    alice.send(Packet(type, body=bodies.get(type, b"")))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-4.8.0-1")
def test_remaining_length_of_five_bytes_ends_the_connection(connect):
    alice = connect(V311)
    alice.send(publish("a").but(remaining_raw=b"\xff\xff\xff\xff\x01"))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-4.8.0-1")
@pytest.mark.parametrize("packet", [puback(1), pubrel(1), unsubscribe("a"), pingreq()],
                         ids=["PUBACK", "PUBREL", "UNSUBSCRIBE", "PINGREQ"])
def test_bytes_behind_the_last_field_end_the_connection(connect, packet):
    alice = connect(V311)
    alice.send(packet.but(tail=b"\0"))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-7.1.1-1")
def test_packets_may_come_one_byte_at_a_time(dial, topic):
    """TCP is a stream: where it is cut means nothing."""
    alice = dial(V311)
    alice.send_slowly(wire.connect(unique()))
    alice.expect(CONNACK, reason=0)
    alice.send_slowly(subscribe(topic, 1, 5))
    alice.wait_for(wire.SUBACK, id=5)
    alice.send_slowly(publish(topic, "x" * 200, 1, 6))
    alice.wait_for(PUBACK, id=6)
    alice.receive(payload="x" * 200)


@pytest.mark.rule("v3.1.1 MQTT-7.1.1-1")
def test_many_packets_may_come_in_one_segment(dial, topic):
    alice = dial(V311)
    alice.send(wire.connect(unique()), subscribe(topic), publish(topic, "1"), publish(topic, "2"),
               pingreq())
    alice.expect(CONNACK, reason=0)
    alice.wait_for(wire.SUBACK)
    alice.receive(payload="1")
    alice.receive(payload="2")
    alice.expect(PINGRESP)
