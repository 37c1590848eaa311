# SPDX-License-Identifier: Apache-2.0
"""A cluster of one node gets more, and keeps what it has."""

import os
import shutil
import signal

import pytest

from kit import Broker, patience

from .conftest import GROUPS, STAY_S
from .test_copies import Stored
from .test_operate import Publisher
from .test_power import power_off

pytestmark = pytest.mark.xdist_group("homes-grow")

SESSIONS = 24
GROWN_S = STAY_S + 30 + 12 * patience()


@pytest.fixture
def one(cluster_of, topic):
    """A broker by itself that has become a cluster of one node: some of what it holds is in no
    changelog. `stored` is all of it; two more nodes are to come."""
    cluster = cluster_of(3, known=1)
    cluster.stored = Stored(topic, SESSIONS)
    broker = Broker()
    cluster.stored.subscribe([broker])
    cluster.stored.queue(broker)
    cluster.stored.retain(broker, "kept")
    broker.stop()
    broker.config = cluster.configuration(0)
    cluster[0].stop()
    shutil.rmtree(cluster[0].folder)
    cluster[0] = broker
    cluster.restart(0)
    cluster.init()
    cluster.stored.queue(cluster[0])  # what comes from now on is in the logs first
    return cluster


def configure(cluster, count, environment=None):
    """The first node is started again, and knows so many from then on."""
    cluster.known = count
    cluster[0].config = cluster.configuration(0)
    cluster[0].environment = environment or {}
    cluster.restart(0)


def others(cluster, count):
    for number in range(1, count):
        cluster.append(Broker(cluster.configuration(number)))


def wait_until_grown(cluster):
    cluster.wait("all have their share", lambda: cluster.settled() and
                 set(cluster.homes()) == {f"n{n}" for n in range(len(cluster))}, GROWN_S)


def waits_for(cluster):
    return cluster.status(0).get("waits_for", "")


def test_cluster_of_one_becomes_one_of_three_and_nothing_is_lost(one):
    one[0].stop()
    configure(one, 3)
    one.wait("it serves by itself", lambda: one.homes() == ["n0"] * GROUPS)
    one.wait("it says what it waits for", lambda: "0 others are" in waits_for(one))
    one.stored.queue(one[0])
    others(one, 3)
    wait_until_grown(one)
    assert waits_for(one) == ""
    one.wait("three copies", lambda: one.status(0)["engine"].get("replicas_current") == 3)
    assert all("group.copied " in broker.log for broker in one[1:])
    for broker in one:
        assert one.stored.retained(broker) == one.stored.expected("kept")
    one.stored.queue(one[2])
    one[0].kill()
    os.kill(one.engine(0), signal.SIGKILL)  # with all that was ever on the first one
    one.wait("homes at the others", lambda: one.agreed([1, 2]), GROWN_S)
    one.stored.look(one[1])
    assert one.stored.retained(one[2]) == one.stored.expected("kept")


def test_what_was_acknowledged_before_a_crash_is_there_when_it_has_grown(one):
    one.stored.queue(one[0])
    one[0].kill()  # its store may lack what the engine has
    assert one.engine(0)
    configure(one, 2)
    others(one, 2)
    wait_until_grown(one)
    one.stored.look(one[1])
    assert one.stored.retained(one[1]) == one.stored.expected("kept")


def test_publisher_goes_on_while_it_grows_and_all_that_was_acknowledged_arrives(one, topic):
    one[0].stop()
    configure(one, 3)
    one.wait("it serves by itself", lambda: one.homes() == ["n0"] * GROUPS)
    alice = Publisher(one[0], f"{topic}/q", pause_s=0.02)
    others(one, 3)
    wait_until_grown(one)
    count = alice.stop()
    print(f"{count} messages acknowledged, the slowest after {alice.longest:.2f} s")
    one.stored.queued += [str(number) for number in range(count)]
    one.stored.look(one[2])


@pytest.mark.parametrize("place", ["homes.grow", "homes.grown"])
def test_node_that_dies_while_it_grows_goes_on(one, place):
    one[0].stop()
    configure(one, 3, {"SKEIN_TEST_FAULT": f"{place}:1"})
    others(one, 3)
    one.wait("it has died", lambda: not one[0].alive(), GROWN_S)
    one[0].stopped = True  # as it was to be
    assert "state growing" in (one[0].data / "cluster").read_text()
    assert {one.state(1), one.state(2)} == {"joining"}
    one[0].environment = {}
    one.restart(0)
    wait_until_grown(one)
    one.stored.look(one[1])
    assert one.stored.retained(one[2]) == one.stored.expected("kept")


def test_machine_that_goes_down_while_it_grows_goes_on(one):
    one[0].stop()
    configure(one, 3, {"SKEIN_TEST_FAULT": "homes.grown:1"})
    others(one, 3)
    one.wait("it has died", lambda: not one[0].alive(), GROWN_S)
    power_off(one, 0)
    one[0].environment = {}
    one.restart(0)
    wait_until_grown(one)
    one.stored.look(one[1])


def test_others_that_come_first_wait_and_lose_nothing(one):
    one.known = 3
    others(one, 3)  # they know the first, which does not know them yet
    one.wait("they say so", lambda: all(
        "one node's which has to be given cluster.addresses" in one.status(n).get("waits_for", "")
        for n in (1, 2)))
    one.stored.queue(one[0])
    one[0].stop()
    configure(one, 3)
    wait_until_grown(one)
    one.stored.look(one[2])
    assert one.stored.retained(one[1]) == one.stored.expected("kept")


def test_cluster_of_one_does_not_grow_by_a_node_of_another_cluster(one, cluster_of):
    stranger = cluster_of(1, each={0: {"node": "stranger"}})
    assert stranger.run(0, "init").returncode == 0
    one[0].stop()
    one.links[1] = stranger.links[0]
    configure(one, 2)
    one.wait("it says so", lambda: "belong to no cluster" in waits_for(one))
    one.wait("it serves by itself", lambda: one.homes() == ["n0"] * GROUPS)
    one.stored.look(one[0])


def test_node_that_is_not_to_grow_after_all_goes_on_by_itself_and_grows_later(one):
    one[0].stop()
    configure(one, 2, {"SKEIN_TEST_FAULT": "homes.grown:1"})
    others(one, 2)
    one.wait("it has died", lambda: not one[0].alive(), GROWN_S)
    one[0].stopped = True  # as it was to be
    one[1].stop()
    shutil.rmtree(one[1].data)
    configure(one, 1)
    one.wait("it serves by itself", lambda: one.homes() == ["n0"] * GROUPS, GROWN_S)
    one.stored.queue(one[0])
    one[0].kill()
    configure(one, 2)
    one.restart(1)
    wait_until_grown(one)
    one.stored.look(one[1])
    assert one.stored.retained(one[1]) == one.stored.expected("kept")
