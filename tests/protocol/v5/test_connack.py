# SPDX-License-Identifier: Apache-2.0
"""CONNACK (3.2): its place, its flags, its codes, what it leaves out."""

import pytest

from kit import CONNACK, PUBLISH, V5, Will, disconnect, wire

KEPT = {"session_expiry_interval": 60}

REFUSED = {
    0x81: wire.connect("c", connect_flags=0x03),
    0x82: wire.connect("c", properties={"receive_maximum": 0}),
    0x84: wire.connect("c", level=6),
    0x8C: wire.connect("c", properties={"authentication_method": "unheard-of"}),
    0x90: wire.connect("c", will=Will("a/#")),
}


@pytest.mark.rule("v5 MQTT-3.2.0-1")
def test_connack_comes_before_anything_that_waited_for_the_session(connect, dial, client_id, topic):
    alice, bob = connect(V5, client_id, properties=KEPT), connect(V5)
    alice.subscribe(topic, qos=1)
    alice.disconnect()
    bob.publish(topic, "waiting", qos=1)
    again = dial(V5)
    again.send(wire.connect(client_id, clean_start=False))
    again.expect(CONNACK, reason=0, session_present=True)
    again.expect(PUBLISH, payload="waiting")


@pytest.mark.rule("v5 MQTT-3.2.0-2")
def test_one_connack_comes_and_no_other(connect):
    alice = connect(V5)
    alice.expect_quiet()
    alice.send(disconnect())
    assert alice.expect_closed() is None


@pytest.mark.rule("v5 MQTT-3.2.2-1", "v5 MQTT-3.2.2-3")
@pytest.mark.parametrize("present", [False, True])
def test_the_acknowledge_flags_are_session_present_and_nothing_else(
        connect, dial, client_id, present):
    if present:
        connect(V5, client_id, properties=KEPT).disconnect()
    alice = dial(V5)
    alice.send(wire.connect(client_id, clean_start=False))
    header = alice.socket.recv(4)
    assert header[0] == 0x20 and header[2] == int(present) and header[3] == 0


@pytest.mark.rule("v5 MQTT-3.2.2-2", "v5 MQTT-3.1.4-5")
def test_with_clean_start_no_session_is_present(connect, client_id):
    connect(V5, client_id, properties=KEPT).disconnect()
    assert not connect(V5, client_id, clean_start=True).connack.session_present


@pytest.mark.rule("v5 MQTT-3.2.2-6")
def test_a_refused_client_is_not_told_of_its_session(connect, dial, client_id):
    connect(V5, client_id, properties=KEPT).disconnect()
    for refused in REFUSED.values():
        alice = dial(V5)
        alice.send(refused.but(client_id=client_id, clean_start=False))
        assert not alice.expect(CONNACK, reason=range(0x80, 0x100)).session_present
    assert connect(V5, client_id, clean_start=False).connack.session_present


@pytest.mark.rule("v5 MQTT-3.2.2-7", "v5 MQTT-3.2.2-8", "v5 MQTT-3.1.4-2")
@pytest.mark.parametrize("reason", REFUSED, ids=hex)
def test_connack_says_why_and_the_connection_is_closed(dial, reason):
    alice = dial(V5)
    alice.send(REFUSED[reason])
    alice.expect_refused(reason)


@pytest.mark.rule("v5 MQTT-3.2.2-19", "v5 MQTT-3.2.2-20")
@pytest.mark.parametrize("size", [5, 8, 12])
def test_a_connack_that_refuses_keeps_within_the_clients_packet_size(dial, size):
    alice = dial(V5)
    alice.send(wire.connect("c", will=Will("a/#"), properties={"maximum_packet_size": size}))
    assert alice.expect_refused(0x90).size <= size
