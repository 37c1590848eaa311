# SPDX-License-Identifier: Apache-2.0
"""DISCONNECT, both ways (3.14)."""

import pytest

from kit import (CONNACK, DISCONNECT, V5, Will, disconnect, publish, puback, subscribe,
                 unsubscribe, wire)

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
TAKEN_OVER, SHUTTING_DOWN = 0x8E, 0x8B
WITH_WILL = 0x04

CLIENT_CODES = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]
SERVER_CODES = [0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1,
                0xA2]
OTHER_CODES = [0x01, 0x10, 0x18, 0x85, 0xFF]


def _with_will(connect, topic, **properties):
    """A client with a will, and one that sees it published."""
    watcher = connect(V5)
    watcher.subscribe([f"{topic}/will", f"{topic}/end"])
    return connect(V5, will=Will(f"{topic}/will", "gone"), properties=properties), watcher


def _no_will(connect, topic, watcher):
    connect(V5).publish(f"{topic}/end")
    watcher.receive(topic=f"{topic}/end")


# ---- from a client -----------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.14.4-2", "X5.0-3.14.4-1")
@pytest.mark.parametrize("reason", [None, 0x00, 0x04, 0x98], ids=str)
def test_the_broker_closes_the_connection_on_disconnect(connect, reason):
    connect(V5).disconnect(reason)


@pytest.mark.rule("v5 MQTT-3.14.1-1")
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15], ids=bin)
def test_disconnect_with_flags_is_answered_by_malformed_packet(connect, flags):
    alice = connect(V5)
    alice.send(disconnect(flags=flags))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-3.14.1-1")
def test_disconnect_with_flags_leaves_the_will_to_be_published(connect, topic):
    alice, watcher = _with_will(connect, topic)
    alice.send(disconnect(flags=1))
    watcher.receive(topic=f"{topic}/will")


@pytest.mark.rule("v5 MQTT-3.14.2-1")
@pytest.mark.parametrize("reason", CLIENT_CODES, ids=hex)
def test_a_client_may_give_any_reason_of_its_own(connect, reason):
    connect(V5).disconnect(reason)


@pytest.mark.rule("v5 MQTT-3.14.2-1")
@pytest.mark.parametrize("reason", SERVER_CODES + OTHER_CODES, ids=hex)
def test_a_client_may_not_give_a_reason_of_the_servers(connect, reason):
    alice = connect(V5)
    alice.send(disconnect(reason))
    alice.expect_closed({MALFORMED, PROTOCOL_ERROR})


@pytest.mark.rule("v5 MQTT-3.14.4-3")
@pytest.mark.parametrize("packet", [disconnect(), disconnect(0), disconnect(0, tail=b"\0")],
                         ids=["0-bytes", "1-byte", "2-bytes"])
def test_a_normal_disconnect_drops_the_will(connect, topic, packet):
    alice, watcher = _with_will(connect, topic)
    alice.send(packet)
    alice.expect_closed()
    _no_will(connect, topic, watcher)


@pytest.mark.rule("v5 MQTT-3.14.4-3", "X5.0-3.14-1")
@pytest.mark.parametrize("reason", CLIENT_CODES[1:], ids=hex)
def test_any_other_disconnect_leaves_the_will_to_be_published(connect, topic, reason):
    alice, watcher = _with_will(connect, topic)
    alice.disconnect(reason)
    watcher.receive(topic=f"{topic}/will", payload="gone")


@pytest.mark.rule("X5.0-3.14-1")
def test_a_close_without_disconnect_publishes_the_will(connect, topic):
    alice, watcher = _with_will(connect, topic)
    alice.close()
    watcher.receive(topic=f"{topic}/will")


@pytest.mark.rule("X5.0-3.14.2.1-1")
@pytest.mark.parametrize("packet", [disconnect(), disconnect(0), disconnect(WITH_WILL),
                                    disconnect(WITH_WILL, {"reason_string": "bye"})],
                         ids=["0-bytes", "1-byte", "1-byte-with-will", "properties"])
def test_disconnect_may_leave_out_reason_and_properties(connect, packet):
    alice = connect(V5)
    alice.send(packet)
    assert alice.expect_closed() is None, "a DISCONNECT was answered"


@pytest.mark.rule("X5.0-3.14.2.2-1")
@pytest.mark.parametrize("name, value", [("session_expiry_interval", [5, 5]),
                                         ("reason_string", ["a", "b"]),
                                         ("server_reference", ["a", "b"])])
def test_a_property_twice_in_disconnect_is_a_protocol_error(connect, name, value):
    alice = connect(V5, properties={"session_expiry_interval": 5})
    alice.send(disconnect(0, {name: value}))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("X5.0-3.14.2.2.2-1")
@pytest.mark.parametrize("properties", [{}, {"session_expiry_interval": 0}], ids=["absent", "0"])
def test_disconnect_cannot_make_a_session_last_that_connect_did_not(connect, properties):
    alice = connect(V5, properties=properties)
    alice.send(disconnect(0, {"session_expiry_interval": 60}))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("X5.0-3.14.2.2.2-1")
def test_a_disconnect_that_breaks_the_expiry_rule_does_not_drop_the_will(connect, topic):
    alice, watcher = _with_will(connect, topic)
    alice.send(disconnect(0, {"session_expiry_interval": 60}))
    watcher.receive(topic=f"{topic}/will")


@pytest.mark.rule("X5.0-3.14.2.2.2-2")
def test_session_expiry_0_in_disconnect_ends_the_session(connect, client_id):
    alice = connect(V5, client_id, properties={"session_expiry_interval": 600})
    alice.disconnect(0, {"session_expiry_interval": 0})
    assert not connect(V5, client_id, clean_start=False).connack.session_present


@pytest.mark.rule("X5.0-3.14.2.2.2-2")
def test_session_expiry_in_disconnect_replaces_that_of_connect(connect, topic, client_id):
    # given a session that lasts for a second, whose end a long delayed will tells
    watcher = connect(V5)
    watcher.subscribe(topic)
    alice = connect(V5, client_id, will=Will(topic, properties={"will_delay_interval": 1000}),
                    properties={"session_expiry_interval": 1000})
    alice.disconnect(WITH_WILL, {"session_expiry_interval": 1})
    watcher.receive(topic=topic)
    assert not connect(V5, client_id, clean_start=False).connack.session_present


@pytest.mark.rule("v5 MQTT-3.14.4-1")
def test_what_a_client_sends_behind_disconnect_is_not_processed(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([f"{topic}/late", f"{topic}/end"])
    alice.send(disconnect(), publish(f"{topic}/late"))
    alice.expect_closed()
    connect(V5).publish(f"{topic}/end")
    bob.receive(topic=f"{topic}/end")


# ---- from the broker ---------------------------------------------------------------------------

BEFORE_CONNECT = {
    "DISCONNECT": disconnect(), "PUBLISH": publish("t"), "SUBSCRIBE": subscribe("t"),
    "PUBACK": puback(1), "UNSUBSCRIBE": unsubscribe("t"), "garbage": b"\x00\x00",
    "connect-flags": wire.connect("c", connect_flags=0x03),
    "cut-off-connect": wire.connect("c", payload=b"\0\5c"),
    "bad-property": wire.connect("c", properties=[(0x7F, b"x")]),
    "will-qos-3": wire.connect("c", will=Will("t", qos=3)),
    "empty-receive-window": wire.connect("c", properties={"receive_maximum": 0}),
}


@pytest.mark.rule("v5 MQTT-3.14.0-1")
@pytest.mark.parametrize("name", BEFORE_CONNECT)
def test_the_broker_sends_no_disconnect_before_a_connack_of_success(dial, name):
    alice = dial(V5)
    alice.send(BEFORE_CONNECT[name])
    packet = alice.expect_refused()
    assert packet is None or packet.type == CONNACK


@pytest.mark.rule("v5 MQTT-3.14.2-1", "v5 MQTT-3.14.2-2")
def test_a_taken_over_client_is_told_so(connect, client_id):
    lasting = {"session_expiry_interval": 600}
    alice = connect(V5, client_id, properties=lasting)
    connect(V5, client_id, clean_start=False, properties=lasting)
    packet = alice.expect_closed(TAKEN_OVER)
    assert "session_expiry_interval" not in packet.properties


@pytest.mark.rule("v5 MQTT-3.14.2-1", "v5 MQTT-3.14.2-2")
def test_clients_are_told_that_the_broker_shuts_down(connect, own_broker):
    broker = own_broker()
    clients = [connect(V5, broker=broker, properties={"session_expiry_interval": 60})
               for _ in range(5)]
    broker.stop()
    for client in clients:
        packet = client.expect_closed(SHUTTING_DOWN)
        assert "session_expiry_interval" not in packet.properties


@pytest.mark.rule("v5 MQTT-3.14.4-1", "v5 MQTT-3.14.4-2")
def test_nothing_comes_behind_the_brokers_disconnect(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic)
    alice.send(*[publish(topic)] * 100)
    bob.send(subscribe([(topic, 3)]))
    alice.send(*[publish(topic)] * 100)
    kinds = [packet.type for packet in bob.rest()]
    assert kinds[-1] == DISCONNECT and kinds.count(DISCONNECT) == 1


# Each breaks a rule in the middle of a connection, so that the broker has something to explain.
FAULTS = {
    "subscription-identifier": publish("t", properties={"subscription_identifier": 1}),
    "topic-alias": publish("t", properties={"topic_alias": 65535}),
    "unknown-alias": publish("", properties={"topic_alias": 1}),
    "no-local-share": subscribe([("$share/g/t", 4)]),
    "no-filter": subscribe([]),
    "auth": wire.auth(0x18, {"authentication_method": "m"}),
    "second-connect": wire.connect("c"),
}


@pytest.mark.rule("v5 MQTT-3.14.2-3", "v5 MQTT-3.14.2-4")
@pytest.mark.parametrize("name", FAULTS)
def test_disconnect_fits_the_maximum_packet_size(connect, name):
    alice = connect(V5, properties={"maximum_packet_size": 20})
    alice.send(FAULTS[name])
    packet = alice.expect_closed({0x82, 0x94})
    assert packet.size <= 20


@pytest.mark.rule("v5 MQTT-3.14.2-3")
@pytest.mark.parametrize("name", FAULTS)
def test_the_brokers_disconnect_says_what_was_wrong(connect, name):
    alice = connect(V5)
    alice.send(FAULTS[name])
    assert alice.expect_closed({0x82, 0x94}).properties.get("reason_string")
