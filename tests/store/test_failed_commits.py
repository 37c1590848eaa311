# SPDX-License-Identifier: Apache-2.0
"""A store that could not keep it: the client is not told that it has been kept.

In a shard of its own a client's commits are counted: CONNECT, SUBSCRIBE, each message for it.
"""

import pytest

from kit import (CONNACK, PUBACK, PUBCOMP, PUBREC, V5, V311, publish, pubrel, subscribe, wire)

from kit.shards import client_id_of

from .conftest import AWAY_MS

FAILED = 0x83  # implementation specific error
UNAVAILABLE = {V5: 0x88, V311: 3}
VERSIONS = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])
WORKERS = pytest.mark.parametrize("worker", [0, 1], ids=["same worker", "other worker"])
QOS = pytest.mark.parametrize("qos", [1, 2])


@WORKERS
@QOS
def test_5_0_is_told(failing, durable, clean, topic, qos, worker):
    broker = failing(3)
    bob, alice = durable(broker, worker=0), clean(broker, worker=worker)
    bob.subscribe(topic, qos)
    assert alice.publish(topic, "first", qos).reason == FAILED
    assert alice.publish(topic, "second", qos).reason == 0
    assert alice.publish(topic, "third", qos).reason == 0
    assert alice.publish(topic, "fourth", qos).reason == FAILED


@WORKERS
@QOS
def test_3_1_1_gets_no_acknowledgement_and_stays_connected(failing, durable, clean, topic, qos,
                                                           worker):
    broker = failing(3)
    bob, alice = durable(broker, worker=0), clean(broker, V311, worker=worker)
    bob.subscribe(topic, qos)
    alice.send(publish(topic, "first", qos, 1))
    bob.receive(payload="first")
    alice.send(publish(topic, "second", qos, 2))
    alice.expect(PUBACK if qos == 1 else PUBREC, id=2)
    alice.expect_quiet()


def test_acknowledgements_behind_a_failed_one_keep_their_order(failing, durable, clean, topic):
    broker = failing(3, delay_ms=50)
    slow, quick = durable(broker, pace=2), durable(broker, pace=0)
    slow.subscribe(f"{topic}/slow", 1)
    quick.subscribe(f"{topic}/quick", 1)
    alice = clean(broker)
    alice.send(*[publish(f"{topic}/{name}", "", 1, number) for number, name in
                 enumerate(["slow", "quick", "slow", "nobody"], 1)])
    for number, reason in [(1, FAILED), (2, FAILED), (3, 0), (4, 0x10)]:
        alice.expect(PUBACK, id=number, reason=reason)


def test_failed_publications_do_not_use_up_the_receive_maximum(own_broker, durable, clean, topic):
    broker = own_broker({"mqtt": {"receive_maximum": 2}},
                        environment={"SKEIN_TEST_STORE": "1,3"})
    bob, alice = durable(broker), clean(broker)
    bob.subscribe(topic, 1)
    answers = [alice.publish(topic, f"{n}", 1).reason for n in range(9)]
    assert answers == [FAILED, 0, 0] * 3
    alice.barrier()


def test_qos_2_publication_that_failed_can_be_sent_again(failing, durable, clean, topic):
    broker = failing(3)
    bob, alice = durable(broker), clean(broker)
    bob.subscribe(topic, 1)
    assert alice.publish(topic, "try", 2, id=7).reason == FAILED
    bob.receive(payload="try")
    assert alice.publish(topic, "again", 2, id=7).reason == 0
    bob.receive(payload="again")


def test_qos_2_publication_of_3_1_1_that_failed_is_delivered_when_it_comes_again(failing, durable,
                                                                                 clean, topic):
    broker = failing(6)
    bob, carol = durable(broker), clean(broker)
    alice = durable(broker, V311)
    bob.subscribe(topic, 2)
    for number in range(3):
        carol.publish(topic, f"{number}", 2)
        bob.receive(payload=f"{number}")
    alice.send(publish(topic, "kept", 2, 7))
    bob.receive(payload="kept")
    carol.publish(topic, "behind", 2)
    bob.receive(payload="behind")
    alice.expect_quiet()
    alice.close()
    again = durable(broker, V311, client_id=alice.client_id)
    again.send(publish(topic, "kept", 2, 7, dup=True))
    again.expect(PUBREC, id=7)
    bob.receive(payload="kept")


@VERSIONS
def test_qos_2_publication_that_failed_behind_a_lost_connection_is_a_new_try(failing, durable,
                                                                             clean, topic, version):
    broker = failing(2)
    alice = durable(broker, version)
    alice.send(publish(topic, "kept", 2, 7))  # its commit fails
    alice.close()
    again = durable(broker, version, client_id=alice.client_id)
    bob = clean(broker)
    bob.subscribe(topic, 0)
    again.send(publish(topic, "kept", 2, 7, dup=True))
    bob.receive(payload="kept")


@VERSIONS
@WORKERS
def test_repeat_of_a_qos_2_publication_that_then_fails_fails_with_it(failing, durable, clean, topic,
                                                                     version, worker):
    """Alice is back before bob's shard has answered."""
    broker = failing(4, delay_ms=AWAY_MS)
    bob = durable(broker, pace=2, worker=0)
    bob.subscribe(topic, 2)
    clean(broker).publish(topic, "before", 1)
    bob.receive(payload="before")
    alice = durable(broker, version, pace=0, worker=worker)
    alice.send(publish(topic, "kept", 2, 7))
    alice.close()
    again = durable(broker, version, client_id=alice.client_id)
    again.send(publish(topic, "kept", 2, 7, dup=True))
    bob.receive(payload="kept")
    if version == V5:
        again.expect(PUBREC, id=7, reason=FAILED)
    clean(broker).publish(topic, "marker", 1)  # behind the failure
    bob.receive(payload="marker")
    again.expect_quiet()
    again.send(publish(topic, "again", 2, 7, dup=version != V5))
    bob.receive(payload="again")


def test_pubcomp_is_withheld(failing, durable, topic):
    broker = failing(3)
    alice = durable(broker)
    alice.send(publish(topic, "once", 2, 7))
    alice.expect(PUBREC, id=7)
    alice.send(pubrel(7))
    alice.publish(topic, "next", 2, id=8)
    alice.expect_quiet()
    alice.send(pubrel(7))
    alice.expect(PUBCOMP, id=7, reason={0, 0x92})


@VERSIONS
def test_subscribe_that_failed_ends_the_connection(failing, durable, topic, version):
    bob = durable(failing(2), version)
    bob.send(subscribe(topic, 1, 1))
    bob.expect_closed(FAILED)


@VERSIONS
def test_connect_that_failed_is_refused(failing, version):
    client = failing(1).client(version)
    properties = {"session_expiry_interval": 3600} if version == V5 else None
    client.send(wire.connect(client_id_of(), clean_start=False, properties=properties))
    client.expect(CONNACK, reason=UNAVAILABLE[version], session_present=False)
    client.expect_closed()
    client.close()


def test_failures_are_counted(own_broker, durable, clean, topic):
    broker = own_broker({"broker": {"sys_interval": "1s"}},
                        environment={"SKEIN_TEST_STORE": "1,3"})
    bob, alice = durable(broker), clean(broker)
    bob.subscribe(topic, 1)
    alice.publish(topic, "first", 1)
    alice.subscribe("$SYS/skein/store_errors")
    while alice.receive().payload != b"1":
        pass
