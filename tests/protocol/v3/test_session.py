# SPDX-License-Identifier: Apache-2.0
"""Clean session 0 and 1: what outlives a connection."""

import time

import pytest

from kit import CONNACK, PUBLISH, V311, publish, wire


def persistent(connect, client_id=None, **fields):
    return connect(V311, client_id=client_id, clean_start=False, **fields)


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-4", "v3.1.1 MQTT-3.1.3-2", "v3.1.1 MQTT-4.1.0-1")
def test_clean_session_0_resumes_the_subscriptions_of_that_client_id(connect, topic, client_id):
    persistent(connect, client_id).subscribe(topic, 1)
    alice, other = persistent(connect, client_id), persistent(connect)
    other.publish(topic, "x", 1)
    alice.receive(payload="x", qos=1)
    other.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-5", "v3.1.1 MQTT-4.5.0-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_wait_for_a_session_whose_client_is_away(connect, topic, client_id, qos):
    alice = persistent(connect, client_id)
    alice.subscribe(topic + "/#", 2)
    alice.disconnect()
    bob = connect(V311)
    for n in range(50):
        bob.publish(f"{topic}/{n}", f"{n}", qos)
    alice = persistent(connect, client_id)
    for n in range(50):
        alice.receive(topic=f"{topic}/{n}", payload=f"{n}", qos=qos, dup=False)
    alice.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-5")
def test_messages_wait_also_after_a_lost_connection(connect, topic, client_id):
    alice = persistent(connect, client_id)
    alice.subscribe(topic, 1)
    alice.close()
    connect(V311).publish(topic, "x", 1)
    persistent(connect, client_id).receive(payload="x")


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-6")
def test_clean_session_1_drops_the_session_before(connect, topic, client_id):
    """Its subscriptions and its messages; nor do they come back later."""
    alice, bob = persistent(connect, client_id), connect(V311)
    alice.subscribe(topic, 1)
    alice.disconnect()
    bob.publish(topic, "x", 1)
    clean = connect(V311, client_id=client_id)
    bob.publish(topic, "y", 1)
    clean.quiet_after(bob)
    clean.disconnect()
    later = persistent(connect, client_id)
    assert not later.connack.session_present
    later.quiet_after(bob)


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-6")
def test_session_of_clean_session_1_ends_with_its_connection(connect, topic, client_id):
    connect(V311, client_id=client_id).subscribe(topic, 1)
    later, bob = persistent(connect, client_id), connect(V311)
    assert not later.connack.session_present
    bob.publish(topic, "x", 1)
    later.quiet_after(bob)


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-6")
def test_unfinished_qos_2_of_a_dropped_session_is_forgotten(connect, topic, client_id):
    """The same packet id is a new message in the new session."""
    bob = connect(V311)
    bob.subscribe(topic, 2)
    alice = persistent(connect, client_id)
    alice.send(publish(topic, "old", 2, 7))
    alice.expect(wire.PUBREC, id=7)
    alice.close()
    alice = connect(V311, client_id=client_id)
    alice.publish(topic, "new", 2, id=7)
    while bob.receive(payload={b"old", b"new"}).payload != b"new":
        pass


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-7", "X3.1.1-4.1-1")
@pytest.mark.parametrize("clean", [True, False])
def test_retained_messages_outlive_the_session_of_their_publisher(connect, topic, client_id, clean):
    alice = connect(V311, client_id=client_id, clean_start=clean)
    alice.publish(topic, "kept", 1, retain=True)
    alice.disconnect()
    connect(V311, client_id=client_id).disconnect()
    bob = connect(V311)
    bob.subscribe(topic)
    bob.receive(payload="kept", retain=True)


@pytest.mark.rule("v3.1.1 MQTT-3.1.4-3")
def test_clean_session_is_carried_out_on_takeover_too(connect, topic, client_id):
    """The older connection is thrown out, and its session is resumed or dropped as asked."""
    persistent(connect, client_id).subscribe(topic, 1)
    resumed, bob = persistent(connect, client_id), connect(V311)
    assert resumed.connack.session_present
    bob.publish(topic, "x", 1)
    resumed.receive(payload="x")
    dropped = connect(V311, client_id=client_id)
    assert not dropped.connack.session_present
    bob.publish(topic, "y", 1)
    dropped.quiet_after(bob)


@pytest.mark.rule("v3.1.1 MQTT-3.2.0-1")
def test_connack_comes_before_the_messages_that_waited(connect, dial, topic, client_id):
    alice = persistent(connect, client_id)
    alice.subscribe(topic, 1)
    alice.disconnect()
    connect(V311).publish(topic, "x", 1)
    alice = dial(V311)
    alice.send(wire.connect(client_id, clean_start=False))
    alice.expect(CONNACK, reason=0, session_present=True)
    alice.receive(payload="x")


@pytest.mark.rule("v3.1.1 MQTT-3.2.2-1")
def test_session_present_is_0_with_clean_session_1(connect, client_id):
    persistent(connect, client_id).disconnect()
    assert not connect(V311, client_id=client_id).connack.session_present


@pytest.mark.rule("v3.1.1 MQTT-3.2.2-2")
@pytest.mark.parametrize("leave", ["disconnect", "close"])
def test_session_present_is_1_when_there_is_one(connect, client_id, leave):
    getattr(persistent(connect, client_id), leave)()
    assert persistent(connect, client_id).connack.session_present


@pytest.mark.rule("v3.1.1 MQTT-3.2.2-3")
def test_session_present_is_0_when_there_is_none(connect, client_id):
    assert not persistent(connect, client_id).connack.session_present


@pytest.mark.rule("v3.1.1 MQTT-4.1.0-2")
def test_session_with_a_connection_does_not_end(connect, topic, broker_with):
    """However short the time that the broker keeps sessions without one."""
    broker = broker_with({"mqtt": {"session_expiry_max": "1s"}})
    alice = persistent(connect, broker=broker)
    alice.subscribe(topic, 1)
    time.sleep(2.2)
    alice.publish(topic, "x", 1)
    alice.receive(payload="x")


@pytest.mark.rule("v3.1.1 MQTT-4.4.0-1", "v3.1.1 MQTT-3.3.1-1", "v3.1.1 MQTT-2.3.1-4")
@pytest.mark.parametrize("qos", [1, 2])
def test_unacknowledged_publish_is_sent_again_with_dup_and_its_packet_id(
        connect, topic, client_id, qos):
    alice, bob = persistent(connect, client_id), connect(V311)
    alice.subscribe(topic, 2)
    bob.publish(topic, "x", qos)
    number = alice.expect(PUBLISH, dup=False).id
    alice.close()
    alice = persistent(connect, client_id)
    alice.receive(payload="x", qos=qos, dup=True, id=number)
    alice.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-4.4.0-1", "v3.1.1 MQTT-4.3.3-1")
def test_unacknowledged_pubrel_is_sent_again_instead_of_its_publish(connect, topic, client_id):
    alice, bob = persistent(connect, client_id), connect(V311)
    alice.subscribe(topic, 2)
    bob.publish(topic, "x", 2)
    number = alice.expect(PUBLISH).id
    alice.send(wire.pubrec(number))
    alice.expect(wire.PUBREL, id=number)
    alice.close()
    alice = persistent(connect, client_id)
    alice.expect(wire.PUBREL, id=number)
    alice.send(wire.pubcomp(number))
    alice.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-4.4.0-1")
def test_acknowledged_messages_are_not_sent_again(connect, topic, client_id):
    alice, bob = persistent(connect, client_id), connect(V311)
    alice.subscribe(topic, 2)
    for qos in (1, 2):
        bob.publish(topic, "x", qos)
        alice.receive(payload="x", qos=qos)
    alice.barrier()
    alice.close()
    alice = persistent(connect, client_id)
    alice.quiet_after(bob)


@pytest.mark.rule("X3.1.1-4.4-1")
def test_nothing_is_sent_again_on_a_live_connection(connect, topic):
    """3.1.1 would allow it; this broker does as 5.0 says."""
    alice, bob = connect(V311), connect(V311)
    alice.subscribe(topic, 2)
    bob.publish(topic, "x", 1)
    alice.expect(PUBLISH)
    alice.expect_nothing(1500)


@pytest.mark.rule("X3.1.1-3.1.2.4-1")
def test_qos_0_does_not_wait_for_a_client_that_is_away(connect, topic, client_id):
    """Queueing it is optional, and off by default."""
    alice, bob = persistent(connect, client_id), connect(V311)
    alice.subscribe(topic, 1)
    alice.disconnect()
    bob.publish(topic, "lost", 0)
    bob.publish(topic, "kept", 1)
    persistent(connect, client_id).receive(payload="kept")
