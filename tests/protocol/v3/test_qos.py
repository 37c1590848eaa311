# SPDX-License-Identifier: Apache-2.0
"""The handshakes of QoS 1 and 2, message order, and what is sent again."""

import pytest

from kit import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, V311, puback, pubcomp, publish, pubrec,
                 pubrel)


@pytest.mark.rule("v3.1.1 MQTT-4.3.2-1")
def test_qos_1_is_kept_until_puback(connect, topic, client_id):
    """A PUBACK of another identifier does not free it."""
    alice, bob = connect(V311, client_id=client_id, clean_start=False), connect(V311)
    alice.subscribe(topic, 1)
    bob.publish(topic, "x", 1)
    number = alice.expect(PUBLISH, dup=False, qos=1).id
    alice.send(puback(number % 65535 + 1))
    alice.barrier()
    alice.close()
    connect(V311, client_id=client_id, clean_start=False).receive(payload="x", id=number)


@pytest.mark.rule("v3.1.1 MQTT-4.3.2-2")
@pytest.mark.parametrize("dup", [False, True])
def test_qos_1_with_a_packet_id_again_is_a_new_message(connect, topic, dup):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 1)
    alice.publish(topic, "x", 1, id=4)
    alice.send(publish(topic, "x", 1, 4, dup=dup))
    alice.expect(PUBACK, id=4)
    bob.receive(payload="x")
    bob.receive(payload="x")


@pytest.mark.rule("v3.1.1 MQTT-4.3.3-1")
def test_qos_2_goes_publish_pubrec_pubrel_pubcomp(connect, topic):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 2)
    alice.publish(topic, "x", 2)
    number = bob.expect(PUBLISH, qos=2, dup=False).id
    bob.send(pubrec(number))
    bob.expect(PUBREL, id=number)
    bob.send(pubcomp(number))
    bob.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-4.3.3-1")
def test_second_pubrec_is_answered_by_pubrel_not_by_publish(connect, topic):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 2)
    alice.publish(topic, "x", 2)
    number = bob.expect(PUBLISH).id
    bob.send(pubrec(number), pubrec(number))
    bob.expect(PUBREL, id=number)
    bob.expect(PUBREL, id=number)
    bob.send(pubcomp(number))
    bob.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-4.3.3-2")
@pytest.mark.parametrize("dup", [False, True])
def test_qos_2_with_a_packet_id_again_before_pubrel_is_delivered_once(connect, topic, dup):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 2)
    alice.send(publish(topic, "x", 2, 9))
    alice.expect(PUBREC, id=9)
    alice.send(publish(topic, "x", 2, 9, dup=dup))
    alice.expect(PUBREC, id=9)
    alice.send(pubrel(9))
    alice.expect(PUBCOMP, id=9)
    bob.receive(payload="x")
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-4.3.3-2", "v3.1.1 MQTT-4.4.0-1")
def test_qos_2_with_a_packet_id_again_after_reconnect_is_delivered_once(connect, topic, client_id):
    bob = connect(V311)
    bob.subscribe(topic, 2)
    alice = connect(V311, client_id=client_id, clean_start=False)
    alice.send(publish(topic, "x", 2, 9))
    alice.expect(PUBREC, id=9)
    alice.close()
    alice = connect(V311, client_id=client_id, clean_start=False)
    alice.send(publish(topic, "x", 2, 9, dup=True))
    alice.expect(PUBREC, id=9)
    alice.send(pubrel(9))
    alice.expect(PUBCOMP, id=9)
    bob.receive(payload="x")
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-4.3.3-2")
def test_qos_2_with_a_packet_id_again_after_pubcomp_is_a_new_message(connect, topic):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 2)
    for payload in ("first", "second"):
        alice.publish(topic, payload, 2, id=9)
        bob.receive(payload=payload)


@pytest.mark.rule("v3.1.1 MQTT-4.3.3-2")
def test_pubrel_again_is_answered_by_pubcomp_again(connect, topic):
    alice = connect(V311)
    alice.publish(topic, "x", 2, id=9)
    alice.send(pubrel(9))
    alice.expect(PUBCOMP, id=9)


@pytest.mark.rule("v3.1.1 MQTT-4.6.0-1", "v3.1.1 MQTT-4.4.0-1")
def test_messages_are_sent_again_in_their_first_order(connect, topic, client_id):
    alice, bob = connect(V311, client_id=client_id, clean_start=False), connect(V311)
    alice.subscribe(topic, 2)
    for n in range(10):
        bob.publish(topic, f"{n}", 1 + n % 2)
    first = [alice.expect(PUBLISH, payload=f"{n}") for n in range(10)]
    alice.send(puback(first[4].id))
    alice.barrier()
    alice.close()
    alice = connect(V311, client_id=client_id, clean_start=False)
    for n in (0, 1, 2, 3, 5, 6, 7, 8, 9):
        alice.receive(payload=f"{n}", id=first[n].id, dup=True)
    alice.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-4.6.0-2")
def test_pubacks_come_in_the_order_of_the_publishes(connect, topic):
    alice = connect(V311)
    numbers = [7, 3, 65535, 1, 200, 100] + list(range(300, 340))
    alice.send(*[publish(topic, "x", 1, number) for number in numbers])
    for number in numbers:
        alice.expect(PUBACK, id=number)


@pytest.mark.rule("v3.1.1 MQTT-4.6.0-3")
def test_pubrecs_come_in_the_order_of_the_publishes(connect, topic):
    alice = connect(V311)
    numbers = [7, 3, 65535, 1, 200, 100]
    alice.send(*[publish(topic, "x", 2, number) for number in numbers])
    for number in numbers:
        alice.expect(PUBREC, id=number)


@pytest.mark.rule("v3.1.1 MQTT-4.6.0-4")
def test_pubrels_come_in_the_order_of_the_pubrecs(connect, topic):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, 2)
    for n in range(6):
        alice.publish(topic, f"{n}", 2)
    numbers = [bob.expect(PUBLISH).id for _ in range(6)]
    order = [numbers[at] for at in (3, 0, 5, 1, 4, 2)]
    bob.send(*[pubrec(number) for number in order])
    for number in order:
        bob.expect(PUBREL, id=number)


@pytest.mark.rule("v3.1.1 MQTT-4.6.0-5", "v3.1.1 MQTT-4.6.0-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_of_one_publisher_come_in_their_order(connect, topic, qos):
    """To every subscriber, on whichever worker."""
    alice, subscribers = connect(V311), [connect(V311) for _ in range(4)]
    for bob in subscribers:
        bob.subscribe(f"{topic}/#", qos)
    for at in range(0, 200, 10):
        burst = range(at, at + 10)
        alice.send(*[publish(f"{topic}/x", f"{n}", qos, n + 1 if qos else None) for n in burst])
        if qos == 2:
            alice.send(*[pubrel(n + 1) for n in burst])
        for bob in subscribers:
            for n in burst:
                bob.receive(payload=f"{n}", qos=qos)


@pytest.mark.rule("v3.1.1 MQTT-4.6.0-6")
def test_queued_messages_come_in_their_order_before_new_ones(connect, topic, client_id):
    alice, bob = connect(V311, client_id=client_id, clean_start=False), connect(V311)
    alice.subscribe(topic, 1)
    alice.close()
    for n in range(100):
        bob.publish(topic, f"{n}", 1)
    alice = connect(V311, client_id=client_id, clean_start=False)
    for n in range(100, 120):
        bob.publish(topic, f"{n}", 1)
    for n in range(120):
        alice.receive(payload=f"{n}")


@pytest.mark.rule("v3.1.1 MQTT-4.5.0-2")
def test_unacknowledged_messages_hold_up_no_other_client(connect, topic):
    """A client that never acknowledges gets its window full and no more; others get all."""
    alice, lazy, bob = connect(V311), connect(V311), connect(V311)
    lazy.subscribe(topic, 1)
    bob.subscribe(topic, 1)
    for n in range(60):
        alice.publish(topic, f"{n}", 1)
        bob.receive(payload=f"{n}")
