# SPDX-License-Identifier: Apache-2.0
"""Packet identifiers (2.2.1): who gives which, and what they come back on."""

import pytest

from kit import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK, V5, puback, pubcomp,
                 publish, pubrec, pubrel, subscribe, unsubscribe)

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82


@pytest.mark.rule("v5 MQTT-2.2.1-2")
def test_a_qos_0_publish_has_no_packet_identifier_either_way(connect, topic):
    alice = connect(V5)
    alice.subscribe(topic, qos=2)
    alice.publish(topic, b"\x00\x01rest")
    packet = alice.receive(qos=0, payload=b"\x00\x01rest")
    assert packet.size == 2 + 2 + len(topic) + 1 + 6


@pytest.mark.rule("v5 MQTT-2.2.1-3")
@pytest.mark.parametrize("packet", [publish("t", qos=1, id=0), publish("t", qos=2, id=0),
                                    subscribe("t", id=0), unsubscribe("t", id=0)],
                         ids=["publish-qos-1", "publish-qos-2", "subscribe", "unsubscribe"])
def test_packet_identifier_0_is_an_error(connect, packet):
    alice = connect(V5)
    alice.send(packet)
    alice.expect_closed({MALFORMED, PROTOCOL_ERROR})


@pytest.mark.rule("v5 MQTT-2.2.1-4")
@pytest.mark.parametrize("qos", [1, 2])
def test_no_identifier_is_given_to_a_second_publish_while_the_first_is_open(connect, topic, qos):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(topic, qos)
    for _ in range(20):
        bob.publish(topic, qos=qos)
    given = [alice.expect(PUBLISH, qos=qos).id for _ in range(20)]
    assert len(set(given)) == 20

    closing, open = given[::2], given[1::2]
    for number in closing:
        alice.send(puback(number) if qos == 1 else pubrec(number, 0x80))
    for _ in range(10):
        bob.publish(topic, qos=qos)
    more = [alice.expect(PUBLISH, qos=qos).id for _ in range(10)]
    assert len(set(more)) == 10 and not set(more) & set(open)


@pytest.mark.rule("v5 MQTT-2.2.1-4")
def test_an_identifier_in_use_is_not_given_again_however_many_messages_follow(connect, topic):
    """Half of all identifiers later the others wait for the first to be acknowledged."""
    alice, bob = connect(V5, properties={"receive_maximum": 500}), connect(V5)
    alice.subscribe(topic, qos=1)
    bob.publish(topic, qos=1)
    open = alice.expect(PUBLISH, qos=1).id

    def send(count):
        bob.send(*(publish(topic, qos=1, id=number) for number in range(1, count + 1)))
        for number in range(1, count + 1):
            bob.expect(PUBACK, id=number)

    def acknowledge(count):
        seen = [alice.expect(PUBLISH).id for _ in range(count)]
        assert open not in seen
        alice.send(*(puback(number) for number in seen))

    rounds, last = divmod(32_767, 400)
    for _ in range(rounds):
        send(400)
        acknowledge(400)
    send(400)
    acknowledge(last)
    alice.expect_quiet()
    alice.send(puback(open))
    acknowledge(400 - last)


@pytest.mark.rule("v5 MQTT-2.2.1-5")
@pytest.mark.parametrize("number", [1, 0x1234, 65_535])
def test_the_servers_acknowledgements_carry_the_identifier_of_the_publish(connect, topic, number):
    alice = connect(V5)
    alice.send(publish(topic, qos=1, id=number))
    alice.expect(PUBACK, id=number)
    alice.send(publish(topic, qos=2, id=number))
    alice.expect(PUBREC, id=number)
    alice.send(pubrel(number))
    alice.expect(PUBCOMP, id=number)


@pytest.mark.rule("v5 MQTT-2.2.1-5")
def test_pubrel_carries_the_identifier_of_its_publish_whatever_their_order(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(topic, qos=2)
    for _ in range(3):
        bob.publish(topic, qos=2)
    first, second, third = (alice.expect(PUBLISH, qos=2).id for _ in range(3))
    for number in (second, third, first):
        alice.send(pubrec(number))
        alice.expect(PUBREL, id=number)
        alice.send(pubcomp(number))
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-2.2.1-6")
@pytest.mark.parametrize("number", [1, 0x1234, 65_535])
def test_suback_and_unsuback_carry_the_identifier_of_what_they_answer(connect, topic, number):
    alice = connect(V5)
    alice.send(subscribe(topic, id=number))
    alice.expect(SUBACK, id=number)
    alice.send(unsubscribe(topic, id=number))
    alice.expect(UNSUBACK, id=number)


@pytest.mark.rule("X5.0-2.2.1-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_the_same_identifier_may_be_in_use_in_both_directions_at_once(connect, topic, qos):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(topic, qos)
    bob.publish(topic, "to alice", qos=qos)
    number = alice.expect(PUBLISH, qos=qos, payload="to alice").id

    answer = alice.publish(f"{topic}/other", "from alice", qos=qos, id=number)
    assert answer.reason in (0x00, 0x10)
    alice.send(puback(number) if qos == 1 else pubrec(number))
    if qos == 2:
        alice.expect(PUBREL, id=number, reason=0)
        alice.send(pubcomp(number))
    alice.expect_quiet()
