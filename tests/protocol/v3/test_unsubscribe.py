# SPDX-License-Identifier: Apache-2.0
"""UNSUBSCRIBE and UNSUBACK."""

import pytest

from kit import PUBLISH, PUBREL, UNSUBACK, V311, puback, pubcomp, pubrec, unsubscribe


@pytest.mark.rule("v3.1.1 MQTT-3.10.3-2")
def test_unsubscribe_without_a_filter_ends_the_connection(connect):
    alice = connect(V311)
    alice.send(unsubscribe([]))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.10.3-1")
@pytest.mark.parametrize("body", [b"", b"\0", b"\0\1\0", b"\0\1\0\5a", b"\0\1\0\1a\0"],
                         ids=["empty", "half an id", "half a length", "cut short", "second cut"])
def test_unsubscribe_that_is_cut_short_ends_the_connection(connect, body):
    alice = connect(V311)
    alice.send(unsubscribe("a").but(body=body))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.10.4-1")
def test_only_the_very_same_filter_is_unsubscribed(connect, topic):
    """Wildcards are not expanded, neither way."""
    alice, bob = connect(V311), connect(V311)
    bob.subscribe([f"{topic}/a", f"{topic}/+/b"])
    bob.unsubscribe([f"{topic}/+", f"{topic}/#", "#", f"{topic}/x/b", f"{topic}/A", f"{topic}/a/"])
    alice.publish(f"{topic}/a", "1")
    alice.publish(f"{topic}/x/b", "2")
    bob.receive(payload="1")
    bob.receive(payload="2")


@pytest.mark.rule("v3.1.1 MQTT-3.10.4-2")
def test_nothing_new_comes_after_unsubscribe(connect, topic):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 1)
    alice.publish(topic, "before", 1)
    bob.receive(payload="before")
    bob.unsubscribe(topic)
    alice.publish(topic, "after", 1)
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-3.10.4-2")
def test_other_subscriptions_stay(connect, topic):
    """Another filter that matches, and another client's same one."""
    alice, bob = connect(V311), connect(V311)
    alice.subscribe(topic)
    bob.subscribe([topic, f"{topic}/#"])
    bob.unsubscribe(topic)
    alice.publish(topic, "x")
    alice.receive(payload="x")
    bob.receive(payload="x")


@pytest.mark.rule("v3.1.1 MQTT-3.10.4-3", "X3.1.1-3.10.4-1")
def test_deliveries_that_have_begun_are_completed_after_unsubscribe(connect, topic):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 2)
    alice.publish(topic, "one", 1)
    alice.publish(topic, "two", 2)
    one, two = bob.expect(PUBLISH, payload="one"), bob.expect(PUBLISH, payload="two")
    bob.unsubscribe(topic)
    bob.send(puback(one.id), pubrec(two.id))
    bob.expect(PUBREL, id=two.id)
    bob.send(pubcomp(two.id))
    bob.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.10.4-3")
def test_deliveries_that_have_begun_are_sent_again_after_unsubscribe(connect, topic, client_id):
    alice, bob = connect(V311), connect(V311, client_id=client_id, clean_start=False)
    bob.subscribe(topic, 1)
    alice.publish(topic, "x", 1)
    bob.expect(PUBLISH, payload="x")
    bob.unsubscribe(topic)
    bob.close()
    bob = connect(V311, client_id=client_id, clean_start=False)
    bob.receive(payload="x", dup=True)


@pytest.mark.rule("v3.1.1 MQTT-3.10.4-4")
def test_each_unsubscribe_has_its_unsuback(connect, topic):
    alice = connect(V311)
    alice.subscribe(topic)
    alice.send(*[unsubscribe(topic, id=number) for number in (5, 9, 2)])
    for number in (5, 9, 2):
        alice.expect(UNSUBACK, id=number)


@pytest.mark.rule("v3.1.1 MQTT-3.10.4-5")
def test_unsubscribe_of_what_never_was_has_its_unsuback(connect, topic):
    alice = connect(V311)
    alice.send(unsubscribe([topic, topic + "/#"], id=77))
    alice.expect(UNSUBACK, id=77)


@pytest.mark.rule("v3.1.1 MQTT-3.10.4-6")
def test_unsubscribe_with_several_filters_ends_each_with_one_unsuback(connect, topic):
    alice, bob = connect(V311), connect(V311)
    names = [f"{topic}/{n}" for n in range(5)]
    bob.subscribe(names)
    bob.send(unsubscribe(names[:2] + [topic] + names[3:], id=6))
    bob.expect(UNSUBACK, id=6)
    for name in names:
        alice.publish(name, name)
    bob.receive(topic=names[2])
    bob.quiet_after(alice)
