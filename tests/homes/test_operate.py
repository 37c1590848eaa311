# SPDX-License-Identifier: Apache-2.0
"""What an operator does with a cluster that runs: nodes are drained, and groups moved by hand."""

import json
import signal
import threading
import time

import pytest

from kit import V5, V311, RawClient, patience, unique, wire

from .conftest import STAY_S, Homeless
from .test_sessions import come_back, kept

pytestmark = pytest.mark.xdist_group("homes-operate")

SHUTTING_DOWN, UNAVAILABLE = 0x8B, 0x88
PAUSE_S = patience() / 5  # one second: a group has a home again sooner


def drain(cluster, number, at=None):
    """On the node itself, or by name on node `at`."""
    words = ["drain"] if at is None else ["drain", f"n{number}"]
    done = cluster.run(number if at is None else at, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def undrain(cluster, number, at=None):
    words = ["undrain"] if at is None else ["undrain", f"n{number}"]
    done = cluster.run(number if at is None else at, *words)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def drained(three):
    """drained(n): that node of three is drained, and on duty again after the test."""
    numbers = []

    def give_up(number, at=None):
        numbers.append(number)
        return drain(three, number, at)
    yield give_up
    for number in numbers:
        undrain(three, number)


class Publisher(threading.Thread):
    """Publishes at QoS 1 until told to stop, one by one, and is never refused."""

    def __init__(self, broker, topic, pause_s=0.0):
        super().__init__(daemon=True)
        self.client = RawClient(broker, V5)
        self.client.connect()
        self.topic, self.acknowledged, self.longest, self.refused = topic, 0, 0.0, None
        self.ended, self.pause_s = threading.Event(), pause_s
        self.start()

    def run(self):
        while not self.ended.wait(self.pause_s):
            began = time.monotonic()
            answer = self.client.publish(self.topic, str(self.acknowledged), 1)
            if answer.reason >= 0x80:
                self.refused = answer
                return
            self.longest = max(self.longest, time.monotonic() - began)
            self.acknowledged += 1

    def stop(self):
        self.ended.set()
        self.join()
        self.client.close()
        assert not self.refused, self.refused
        return self.acknowledged


def test_drained_node_hands_over_all_that_it_leads_and_nothing_acknowledged_is_lost(
        three, drained, connect, topic, record_property):
    ids = [unique() for _ in range(8)]
    for n, client_id in enumerate(ids):
        bob = kept(connect, three[n % 3], client_id)
        bob.subscribe(topic, qos=1)
        bob.disconnect()
    led = three.homes().count("n2")
    alice, watch = Publisher(three[0], topic), Homeless(three)
    told = drained(2)
    assert (told["node"], told["drained"]) == ("n2", True) and 0 < told["groups"] <= led
    took = three.wait("all groups at the others", lambda: three.agreed([0, 1]))
    count = alice.stop()
    longest = watch.stop().longest
    record_property("drain_s", round(took, 2))
    record_property("without_home_s", round(longest, 2))
    print(f"{led} groups in {took:.2f} s; one without a home for {longest:.2f} s at most; "
          f"{count} messages acknowledged, the slowest after {alice.longest:.2f} s")
    assert longest < PAUSE_S
    for client_id in ids:
        bob = come_back(three[1], client_id)
        got = [int(bob.receive(topic=topic).payload)]
        while got[-1] < count - 1:
            got.append(int(bob.receive(topic=topic).payload))
        # what did not reach one home was routed anew, to all
        assert list(dict.fromkeys(got)) == list(range(count)) and len(got) <= count + led
        bob.close()


def test_drained_node_is_taken_for_none_by_balancers_and_other_nodes(three, drained):
    assert three.ready(2) == "ready"
    drained(2)
    assert three.ready(2) == "drained" and three.agent(2) == "drain"
    assert three.status(2)["drained"] and not three.status(0)["drained"]
    three.wait("the others say so", lambda: all(
        member["drained"] for n in range(2) for member in three.status(n)["members"]
        if member["node"] == "n2"))
    undrain(three, 2)
    assert three.ready(2) == "ready" and three.agent(2).startswith("ready up")
    three.wait("it leads again", lambda: three.settled() and "n2" in three.homes(),
               STAY_S + 12 * patience())


def test_clients_of_a_drained_node_are_sent_away_and_no_others_let_in(three, drained, connect, topic):
    clean = [connect(V5, broker=three[2]) for _ in range(5)] + [connect(V311, broker=three[2])]
    elsewhere = connect(V5, broker=three[0])
    stored = [kept(connect, three[2], unique()) for _ in range(8)]
    elsewhere.subscribe(topic)
    drained(2)
    for client in clean + stored:
        client.expect_closed(None if client.version == V311 else SHUTTING_DOWN)
    for version in (V5, V311):
        late = RawClient(three[2], version)
        late.send(wire.connect(unique()))
        late.expect_refused({UNAVAILABLE, 3})
    three.wait("it leads nothing", lambda: three.status(2)["groups"] == 0)
    three.wait("nobody is there", lambda: three.status(2)["connections"] == 0)
    for client in stored:
        come_back(three[0], client.client_id).close()
    connect(V5, broker=three[1]).publish(topic, "still here")
    elsewhere.receive(payload="still here")


def test_node_stays_drained_when_it_is_restarted(three, drained):
    drained(1)
    three.wait("all groups at the others", lambda: three.agreed([0, 2]))
    three[1].stop()
    three.restart(1)
    three.wait("it runs", lambda: three.state(1) == "running")
    assert three.status(1)["drained"] and three.ready(1) == "drained"
    three.wait("it reads along", lambda: all(g["state"] == "following" for g in three.shards(1)))
    time.sleep(2 * STAY_S)
    three.wait("nothing has come to it", lambda: three.agreed([0, 2]))
    undrain(three, 1)
    three.wait("it leads again", lambda: three.settled() and "n1" in three.homes(),
               STAY_S + 12 * patience())


def test_any_node_is_drained_by_name_from_any_other_and_stays_so(three, drained, connect):
    guests = [connect(V5, broker=three[2]) for _ in range(3)]
    told = drained(2, at=0)
    assert (told["node"], told["drained"]) == ("n2", True)
    assert three.status(2)["drained"] and not three.status(0)["drained"]
    assert three.ready(2) == "drained" and three.ready(0) == "ready"
    for guest in guests:
        guest.expect_closed(SHUTTING_DOWN)
    three.wait("all groups at the others", lambda: three.agreed([0, 1]))
    left = {"node": "n2", "drained": True, "groups": 0, "connections": 0}
    three.wait("asked again, it says that nothing is left", lambda: drain(three, 2, at=1) == left)
    three[2].stop()
    three.restart(2)
    three.wait("it runs", lambda: three.state(2) == "running")
    assert three.status(2)["drained"]
    three.wait("it can be reached", lambda: three.run(1, "undrain", "n2").returncode == 0)
    assert not three.status(2)["drained"] and three.ready(2) == "ready"
    three.wait("it leads again", lambda: three.settled() and "n2" in three.homes(),
               STAY_S + 12 * patience())


def test_node_may_be_named_where_the_command_runs(three, drained):
    assert drained(1, at=1)["drained"] and three.status(1)["drained"]


def test_order_for_a_node_that_is_not_known_or_not_here_says_so(three):
    unknown = three.run(0, "drain", "n7")
    assert unknown.returncode == 66
    assert "this is n0, the others are: n" in unknown.stderr and "n2" in unknown.stderr
    three[1].kill()
    three.wait("it is away", lambda: not next(
        member["here"] for member in three.status(0)["members"] if member["node"] == "n1"))
    away = three.run(0, "drain", "n1")
    assert away.returncode == 69 and "n1 cannot be reached" in away.stderr
    three.restart(1)
    three.wait_until_settled()
    assert not three.status(1)["drained"]


def test_node_that_hangs_is_not_waited_for_and_does_later_what_it_was_asked(cluster_of):
    three = cluster_of(3).init()
    three[2].process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    hangs = three.run(0, "drain", "n2")
    assert hangs.returncode == 69 and "n2" in hangs.stderr
    assert "ask again" in hangs.stderr or "cannot be reached" in hangs.stderr
    assert time.monotonic() - began < 8 * patience()
    three[2].process.send_signal(signal.SIGCONT)
    three.wait("it is done when it is asked again", lambda: three.run(0, "drain", "n2").returncode == 0)
    assert three.status(2)["drained"]


def test_other_node_refuses_to_be_drained_when_nobody_could_take_over(cluster_of):
    two = cluster_of(2)
    early = two.run(0, "drain", "n1")
    assert early.returncode == 70 and "not_initialised" in early.stderr
    two.init()
    drain(two, 1, at=0)
    two.wait("all groups here", lambda: two.agreed([0]))
    refused = two.run(1, "drain", "n0")
    assert refused.returncode == 70
    assert "Node n0: No other node is here that could lead" in refused.stderr
    assert not two.status(0)["drained"]
    undrain(two, 1, at=0)
    two.wait_until_settled()


def test_node_of_an_older_version_is_not_asked_what_it_does_not_understand(cluster_of):
    two = cluster_of(2).init()
    two[1].stop()
    two[1].environment["SKEIN_TEST_LINK_VERSION"] = "3"
    two.restart(1)
    two.wait_until_settled()
    for at, other in ((0, 1), (1, 0)):
        refused = two.run(at, "drain", f"n{other}")
        assert refused.returncode == 70 and "older version" in refused.stderr, refused
        assert "run the command on that node" in refused.stderr
    assert not two.status(0)["drained"] and not two.status(1)["drained"]
    assert drain(two, 1)["drained"]  # as it always could be
    assert "cluster.member_away" not in two[0].log.rsplit("cluster.member_here node=n1", 1)[1]


def test_drain_lets_balancers_know_first_and_moves_clients_at_its_rate(cluster_of, connect):
    two = cluster_of(2, drain_delay="2s", drain_rate=10).init()
    clients = [connect(V5, broker=two[0]) for _ in range(20)]
    began = time.monotonic()
    drain(two, 0)
    assert two.ready(0) == "drained"
    connect(V5, broker=two[0]).disconnect()  # for as long as balancers may not know
    assert two.status(0)["groups"] > 0
    ended = []
    for client in clients:
        client.expect_closed(SHUTTING_DOWN, within=4 * patience())
        ended.append(time.monotonic() - began)
    assert min(ended) > 1.9
    assert 20 / 10 * 0.5 < max(ended) - 2, ended
    two.wait("all groups at the other", lambda: two.agreed([1]))


def test_what_cannot_be_drained_is_refused(cluster_of):
    two = cluster_of(2)
    refused = two.run(0, "drain")
    assert refused.returncode == 70 and "not_initialised" in refused.stderr
    two.init()
    drain(two, 0)
    two.wait("the other has heard of it", lambda: two.status(1)["members"][0].get("drained"))
    refused = two.run(1, "drain")
    assert refused.returncode == 70 and "No other node is here" in refused.stderr
    assert not two.status(1)["drained"]
    undrain(two, 0)
    two.wait_until_settled()


def test_groups_stay_where_they_are_until_they_are_asked_to_go_home(cluster_of, record_property):
    three = cluster_of(3, home_stay="20s").init()
    three[1].stop()
    three.wait("homes at the others", lambda: three.agreed([0, 2]))
    three.restart(1)
    three.wait("it reads all logs", lambda: three.state(1) == "running" and all(
        group["state"] == "following" for group in three.shards(1)))
    three.wait("the others know", lambda: any(
        group.get("preferred") == "n1" for group in three.shards(0)))
    time.sleep(3)
    assert three.agreed([0, 2])  # a node that comes and goes moves nothing
    watch, began = Homeless(three), time.monotonic()
    done = three.run(0, "rebalance")
    assert done.returncode == 0, done.stderr
    three.wait("all at home", three.settled)
    took, longest = time.monotonic() - began, watch.stop().longest
    record_property("rebalance_s", round(took, 2))
    print(f"all at home after {took:.2f} s; one without a home for {longest:.2f} s at most")
    assert longest < PAUSE_S


def test_standby_leads_only_when_no_active_node_is_there_and_gives_back(cluster_of, connect, topic):
    three = cluster_of(3, each={2: {"role": "standby"}}).init()
    assert set(three.homes()) == {"n0", "n1"}
    assert three.status(2)["role"] == "standby"
    three.wait("it reads along", lambda: all(g["state"] == "following" for g in three.shards(2)))
    bob = kept(connect, three[0], unique())
    bob.subscribe(topic, qos=1)
    bob.disconnect()
    three[1].kill()
    three.wait("all groups at the active one", lambda: three.agreed([0]))
    connect(V5, broker=three[2]).publish(topic, "one active", 1)
    three[0].kill()
    three.wait("all groups at the standby", lambda: three.agreed([2]))
    connect(V5, broker=three[2]).publish(topic, "none", 1)
    three.restart(0)
    three.wait("all groups at the active one", lambda: three.agreed([0]), STAY_S + 12 * patience())
    three.restart(1)
    three.wait_until_settled()
    assert set(three.homes()) == {"n0", "n1"}
    connect(V5, broker=three[2]).publish(topic, "both", 1)
    bob = come_back(three[2], bob.client_id)
    got = []
    while "both" not in got:
        got.append(bob.receive(topic=topic).payload.decode())
    assert list(dict.fromkeys(got)) == ["one active", "none", "both"]  # each at least once
