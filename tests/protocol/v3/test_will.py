# SPDX-License-Identifier: Apache-2.0
"""Wills: every way one is, or is not, published."""

import pytest

from kit import V311, Will, publish, subscribe, wire


def again(connect, client):
    """The same client anew: what it publishes comes after all that its old connection caused."""
    return connect(V311, client_id=client.client_id)


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-8", "X3.1.1-3.1.2.5-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_will_is_published_when_the_connection_is_lost(connect, topic, qos):
    bob = connect(V311)
    bob.subscribe(topic, 2)
    alice = connect(V311, will=Will(topic, "gone", qos))
    alice.close()
    bob.receive(topic=topic, payload="gone", qos=qos, retain=False)


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-8")
def test_will_is_published_after_a_protocol_error(connect, topic):
    bob = connect(V311)
    bob.subscribe(topic)
    alice = connect(V311, will=Will(topic, "gone"))
    alice.send(subscribe("a", id=0))
    alice.expect_closed()
    bob.receive(payload="gone")


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-8")
def test_will_is_published_on_takeover(connect, topic, client_id):
    bob = connect(V311)
    bob.subscribe(topic)
    connect(V311, client_id=client_id, will=Will(topic, "taken over"))
    connect(V311, client_id=client_id)
    bob.receive(payload="taken over")


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-9")
def test_will_is_published_as_its_flags_say(connect, topic):
    bob = connect(V311)
    bob.subscribe(topic, 2)
    alice = connect(V311, will=Will(topic, b"\0\1\xff" + b"x" * 1000, qos=2, retain=True))
    alice.close()
    bob.receive(topic=topic, payload=b"\0\1\xff" + b"x" * 1000, qos=2)
    carol = connect(V311)
    carol.subscribe(topic, 2)
    carol.receive(payload=b"\0\1\xff" + b"x" * 1000, qos=2, retain=True)


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-9")
def test_will_with_an_empty_message_is_published(connect, topic):
    bob = connect(V311)
    bob.subscribe(topic)
    connect(V311, will=Will(topic, b"")).close()
    bob.receive(topic=topic, payload=b"")


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-10")
def test_will_is_published_once(connect, topic):
    """Not again when the same client comes back without one and goes again."""
    bob = connect(V311)
    bob.subscribe(topic)
    alice = connect(V311, will=Will(topic, "gone"), clean_start=False)
    alice.close()
    bob.receive(payload="gone")
    connect(V311, client_id=alice.client_id, clean_start=False).close()
    bob.quiet_after(again(connect, alice))


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-10", "v3.1.1 MQTT-3.14.4-3")
def test_will_is_dropped_on_disconnect(connect, topic):
    bob = connect(V311)
    bob.subscribe(topic)
    alice = connect(V311, will=Will(topic, "gone"))
    alice.disconnect()
    bob.quiet_after(again(connect, alice))


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-12")
def test_no_will_is_published_without_one(connect, topic):
    """Not even the one of that client's connection before."""
    bob = connect(V311)
    bob.subscribe([topic, topic + "/#"])
    alice = connect(V311, will=Will(topic, "gone"), clean_start=False)
    alice.disconnect()
    connect(V311, client_id=alice.client_id, clean_start=False).close()
    bob.quiet_after(again(connect, alice))


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-16")
def test_will_without_retain_is_not_retained(connect, topic):
    bob = connect(V311)
    bob.subscribe(topic)
    connect(V311, will=Will(topic, "gone")).close()
    bob.receive(payload="gone", retain=False)
    carol = connect(V311)
    carol.subscribe(topic)
    carol.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-17")
def test_will_with_retain_is_retained(connect, topic):
    bob = connect(V311)
    bob.subscribe(topic)
    connect(V311, will=Will(topic, "gone", retain=True)).close()
    bob.receive(payload="gone", retain=False)
    carol = connect(V311)
    carol.subscribe(topic)
    carol.receive(payload="gone", retain=True)


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-17")
def test_empty_will_with_retain_clears_the_retained_message(connect, topic):
    bob = connect(V311)
    bob.publish(topic, "old", 1, retain=True)
    bob.subscribe(topic)
    bob.receive(payload="old", retain=True)
    connect(V311, will=Will(topic, b"", retain=True)).close()
    bob.receive(payload=b"")
    carol = connect(V311)
    carol.subscribe(topic)
    carol.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-4.7.1-1")
@pytest.mark.parametrize("name", ["a/+", "#", ""])
def test_will_topic_that_is_no_topic_name_is_refused(dial, client_id, name):
    alice = dial(V311)
    alice.send(wire.connect(client_id, will=Will(name, "x")))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-8")
def test_will_comes_after_what_its_client_published(connect, topic):
    bob = connect(V311)
    bob.subscribe(topic)
    alice = connect(V311, will=Will(topic, "last"))
    alice.send(*[publish(topic, f"{n}") for n in range(20)])
    alice.barrier()
    alice.close()
    for n in range(20):
        bob.receive(payload=f"{n}")
    bob.receive(payload="last")
