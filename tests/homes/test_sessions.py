# SPDX-License-Identifier: Apache-2.0
"""Stored sessions in an initialised cluster: they are reached through every node, and outlive any."""

import pytest

from kit import V5, connect_again, patience, unique

from .conftest import retained

KEPT = {"clean_start": False, "properties": [("session_expiry_interval", 600)]}
FAILOVER = 4 * patience()  # seconds: lease and margin, and what a busy machine takes


def kept(connect, broker, client_id, **fields):
    return connect(V5, client_id, broker=broker, **KEPT, **fields)


def come_back(broker, client_id):
    return connect_again(broker, V5, client_id, **KEPT)


def test_a_session_is_resumed_through_every_node(three, connect, topic):
    ids = [unique() for _ in range(12)]
    for n, client_id in enumerate(ids):
        bob = kept(connect, three[n % 3], client_id)
        bob.subscribe(f"{topic}/{n}", qos=1)
        bob.disconnect()
    alice = connect(V5, broker=three[1])
    for n in range(len(ids)):
        alice.publish(f"{topic}/{n}", f"for {n}", 1)
    for n, client_id in enumerate(ids):
        bob = kept(connect, three[(n + 1) % 3], client_id)
        assert bob.connack.session_present
        bob.receive(topic=f"{topic}/{n}", payload=f"for {n}")


def test_five_nodes_all_have_what_is_retained(cluster_of, connect, topic):
    five = cluster_of(5).init()
    alice = connect(V5, broker=five[0])
    wanted = {f"{topic}/{n}" for n in range(40)}  # of every group some
    for name in wanted:
        alice.publish(name, "kept", 1, retain=True)
    for node in five:
        bob = connect(V5, broker=node)
        bob.subscribe(f"{topic}/#", qos=1)
        assert {bob.receive(payload="kept").topic for _ in wanted} == wanted


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_acknowledged_survives_the_home(three, connect, topic, qos):
    ids = [unique() for _ in range(6)]
    for n, client_id in enumerate(ids):
        bob = kept(connect, three[n % 3], client_id)
        bob.subscribe(f"{topic}/#", qos=qos)
        bob.disconnect()
    alice = kept(connect, three[0], unique())
    for n in range(20):
        alice.publish(f"{topic}/a", f"m{n}", qos)
    three[2].kill()
    for client_id in ids:
        bob = come_back(three[1], client_id)
        assert bob.connack.session_present
        for n in range(20):
            bob.receive(topic=f"{topic}/a", payload=f"m{n}")
        bob.expect_quiet()
        bob.close()


def test_retained_messages_are_on_every_node(three, connect, topic):
    alice = connect(V5, broker=three[0])
    for n in range(10):
        alice.publish(f"{topic}/{n}", f"kept {n}", 1, retain=True)
    alice.publish(f"{topic}/3", b"", 1, retain=True)
    expected = {f"{topic}/{n}": f"kept {n}" for n in range(10) if n != 3}
    for broker in three:
        three.wait("it is retained there", lambda broker=broker:
                   retained(broker, f"{topic}/+") == expected, patience())


def test_a_node_that_ends_hands_its_sessions_over(three, connect, topic):
    ids = [unique() for _ in range(6)]
    for n, client_id in enumerate(ids):
        bob = kept(connect, three[n % 3], client_id)
        bob.subscribe(f"{topic}/#", qos=1)
        bob.disconnect()
    alice = connect(V5, broker=three[1])
    alice.publish(f"{topic}/a", "before", 1)
    three[0].stop()
    alice.publish(f"{topic}/a", "after", 1, within=FAILOVER)  # its engine ends, too
    for client_id in ids:
        bob = come_back(three[2], client_id)
        assert bob.connack.session_present
        bob.receive(topic=f"{topic}/a", payload="before")
        bob.receive(topic=f"{topic}/a", payload="after")
        bob.close()
