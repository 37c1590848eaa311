# SPDX-License-Identifier: Apache-2.0
"""Wills of clients whose session ends with their connection: the home of the client id keeps them,
and they come once, whatever node dies."""

import time

import pytest

from kit import V5, V311, RawClient, patience, unique
from kit.shards import shard_of
from kit.wire import Will

from .conftest import EDGE_LEASE_MS, GROUPS, retained
from .test_sessions import KEPT, come_back

GIVEN_UP = 2 * EDGE_LEASE_MS / 1000 + 6 * patience()  # seconds: who waits for an edge, and a new home


def client_of(three, home):
    """A client id whose home is that node."""
    homes = three.homes()
    while True:
        client_id = unique("w")
        if homes[shard_of(client_id) % GROUPS] == f"n{home}":
            return client_id


def leave_will(three, edge, home, topic, qos=1, retain=False, version=V5, properties=None,
               name="will"):
    """A client on `edge` whose client id has its home on `home`. None: it assigns one."""
    client = RawClient(three[edge], version)
    client.connect("" if home is None else client_of(three, home),
                   will=Will(f"{topic}/{name}", b"gone", qos, retain, properties))
    return client


def watch(three, node, topic):
    watcher = RawClient(three[node], V5)
    watcher.connect(client_of(three, node), **KEPT)  # or it is cut off when its home dies
    watcher.subscribe(f"{topic}/#", qos=2)
    return watcher


def comes_once(watcher, topic, qos=1, within=GIVEN_UP):
    watcher.receive(topic=f"{topic}/will", payload="gone", qos=qos, within=within)
    watcher.expect_quiet()


def leave_witness(three, edge, home, topic):
    """A client whose will does come, when another's of that edge and home would, too. That it has
    been connected says that its home has all that the edge had told it before."""
    return leave_will(three, edge, home, topic, name="witness")


def comes_not(watcher, topic):
    watcher.receive(topic=f"{topic}/witness", within=GIVEN_UP)
    watcher.expect_nothing(ms=500)


@pytest.mark.parametrize("edge, home", [(0, 1), (0, 0)])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_client_that_is_lost_leaves_its_will(three, topic, edge, home, qos):
    with watch(three, 2, topic) as bob, leave_will(three, edge, home, topic, qos) as alice:
        alice.close()
        comes_once(bob, topic, qos, within=patience())


@pytest.mark.parametrize("edge, home", [(0, 1), (0, 0)])
def test_a_client_that_disconnects_leaves_none(three, topic, edge, home):
    with watch(three, 2, topic) as bob, leave_will(three, edge, home, topic) as alice:
        alice.disconnect()
        alice.expect_closed()
        with leave_witness(three, edge, home, topic):
            three[edge].kill()
            comes_not(bob, topic)


@pytest.mark.parametrize("version", [V5, V311])
@pytest.mark.parametrize("home", [0, 1, 2])
def test_a_will_outlives_the_node_of_its_client(three, topic, home, version):
    """0: the home is that node."""
    with watch(three, 1, topic) as bob, watch(three, 2, topic) as eve, \
            leave_will(three, 0, home, topic, 2, retain=True, version=version):
        three[0].kill()
        comes_once(bob, topic, 2)
        comes_once(eve, topic, 2)
        for node in 1, 2:  # where its topic has its home that may have to be found first
            three.wait("it is retained", lambda node=node:
                       retained(three[node], f"{topic}/#") == {f"{topic}/will": "gone"})


@pytest.mark.parametrize("home", [0, 1, 2])
def test_a_delay_is_not_waited_for_when_the_session_has_ended(three, topic, home):
    properties = [("will_delay_interval", 1000)]
    with watch(three, 1, topic) as bob, leave_will(three, 0, home, topic, 1, properties=properties):
        three[0].kill()
        comes_once(bob, topic)


@pytest.mark.parametrize("home", [0, 1])
def test_a_client_that_is_back_elsewhere_has_left_its_will_before(three, topic, home):
    with watch(three, 2, topic) as bob, leave_will(three, 0, home, topic) as alice, \
            leave_witness(three, 0, home, topic):
        three[0].kill()
        deadline = time.monotonic() + GIVEN_UP
        while True:
            back = RawClient(three[2], V5)
            try:
                back.connect(alice.client_id, will=Will(f"{topic}/will", b"gone", 1))
                break
            except AssertionError:
                back.close()
                assert time.monotonic() < deadline, three[2].tail()
        come = [bob.receive(within=GIVEN_UP).topic for _ in range(2)]
        assert sorted(come) == [f"{topic}/will", f"{topic}/witness"]
        bob.expect_nothing(ms=500)
        back.close()
        comes_once(bob, topic, within=patience())


@pytest.mark.parametrize("edge, home, then", [(0, 1, 2), (0, 0, 1), (0, 0, 0)])
def test_a_client_that_is_taken_over_has_left_its_will(three, topic, edge, home, then):
    with watch(three, 2, topic) as bob, leave_will(three, edge, home, topic) as alice, \
            RawClient(three[then], V5) as again:
        again.connect(alice.client_id)
        alice.expect_closed(0x8E)
        comes_once(bob, topic, within=patience())
        again.disconnect()
        bob.expect_quiet()


def test_a_will_outlives_its_home_and_then_its_node(three, topic):
    with watch(three, 2, topic) as bob, leave_will(three, 0, 1, topic) as alice:
        three[1].kill()
        three.wait("another home", lambda: three.agreed([0, 2]))
        three.mend()
        bob.expect_quiet()
        alice.barrier()
        three[0].kill()
        comes_once(bob, topic)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_will_waits_while_homes_change(three, topic, end):
    """Its client is there all the time, and tells the next home."""
    with watch(three, 2, topic) as bob, leave_will(three, 0, 1, topic) as alice, \
            leave_will(three, 0, 0, topic) as at_home, leave_witness(three, 1, 1, topic):
        getattr(three[1], end)()
        three.wait("another home", lambda: three.agreed([0, 2]))
        comes_not(bob, topic)
        alice.barrier()
        alice.close()
        comes_once(bob, topic, within=patience())
        at_home.disconnect()
        bob.expect_quiet()


@pytest.mark.parametrize("home", [0, 1])
def test_a_node_that_ends_leaves_its_clients_wills(three, topic, home):
    with watch(three, 2, topic) as bob, leave_will(three, 0, home, topic):
        three[0].stop()
        comes_once(bob, topic)


def test_a_client_without_a_name_leaves_its_will(three, topic):
    with watch(three, 2, topic) as bob, leave_will(three, 0, None, topic):
        three[0].kill()
        comes_once(bob, topic)


def test_a_watcher_that_is_away_gets_a_will_once(three, topic):
    with watch(three, 0, topic) as bob, watch(three, 2, topic) as eve, \
            leave_will(three, 0, 0, topic, 2):
        three[0].kill()
        comes_once(eve, topic, 2)
        back = come_back(three[1], bob.client_id)
        comes_once(back, topic, 2)
        back.close()
