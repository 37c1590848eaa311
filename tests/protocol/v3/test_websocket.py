# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1 over WebSocket."""

import pytest

from kit import CONNACK, PINGRESP, V311, encode, pingreq, publish, subscribe, unique, wire, ws
from kit.client import dial as open_socket


def raw(*packets):
    return b"".join(encode(packet, V311) for packet in packets)


@pytest.mark.rule("v3.1.1 MQTT-6.0.0-1")
def test_packets_travel_in_binary_frames(connect, topic):
    """ws.Stream fails on a text frame from the broker."""
    alice = connect(V311, websocket=True)
    alice.subscribe(topic, 2)
    for qos in (0, 1, 2):
        alice.publish(topic, "x" * 70_000, qos)
        alice.receive(payload="x" * 70_000, qos=qos)


@pytest.mark.rule("v3.1.1 MQTT-6.0.0-1")
def test_text_frame_ends_the_connection(connect):
    alice = connect(V311, websocket=True)
    alice.socket.sendall(ws.frame(raw(pingreq()), opcode=ws.TEXT))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-6.0.0-1")
def test_text_frame_with_connect_is_not_processed(dial):
    alice = dial(V311, websocket=True)
    alice.socket.sendall(ws.frame(raw(wire.connect(unique())), opcode=ws.TEXT))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-6.0.0-2")
def test_one_frame_may_hold_several_packets(dial, topic):
    alice = dial(V311, websocket=True)
    alice.send(wire.connect(unique()), subscribe(topic), publish(topic, "x"), pingreq())
    alice.expect(CONNACK, reason=0)
    alice.wait_for(wire.SUBACK)
    alice.receive(payload="x")
    alice.expect(PINGRESP)


@pytest.mark.rule("v3.1.1 MQTT-6.0.0-2")
def test_one_packet_may_come_in_many_frames(dial, topic):
    alice = dial(V311, websocket=True)
    alice.send_slowly(wire.connect(unique()))
    alice.expect(CONNACK, reason=0)
    alice.send_slowly(subscribe(topic))
    alice.wait_for(wire.SUBACK)
    whole = raw(publish(topic, "y" * 300), publish(topic, "z"))
    for start, end in ((0, 1), (1, 2), (2, 150), (150, 304), (304, len(whole))):
        alice.send(whole[start:end])
    alice.receive(payload="y" * 300)
    alice.receive(payload="z")


@pytest.mark.rule("v3.1.1 MQTT-6.0.0-2")
def test_one_message_may_come_in_fragments(connect, topic):
    """With a ping of WebSocket between them, and an empty one at the end."""
    alice = connect(V311, websocket=True)
    alice.subscribe(topic)
    whole = raw(publish(topic, "fragments"))
    alice.socket.sendall(ws.frame(whole[:5], fin=False) + ws.frame(b"hello", ws.PING)
                         + ws.frame(whole[5:9], opcode=0, fin=False)
                         + ws.frame(whole[9:], opcode=0, fin=False) + ws.frame(b"", opcode=0))
    alice.receive(payload="fragments")


@pytest.mark.rule("v3.1.1 MQTT-6.0.0-4")
@pytest.mark.parametrize("offered", ["mqtt", "chat, mqtt", "mqtt, chat"])
def test_sub_protocol_that_comes_back_is_mqtt(broker, offered):
    with open_socket(broker.ws_address) as connection:
        connection.sendall(ws.request(protocols=offered))
        status, headers = ws.response(connection)
    assert (status, headers.get("sec-websocket-protocol")) == (101, "mqtt")


@pytest.mark.rule("v3.1.1 MQTT-6.0.0-3")
@pytest.mark.parametrize("offered", ["chat", "amqp, stomp"])
def test_client_that_offers_other_sub_protocols_only_does_not_get_mqtt(broker, offered):
    """Refused, or without a sub-protocol, which such a client refuses."""
    with open_socket(broker.ws_address) as connection:
        connection.sendall(ws.request(protocols=offered))
        _, headers = ws.response(connection)
    assert "sec-websocket-protocol" not in headers


@pytest.mark.rule("v3.1.1 MQTT-6.0.0-1")
@pytest.mark.parametrize("bad", [
    ws.frame(b"\xc0\0", mask=None), ws.frame(b"\xc0\0", reserved=4), ws.frame(b"\xc0\0", opcode=3),
    ws.frame(b"x" * 126, opcode=ws.PING), ws.frame(b"x", opcode=ws.PING, fin=False),
    ws.frame(b"\xc0\0", opcode=0)],
    ids=["unmasked", "reserved bit", "opcode 3", "long ping", "ping in fragments", "no beginning"])
def test_frame_that_breaks_websocket_ends_the_connection(connect, bad):
    alice = connect(V311, websocket=True)
    alice.socket.sendall(bad)
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-6.0.0-1")
def test_close_frame_is_answered_and_ends_the_connection(connect, topic):
    bob = connect(V311)
    bob.subscribe(topic)
    alice = connect(V311, websocket=True, will=wire.Will(topic, "gone"))
    alice.socket.sendall(ws.frame(b"\x03\xe8", opcode=ws.CLOSE))
    alice.expect_closed()
    assert alice.stream.close_code is not None
    bob.receive(payload="gone")
