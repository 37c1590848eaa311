# SPDX-License-Identifier: Apache-2.0
"""What a cluster tells of its links, groups and engines: in metrics, under $SYS and over the API."""

import json
import os
import re
import signal
import time

import pytest

from kit import V5, patience, unique, wire

from .conftest import GROUPS, LEASE_MS, STAY_S, Cluster, need_server, retained
from .test_sessions import kept

pytestmark = pytest.mark.xdist_group("homes-observed")

SYS = "$SYS/skein/"
BACKLOG_HIGH = 1024 * 1024  # bytes that are not worked off; above publishers wait


@pytest.fixture(scope="module")
def observed_three():
    need_server()
    three = Cluster(3, broker={"sys_interval": "1s"})
    try:
        yield three.init()
    finally:
        three.close()


@pytest.fixture
def three(observed_three):
    yield observed_three.mend()


def metrics(cluster, number):
    return cluster.ask(number, "/v1/metrics")[1]["metrics"]


def told(cluster, number, topics):
    """What the node has under $SYS/skein/cluster: {the topic's last level: JSON}."""
    found = retained(cluster[number], f"{SYS}cluster/{topics}")
    return {topic.rsplit("/", 1)[-1]: json.loads(text) for topic, text in found.items()}


def link(cluster, number, other):
    return next(member for member in cluster.status(number)["members"] if member["node"] == other)


def led_by(cluster, node):
    return [group for group, home in enumerate(cluster.homes()) if home == node]


def stop(pid):
    """Until it goes on by signal.SIGCONT it is there and does nothing."""
    os.kill(pid, signal.SIGSTOP)


# ---- groups ------------------------------------------------------------------------------------


def told_as_the_api_tells(cluster, number, groups):
    api = {str(group["group"]): group for group in cluster.shards(number)}
    return groups.keys() == api.keys() and all(
        (group.keys() ^ api[name].keys()) <= {"silent_ms"} and
        all(group.get(key) == api[name].get(key) for key in ("home", "preferred", "epoch", "state", "reason"))
        for name, group in groups.items())


def led_as_it_should_be(group, others):
    """A group at its home: the lease is fresh, and all others read the log, about up to its end."""
    return group["lease_age_ms"] < LEASE_MS and group["reason"].startswith("claimed: ") and \
        {standby["node"] for standby in group["standbys"]} == others and \
        all(abs(standby["sequence"] - group["sequence"]) < 10 for standby in group["standbys"]) and \
        group["standby_lag"] < 10


def test_each_node_tells_of_each_group_what_the_api_tells(three):
    for number in range(3):
        others = {f"n{n}" for n in range(3)} - {f"n{number}"}
        three.wait("what the API tells", lambda n=number: told_as_the_api_tells(
            three, n, told(three, n, "groups/+")))
        three.wait("groups that are led", lambda n=number, others=others: all(
            led_as_it_should_be(group, others) for group in told(three, n, "groups/+").values()
            if group.get("home") == f"n{n}"))
        groups = told(three, number, "groups/+").values()
        assert len(groups) == GROUPS and all(group["window"] >= 1 for group in groups)


def test_home_that_is_killed_is_the_reason_of_the_others(three):
    lost = led_by(three, "n1")
    before = {n: metrics(three, n) for n in (0, 2)}
    three[1].kill()
    three.wait("homes at the others", lambda: three.agreed([0, 2]))
    three.wait("the claims in the metrics", lambda: sum(
        metrics(three, n)["homes_claimed_silent"] - before[n]["homes_claimed_silent"]
        for n in (0, 2)) == len(lost))
    shards = {n: three.shards(n) for n in (0, 2)}
    for group in lost:
        home = int(shards[0][group]["home"][1:])
        assert shards[home][group]["reason"] == "claimed: its home was silent"
        assert re.search(f"homes.claims group={group} .*reason=\"its home is silent\"", three[home].log)
    for n in (0, 2):
        three.wait("a node less", lambda n=n: metrics(three, n)["cluster_members_lost"] ==
                   before[n]["cluster_members_lost"] + 1)
        assert not link(three, n, "n1")["here"] and link(three, n, "n1")["lost"] >= 1
        three.wait("its link under $SYS", lambda n=n: not told(three, n, "links/+")["n1"]["here"])


def test_node_that_is_drained_says_so_of_each_group_that_it_gives_up(three):
    led, before = led_by(three, "n2"), metrics(three, 2)["homes_given_up_drained"]
    assert three.run(2, "drain").returncode == 0
    three.wait("all groups at the others", lambda: three.agreed([0, 1]))
    shards = three.shards(2)
    assert [shards[group]["reason"] for group in led] == ["given up: this node is drained"] * len(led)
    three.wait("them in the metrics", lambda: metrics(three, 2)["homes_given_up_drained"] ==
               before + len(led))
    assert three.run(2, "undrain").returncode == 0
    three.wait("it leads again", lambda: "n2" in three.homes() and three.settled(), STAY_S + 12 * patience())


def test_follower_that_was_stopped_lags_by_what_it_has_to_read(three):
    """... as its home tells while it is stopped, but not away yet."""
    stop(three[1].process.pid)
    try:
        three.wait("a standby that lags", lambda: metrics(three, 0)["changelog_standby_lag"] > 0)
        lags = [group["standby_lag"] for group in three.shards(0)]
        assert max(lags) > 0
        assert all(lag == 0 for group, lag in enumerate(lags) if group not in led_by(three, "n0"))
    finally:
        os.kill(three[1].process.pid, signal.SIGCONT)
    three.wait_until_settled()
    three.wait("none that lags by much", lambda: metrics(three, 0)["changelog_standby_lag"] <= 2)


# ---- the engine --------------------------------------------------------------------------------


def test_engine_without_a_majority_shows_in_waits_and_leases(three, connect):
    watcher = connect(V5, broker=three[0])
    watcher.subscribe(f"{SYS}cluster/engine")
    before = metrics(three, 0)
    engines = [three.engine(n) for n in (1, 2)]
    try:
        for pid in engines:
            stop(pid)
        three.wait("all leases over", lambda: all(
            group["lease_age_ms"] > LEASE_MS and group["wait_ms"] > 0
            for group in three.shards(0) if group["state"] == "serving"))
        led = sum(group["state"] == "serving" for group in three.shards(0))
        three.wait("them in the metrics", lambda: metrics(three, 0)["homes_leases_over"] >=
                   before["homes_leases_over"] + led)
        now = metrics(three, 0)
        assert led > 0 and now["changelog_in_flight"] >= led
        assert now["changelog_wait"] > LEASE_MS - 700 and now["homes_lease_age"] > LEASE_MS
        three.wait("the same under $SYS", lambda: json.loads(
            watcher.receive().payload)["wait_ms"] > LEASE_MS)
        assert three.status(0)["engine"]["wait_ms"] > LEASE_MS
    finally:
        for pid in engines:
            os.kill(pid, signal.SIGCONT)
    three.wait("answers", lambda: metrics(three, 0)["homes_lease_age"] < LEASE_MS and
               metrics(three, 0)["changelog_wait"] < LEASE_MS, 20 * patience())
    three.wait_until_settled()


def test_engine_that_is_lost_is_counted_and_its_copies_are_missing(three):
    before = metrics(three, 2)["engine_disconnects"]
    three.wait("all copies", lambda: metrics(three, 0)["engine_copies_missing"] == 0, 20 * patience())
    stop(three.engine(2))
    try:
        three.wait("copies that are missing", lambda: metrics(three, 0)["engine_copies_missing"] > 0,
                   20 * patience())
    finally:
        os.kill(three.engine(2), signal.SIGKILL)
    three.wait("one connection less", lambda: metrics(three, 2)["engine_disconnects"] > before)
    three.wait("all copies", lambda: metrics(three, 0)["engine_copies_missing"] == 0, 20 * patience())
    three.wait("leases again", lambda: all(metrics(three, number)["homes_lease_age"] < LEASE_MS
                                           for number in range(3)), 20 * patience())
    three.wait_until_settled()


# ---- links -------------------------------------------------------------------------------------


def test_bytes_of_each_link_are_told_and_their_sum_is_in_the_metrics(three, connect, topic):
    bob, alice = connect(V5, broker=three[1]), connect(V5, broker=three[0])
    bob.subscribe(topic)
    before = link(three, 0, "n1")["sent_bytes"]
    for _ in range(10):
        alice.publish(topic, b"x" * 1000)
    for _ in range(10):
        bob.receive(topic=topic)
    three.wait("its bytes", lambda: link(three, 0, "n1")["sent_bytes"] >= before + 10 * 1000)
    three.wait("their sum", lambda: sum(member["sent_bytes"] for member in three.status(0)["members"]) ==
               metrics(three, 0)["road_bytes_sent"])
    three.wait("the same under $SYS", lambda: told(three, 0, "links/+")["n1"]["sent_bytes"] >=
               before + 10 * 1000)
    assert told(three, 0, "links/+").keys() == {"n1", "n2"}
    three.wait("links that are at rest", lambda: all(
        each["here"] and each["protocol"] >= 3 and each["unsettled"] == 0 and each["silent_ms"] < 3000
        for each in told(three, 0, "links/+").values()))


def test_node_that_stands_still_shows_as_what_is_under_way_and_waits(three, connect, topic):
    three.wait_until_settled()
    bob, alice = connect(V5, broker=three[1]), connect(V5, broker=three[0])
    bob.subscribe(topic, qos=1)
    alice.publish(topic, b"first")
    bob.receive(payload="first")
    before = link(three, 0, "n1")
    stop(three[1].process.pid)
    try:
        for _ in range(26):
            alice.publish(topic, b"x" * 50_000)
        three.wait("a full window", lambda: link(three, 0, "n1")["under_way_bytes"] > BACKLOG_HIGH)
        assert metrics(three, 0)["road_under_way"] > BACKLOG_HIGH
        three.wait("a publisher that waits", lambda: link(three, 0, "n1")["pauses"] > before["pauses"])
    finally:
        os.kill(three[1].process.pid, signal.SIGCONT)
    three.wait("all worked off", lambda: link(three, 0, "n1")["under_way_bytes"] < BACKLOG_HIGH / 8)
    three.wait_until_settled()


def test_publications_that_a_lost_node_has_not_answered_are_counted(three, connect, topic):
    three.wait_until_settled().wait("it goes on after the last test", lambda: three[1].log.rfind("cluster.stalled") <=
                                    three[1].log.rfind("cluster.goes_on"))
    alice = connect(V5, broker=three[0])
    for _ in range(12):  # the homes of some are on n1
        kept(connect, three[0], unique()).subscribe(topic, qos=1)
    before = link(three, 0, "n1")["unanswered"]
    stop(three[1].process.pid)
    try:
        began = time.monotonic()
        alice.send(wire.publish(topic, "m", 1, alice.next_id()))
        three.wait("one that waits", lambda: link(three, 0, "n1")["waiting"] == 1)
        three.wait("its link lost", lambda: link(three, 0, "n1")["unanswered"] == before + 1)
        assert time.monotonic() - began > 1
        assert link(three, 0, "n1")["waiting"] == 0
    finally:
        os.kill(three[1].process.pid, signal.SIGCONT)
    assert metrics(three, 0)["road_unanswered"] >= 1
    three.wait_until_settled()
