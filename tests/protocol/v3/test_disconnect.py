# SPDX-License-Identifier: Apache-2.0
"""DISCONNECT."""

import pytest

from kit import V311, Will, disconnect, publish


@pytest.mark.rule("v3.1.1 MQTT-3.14.1-1")
@pytest.mark.parametrize("flags", [1, 2, 4, 8])
def test_disconnect_with_wrong_flags_is_none(connect, topic, flags):
    """The connection ends as after any protocol error: with its will."""
    bob = connect(V311)
    bob.subscribe(topic)
    alice = connect(V311, will=Will(topic, "gone"))
    alice.send(disconnect().but(flags=flags))
    alice.expect_closed()
    bob.receive(payload="gone")


@pytest.mark.rule("v3.1.1 MQTT-3.14.4-1", "X3.1.1-3.14.4-1")
def test_broker_closes_the_connection_on_disconnect(connect):
    alice = connect(V311)
    alice.send(disconnect())
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.14.4-2")
def test_nothing_behind_disconnect_is_processed(connect, topic):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic)
    alice.send(publish(topic, "before"), disconnect(), publish(topic, "after"))
    alice.expect_closed()
    bob.receive(payload="before")
    bob.quiet_after(connect(V311, client_id=alice.client_id))


@pytest.mark.rule("v3.1.1 MQTT-3.14.4-3")
def test_disconnect_drops_the_will_even_when_it_comes_with_other_packets(connect, topic):
    bob = connect(V311)
    bob.subscribe(topic)
    alice = connect(V311, will=Will(topic, "gone"))
    alice.send(publish(topic, "x"), disconnect())
    alice.expect_closed()
    bob.receive(payload="x")
    bob.quiet_after(connect(V311, client_id=alice.client_id))


@pytest.mark.rule("v3.1.1 MQTT-4.8.0-1")
def test_disconnect_with_a_body_is_a_protocol_error(connect, topic):
    """A reason code belongs to 5.0; here it is one byte too many, and the will goes out."""
    bob = connect(V311)
    bob.subscribe(topic)
    alice = connect(V311, will=Will(topic, "gone"))
    alice.send(disconnect().but(tail=b"\0"))
    alice.expect_closed()
    bob.receive(payload="gone")
