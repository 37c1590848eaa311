# SPDX-License-Identifier: Apache-2.0
"""Nodes that are gone for good: an operator says so, and the others go on without."""

import os
import shutil
import signal

import pytest

from kit import V5, patience, unique

from .test_power import power_off, server
from .test_sessions import come_back, kept

pytestmark = pytest.mark.xdist_group("homes-remove")


def lose(cluster, number):
    """Broker and engine of a node, as if its machine was gone."""
    engine = cluster.engine(number)
    cluster[number].kill()
    os.kill(engine, signal.SIGKILL)


def names(cluster, number):
    return {member["node"] for member in cluster.status(number)["members"]}


def remove(cluster, number, name):
    done = cluster.run(number, "remove", name)
    assert done.returncode == 0, done.stderr + cluster[number].tail()


def test_node_that_was_removed_is_forgotten_by_all_and_a_new_one_takes_its_place(
        cluster_of, connect, topic):
    three = cluster_of(3).init()
    bob = kept(connect, three[0], unique())
    bob.subscribe(topic, qos=1)
    bob.disconnect()
    refused = three.run(0, "remove", "n2")
    assert refused.returncode == 70 and "That node is here" in refused.stderr
    three.wait("its engine has everything", lambda: server(three, 2) != "")
    old = server(three, 2)
    lose(three, 2)
    three.wait("homes at the others", lambda: three.agreed([0, 1]), 20 * patience())
    remove(three, 0, "n2")
    three.wait("both have forgotten it",
               lambda: names(three, 0) == {"n1"} and names(three, 1) == {"n0"})
    connect(V5, broker=three[1]).publish(topic, "without it", 1)
    kept_aside = three[2].data.with_name("old")
    three[2].data.rename(kept_aside)
    three[2].data.mkdir()
    three.restart(2)
    three.wait("it has joined as a new one", lambda: three.settled() and "n2" in three.homes(),
               20 * patience())
    three.wait("it is known", lambda: names(three, 0) == {"n1", "n2"})
    three.wait("another server has its place", lambda: server(three, 2) not in ("", old))
    os.kill(three.engine(0), signal.SIGKILL)  # from here on the new one is needed
    three.wait_until_logs_go_on(2)
    connect(V5, broker=three[2]).publish(topic, "with it", 1)
    bob = come_back(three[2], bob.client_id)
    bob.receive(topic=topic, payload="without it")
    bob.receive(topic=topic, payload="with it")


def test_node_that_was_removed_and_comes_back_is_told_so(cluster_of):
    three = cluster_of(3).init()
    lose(three, 2)
    three.wait("homes at the others", lambda: three.agreed([0, 1]), 20 * patience())
    remove(three, 1, "n2")
    three.restart(2)
    for _ in range(2):
        three.wait("it is told so", lambda: three.state(2) == "removed")
        told = three.status(2)
        assert "removed from the cluster" in told["waits_for"] and told["groups"] == 0
        three.wait("balancers are told so", lambda: three.ready(2) == "removed")
        assert three.agent(2) == "drain"
        three.wait("its engine has ended", lambda: three.engine(2) == 0)
        three[2].stop()
        three.restart(2)  # it knows by itself now
    assert three.homes(0) == three.homes(1) and "n2" not in three.homes(0)


def test_what_cannot_be_removed_is_refused(cluster_of):
    two = cluster_of(2)
    assert two.run(0, "remove").returncode == 64
    assert two.run(0, "recover").returncode == 64
    refused = two.run(0, "remove", "n1")
    assert refused.returncode == 70
    two.init()
    refused = two.run(0, "remove", "n7")
    assert refused.returncode == 66 and "known are: n1." in refused.stderr
    refused = two.run(0, "remove", "n0")
    assert refused.returncode == 70 and "does not remove itself" in refused.stderr
    two[1].stop()
    two.wait("it is away", lambda: not two.status(0)["members"][0]["here"])
    refused = two.run(0, "recover", "--without", "n1")
    assert refused.returncode == 70 and "Nothing waits for that node" in refused.stderr


def test_cluster_goes_on_without_a_disk_that_was_lost_with_the_power(cluster_of, connect, topic):
    three = cluster_of(3).init()
    ids = [unique() for _ in range(6)]
    for n, client_id in enumerate(ids):
        bob = kept(connect, three[n % 3], client_id)
        bob.subscribe(topic, qos=1)
        bob.disconnect()
    connect(V5, broker=three[0]).publish(topic, "kept", 1)
    for number in range(3):
        power_off(three, number)
    shutil.rmtree(three[2].data)
    for number in range(2):
        three.restart(number)
    three.wait("two of them wait", lambda: all("1 of 2 others are" in three[n].log for n in range(2)),
               20 * patience())
    refused = three.run(0, "remove", "n2")
    assert refused.returncode == 70 and "recover --without" in refused.stderr
    done = three.run(0, "recover", "--without", "n2")
    assert done.returncode == 0, done.stderr
    three.wait("both go on", lambda: three.agreed([0, 1]), 20 * patience())
    three.wait("both have forgotten it",
               lambda: names(three, 0) == {"n1"} and names(three, 1) == {"n0"})
    for n, client_id in enumerate(ids):
        bob = come_back(three[n % 2], client_id)
        assert bob.connack.session_present
        bob.receive(topic=topic, payload="kept")
        bob.close()
