# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1, "MQIsdp": the older sister still comes by. Its rules have no numbers."""

import pytest

from kit import PUBLISH, V31, V311, V5, Will, subscribe, unique, wire, ws
from kit.client import dial as open_socket


def test_connect_of_3_1_is_accepted(connect):
    assert connect(V31).connack.reason == 0


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_message_from_3_1_to_3_1(connect, topic, qos):
    alice, bob = connect(V31), connect(V31)
    bob.subscribe(topic, 2)
    alice.publish(topic, "x", qos)
    bob.receive(topic=topic, payload="x", qos=qos)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("sender,receiver", [(V31, V311), (V311, V31), (V31, V5), (V5, V31),
                                             (V311, V5), (V5, V311)])
def test_message_from_each_version_to_each(connect, topic, sender, receiver, qos):
    alice, bob = connect(sender), connect(receiver)
    bob.subscribe(topic, 2)
    alice.publish(topic, "x", qos)
    bob.receive(topic=topic, payload="x", qos=qos, retain=False)


def test_session_of_3_1_is_kept_and_connack_has_no_session_present(connect, topic, client_id):
    """The bit came with 3.1.1: wire.Decoder refuses it here."""
    alice = connect(V31, client_id=client_id, clean_start=False)
    alice.subscribe(topic, 1)
    alice.disconnect()
    connect(V311).publish(topic, "x", 1)
    connect(V31, client_id=client_id, clean_start=False).receive(payload="x", qos=1)


def test_will_of_3_1_is_published(connect, topic):
    bob = connect(V311)
    bob.subscribe(topic, 1)
    connect(V31, will=Will(topic, "gone", 1)).close()
    bob.receive(payload="gone", qos=1)


def test_retained_message_for_3_1(connect, topic):
    alice, bob = connect(V31), connect(V31)
    alice.publish(topic, "kept", 1, retain=True)
    bob.subscribe(topic, 1)
    bob.receive(payload="kept", retain=True)


def test_dup_is_set_on_what_3_1_gets_again(connect, topic, client_id):
    alice = connect(V31, client_id=client_id, clean_start=False)
    alice.subscribe(topic, 1)
    connect(V31).publish(topic, "x", 1)
    number = alice.expect(PUBLISH, dup=False).id
    alice.close()
    connect(V31, client_id=client_id, clean_start=False).receive(payload="x", dup=True, id=number)


@pytest.mark.parametrize("level", [2, 4, 5])
def test_mqisdp_with_another_level_is_refused(dial, level):
    alice = dial(V31)
    alice.send(wire.connect(unique(), level=level))
    try:
        alice.expect_refused()
    except AssertionError:
        assert bytes(alice.received) == b"\x20\x02\x00\x01"


def test_mqtt_with_level_3_is_refused(dial):
    alice = dial(V31)
    alice.send(wire.connect(unique(), protocol_name="MQTT"))
    try:
        alice.expect_refused()
    except AssertionError:
        assert bytes(alice.received) == b"\x20\x02\x00\x01"


def test_empty_client_id_of_3_1_is_refused(dial):
    """3.1 asks for 1 to 23 characters."""
    alice = dial(V31)
    alice.send(wire.connect(""))
    alice.expect_refused(0x02)


def test_bad_packet_of_3_1_ends_the_connection(connect):
    alice = connect(V31)
    alice.send(subscribe([("a", 3)]))
    alice.expect_closed()


def test_sub_protocol_mqttv3_1_is_accepted(broker):
    with open_socket(broker.ws_address) as connection:
        connection.sendall(ws.request(protocols="mqttv3.1"))
        status, headers = ws.response(connection)
    assert (status, headers.get("sec-websocket-protocol")) == (101, "mqttv3.1")
