# SPDX-License-Identifier: Apache-2.0
"""Shared subscriptions whose members are on several nodes."""

import pytest

from kit import PUBLISH, V5, RawClient, patience, unique

from .test_sessions import KEPT
from .test_wills import client_of


def member(three, node, topic, qos):
    client = RawClient(three[node], V5)
    client.connect(unique())
    client.subscribe(f"$share/team/{topic}", qos=qos)
    return client


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_acknowledged_after_a_node_has_died_goes_to_a_member_that_lives(three, topic, qos, kept):
    """Also while the others have not noticed."""
    with member(three, 0, topic, qos), member(three, 2, topic, qos) as bob, \
            RawClient(three[1], V5) as alice:
        alice.connect(client_of(three, 1), **(KEPT if kept else {}))
        three[0].kill()
        for n in range(40):
            alice.publish(topic, f"m{n}", qos)
        got = {bob.receive(topic=topic, within=2 * patience()).payload.decode() for _ in range(40)}
        assert got == {f"m{n}" for n in range(40)}
        bob.expect_quiet()


@pytest.mark.parametrize("kept", [False, True])
def test_what_a_member_leaves_unacknowledged_goes_to_one_on_another_node(three, topic, kept):
    """That is all of it, when its session ends."""
    with RawClient(three[0], V5) as gone, RawClient(three[1], V5) as alice:
        gone.connect(client_of(three, 0), **(KEPT if kept else {}))
        gone.subscribe(f"$share/team/{topic}", qos=1)
        alice.connect(unique())
        for n in range(5):
            alice.publish(topic, f"m{n}", 1)
        for n in range(5):
            gone.expect(PUBLISH, payload=f"m{n}".encode())
        with member(three, 2, topic, 1) as bob:
            gone.disconnect(properties=[("session_expiry_interval", 0)])
            got = {bob.receive(topic=topic).payload.decode() for _ in range(5)}
            assert got == {f"m{n}" for n in range(5)}
            bob.expect_quiet()


def stored_member(cluster, node, topic):
    """... whose session is at home there."""
    client = RawClient(cluster[node], V5)
    client.connect(client_of(cluster, node), **KEPT)
    client.subscribe(f"$share/team/{topic}", qos=2)
    return client


def gets(client, alice, topic):
    """Whether that member gets the next message."""
    text = unique()
    alice.publish(topic, text, 1)
    try:
        client.receive(topic=topic, payload=text, within=1)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_members_that_are_connected_come_first_on_whichever_node(three, topic, qos):
    three.wait_until_settled()  # a session that moves is away for a moment
    away = [stored_member(three, n % 3, topic) for n in range(30)]  # some are in the shard of who is there
    for client in away:
        client.disconnect()
    with stored_member(three, 2, topic) as bob, RawClient(three[0], V5) as alice:
        alice.connect(client_of(three, 0), **KEPT)
        three.wait("the others' absence has been told", lambda: all(gets(bob, alice, topic) for _ in range(7)))
        for n in range(30):
            alice.publish(topic, f"m{n}", qos)
        for n in range(30):
            bob.receive(topic=topic, payload=f"m{n}")


def test_members_on_the_publishers_node_come_first_when_that_is_asked_for(cluster_of, topic):
    three = cluster_of(3, mqtt={"share_prefer_local": True}).init()
    three.wait_until_settled()
    with stored_member(three, 0, topic) as near, stored_member(three, 1, topic) as far, \
            RawClient(three[0], V5) as alice:
        alice.connect(client_of(three, 0), **KEPT)
        for qos in (0, 1, 2):
            for n in range(10):
                alice.publish(topic, f"m{qos}{n}", qos)
            for n in range(10):
                near.receive(topic=topic, payload=f"m{qos}{n}")
        near.disconnect()
        three.wait("its absence is known", lambda: gets(far, alice, topic))
        for n in range(10):
            alice.publish(topic, f"f{n}", 1)
        for n in range(10):
            far.receive(topic=topic, payload=f"f{n}")
