# SPDX-License-Identifier: Apache-2.0
"""An acknowledgement is a promise: it goes out when the store has what it promises, not before.

The broker's store answers late here. A lower bound of time proves that something waited; that
something does not wait is seen from the order of packets.
"""

import contextlib
import select
import time

import pytest

from kit import (CONNACK, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, SUBACK, UNSUBACK, V5, V311,
                 patience, pingreq, publish, pubrel, subscribe, unsubscribe, wire)

from .conftest import DELAY_MS
from kit.shards import client_id_of, shard_of

MILLISECOND = 0.001  # the store's clock counts these
WORKERS = pytest.mark.parametrize("worker", [0, 1], ids=["same worker", "other worker"])
VERSIONS = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])


@contextlib.contextmanager
def waits_for(*clients):
    """What happens here takes as long as the slowest of these clients' shards."""
    paces = [1 + shard_of(client if isinstance(client, str) else client.client_id) % 3
             for client in clients]
    start = time.monotonic()
    yield
    waited = time.monotonic() - start
    assert waited >= max(paces) * DELAY_MS / 1000 - MILLISECOND, f"only {waited:.3f} s"


def send_and_ping(client, *packets):
    """What is answered at once comes before PINGRESP, what waits behind it."""
    client.send(*packets, pingreq())


# ---- sessions -----------------------------------------------------------------------------------


@VERSIONS
def test_connack_of_a_durable_session_waits(late, durable, version):
    client_id = client_id_of()
    with waits_for(client_id):
        durable(late, version, client_id=client_id)
    with waits_for(client_id):
        assert durable(late, version, client_id=client_id).connack.session_present


@VERSIONS
def test_connack_of_a_session_that_ends_with_its_connection_does_not_wait(minute_late, clean,
                                                                          version):
    clean(minute_late, version)


def test_connack_is_the_first_packet_of_a_session_that_goes_on(late, durable, clean, topic):
    """What waits in its queue and what is published meanwhile comes behind."""
    bob = durable(late)
    bob.subscribe(topic, 1)
    bob.disconnect()
    alice = clean(late)
    alice.publish(topic, "queued", 1)
    again = late.client(V5)
    again.send(wire.connect(bob.client_id, clean_start=False,
                            properties={"session_expiry_interval": 3600}), pingreq())
    alice.publish(topic, "meanwhile", 1)
    again.expect(CONNACK, session_present=True)
    seen = [again.next_packet() for _ in range(3)]
    assert {packet.type for packet in seen} == {PUBLISH, PINGRESP}
    assert [packet.payload for packet in seen if packet.type == PUBLISH] == [b"queued", b"meanwhile"]
    again.close()


@VERSIONS
def test_a_client_that_is_taken_over_before_its_connack_gets_nothing_else(minute_late, dial,
                                                                          version):
    """Whichever of two comes later takes the session from the other."""
    client_id = client_id_of()
    properties = {"session_expiry_interval": 3600} if version == V5 else None
    both = {}
    for client in (dial(version, broker=minute_late), dial(version, broker=minute_late)):
        client.send(wire.connect(client_id, clean_start=False, properties=properties))
        both[client.socket] = client
    readable, _, _ = select.select(list(both), [], [], patience())
    assert len(readable) == 1
    assert both[readable[0]].rest() == []


def test_suback_and_unsuback_of_a_durable_session_wait(late, durable, topic):
    bob = durable(late)
    with waits_for(bob):
        send_and_ping(bob, subscribe(topic, 1, 1))
        bob.expect(PINGRESP)
        bob.expect(SUBACK, id=1)
    with waits_for(bob):
        send_and_ping(bob, unsubscribe(topic, 2))
        bob.expect(PINGRESP)
        bob.expect(UNSUBACK, id=2)


def test_suback_and_unsuback_of_a_session_that_ends_with_its_connection_do_not_wait(
        minute_late, clean, topic):
    bob = clean(minute_late)
    bob.subscribe(topic, 1)
    bob.unsubscribe(topic)


# ---- publications -------------------------------------------------------------------------------


@WORKERS
@VERSIONS
def test_puback_waits_for_a_durable_subscriber(late, durable, clean, topic, version, worker):
    bob, alice = durable(late, worker=0), clean(late, version, worker=worker)
    bob.subscribe(topic, 1)
    with waits_for(bob):
        send_and_ping(alice, publish(topic, "kept", 1, 7))
        bob.receive(payload="kept")  # the delivery does not wait
        alice.expect(PINGRESP)
        alice.expect(PUBACK, id=7)


@WORKERS
def test_pubrec_waits_for_a_durable_subscriber(late, durable, clean, topic, worker):
    bob, alice = durable(late, worker=0), clean(late, worker=worker)
    bob.subscribe(topic, 2)
    with waits_for(bob):
        send_and_ping(alice, publish(topic, "kept", 2, 7))
        alice.expect(PINGRESP)
        alice.expect(PUBREC, id=7)
    send_and_ping(alice, pubrel(7))
    alice.expect(PUBCOMP, id=7)  # there is nothing of alice to keep
    bob.receive(payload="kept")


@WORKERS
def test_puback_waits_for_a_durable_subscriber_that_is_away(late, durable, clean, topic, worker):
    bob, alice = durable(late, worker=0), clean(late, worker=worker)
    bob.subscribe(topic, 1)
    bob.disconnect()
    with waits_for(bob):
        alice.publish(topic, "kept", 1)
    durable(late, client_id=bob.client_id).receive(payload="kept")


@WORKERS
def test_puback_waits_for_the_durable_member_of_a_share(late, durable, clean, topic, worker):
    bob, alice = durable(late, worker=0), clean(late, worker=worker)
    bob.subscribe(f"$share/group/{topic}", 1)
    with waits_for(bob):
        alice.publish(topic, "kept", 1)
    bob.receive(payload="kept")


def test_puback_waits_for_the_slowest_of_all_subscribers(late, durable, clean, topic):
    alice = clean(late, worker=0)
    everybody = [durable(late, pace=pace, worker=worker) for pace in range(3) for worker in (0, 1)]
    for client in everybody:
        client.subscribe(topic, 1)
    with waits_for(*everybody):
        alice.publish(topic, "kept", 1)
    for client in everybody:
        client.receive(payload="kept")


def test_pubrec_and_pubcomp_of_a_durable_publisher_wait(late, durable, topic):
    """Its packet identifier is part of its session."""
    alice = durable(late)
    with waits_for(alice):
        send_and_ping(alice, publish(topic, "once", 2, 7))
        alice.expect(PINGRESP)
        alice.expect(PUBREC, id=7)
    with waits_for(alice):
        send_and_ping(alice, pubrel(7))
        alice.expect(PINGRESP)
        alice.expect(PUBCOMP, id=7, reason=0)


@WORKERS
def test_pubrec_of_a_repeat_waits_for_what_the_first_one_waits_for(away_late, durable, topic,
                                                                   worker):
    """Alice is back before bob's shard has answered."""
    bob, alice = durable(away_late, pace=2, worker=0), durable(away_late, pace=0, worker=worker)
    bob.subscribe(topic, 2)
    with waits_for(bob):
        alice.send(publish(topic, "once", 2, 7))
        alice.close()
        again = durable(away_late, client_id=alice.client_id)
        send_and_ping(again, publish(topic, "once", 2, 7, dup=True),
                      publish(topic, "once", 2, 7, dup=True))
        again.expect(PINGRESP)
        again.expect(PUBREC, id=7, reason=0)
    again.expect(PUBREC, id=7, reason=0)
    bob.receive(payload="once")
    bob.expect_quiet()


def test_puback_for_what_is_retained_waits_for_the_shard_of_the_topic(late, durable):
    alice, topic = durable(late), client_id_of(pace=2)
    with waits_for(topic):
        send_and_ping(alice, publish(topic, "retained", 1, 7, retain=True))
        alice.expect(PINGRESP)
        alice.expect(PUBACK, id=7)


def test_puback_does_not_wait_when_nothing_has_to_be_kept(late, durable, clean, topic):
    alice, bob = durable(late), clean(late)
    bob.subscribe(topic, 1)
    send_and_ping(alice, publish(topic, "passing", 1, 7))
    alice.expect(PUBACK, id=7)
    alice.expect(PINGRESP)
    bob.receive(payload="passing")


@WORKERS
@VERSIONS
def test_between_sessions_that_end_with_their_connection_nothing_waits(minute_late, clean, topic,
                                                                       version, worker):
    alice, bob = clean(minute_late, version, worker=0), clean(minute_late, version, worker=worker)
    bob.subscribe(topic, 2)
    for qos in (0, 1, 2):
        alice.publish(topic, f"{qos}", qos)
        bob.receive(payload=f"{qos}", qos=qos)


def test_puback_does_not_wait_for_a_durable_subscriber_of_qos_0(late, durable, clean, topic):
    alice, bob = clean(late), durable(late)
    bob.subscribe(topic, 0)
    send_and_ping(alice, publish(topic, "passing", 1, 7))
    alice.expect(PUBACK, id=7)
    alice.expect(PINGRESP)


# ---- order --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_acknowledgements_keep_their_order_when_shards_answer_out_of_order(late, durable, clean,
                                                                           topic, workers):
    slow, quick = durable(late, pace=2, worker=workers[0]), durable(late, pace=0, worker=workers[1])
    slow.subscribe(f"{topic}/slow", 2)
    quick.subscribe(f"{topic}/quick", 2)
    alice = clean(late, worker=0)
    alice.send(publish(f"{topic}/slow", "1", 1, 1), publish(f"{topic}/quick", "2", 1, 2),
               publish(f"{topic}/nobody", "3", 1, 3), publish(f"{topic}/slow", "4", 2, 4),
               publish(f"{topic}/quick", "5", 2, 5), publish(f"{topic}/nobody", "6", 2, 6),
               subscribe(topic, 1, 7), unsubscribe(topic, 8), publish(f"{topic}/quick", "9", 1, 9))
    for packet, number in [(PUBACK, 1), (PUBACK, 2), (PUBACK, 3), (PUBREC, 4), (PUBREC, 5),
                           (PUBREC, 6), (SUBACK, 7), (UNSUBACK, 8), (PUBACK, 9)]:
        alice.expect(packet, id=number)


def test_thousand_publications_over_all_shards_are_acknowledged_in_order(late, durable, clean,
                                                                         topic):
    everybody = [durable(late, pace=pace, worker=worker) for pace in range(3) for worker in (0, 1)]
    for number, client in enumerate(everybody):
        client.subscribe(f"{topic}/{number}", 1)
    alice = clean(late)
    alice.send(*[publish(f"{topic}/{n * 7 % 11}", f"{n}", 1, n) for n in range(1, 1001)])
    for number in range(1, 1001):
        alice.expect(PUBACK, id=number)
    for number, client in enumerate(everybody):
        for n in range(1, 1001):
            if n * 7 % 11 == number:
                client.receive(payload=f"{n}")


def test_messages_pass_by_acknowledgements_that_wait(late, durable, clean, topic):
    bob, alice = durable(late), clean(late)
    bob.subscribe(f"{topic}/kept", 1)
    alice.subscribe(f"{topic}/passing", 1)
    alice.send(publish(f"{topic}/kept", "", 1, 1), publish(f"{topic}/passing", "a", 0),
               publish(f"{topic}/passing", "b", 1, 2))
    alice.expect(PUBLISH, payload="a")
    alice.acknowledge(alice.expect(PUBLISH, payload="b"))
    alice.expect(PUBACK, id=1)
    alice.expect(PUBACK, id=2)
