# SPDX-License-Identifier: Apache-2.0
"""The order of messages and acknowledgements (4.6)."""

import pytest

from kit import PUBACK, PUBLISH, PUBREC, PUBREL, V5, publish, pubrec

LASTING = {"session_expiry_interval": 600}


@pytest.mark.rule("v5 MQTT-4.6.0-5", "v5 MQTT-4.6.0-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_of_a_topic_and_qos_arrive_in_the_order_of_publishing(connect, topic, qos):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, qos)
    for number in range(300):
        alice.send(publish(topic, str(number), qos, number + 1 if qos else None))
    for number in range(300):
        bob.expect(PUBLISH, payload=str(number), qos=qos)


@pytest.mark.rule("v5 MQTT-4.6.0-5", "v5 MQTT-4.6.0-6")
def test_the_order_holds_for_every_publisher_topic_and_qos_by_itself(connect, topic):
    publishers, bob = [connect(V5) for _ in range(4)], connect(V5)
    bob.subscribe(f"{topic}/+", 2)
    for number in range(60):
        for who, alice in enumerate(publishers):
            qos = number % 3
            alice.send(publish(f"{topic}/{number % 2}", f"{who} {number}", qos,
                               alice.next_id() if qos else None))
    last = {}
    for _ in range(4 * 60):
        packet = bob.wait_for(PUBLISH)
        who, number = packet.payload.split()
        road = who, packet.topic, packet.qos
        assert int(number) > last.get(road, -1)
        last[road] = int(number)
        bob.acknowledge(packet)


@pytest.mark.rule("v5 MQTT-4.6.0-5")
def test_messages_that_waited_come_in_order_and_before_new_ones(connect, topic, client_id):
    bob = connect(V5, client_id, properties=LASTING)
    bob.subscribe(topic, 1)
    bob.disconnect()
    alice = connect(V5)
    for number in range(100):
        alice.publish(topic, str(number), 1)
    bob = connect(V5, client_id, clean_start=False, properties=LASTING)
    for number in range(100, 200):
        alice.publish(topic, str(number), 1)
    for number in range(200):
        bob.receive(payload=str(number))


@pytest.mark.rule("v5 MQTT-4.6.0-1", "v5 MQTT-4.6.0-5")
def test_publishes_are_resent_in_the_order_of_their_first_sending(connect, topic, client_id):
    window = {**LASTING, "receive_maximum": 20}
    bob = connect(V5, client_id, properties=window)
    bob.subscribe(topic, 2)
    alice = connect(V5)
    for number in range(40):
        alice.publish(topic, str(number), 1 + number % 2)
    first = [bob.expect(PUBLISH, payload=str(number)).id for number in range(20)]
    bob.close()
    bob = connect(V5, client_id, clean_start=False, properties=window)
    for number in range(40):
        packet = bob.wait_for(PUBLISH, payload=str(number), dup=number < 20)
        assert number >= 20 or packet.id == first[number]
        bob.acknowledge(packet)


@pytest.mark.rule("v5 MQTT-4.6.0-2")
def test_pubacks_come_in_the_order_of_the_publishes(connect, topic):
    alice = connect(V5)
    order = [7, 3, 900, 1, 65535, *range(100, 200)]
    alice.send(*[publish(topic, "m", 1, number) for number in order])
    for number in order:
        alice.expect(PUBACK, id=number)


@pytest.mark.rule("v5 MQTT-4.6.0-2")
def test_pubacks_keep_their_order_whoever_subscribes(connect, topic):
    subscribers = [connect(V5) for _ in range(4)]
    for number, client in enumerate(subscribers):
        client.subscribe([f"{topic}/{number}", (f"{topic}/all", 1)])
    alice = connect(V5)
    names = [str(n % 6) if n % 5 else "all" for n in range(100)]
    alice.send(*[publish(f"{topic}/{name}", "m", 1, n, retain=n % 7 == 0)
                 for n, name in enumerate(names, 1)])
    for number in range(1, 101):
        alice.expect(PUBACK, id=number)


@pytest.mark.rule("v5 MQTT-4.6.0-3")
def test_pubrecs_come_in_the_order_of_the_publishes(connect, topic):
    alice = connect(V5)
    order = [7, 3, 900, 1, 65535, *range(100, 200)]
    alice.send(*[publish(topic, "m", 2, number) for number in order])
    for number in order:
        alice.expect(PUBREC, id=number)


@pytest.mark.rule("v5 MQTT-4.6.0-4")
def test_pubrels_come_in_the_order_of_the_pubrecs(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, 2)
    for _ in range(20):
        alice.publish(topic, "m", 2)
    numbers = [bob.expect(PUBLISH).id for _ in range(20)]
    order = numbers[::-2] + numbers[::2]
    bob.send(*[pubrec(number) for number in order])
    for number in order:
        bob.expect(PUBREL, id=number)
