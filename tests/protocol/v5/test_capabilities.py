# SPDX-License-Identifier: Apache-2.0
"""What CONNACK says the broker does not do, and what becomes of who asks for it (3.2.2.3)."""

import pytest

from kit import V5, Will, disconnect, publish, subscribe, wire

PACKET_TOO_LARGE, TOPIC_ALIAS_INVALID = 0x95, 0x94
RETAIN_NOT_SUPPORTED, QOS_NOT_SUPPORTED = 0x9A, 0x9B
NO_SHARED, NO_IDENTIFIERS, NO_WILDCARDS = 0x9E, 0xA1, 0xA2

FEW_BYTES = {"limits": {"packet_bytes": 512}}
NO_RETAIN = {"mqtt": {"retain_available": False}}
PLAIN = {"mqtt": {"wildcard_available": False, "subscription_identifier_available": False,
                  "shared_available": False}}


def _qos_max(qos):
    return {"mqtt": {"qos_max": qos}}


# ---- maximum QoS --------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.2.2-9")
@pytest.mark.parametrize("qos", [0, 1])
def test_connack_says_the_highest_qos_when_it_is_not_2(broker_with, connect, qos):
    alice = connect(V5, broker=broker_with(_qos_max(qos)))
    assert alice.connack.properties.get("maximum_qos") == qos


@pytest.mark.rule("v5 MQTT-3.2.2-9")
def test_connack_says_nothing_of_qos_when_all_are_supported(connect):
    assert "maximum_qos" not in connect(V5).connack.properties


@pytest.mark.rule("v5 MQTT-3.2.2-10")
@pytest.mark.parametrize("qos_max", [0, 1])
def test_subscriptions_of_any_qos_are_granted_what_the_server_supports(
        broker_with, connect, topic, qos_max):
    alice = connect(V5, broker=broker_with(_qos_max(qos_max)))
    suback = alice.subscribe([(f"{topic}/{qos}", qos) for qos in (0, 1, 2)])
    assert suback.codes == [min(qos, qos_max) for qos in (0, 1, 2)]


@pytest.mark.rule("v5 MQTT-3.2.2-11", "X5.0-3.2.2.3.4-1")
@pytest.mark.parametrize("qos_max, qos", [(0, 1), (0, 2), (1, 2)])
def test_a_publish_above_the_maximum_qos_is_a_protocol_error(
        broker_with, connect, topic, qos_max, qos):
    broker = broker_with(_qos_max(qos_max))
    watcher, alice = connect(V5, broker=broker), connect(V5, broker=broker)
    watcher.subscribe(topic, qos=2)
    alice.publish(topic, "allowed", qos=qos_max)
    watcher.receive(payload="allowed", qos=qos_max)
    alice.send(publish(topic, "too much", qos=qos, id=9))
    alice.expect_closed(QOS_NOT_SUPPORTED)
    watcher.quiet_after(connect(V5, broker=broker))


@pytest.mark.rule("v5 MQTT-3.2.2-12")
@pytest.mark.parametrize("qos_max, qos", [(0, 1), (0, 2), (1, 2)])
def test_a_will_above_the_maximum_qos_is_refused(broker_with, dial, connect, topic, qos_max, qos):
    broker = broker_with(_qos_max(qos_max))
    connect(V5, broker=broker, will=Will(topic, qos=qos_max))
    alice = dial(V5, broker=broker)
    alice.send(wire.connect("c", will=Will(topic, qos=qos)))
    alice.expect_refused(QOS_NOT_SUPPORTED)


# ---- retain available ---------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.2.2-13")
def test_a_will_with_retain_is_refused_where_nothing_is_retained(broker_with, dial, connect, topic):
    broker = broker_with(NO_RETAIN)
    alice = connect(V5, broker=broker, will=Will(topic))
    assert alice.connack.properties.get("retain_available") == 0
    bob = dial(V5, broker=broker)
    bob.send(wire.connect("c", will=Will(topic, retain=True)))
    bob.expect_refused(RETAIN_NOT_SUPPORTED)


@pytest.mark.rule("v5 MQTT-3.2.2-14", "X5.0-3.2.2.3.5-1")
@pytest.mark.parametrize("payload", [b"x", b""], ids=["payload", "empty"])
def test_a_publish_with_retain_is_a_protocol_error_where_nothing_is_retained(
        broker_with, connect, topic, payload):
    alice = connect(V5, broker=broker_with(NO_RETAIN))
    alice.publish(topic, "allowed", qos=1)
    alice.send(publish(topic, payload, retain=True))
    alice.expect_closed(RETAIN_NOT_SUPPORTED)


@pytest.mark.rule("v5 MQTT-3.2.2-14")
def test_connack_says_nothing_of_retain_when_it_is_supported(connect):
    assert connect(V5).connack.properties.get("retain_available") in (None, 1)


# ---- maximum packet size ------------------------------------------------------------------------

def _of_size(topic, size):
    """A PUBLISH of that many bytes."""
    return publish(topic, b"x" * (size - 3 - 2 - len(topic) - 1))


@pytest.mark.rule("v5 MQTT-3.2.2-15", "X5.0-3.2.2.3.6-1")
def test_a_packet_above_the_maximum_packet_size_is_a_protocol_error(broker_with, connect, topic):
    broker = broker_with(FEW_BYTES)
    watcher, alice = connect(V5, broker=broker), connect(V5, broker=broker)
    assert alice.connack.properties.get("maximum_packet_size") == 512
    watcher.subscribe(topic)
    alice.send(_of_size(topic, 512))
    assert watcher.receive().size == 512
    alice.send(_of_size(topic, 513))
    alice.expect_closed(PACKET_TOO_LARGE)
    watcher.quiet_after(connect(V5, broker=broker))


@pytest.mark.rule("X5.0-3.2.2.3.6-1")
def test_a_packet_is_too_large_as_soon_as_its_length_says_so(broker_with, connect):
    alice = connect(V5, broker=broker_with(FEW_BYTES))
    alice.send(b"\x30\xff\xff\xff\x7f")
    alice.expect_closed(PACKET_TOO_LARGE)


@pytest.mark.rule("v5 MQTT-3.2.2-15")
@pytest.mark.parametrize("packet", [
    subscribe("t", properties={"user_property": [("n", "x" * 600)]}),
    disconnect(0, {"user_property": [("n", "x" * 600)]})], ids=["subscribe", "disconnect"])
def test_packets_of_any_type_can_be_too_large(broker_with, connect, packet):
    alice = connect(V5, broker=broker_with(FEW_BYTES))
    alice.send(packet)
    alice.expect_closed(PACKET_TOO_LARGE)


@pytest.mark.rule("v5 MQTT-3.1.4-1", "v5 MQTT-3.1.4-2")
def test_a_connect_that_is_too_large_is_refused(broker_with, dial):
    alice = dial(V5, broker=broker_with(FEW_BYTES))
    alice.send(wire.connect("c", username="x" * 600))
    alice.expect_refused()


# ---- topic alias maximum ------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.2.2-18")
@pytest.mark.parametrize("alias", [1, 65_535])
def test_any_alias_is_invalid_where_connack_announces_none(broker_with, connect, topic, alias):
    alice = connect(V5, broker=broker_with({"mqtt": {"topic_alias_max": 0}}))
    assert alice.connack.properties.get("topic_alias_maximum", 0) == 0
    alice.send(publish(topic, properties={"topic_alias": alias}))
    alice.expect_closed(TOPIC_ALIAS_INVALID)


# ---- what subscriptions may be ------------------------------------------------------------------

@pytest.mark.rule("X5.0-3.2.2.3.11-1")
@pytest.mark.parametrize("name", [
    "wildcard_subscription_available", "shared_subscription_available",
    "subscription_identifier_available"])
def test_connack_says_what_subscriptions_may_not_be(broker_with, connect, name):
    plain = connect(V5, broker=broker_with(PLAIN))
    assert plain.connack.properties.get(name) == 0
    assert connect(V5).connack.properties.get(name) in (None, 1)


@pytest.mark.rule("X5.0-3.2.2.3.11-1")
@pytest.mark.parametrize("wildcard", ["#", "+", "a/#", "+/a"])
def test_a_wildcard_is_a_protocol_error_where_there_are_none(broker_with, connect, topic, wildcard):
    alice = connect(V5, broker=broker_with(PLAIN))
    alice.subscribe(topic)
    alice.send(subscribe(wildcard, id=9))
    alice.expect_closed(NO_WILDCARDS)


@pytest.mark.rule("X5.0-3.2.2.3.12-1")
def test_a_subscription_identifier_is_a_protocol_error_where_there_are_none(
        broker_with, connect, topic):
    alice = connect(V5, broker=broker_with(PLAIN))
    alice.subscribe(topic)
    alice.send(subscribe(topic, id=9, properties={"subscription_identifier": 1}))
    alice.expect_closed(NO_IDENTIFIERS)


@pytest.mark.rule("X5.0-3.2.2.3.13-1")
def test_a_shared_subscription_is_a_protocol_error_where_there_are_none(
        broker_with, connect, topic):
    alice = connect(V5, broker=broker_with(PLAIN))
    alice.subscribe(topic)
    alice.send(subscribe(f"$share/group/{topic}", id=9))
    alice.expect_closed(NO_SHARED)
