# SPDX-License-Identifier: Apache-2.0
"""RETAIN: what is kept, what a new subscription gets, the flag on the way out (3.3.1.3)."""

import time

import pytest

from kit import V5

RETAIN_AS_PUBLISHED = 0x08


def _handling(number, qos=0):
    return qos | number << 4


# ---- what is kept -------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.3.1-5")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_retained_message_is_kept_for_later_subscribers(connect, topic, qos):
    alice = connect(V5)
    alice.publish(topic, "kept", qos=qos, retain=True)
    alice.barrier()
    bob = connect(V5)
    bob.subscribe(topic, qos=2)
    bob.receive(topic=topic, payload="kept", qos=qos, retain=True)


@pytest.mark.rule("v5 MQTT-3.3.1-5")
def test_a_retained_message_replaces_the_one_before(connect, topic):
    alice = connect(V5)
    alice.publish(topic, "old", qos=1, retain=True)
    alice.publish(topic, "new", qos=1, retain=True)
    bob = connect(V5)
    bob.subscribe(topic)
    bob.receive(payload="new", retain=True)
    bob.quiet_after(alice)


@pytest.mark.rule("v5 MQTT-3.3.1-5", "X5.0-3.3.1.3-2")
def test_a_retained_message_of_qos_0_replaces_the_one_before(connect, topic):
    alice = connect(V5)
    alice.publish(topic, "old", qos=2, retain=True)
    alice.publish(topic, "new", qos=0, retain=True)
    alice.barrier()
    bob = connect(V5)
    bob.subscribe(topic, qos=2)
    bob.receive(payload="new", qos=0, retain=True)


@pytest.mark.rule("v5 MQTT-3.3.1-5")
def test_each_topic_has_a_retained_message_of_its_own(connect, topic):
    alice, bob = connect(V5), connect(V5)
    names = {f"{topic}/{name}" for name in ("a", "b", "a/b", "")} | {topic}
    for name in names:
        alice.publish(name, name, qos=1, retain=True)
    bob.subscribe(f"{topic}/#")
    seen = [bob.receive(retain=True) for _ in names]
    assert {packet.topic for packet in seen} == names
    assert all(packet.payload.decode() == packet.topic for packet in seen)


@pytest.mark.rule("v5 MQTT-3.3.1-5", "v5 MQTT-3.3.2-17")
def test_a_retained_message_keeps_its_properties(connect, topic):
    properties = [("payload_format_indicator", 1), ("content_type", "text"),
                  ("response_topic", "r"), ("correlation_data", b"\0\xff"),
                  ("user_property", ("b", "1")), ("user_property", ("a", "2"))]
    connect(V5).publish(topic, "kept", qos=1, retain=True, properties=properties)
    bob = connect(V5)
    bob.subscribe(topic)
    assert sorted(bob.receive(payload="kept").properties, key=str) == sorted(properties, key=str)


@pytest.mark.rule("v5 MQTT-3.3.1-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_empty_retained_message_removes_the_one_before(connect, topic, qos):
    alice = connect(V5)
    alice.publish(topic, "kept", qos=1, retain=True)
    alice.publish(topic, b"", qos=qos, retain=True)
    alice.barrier()
    bob = connect(V5)
    bob.subscribe(topic)
    bob.quiet_after(alice)


@pytest.mark.rule("v5 MQTT-3.3.1-6")
def test_an_empty_retained_message_is_delivered_like_any_other(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([(topic, 1 | RETAIN_AS_PUBLISHED)])
    alice.publish(topic, b"", qos=1, retain=True)
    bob.receive(topic=topic, payload=b"", qos=1, retain=True)


@pytest.mark.rule("v5 MQTT-3.3.1-6")
def test_an_empty_retained_message_removes_that_of_its_topic_only(connect, topic):
    alice, bob = connect(V5), connect(V5)
    for name in ("a", "a/b", "c"):
        alice.publish(f"{topic}/{name}", name, qos=1, retain=True)
    alice.publish(f"{topic}/a", b"", qos=1, retain=True)
    bob.subscribe(f"{topic}/#")
    assert {bob.receive(retain=True).payload for _ in range(2)} == {b"a/b", b"c"}
    bob.quiet_after(alice)


@pytest.mark.rule("v5 MQTT-3.3.1-7")
def test_an_empty_retained_message_is_not_kept_itself(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.publish(topic, b"", qos=1, retain=True)
    bob.subscribe(topic)
    bob.quiet_after(alice)


@pytest.mark.rule("v5 MQTT-3.3.1-8")
@pytest.mark.parametrize("payload", ["passing", ""], ids=["payload", "empty"])
def test_a_message_without_retain_leaves_the_retained_one_alone(connect, topic, payload):
    alice, bob = connect(V5), connect(V5)
    alice.publish(topic, "kept", qos=1, retain=True)
    alice.publish(topic, payload, qos=1)
    bob.subscribe(topic)
    bob.receive(payload="kept", retain=True)
    bob.quiet_after(alice)


@pytest.mark.rule("v5 MQTT-3.3.1-8")
def test_a_message_without_retain_is_not_kept(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.publish(topic, "passing", qos=1)
    bob.subscribe(topic)
    bob.quiet_after(alice)


@pytest.mark.rule("X5.0-3.3.1.3-3")
def test_a_retained_message_is_gone_when_it_has_expired(connect, topic):
    alice = connect(V5)
    alice.publish(topic, "kept", qos=1, retain=True, properties={"message_expiry_interval": 1})
    before = connect(V5)
    before.subscribe(topic)
    before.receive(payload="kept", retain=True)
    time.sleep(1.1)
    bob = connect(V5)
    bob.subscribe(topic)
    bob.quiet_after(alice)


# ---- retain handling ----------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.3.1-9")
def test_retain_handling_0_sends_retained_messages_at_each_subscribe(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.publish(topic, "kept", qos=1, retain=True)
    for _ in range(2):
        bob.subscribe([(topic, _handling(0))])
        bob.receive(payload="kept", retain=True)


@pytest.mark.rule("v5 MQTT-3.3.1-10")
def test_retain_handling_1_sends_retained_messages_to_a_new_subscription_only(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.publish(topic, "kept", qos=1, retain=True)
    bob.subscribe([(topic, _handling(1))])
    bob.receive(payload="kept", retain=True)
    bob.subscribe([(topic, _handling(1, qos=1))])
    bob.quiet_after(alice)
    bob.unsubscribe(topic)
    bob.subscribe([(topic, _handling(1))])
    bob.receive(payload="kept", retain=True)


@pytest.mark.rule("v5 MQTT-3.3.1-10", "v5 MQTT-3.1.2-5")
def test_retain_handling_1_knows_the_subscriptions_of_a_resumed_session(connect, client_id, topic):
    alice = connect(V5, client_id, properties={"session_expiry_interval": 60})
    alice.subscribe(topic)
    alice.publish(topic, "kept", qos=1, retain=True)
    alice.receive(payload="kept")
    alice.disconnect()
    again = connect(V5, client_id, clean_start=False)
    again.subscribe([(topic, _handling(1))])
    again.quiet_after(connect(V5))


@pytest.mark.rule("v5 MQTT-3.3.1-11")
def test_retain_handling_2_sends_no_retained_messages(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.publish(topic, "kept", qos=1, retain=True)
    for _ in range(2):
        bob.subscribe([(topic, _handling(2))])
    bob.quiet_after(alice)


@pytest.mark.rule("v5 MQTT-3.3.1-9", "v5 MQTT-3.3.1-11")
def test_each_filter_of_a_subscribe_has_its_own_retain_handling(connect, topic):
    alice, bob = connect(V5), connect(V5)
    for name in ("a", "b"):
        alice.publish(f"{topic}/{name}", name, qos=1, retain=True)
    bob.subscribe([(f"{topic}/a", _handling(2)), (f"{topic}/b", _handling(0))])
    bob.receive(topic=f"{topic}/b", payload="b")
    bob.quiet_after(alice)


@pytest.mark.rule("v5 MQTT-3.3.1-9")
def test_a_shared_subscription_gets_no_retained_messages_at_its_start(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.publish(topic, "kept", qos=1, retain=True)
    bob.subscribe(f"$share/group/{topic}")
    bob.quiet_after(alice)


@pytest.mark.rule("v5 MQTT-3.3.1-9")
@pytest.mark.parametrize("qos, granted", [(0, 2), (1, 0), (2, 1), (2, 2)])
def test_a_retained_message_comes_at_the_lower_of_its_own_and_the_granted_qos(
        connect, topic, qos, granted):
    alice, bob = connect(V5), connect(V5)
    alice.publish(topic, "kept", qos=qos, retain=True)
    alice.barrier()
    bob.subscribe(topic, granted)
    bob.receive(payload="kept", qos=min(qos, granted))


@pytest.mark.rule("v5 MQTT-3.3.1-9", "v5 MQTT-3.3.4-3")
def test_a_retained_message_has_the_identifier_of_the_new_subscription(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.publish(topic, "kept", qos=1, retain=True)
    bob.subscribe(topic, properties={"subscription_identifier": 5})
    assert bob.receive(payload="kept").properties == [("subscription_identifier", 5)]


# ---- the flag on the way out --------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.3.1-12")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_without_retain_as_published_messages_come_without_retain(connect, topic, qos, retain):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([(topic, qos)])
    alice.publish(topic, "x", qos=qos, retain=retain)
    bob.receive(payload="x", qos=qos, retain=False)


@pytest.mark.rule("v5 MQTT-3.3.1-13")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_with_retain_as_published_messages_keep_their_flag(connect, topic, qos, retain):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([(topic, qos | RETAIN_AS_PUBLISHED)])
    alice.publish(topic, "x", qos=qos, retain=retain)
    bob.receive(payload="x", qos=qos, retain=retain)


@pytest.mark.rule("v5 MQTT-3.3.1-12", "v5 MQTT-3.3.1-13")
def test_each_subscriber_has_the_flag_that_it_asked_for(connect, topic):
    plain, published, publisher = connect(V5), connect(V5), connect(V5)
    plain.subscribe([(topic, 0)])
    published.subscribe([(topic, RETAIN_AS_PUBLISHED)])
    for number in range(2):
        publisher.publish(topic, f"{number}", retain=True)
        plain.receive(payload=f"{number}", retain=False)
        published.receive(payload=f"{number}", retain=True)


@pytest.mark.rule("v5 MQTT-3.3.1-13", "v5 MQTT-3.1.2-23")
def test_retain_as_published_holds_for_messages_that_waited(connect, client_id, topic):
    alice = connect(V5, client_id, properties={"session_expiry_interval": 60})
    alice.subscribe([(topic, 1 | RETAIN_AS_PUBLISHED), (f"{topic}/plain", 1)])
    alice.disconnect()
    bob = connect(V5)
    bob.publish(topic, "x", qos=1, retain=True)
    bob.publish(f"{topic}/plain", "y", qos=1, retain=True)
    again = connect(V5, client_id, clean_start=False)
    again.receive(payload="x", retain=True)
    again.receive(payload="y", retain=False)


@pytest.mark.rule("X5.0-3.3.1.3-1")
@pytest.mark.parametrize("options", [0, RETAIN_AS_PUBLISHED])
def test_what_a_subscribe_brings_has_retain_whatever_retain_as_published_says(
        connect, topic, options):
    alice, bob = connect(V5), connect(V5)
    alice.publish(topic, "kept", qos=1, retain=True)
    bob.subscribe([(topic, options)])
    bob.receive(payload="kept", retain=True)
