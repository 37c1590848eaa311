# SPDX-License-Identifier: Apache-2.0
"""The client's maximum packet size (3.1.2.11.4): nothing larger is sent, nothing waits for it."""

import pytest

from kit import CONNACK, PUBLISH, V5, Closed, unique, wire

KEPT = {"session_expiry_interval": 60}
SIZE = 200


def _payload(topic, size, qos=0):
    """The payload that makes a PUBLISH of that size (above 130 bytes)."""
    return b"x" * (size - 3 - 2 - len(topic) - (2 if qos else 0) - 1)


@pytest.mark.rule("v5 MQTT-3.1.2-24", "v5 MQTT-3.1.2-25")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_of_the_maximum_packet_size_is_sent_and_a_larger_one_is_not(connect, topic, qos):
    alice, bob = connect(V5, properties={"maximum_packet_size": SIZE}), connect(V5)
    alice.subscribe(topic, qos)
    bob.publish(topic, _payload(topic, SIZE + 1, qos), qos=qos)
    bob.publish(topic, _payload(topic, SIZE, qos), qos=qos)
    assert alice.receive(qos=qos).size == SIZE
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.1.2-24")
def test_properties_count_for_the_packet_size(connect, topic):
    alice, bob = connect(V5, properties={"maximum_packet_size": SIZE}), connect(V5)
    alice.subscribe(topic)
    bob.publish(topic, properties={"user_property": [("n", "x" * SIZE)]})
    bob.publish(topic, _payload(topic, SIZE), properties={"content_type": "x"})
    bob.publish(topic, "small", properties={"content_type": "x"})
    alice.receive(payload="small")


@pytest.mark.rule("v5 MQTT-3.1.2-24")
def test_subscription_identifiers_count_for_the_packet_size(connect, topic):
    alice, bob = connect(V5, properties={"maximum_packet_size": SIZE}), connect(V5)
    alice.subscribe(topic, properties={"subscription_identifier": 268_435_455})
    bob.publish(topic, _payload(topic, SIZE))
    bob.publish(topic, _payload(topic, SIZE - 5))
    assert alice.receive().size == SIZE
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.1.2-24")
def test_large_messages_keep_within_a_large_packet_size(connect, topic):
    size = 200_000
    alice, bob = connect(V5, properties={"maximum_packet_size": size}), connect(V5)
    alice.subscribe(topic, qos=1)
    for extra in (1, 0):  # three bytes of remaining length, not two
        bob.publish(topic, _payload(topic, size - 1 + extra, 1), qos=1)
    assert alice.receive(qos=1).size == size
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.1.2-24")
def test_other_clients_get_what_is_too_large_for_one(connect, topic):
    alice, bob = connect(V5, properties={"maximum_packet_size": SIZE}), connect(V5)
    alice.subscribe(topic)
    bob.subscribe(topic)
    bob.publish(topic, _payload(topic, SIZE + 1))
    assert bob.receive().size == SIZE + 1
    alice.quiet_after(bob)


@pytest.mark.rule("v5 MQTT-3.1.2-25")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_too_large_to_send_takes_no_place_in_the_window(connect, topic, qos):
    alice = connect(V5, properties={"maximum_packet_size": SIZE, "receive_maximum": 1})
    bob = connect(V5)
    alice.subscribe(topic, qos)
    for _ in range(3):
        bob.publish(topic, _payload(topic, SIZE + 1, qos), qos=qos)
    bob.publish(topic, "small", qos=qos)
    alice.receive(payload="small", qos=qos)


@pytest.mark.rule("v5 MQTT-3.1.2-25")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_queued_message_that_is_too_large_on_return_is_dropped(connect, client_id, topic, qos):
    alice, bob = connect(V5, client_id, properties=KEPT), connect(V5)
    alice.subscribe(topic, qos)
    alice.disconnect()
    bob.publish(topic, _payload(topic, SIZE + 1, qos), qos=qos)
    bob.publish(topic, "small", qos=qos)
    small = {**KEPT, "maximum_packet_size": SIZE}
    again = connect(V5, client_id, clean_start=False, properties=small)
    again.receive(payload="small", qos=qos)
    again.disconnect()
    large = connect(V5, client_id, clean_start=False)
    large.quiet_after(bob)


@pytest.mark.rule("v5 MQTT-3.1.2-25", "v5 MQTT-3.1.2-24")
def test_an_unacknowledged_message_that_is_too_large_on_return_is_dropped(
        connect, client_id, topic):
    alice, bob = connect(V5, client_id, properties=KEPT), connect(V5)
    alice.subscribe(topic, qos=1)
    bob.publish(topic, _payload(topic, SIZE + 1, 1), qos=1)
    alice.expect(PUBLISH)
    alice.close()
    again = connect(V5, client_id, clean_start=False,
                    properties={"maximum_packet_size": SIZE, "receive_maximum": 1})
    bob.publish(topic, "small", qos=1)
    again.receive(payload="small", qos=1)


@pytest.mark.rule("v5 MQTT-3.1.2-24", "v5 MQTT-3.3.1-9")
def test_a_retained_message_that_is_too_large_is_not_sent(connect, topic):
    alice, bob = connect(V5, properties={"maximum_packet_size": SIZE}), connect(V5)
    bob.publish(f"{topic}/large", _payload(f"{topic}/large", SIZE + 1, 1), qos=1, retain=True)
    bob.publish(f"{topic}/small", "small", qos=1, retain=True)
    alice.subscribe(f"{topic}/#", qos=1)
    alice.receive(topic=f"{topic}/small", payload="small")
    alice.quiet_after(bob)


@pytest.mark.rule("v5 MQTT-3.1.2-24")
def test_a_message_too_large_to_send_leaves_no_topic_alias_behind(connect, topic):
    alice = connect(V5, properties={"maximum_packet_size": SIZE, "topic_alias_maximum": 5})
    bob = connect(V5)
    alice.subscribe(topic)
    bob.publish(topic, _payload(topic, SIZE + 1))
    for number in range(3):
        bob.publish(topic, f"{number}")
        alice.receive(topic=topic, payload=f"{number}")  # fails if the alias has no name yet


@pytest.mark.rule("X5.0-3.1.2.11.4-2", "v5 MQTT-3.1.2-24")
def test_a_message_too_large_for_a_member_of_a_group_harms_nobody(connect, topic):
    small = connect(V5, properties={"maximum_packet_size": SIZE})
    large, bob = connect(V5), connect(V5)
    for member in (small, large):
        member.subscribe(f"$share/group/{topic}")
    for _ in range(4):
        bob.publish(topic, _payload(topic, SIZE + 1))
    small.quiet_after(bob)
    large.receive()


@pytest.mark.rule("v5 MQTT-3.1.2-24")
def test_a_disconnect_keeps_within_the_clients_packet_size(connect):
    alice = connect(V5, properties={"maximum_packet_size": 30})
    alice.send(wire.connect(unique()))
    packet = alice.expect_closed()
    assert packet is None or packet.size <= 30


@pytest.mark.rule("v5 MQTT-3.1.2-24")
@pytest.mark.parametrize("size", [1, 4, 5, 10, 20])
def test_connack_keeps_within_the_clients_packet_size(dial, client_id, size):
    alice = dial(V5)
    alice.send(wire.connect(client_id, properties={"maximum_packet_size": size}))
    try:
        assert alice.expect(CONNACK).size <= size
    except Closed:
        pass  # it cannot be told less
