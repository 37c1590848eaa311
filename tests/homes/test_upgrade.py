# SPDX-License-Identifier: Apache-2.0
"""A cluster that is upgraded node by node: for a while some speak the previous protocol."""

import itertools

import pytest

from kit import V5, unique

from .test_sessions import FAILOVER, come_back, kept

@pytest.fixture(params=["1", "3", "4"])
def previous(request):
    """The protocol before the upgrade."""
    return request.param


@pytest.fixture
def older(cluster_of, previous):
    """Three nodes of that version."""
    return cluster_of(3, environment={"SKEIN_TEST_LINK_VERSION": previous}).init()


def upgrade(cluster, number):
    cluster[number].stop()
    del cluster[number].environment["SKEIN_TEST_LINK_VERSION"]
    cluster.restart(number)
    cluster.wait_until_settled()


def last_protocol(cluster, here, there):
    """What two nodes last said that they both speak."""
    lines = [line for line in cluster[here].log.splitlines()
             if f"cluster.member_here node=n{there} " in line]
    return lines[-1].rsplit("protocol=", 1)[1]


def exchange(cluster, connect, topic):
    """From each node to each, at each QoS, to stored and to clean sessions."""
    for to, qos in itertools.product(range(3), range(3)):
        stored, clean = kept(connect, cluster[to], unique()), connect(V5, broker=cluster[to])
        for bob in stored, clean:
            bob.subscribe(f"{topic}/{to}/{qos}", qos=2)
        for at in range(3):
            alice = kept(connect, cluster[at], unique())
            alice.publish(f"{topic}/{to}/{qos}", f"{at}", qos, within=FAILOVER)
            for bob in stored, clean:
                bob.receive(topic=f"{topic}/{to}/{qos}", payload=f"{at}")
            alice.close()
        stored.close()
        clean.close()


def test_nodes_are_upgraded_one_by_one_and_nothing_is_lost(older, previous, connect, topic):
    assert last_protocol(older, 0, 1) == previous
    bob = kept(connect, older[1], unique())
    bob.subscribe(f"{topic}/queue", qos=2)
    bob.disconnect()
    sent = 0
    for number in range(3):
        upgrade(older, number)
        versions = {last_protocol(older, here, there)
                    for here, there in itertools.permutations(range(3), 2)}
        assert (previous in versions) == (number < 2) and (number == 0 or versions != {previous})
        exchange(older, connect, f"{topic}/{number}")
        alice = kept(connect, older[(number + 1) % 3], unique())
        for qos in 1, 2:
            alice.publish(f"{topic}/queue", f"{sent}", qos, within=FAILOVER)
            sent += 1
    back = come_back(older[0], bob.client_id)
    assert [int(back.receive(topic=f"{topic}/queue").payload) for _ in range(sent)] == list(range(sent))
    back.close()
