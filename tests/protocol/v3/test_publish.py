# SPDX-License-Identifier: Apache-2.0
"""PUBLISH: its fields, and what comes out at the other end."""

import pytest

from kit import PUBACK, PUBREC, V311, publish, pubrel, wire


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-2")
def test_dup_on_qos_0_ends_the_connection(connect, topic):
    alice = connect(V311)
    alice.send(publish(topic, "x", dup=True))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_dup_is_not_passed_on(connect, topic, qos):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, qos)
    alice.send(publish(topic, "x", qos, 3, dup=True), *([pubrel(3)] if qos == 2 else []))
    bob.receive(payload="x", qos=qos, dup=False)


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-4")
def test_qos_3_ends_the_connection(connect, topic):
    alice = connect(V311)
    alice.send(publish(topic, "x", 3, 1))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.3.2-1")
@pytest.mark.parametrize("body", [b"", b"\0", b"\0\x20abc"], ids=["empty", "one byte", "cut short"])
def test_publish_without_a_whole_topic_name_ends_the_connection(connect, body):
    alice = connect(V311)
    alice.send(publish("a").but(body=body))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-2.3.1-1", "v3.1.1 MQTT-4.8.0-1")
@pytest.mark.parametrize("body", [b"\0\1a", b"\0\1a\0"], ids=["none", "half"])
def test_publish_without_a_whole_packet_id_ends_the_connection(connect, body):
    alice = connect(V311)
    alice.send(publish("a", qos=1, id=1).but(body=body))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.3.2-2", "v3.1.1 MQTT-4.7.1-1")
@pytest.mark.parametrize("name", ["#", "+", "a/#", "a/+/b", "a+", "a#b"])
@pytest.mark.parametrize("qos", [0, 1])
def test_wildcard_in_a_topic_name_ends_the_connection(connect, name, qos):
    alice = connect(V311)
    alice.send(publish(name, "x", qos, 1 if qos else None))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-4.7.3-1")
def test_empty_topic_name_ends_the_connection(connect):
    alice = connect(V311)
    alice.send(publish("", "x"))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.3.2-3")
def test_only_messages_whose_topic_matches_are_delivered(connect, topic):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(f"{topic}/a/+")
    for name in ("a", "a/b/c", "b/b", "A/b", "a/b", ""):
        alice.publish(f"{topic}/{name}", name)
    bob.receive(topic=f"{topic}/a/b", payload="a/b")
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-3.3.4-1")
def test_each_qos_has_its_answer(connect, topic):
    alice = connect(V311)
    alice.send(publish(topic, "x"))
    alice.expect_quiet()
    alice.send(publish(topic, "x", 1, 1))
    alice.expect(PUBACK, id=1)
    alice.send(publish(topic, "x", 2, 2))
    alice.expect(PUBREC, id=2)
    alice.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.3.5-1")
def test_overlapping_filters_give_the_highest_qos(connect, topic):
    """And here one copy, which the standard leaves open."""
    alice, bob = connect(V311), connect(V311)
    bob.subscribe([(f"{topic}/#", 0), (f"{topic}/a", 2), (f"{topic}/+", 1)])
    alice.publish(f"{topic}/a", "x", 2)
    bob.receive(payload="x", qos=2)
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-3.3.5-2", "X3.1.1-4.7.2-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_publish_that_is_not_authorised_is_acknowledged_and_dropped(connect, qos):
    """Topics of the broker itself: nobody else speaks there."""
    alice, bob = connect(V311), connect(V311)
    bob.subscribe("$SYS/broker/kit/#")
    alice.publish("$SYS/broker/kit/mine", "x", qos)
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-4.3.1-1")
def test_qos_0_is_sent_on_without_dup(connect, topic):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 0)
    alice.publish(topic, "x", 0)
    bob.receive(payload="x", qos=0, dup=False)


@pytest.mark.rule("v3.1.1 MQTT-3.3.2-3")
@pytest.mark.parametrize("size", [0, 1, 120, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_payloads_of_every_width_of_length_pass_unchanged(connect, topic, size):
    payload = bytes(n * 7 % 251 for n in range(251)) * (size // 251 + 1)
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 1)
    alice.publish(topic, payload[:size], 1)
    bob.receive(topic=topic, payload=payload[:size])


@pytest.mark.rule("v3.1.1 MQTT-4.8.0-1")
def test_packet_above_the_limit_ends_the_connection(connect, topic, broker_with):
    broker = broker_with({"limits": {"packet_bytes": 1024}})
    alice = connect(V311, broker=broker)
    fits = 1024 - 3 - 2 - len(topic)
    alice.publish(topic, b"x" * fits)
    alice.barrier()
    alice.send(wire.encode(publish(topic, b"x" * (fits + 1)), V311))
    alice.expect_closed()
