# SPDX-License-Identifier: Apache-2.0
"""Nodes that cannot go on from the changelogs take copies of the groups from the others."""

import shutil
import threading
import time

import pytest

from kit import V5, Broker, connect_again, patience, unique

from .conftest import GROUPS, retained
from .test_sessions import FAILOVER, come_back

KEEP = 8  # records of a log that stay although nobody needs them
SESSIONS, MESSAGES, RETAINED = 48, 10, 20


class Stored:
    """Stored sessions with queues, and retained messages; and whether they are still there."""

    def __init__(self, topic, sessions=SESSIONS):
        self.topic, self.ids = topic, [unique() for _ in range(sessions)]
        self.queued = []

    def subscribe(self, brokers):
        for number, client_id in enumerate(self.ids):
            bob = come_back(brokers[number % len(brokers)], client_id)
            bob.subscribe(f"{self.topic}/q", qos=1)
            bob.disconnect()
            bob.close()

    def queue(self, broker, count=MESSAGES, size=0):
        alice = connect_again(broker, V5, unique())
        for _ in range(count):
            self.queued.append(f"m{len(self.queued)}".ljust(size))
            assert alice.publish(f"{self.topic}/q", self.queued[-1], 1, within=FAILOVER).reason < 0x80
        alice.close()

    def retain(self, broker, text):
        alice = connect_again(broker, V5, unique())
        for number in range(RETAINED):
            alice.publish(f"{self.topic}/r/{number}", f"{text} {number}", 1, retain=True)
        alice.close()

    def fill(self, cluster):
        """Some of each."""
        self.subscribe(cluster)
        self.queue(cluster[0], 20)
        self.retain(cluster[1], "kept")

    def look(self, broker):
        """All sessions through that node; takes their queues."""
        for client_id in self.ids:
            bob = come_back(broker, client_id)
            assert bob.connack.session_present, client_id
            got = []
            while not got or got[-1] != self.queued[-1]:
                got.append(bob.receive(topic=f"{self.topic}/q").payload.decode())
            assert list(dict.fromkeys(got)) == self.queued  # at least once
            bob.close()
        self.queued = []

    def retained(self, broker):
        return retained(broker, f"{self.topic}/r/+")

    def expected(self, text):
        return {f"{self.topic}/r/{number}": f"{text} {number}" for number in range(RETAINED)}


@pytest.fixture
def trimming(cluster_of):
    """Three nodes that keep few records in their logs."""
    return cluster_of(3, environment={"SKEIN_TEST_LOG_KEEP": str(KEEP)}).init()


def trimmed(cluster, number, beyond):
    """Whether each log has been trimmed past that sequence, by whoever is its home."""
    homes = {}
    for n in cluster.living():
        for group in cluster.shards(n):
            if group["state"] == "serving":
                homes[group["group"]] = group["trimmed"]
    return len(homes) == GROUPS and all(homes[group] > beyond[group] for group in homes)


def wait_until_trimmed(cluster, beyond=None):
    beyond = beyond or [0] * GROUPS
    cluster.wait("all logs trimmed", lambda: trimmed(cluster, 0, beyond), 30 + 12 * patience())


def wipe(broker):
    shutil.rmtree(broker.data)


def test_node_with_an_empty_disk_takes_copies_and_leads_its_groups_again(trimming, topic):
    stored = Stored(topic)
    stored.subscribe(trimming)
    stored.queue(trimming[0])
    stored.retain(trimming[2], "kept")
    wait_until_trimmed(trimming)
    led = [group for group, home in enumerate(trimming.homes()) if home == "n1"]
    trimming[1].stop()
    wipe(trimming[1])
    trimming.restart(1)
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:  # while it copies, and follows behind that
        stored.queue(trimming[2], 5)
    trimming.wait_until_settled()
    assert [group for group, home in enumerate(trimming.homes()) if home == "n1"] == led
    assert trimming[1].log.count("group.copied ") >= GROUPS
    assert stored.retained(trimming[1]) == stored.expected("kept")
    trimming[0].kill()  # ... and it has them all, not only its own
    trimming[2].kill()
    trimming.wait("it leads all", lambda: trimming.agreed([1]))
    stored.look(trimming[1])


def test_node_that_was_away_while_logs_were_trimmed_takes_copies(trimming, connect, topic):
    stored = Stored(topic)
    stored.subscribe(trimming)
    stored.retain(trimming[0], "before")
    beyond = [group["sequence"] for group in trimming.shards(1)]
    trimming[1].stop()
    stored.queue(trimming[0], 3 * KEEP)
    stored.retain(trimming[0], "after")
    alice = connect(V5, broker=trimming[0])
    alice.publish(f"{topic}/r/0", b"", 1, retain=True)
    wait_until_trimmed(trimming, beyond)
    trimming.restart(1)
    trimming.wait_until_settled()
    assert "homes.behind" in trimming[1].log and "group.copied " in trimming[1].log
    expected = stored.expected("after")
    del expected[f"{topic}/r/0"]  # what it had of that is gone from its memory, too
    assert stored.retained(trimming[1]) == expected
    stored.look(trimming[1])


def test_node_that_dies_in_the_middle_of_a_copy_takes_it_again(trimming, topic):
    stored = Stored(topic)
    stored.subscribe(trimming)
    stored.queue(trimming[0], size=100_000)  # each group has several chunks
    wait_until_trimmed(trimming)
    trimming[1].stop()
    wipe(trimming[1])
    sound = trimming[1].environment
    trimming[1].environment = {**sound, "SKEIN_TEST_FAULT": "group.copy:9"}
    trimming.restart(1)
    trimming.wait("it has died", lambda: not trimming[1].alive())
    trimming[1].stopped = True  # as it was to be
    trimming[1].environment = sound
    seen = len(trimming[1].log)
    trimming.restart(1)
    trimming.wait("it goes on", lambda: any(  # it may have died just behind the end of a group's copy
        text in trimming[1].log[seen:] for text in ("was begun and not ended", "group.copying")))
    trimming.wait_until_settled()
    stored.look(trimming[1])


def test_metrics_and_shards_tell_of_copies(trimming, topic):
    stored = Stored(topic, sessions=4)
    stored.subscribe(trimming)
    wait_until_trimmed(trimming)
    trimming[2].stop()
    wipe(trimming[2])
    trimming.restart(2)
    trimming.wait_until_settled()

    def metrics(name, *nodes):
        return sum(trimming.ask(n, "/v1/metrics")[1]["metrics"][name] for n in nodes)
    assert metrics("copies_taken", 2) == GROUPS and metrics("copies_bytes_taken", 2) > 0
    assert metrics("copies_failed", 2) == 0
    trimming.wait("who gave them has counted, too", lambda: metrics("copies_given", 0, 1) == GROUPS)
    assert metrics("copies_bytes_given", 0, 1) == metrics("copies_bytes_taken", 2)
    assert all("copy_from" not in group for group in trimming.shards(2))


MANY = 1000


def alone(cluster, topic, sessions, environment=None):
    """The first node becomes one that was a broker by itself, and that holds something."""
    stored = Stored(topic, sessions)
    broker = Broker()
    stored.subscribe([broker])
    stored.queue(broker)
    stored.retain(broker, "kept")
    broker.stop()
    broker.config, broker.environment = cluster.configuration(0), environment or {}
    cluster[0].stop()
    shutil.rmtree(cluster[0].folder)
    cluster[0] = broker
    cluster.restart(0)
    return stored


def test_node_with_a_thousand_sessions_becomes_a_cluster_and_dies_and_nothing_is_lost(
        cluster_of, topic):
    three = cluster_of(3)
    stored = alone(three, topic, MANY)
    three.init()
    assert all("group.copied " in broker.log for broker in three[1:])
    for broker in three:
        assert stored.retained(broker) == stored.expected("kept")
    stored.queue(three[1], 2)  # what comes later goes behind what was there
    three[0].kill()
    three.wait("homes at the others", lambda: three.agreed([1, 2]))
    half = len(stored.ids) // 2
    queued, every = stored.queued, stored.ids
    for broker, ids in ((three[1], every[:half]), (three[2], every[half:])):
        stored.ids, stored.queued = ids, queued
        stored.look(broker)
        assert stored.retained(broker) == stored.expected("kept")
    stored.ids = every


@pytest.mark.parametrize("place", ["homes.seed", "homes.seeded"])
def test_node_that_dies_while_its_cluster_begins_goes_on_with_what_it_holds(
        cluster_of, topic, place):
    three = cluster_of(3)
    stored = alone(three, topic, 8, {"SKEIN_TEST_FAULT": f"{place}:1"})
    asked = threading.Thread(target=lambda: three.run(0, "init"))
    asked.start()
    three.wait("it has died", lambda: not three[0].alive(), 60 + 12 * patience())
    asked.join()
    three[0].stopped = True  # as it was to be
    assert "state seeding" in (three[0].data / "cluster").read_text()
    assert {three.state(1), three.state(2)} == {"joining"}
    three[0].environment = {}
    three.restart(0)
    three.wait_until_settled()
    stored.look(three[1])
    assert stored.retained(three[2]) == stored.expected("kept")


def test_nodes_that_have_no_copy_yet_lead_nothing_and_say_so(cluster_of, topic):
    three = cluster_of(3)
    for number in (1, 2):  # they will not get far
        three[number].environment = {"SKEIN_TEST_FAULT": "group.copy:1"}
        three[number].stop()
        three.restart(number)
    stored = alone(three, topic, 8)
    assert three.run(0, "init").returncode == 0
    three.wait("they have died", lambda: not three[1].alive() and not three[2].alive())
    three[0].kill()
    for number in (1, 2):
        three[number].stopped, three[number].environment = True, {}
        three.restart(number)
        three[number].wait_for_log("group.behind")
    lacking = [{g["group"] for g in three.shards(number) if g["state"] == "behind"} for number in (1, 2)]
    assert lacking[0] & lacking[1]  # but for a group of nothing, whose copy is whole at once
    assert not {"n1", "n2"} & {three.homes(1)[group] for group in lacking[0] & lacking[1]}
    three.restart(0)
    three.wait_until_settled()
    stored.look(three[1])
    assert stored.retained(three[2]) == stored.expected("kept")
