# SPDX-License-Identifier: Apache-2.0
"""Receive maximum, the broker's and the client's: flow control of QoS 1 and 2 (3.3.4)."""

import pytest

from kit import (PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK, V5, pingreq,
                 puback, pubcomp, publish, pubrec, pubrel, subscribe, unsubscribe)

RECEIVE_MAXIMUM_EXCEEDED = 0x93
KEPT = {"session_expiry_interval": 60}
FIVE = {"mqtt": {"receive_maximum": 5}}


# ---- the broker's -------------------------------------------------------------------------------

@pytest.fixture
def alice(broker_with, connect):
    """A client of a broker with a receive maximum of 5."""
    client = connect(V5, broker=broker_with(FIVE))
    assert client.connack.properties.get("receive_maximum") == 5
    return client


def _open(alice, topic, numbers):
    """QoS 2 exchanges that stop short of PUBREL."""
    for number in numbers:
        alice.send(publish(topic, qos=2, id=number))
        alice.expect(PUBREC, id=number)


@pytest.mark.rule("v5 MQTT-3.3.4-7", "X5.0-3.3.4-5")
@pytest.mark.parametrize("qos", [1, 2])
def test_one_message_more_than_the_receive_maximum_is_an_error(alice, topic, qos):
    _open(alice, topic, range(1, 6))
    alice.send(publish(topic, qos=qos, id=6))
    alice.expect_closed(RECEIVE_MAXIMUM_EXCEEDED)


@pytest.mark.rule("v5 MQTT-3.3.4-7")
def test_pubcomp_makes_room_for_another_message(alice, topic):
    _open(alice, topic, range(1, 6))
    for number in range(1, 6):
        alice.send(pubrel(number))
        alice.expect(PUBCOMP, id=number)
    _open(alice, topic, range(11, 16))
    alice.barrier()


@pytest.mark.rule("v5 MQTT-3.3.4-7")
def test_puback_makes_room_for_another_message(alice, topic):
    _open(alice, topic, range(1, 5))
    for number in range(5, 25):
        alice.publish(topic, qos=1, id=number)
    alice.barrier()


@pytest.mark.rule("v5 MQTT-3.3.4-7")
def test_pubrec_that_refuses_makes_room_for_another_message(alice, topic):
    _open(alice, topic, range(1, 5))
    for number in range(5, 15):
        alice.send(publish("$SYS/refused", qos=2, id=number))
        assert alice.expect(PUBREC, id=number).reason >= 0x80
    alice.barrier()


@pytest.mark.rule("v5 MQTT-3.3.4-7")
def test_a_repeated_publish_does_not_count_twice(broker_with, connect, client_id, topic):
    broker = broker_with(FIVE)
    alice = connect(V5, client_id, broker=broker, properties=KEPT)
    _open(alice, topic, range(1, 6))
    alice.close()
    again = connect(V5, client_id, broker=broker, clean_start=False, properties=KEPT)
    for number in range(1, 6):
        again.send(publish(topic, qos=2, id=number, dup=True))
        again.expect(PUBREC, id=number)
    for number in range(1, 6):
        again.send(pubrel(number))
        again.expect(PUBCOMP, id=number, reason=0)
    _open(again, topic, range(1, 6))
    again.barrier()


@pytest.mark.rule("v5 MQTT-3.3.4-7")
def test_qos_0_does_not_count_for_the_receive_maximum(alice, topic):
    _open(alice, topic, range(1, 6))
    for _ in range(10):
        alice.publish(topic, qos=0)
    alice.barrier()


@pytest.mark.rule("v5 MQTT-3.3.4-8")
def test_other_packets_are_answered_while_the_receive_maximum_is_reached(alice, topic):
    _open(alice, topic, range(1, 6))
    alice.send(pingreq(), subscribe(topic, id=7), unsubscribe(topic, id=8), pubrel(1))
    alice.expect(PINGRESP)
    alice.expect(SUBACK, id=7)
    alice.expect(UNSUBACK, id=8)
    alice.expect(PUBCOMP, id=1)


# ---- the client's -------------------------------------------------------------------------------

def _full(connect, topic, maximum, qos, messages):
    """A subscriber whose window is full, a publisher, and the identifiers in the window."""
    alice, bob = connect(V5, properties={"receive_maximum": maximum}), connect(V5)
    alice.subscribe(topic, qos)
    for number in range(messages):
        bob.publish(topic, f"{number}", qos=qos)
    numbers = [alice.expect(PUBLISH, payload=f"{number}", qos=qos).id for number in range(maximum)]
    alice.expect_quiet()
    return alice, bob, numbers


@pytest.mark.rule("v5 MQTT-3.3.4-9")
@pytest.mark.parametrize("maximum", [1, 3])
def test_the_next_message_comes_when_one_is_acknowledged(connect, topic, maximum):
    alice, _, numbers = _full(connect, topic, maximum, qos=1, messages=8)
    for payload in range(maximum, 8):
        alice.send(puback(numbers.pop(0)))
        numbers.append(alice.expect(PUBLISH, payload=f"{payload}", qos=1).id)
        alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.3.4-9")
def test_pubrec_does_not_make_room_in_the_clients_window_but_pubcomp_does(connect, topic):
    alice, _, (first, second) = _full(connect, topic, 2, qos=2, messages=3)
    alice.send(pubrec(first), pubrec(second))
    alice.expect(PUBREL, id=first)
    alice.expect(PUBREL, id=second)
    alice.expect_quiet()
    alice.send(pubcomp(second))
    alice.expect(PUBLISH, payload="2", qos=2)


@pytest.mark.rule("v5 MQTT-3.3.4-9")
@pytest.mark.parametrize("reason", [0x80, 0x97])
def test_pubrec_that_refuses_makes_room_in_the_clients_window(connect, topic, reason):
    alice, _, (first, _) = _full(connect, topic, 2, qos=2, messages=3)
    alice.send(pubrec(first, reason))
    alice.expect(PUBLISH, payload="2", qos=2)
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.3.4-9")
def test_puback_that_refuses_makes_room_in_the_clients_window(connect, topic):
    alice, _, (first, _) = _full(connect, topic, 2, qos=1, messages=3)
    alice.send(puback(first, 0x80))
    alice.expect(PUBLISH, payload="2", qos=1)
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.3.4-9")
def test_qos_1_and_qos_2_share_the_clients_window(connect, topic):
    alice, bob = connect(V5, properties={"receive_maximum": 2}), connect(V5)
    alice.subscribe(topic, qos=2)
    for qos in (1, 2, 1, 2):
        bob.publish(topic, f"{qos}", qos=qos)
    first = alice.expect(PUBLISH, qos=1).id
    alice.expect(PUBLISH, qos=2)
    alice.expect_quiet()
    alice.send(puback(first))
    alice.expect(PUBLISH, qos=1)
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.3.4-9")
def test_the_window_is_that_of_the_connection_when_messages_are_sent_again(
        connect, client_id, topic):
    alice = connect(V5, client_id, properties={**KEPT, "receive_maximum": 5})
    bob = connect(V5)
    alice.subscribe(topic, qos=1)
    for number in range(8):
        bob.publish(topic, f"{number}", qos=1)
    for number in range(5):
        alice.expect(PUBLISH, payload=f"{number}")
    alice.close()
    again = connect(V5, client_id, clean_start=False, properties={**KEPT, "receive_maximum": 2})
    numbers = [again.expect(PUBLISH, payload=f"{number}", dup=True).id for number in range(2)]
    again.expect_quiet()
    for number in range(2, 8):
        again.send(puback(numbers.pop(0)))
        numbers.append(again.expect(PUBLISH, payload=f"{number}", dup=number < 5).id)
        again.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.3.4-9")
def test_without_a_receive_maximum_the_window_is_not_small(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(topic, qos=1)
    for number in range(200):
        bob.publish(topic, f"{number}", qos=1)
    for number in range(200):
        alice.expect(PUBLISH, payload=f"{number}")


@pytest.mark.rule("v5 MQTT-3.3.4-9")
def test_qos_0_passes_a_full_window(connect, topic):
    alice, bob, _ = _full(connect, topic, 1, qos=1, messages=2)
    bob.publish(topic, "in passing", qos=0)
    alice.expect(PUBLISH, payload="in passing", qos=0)


@pytest.mark.rule("v5 MQTT-3.3.4-10")
def test_other_packets_pass_a_full_window(connect, topic):
    alice, _, (number,) = _full(connect, topic, 1, qos=2, messages=3)
    alice.send(pingreq(), subscribe(f"{topic}/a", id=7), unsubscribe(f"{topic}/a", id=8),
               publish(f"{topic}/b", qos=1, id=9), publish(f"{topic}/b", qos=2, id=10))
    for type in (PINGRESP, SUBACK, UNSUBACK, PUBACK, PUBREC):
        alice.expect(type)
    alice.send(pubrel(10), pubrec(number))
    alice.expect(PUBCOMP, id=10)
    alice.expect(PUBREL, id=number)
    alice.expect_quiet()
