# SPDX-License-Identifier: Apache-2.0
"""One client id has one connection in the whole cluster, whatever kind of session it has."""

import itertools

import pytest

from kit import CONNACK, V5, V311, Closed, RawClient, patience, wire
from kit.nodes import client_at

both_versions = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])
LEASE = 9  # seconds, for a node that cannot be asked whether it has let its clients go


def kind(durable, version):
    """Fields of a CONNECT whose session outlives its connection, or not."""
    expiry = {"properties": [("session_expiry_interval", 600)]} if version == V5 else {}
    return {"clean_start": False, **expiry} if durable else {"clean_start": True}


@pytest.mark.parametrize("first", [False, True], ids=["clean", "durable"])
@pytest.mark.parametrize("second", [False, True], ids=["clean", "durable"])
@both_versions
def test_the_one_before_is_told_wherever_the_two_are(tunnelled, connect, version, first, second):
    three = tunnelled(3)
    for places in itertools.product(range(3), range(3)):
        client_id = client_at(0, 3)
        old = connect(version, client_id, broker=three[places[0]], **kind(first, version))
        new = connect(version, client_id, broker=three[places[1]], **kind(second, version))
        assert new.connack.session_present == (first and second)
        old.expect_closed(0x8e)
        new.barrier()
        new.disconnect()


@both_versions
def test_a_clean_start_ends_the_session_at_home(tunnelled, connect, topic, version):
    three = tunnelled(3)
    client_id = client_at(0, 3)
    bob = connect(version, client_id, broker=three[1], **kind(True, version))
    bob.subscribe(topic)
    bob.disconnect()
    connect(version, client_id, broker=three[2], **kind(False, version)).disconnect()
    bob = connect(version, client_id, broker=three[1], **kind(True, version))
    assert not bob.connack.session_present


def test_resuming_without_an_expiry_finds_the_session_at_home(tunnelled, connect):
    two = tunnelled(2)
    client_id = client_at(0, 2)
    connect(V5, client_id, broker=two[1], **kind(True, V5)).disconnect()
    bob = connect(V5, client_id, broker=two[1], clean_start=False)
    assert bob.connack.session_present


def test_many_at_once_leave_one(tunnelled, topic):
    three = tunnelled(3)
    client_id = client_at(0, 3)
    clients = [RawClient(three[number % 3], V5) for number in range(30)]
    try:
        for number, client in enumerate(clients):
            client.send(wire.connect(client_id, **kind(number % 2 == 0, V5)))
        here = []
        for client in clients:
            try:
                client.expect(CONNACK, reason=0, within=2 * patience())
                here.append(client)
            except Closed:
                pass  # taken over before it was answered
        for client in list(here):
            try:
                client.barrier()
            except Closed:
                here.remove(client)
        assert len(here) == 1
    finally:
        for client in clients:
            client.close()


def test_a_clean_client_stays_while_its_home_starts_again(tunnelled, connect):
    three = tunnelled(3)
    client_id = client_at(0, 3)
    bob = connect(V5, client_id, broker=three[1])
    three[0].kill()
    three[0].start()
    three.wait_until_here(1, [0], times=2)
    bob.barrier()
    three.wait_until_here(2, [0], times=2)
    connect(V5, client_id, broker=three[2])
    bob.expect_closed(0x8e)


def test_a_clean_client_is_given_up_when_nobody_can_be_asked(tunnelled, connect):
    three = tunnelled(3)
    bob = connect(V5, client_at(0, 3), broker=three[1])
    three[0].kill()
    bob.expect_closed(0x89, within=LEASE + patience())


@both_versions
def test_the_next_one_waits_for_an_edge_that_was_killed(tunnelled, dial, connect, version):
    three = tunnelled(3)
    client_id = client_at(0, 3)
    connect(version, client_id, broker=three[1])
    three[1].kill()
    bob = dial(version, broker=three[2])
    bob.send(wire.connect(client_id))
    bob.expect(CONNACK, reason=0, within=LEASE + patience())


def test_an_edge_that_stops_in_order_keeps_nobody_waiting(tunnelled, connect):
    three = tunnelled(3)
    client_id = client_at(0, 3)
    connect(V5, client_id, broker=three[1])
    three[1].stop()
    connect(V5, client_id, broker=three[2])
