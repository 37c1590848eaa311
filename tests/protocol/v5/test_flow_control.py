# SPDX-License-Identifier: Apache-2.0
"""The send quota towards a client (4.9)."""

import pytest

from kit import (PINGRESP, PUBACK, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK, V5, pingreq, puback,
                 pubcomp, publish, pubrec, subscribe, unsubscribe)

LASTING = {"session_expiry_interval": 600}


@pytest.fixture
def flood(connect, topic):
    """flood(receive_maximum, qos, count): a subscriber of that window; more waits for it."""
    def start(receive_maximum, qos=1, count=20, client_id=None):
        bob = connect(V5, client_id, properties={**LASTING, "receive_maximum": receive_maximum})
        bob.subscribe(topic, qos)
        alice = connect(V5)
        for number in range(count):
            alice.publish(topic, str(number), qos)
        return bob
    return start


def _window(bob, count, qos=1):
    """Exactly `count` PUBLISHes come; their identifiers."""
    numbers = [bob.expect(PUBLISH, qos=qos).id for _ in range(count)]
    bob.expect_quiet()
    return numbers


@pytest.mark.rule("v5 MQTT-4.9.0-1", "v5 MQTT-4.9.0-2")
@pytest.mark.parametrize("receive_maximum", [1, 2, 7])
@pytest.mark.parametrize("qos", [1, 2])
def test_no_more_messages_are_in_flight_than_receive_maximum(flood, receive_maximum, qos):
    _window(flood(receive_maximum, qos), receive_maximum, qos)


@pytest.mark.rule("v5 MQTT-4.9.0-1")
def test_qos_1_and_2_share_one_quota(connect, topic):
    alice, bob = connect(V5), connect(V5, properties={"receive_maximum": 3})
    bob.subscribe(topic, 2)
    for number in range(8):
        alice.publish(topic, str(number), 1 + number % 2)
    for number in range(3):
        bob.expect(PUBLISH, payload=str(number), qos=1 + number % 2)
    bob.expect_quiet()


@pytest.mark.rule("v5 MQTT-4.9.0-2", "X5.0-4.9-1")
def test_each_puback_lets_one_more_message_go(flood):
    bob = flood(3)
    numbers = _window(bob, 3)
    for _ in range(5):
        bob.send(puback(numbers.pop(0)))
        numbers += _window(bob, 1)
    bob.send(puback(numbers[0]), puback(numbers[2]))
    _window(bob, 2)


@pytest.mark.rule("X5.0-4.9-1")
def test_pubcomp_and_not_pubrec_lets_one_more_message_go(flood):
    bob = flood(1, qos=2)
    for _ in range(4):
        number, = _window(bob, 1, qos=2)
        bob.send(pubrec(number))
        bob.expect(PUBREL, id=number)
        bob.expect_quiet()
        bob.send(pubcomp(number))


@pytest.mark.rule("X5.0-4.9-1")
def test_a_refusing_pubrec_lets_one_more_message_go(flood):
    bob = flood(2, qos=2)
    numbers = _window(bob, 2, qos=2)
    bob.send(pubrec(numbers[0], 0x80))
    numbers += _window(bob, 1, qos=2)
    bob.send(pubrec(numbers[1], 0x97), pubrec(numbers[2], 0x83))
    _window(bob, 2, qos=2)


@pytest.mark.rule("X5.0-4.9-1")
def test_acknowledgements_of_nothing_do_not_raise_the_quota(flood):
    bob = flood(2)
    numbers = _window(bob, 2)
    unknown = max(numbers) + 100
    for _ in range(5):
        bob.send(puback(unknown), pubcomp(unknown))
    bob.expect_quiet()
    bob.send(puback(numbers[0]), puback(numbers[0]), pubcomp(numbers[0]))
    _window(bob, 1)


@pytest.mark.rule("X5.0-4.9-1")
@pytest.mark.parametrize("before, after", [(2, 5), (5, 2)])
def test_the_quota_starts_anew_on_every_connection(connect, flood, client_id, before, after):
    bob = flood(before, client_id=client_id)
    numbers = _window(bob, before)
    bob.close()
    bob = connect(V5, client_id, clean_start=False,
                  properties={**LASTING, "receive_maximum": after})
    again = _window(bob, after)
    assert again[:before] == numbers[:after]


@pytest.mark.rule("v5 MQTT-4.9.0-3")
def test_other_packets_are_answered_while_the_quota_is_0(flood, topic):
    bob = flood(1, count=3)
    _window(bob, 1)
    bob.send(pingreq(), subscribe(f"{topic}/x", 1, 11), unsubscribe(f"{topic}/x", 12),
             publish(f"{topic}/y", "m", 1, 13), publish(f"{topic}/y", "m", 2, 14))
    bob.expect(PINGRESP)
    bob.expect(SUBACK, id=11, codes=[1])
    bob.expect(UNSUBACK, id=12, codes=[0])
    bob.expect(PUBACK, id=13)
    bob.expect(PUBREC, id=14)
    bob.expect_quiet()


@pytest.mark.rule("v5 MQTT-4.9.0-3")
def test_qos_0_messages_go_while_the_quota_is_0(connect, flood, topic):
    bob = flood(1, count=3)
    _window(bob, 1)
    connect(V5).publish(topic, "qos 0", 0)
    bob.receive(payload="qos 0", qos=0)
    bob.expect_quiet()


@pytest.mark.rule("v5 MQTT-4.9.0-2")
def test_every_message_arrives_through_the_smallest_window(flood):
    bob = flood(1, count=100)
    for number in range(100):
        bob.receive(payload=str(number), qos=1)


@pytest.mark.rule("v5 MQTT-4.9.0-1")
def test_the_broker_opens_no_larger_window_than_configured(connect, broker_with, topic):
    broker = broker_with({"limits": {"inflight_out": 4}})
    alice, bob = connect(V5, broker=broker), connect(V5, broker=broker)
    bob.subscribe(topic, 1)
    for number in range(10):
        alice.publish(topic, str(number), 1)
    _window(bob, 4)
