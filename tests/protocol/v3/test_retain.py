# SPDX-License-Identifier: Apache-2.0
"""Retained messages."""

import pytest

from kit import V311


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-5", "v3.1.1 MQTT-3.3.1-8")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_message_is_kept_with_its_qos(connect, topic, qos):
    alice, bob = connect(V311), connect(V311)
    alice.publish(topic, "kept", qos, retain=True)
    alice.barrier()
    bob.subscribe(topic, 2)
    bob.receive(topic=topic, payload="kept", qos=qos, retain=True)


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-5", "v3.1.1 MQTT-3.8.4-6")
def test_retained_message_is_sent_at_the_lower_qos(connect, topic):
    alice, bob = connect(V311), connect(V311)
    alice.publish(topic, "kept", 2, retain=True)
    bob.subscribe(topic, 1)
    bob.receive(payload="kept", qos=1, retain=True)


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-6")
def test_subscription_gets_the_last_retained_message_of_each_topic(connect, topic):
    alice, bob = connect(V311), connect(V311)
    for name in ("a", "b", "c/d"):
        alice.publish(f"{topic}/{name}", "old", 1, retain=True)
        alice.publish(f"{topic}/{name}", f"{name} new", 1, retain=True)
    alice.publish(f"{topic}-other", "not this", 1, retain=True)
    bob.subscribe(f"{topic}/#", 1)
    seen = {(m.topic, m.payload) for m in (bob.receive(retain=True) for _ in range(3))}
    assert seen == {(f"{topic}/{name}", f"{name} new".encode()) for name in ("a", "b", "c/d")}
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-6")
def test_plus_finds_retained_messages_of_its_level_only(connect, topic):
    alice, bob = connect(V311), connect(V311)
    for name in ("a", "a/x", "b", "b/x/y"):
        alice.publish(f"{topic}/{name}", name, 1, retain=True)
    bob.subscribe(f"{topic}/+/x", 1)
    bob.receive(topic=f"{topic}/a/x", retain=True)
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-7")
def test_qos_0_retained_message_replaces_the_one_before(connect, topic):
    """The new one need not be kept; the old one may not."""
    alice, bob = connect(V311), connect(V311)
    alice.publish(topic, "old", 1, retain=True)
    alice.publish(topic, "new", 0, retain=True)
    alice.barrier()
    bob.subscribe(topic)
    bob.receive(payload="new", retain=True)
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-9")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_message_for_an_established_subscription_has_retain_0(connect, topic, qos):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 2)
    alice.publish(topic, "x", qos, retain=True)
    bob.receive(payload="x", retain=False)


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-10")
def test_empty_retained_message_is_delivered_and_removes_the_one_kept(connect, topic):
    alice, bob, carol = connect(V311), connect(V311), connect(V311)
    alice.publish(topic, "kept", 1, retain=True)
    bob.subscribe(topic, 1)
    bob.receive(payload="kept", retain=True)
    alice.publish(topic, b"", 1, retain=True)
    bob.receive(payload=b"", retain=False)
    carol.subscribe(topic, 1)
    carol.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-11")
def test_empty_retained_message_is_not_kept(connect, topic):
    alice, bob = connect(V311), connect(V311)
    alice.publish(topic, b"", 1, retain=True)
    bob.subscribe(f"{topic}/#", 1)
    bob.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-12")
@pytest.mark.parametrize("payload", ["passing", b""], ids=["full", "empty"])
def test_message_without_retain_leaves_the_kept_one_alone(connect, topic, payload):
    alice, bob = connect(V311), connect(V311)
    alice.publish(topic, "kept", 1, retain=True)
    alice.publish(topic, payload, 1)
    bob.subscribe(topic)
    bob.receive(payload="kept", retain=True)
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-12")
def test_message_without_retain_is_not_kept(connect, topic):
    alice, bob = connect(V311), connect(V311)
    alice.publish(topic, "passing", 1)
    bob.subscribe(topic)
    bob.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-6", "v3.1.1 MQTT-3.1.2-5")
def test_retained_messages_are_not_sent_again_when_a_session_resumes(connect, topic, client_id):
    alice, bob = connect(V311), connect(V311, client_id=client_id, clean_start=False)
    alice.publish(topic, "kept", 1, retain=True)
    bob.subscribe(topic, 1)
    bob.receive(payload="kept", retain=True)
    bob.barrier()
    bob.close()
    bob = connect(V311, client_id=client_id, clean_start=False)
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-3.3.1-6")
def test_thousands_of_retained_messages_all_come(connect, topic):
    """More than one go of the broker, and than the window of messages in flight."""
    alice, bob = connect(V311), connect(V311)
    names = [f"{topic}/{n % 50}/{n}" for n in range(3000)]
    for at in range(0, len(names), 100):
        for name in names[at:at + 100]:
            alice.publish(name, "kept", 0, retain=True)
        alice.barrier()
    bob.subscribe(f"{topic}/#", 1)
    assert {bob.receive(retain=True).topic for _ in names} == set(names)
    bob.quiet_after(alice)
