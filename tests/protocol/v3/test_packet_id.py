# SPDX-License-Identifier: Apache-2.0
"""Packet identifiers."""

import pytest

from kit import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK, V311, puback, publish,
                 pubcomp, pubrec, pubrel, subscribe, unsubscribe)


@pytest.mark.rule("v3.1.1 MQTT-2.3.1-1")
@pytest.mark.parametrize("packet", [
    subscribe("a", id=0), unsubscribe("a", id=0), publish("a", "x", 1, 0), publish("a", "x", 2, 0)],
    ids=["SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH 1", "PUBLISH 2"])
def test_packet_id_zero_ends_the_connection(connect, packet):
    alice = connect(V311)
    alice.send(packet)
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-2.3.1-4", "v3.1.1 MQTT-4.3.2-1")
def test_messages_in_flight_to_a_client_have_different_packet_ids(connect, topic):
    """Nor is an identifier free before the handshake is over."""
    alice, bob = connect(V311), connect(V311)
    bob.subscribe([(topic + "/1", 1), (topic + "/2", 2)])
    for n in range(8):
        alice.publish(f"{topic}/{1 + n % 2}", f"{n}", qos=1 + n % 2)
    first = [bob.expect(PUBLISH) for _ in range(8)]
    half = next(p for p in first if p.qos == 2)
    bob.send(pubrec(half.id))
    bob.expect(PUBREL, id=half.id)
    for n in range(4):
        alice.publish(f"{topic}/1", "more", qos=1)
    ids = [p.id for p in first] + [bob.expect(PUBLISH).id for _ in range(4)]
    assert len(set(ids)) == 12


@pytest.mark.rule("v3.1.1 MQTT-2.3.1-4")
def test_packet_ids_are_given_again_after_the_handshake(connect, topic):
    """More messages than there are identifiers are no problem while each is acknowledged."""
    alice = connect(V311)
    alice.subscribe(topic, 1)
    received = 0
    for start in range(0, 66_000, 200):
        alice.send(*[publish(topic, b"x", 1, 1 + (start + n) % 65535) for n in range(200)])
        answers = []
        for _ in range(400):
            packet = alice.next_packet()
            answers += [puback(packet.id)] if packet.type == PUBLISH else []
            if len(answers) == 10:
                alice.send(*answers)
                received, answers = received + 10, []
    assert received == 66_000


@pytest.mark.rule("v3.1.1 MQTT-2.3.1-5")
def test_qos_0_has_no_packet_id(connect, topic):
    """Neither way: what stands where it would be is payload."""
    alice = connect(V311)
    alice.subscribe(topic, 2)
    alice.send(publish(topic, b"\x00\x07abc"))
    alice.receive(payload=b"\x00\x07abc", qos=0)


@pytest.mark.rule("v3.1.1 MQTT-2.3.1-6")
@pytest.mark.parametrize("number", [1, 0x0100, 0x1234, 65535])
def test_acknowledgements_carry_the_packet_id_of_the_publish(connect, topic, number):
    alice = connect(V311)
    alice.send(publish(topic, "x", 1, number))
    alice.expect(PUBACK, id=number)
    alice.send(publish(topic, "x", 2, number))
    alice.expect(PUBREC, id=number)
    alice.send(pubrel(number))
    alice.expect(PUBCOMP, id=number)


@pytest.mark.rule("v3.1.1 MQTT-2.3.1-6")
def test_pubrel_from_the_broker_carries_the_packet_id_of_its_publish(connect, topic):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 2)
    alice.publish(topic, "1", 2)
    alice.publish(topic, "2", 2)
    first, second = bob.expect(PUBLISH), bob.expect(PUBLISH)
    bob.send(pubrec(second.id))
    bob.expect(PUBREL, id=second.id)
    bob.send(pubrec(first.id))
    bob.expect(PUBREL, id=first.id)
    bob.send(pubcomp(first.id), pubcomp(second.id))


@pytest.mark.rule("v3.1.1 MQTT-2.3.1-7")
@pytest.mark.parametrize("number", [1, 0x0100, 0x1234, 65535])
def test_suback_and_unsuback_carry_the_packet_id_of_the_request(connect, topic, number):
    alice = connect(V311)
    alice.send(subscribe(topic, id=number))
    alice.expect(SUBACK, id=number)
    alice.send(unsubscribe(topic, id=number))
    alice.expect(UNSUBACK, id=number)


@pytest.mark.rule("X3.1.1-2.3.1-1")
def test_both_directions_use_packet_ids_of_their_own(connect, topic):
    """The same number in flight both ways at once is two handshakes."""
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 2)
    alice.publish(topic, "to bob", 2)
    number = bob.expect(PUBLISH).id
    bob.send(publish(topic + "/other", "from bob", 2, number))
    bob.expect(PUBREC, id=number)
    bob.send(pubrec(number))
    bob.expect(PUBREL, id=number)
    bob.send(pubrel(number))
    bob.expect(PUBCOMP, id=number)
    bob.send(pubcomp(number))
    bob.expect_quiet()
