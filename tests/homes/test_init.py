# SPDX-License-Identifier: Apache-2.0
"""How a cluster begins, once, and what nodes do that find something else than they left."""

import json
import os
import shutil
import signal
import subprocess
import threading

import pytest

from kit import V5, Broker, RawClient, connect_again, patience, unique, wire
from kit.broker import free_port

from .conftest import GROUPS
from .test_sessions import KEPT, come_back

pytestmark = pytest.mark.xdist_group("homes-init")


def mark(cluster, number):
    """What the data directory says of its cluster, and for itself: its instance."""
    lines = (cluster[number].data / "cluster").read_text().splitlines()[1:]
    words = dict(line.split() for line in lines)
    return words, words.pop("instance")


def test_init_gives_every_data_directory_the_same_id(cluster_of):
    three = cluster_of(3)
    assert three.state(1) == "not_initialised"
    done = three.run(1, "init", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["name"] == "tests" and told["nodes"] == 3
    three.wait("all run", lambda: all(three.state(n) == "running" for n in range(3)))
    assert [mark(three, n)[0] for n in range(3)] == \
        [{"name": "tests", "id": told["id"], "groups": str(GROUPS), "state": "founded"}] * 3
    assert len({mark(three, n)[1] for n in range(3)}) == 3


def test_init_is_done_once(cluster_of):
    one = cluster_of(1)
    one.init()
    again = one.run(0, "init")
    assert again.returncode == 70 and "It has been done" in again.stderr


def test_one_node_is_a_cluster(cluster_of):
    one = cluster_of(1).init()
    assert one.homes() == ["n0"] * GROUPS
    one[0].stop()
    one.restart(0)
    one.wait_until_settled()


def test_a_node_that_holds_nothing_lets_nobody_in_before_the_others_have_spoken(cluster_of):
    """It may be one of a cluster that has lost its disk."""
    two = cluster_of(2, home_wait="500ms")
    two.wait("they have met", lambda: two.ready(0) == "ready")
    with RawClient(two[0], V5) as client:
        client.connect(**KEPT)
    two[1].kill()
    two[0].stop()
    shutil.rmtree(two[0].data)
    two.restart(0)
    assert two.ready(0) != "ready"
    for fields in (KEPT, {}):
        with RawClient(two[0], V5) as client:
            client.send(wire.connect(unique(), **fields))
            client.expect_refused(reason=0x88)
    assert "lets no clients in" in two.status(0)["waits_for"]
    two.restart(1)
    two.wait("they have met", lambda: two.ready(0) == "ready")
    with RawClient(two[0], V5) as client:
        client.connect(**KEPT)


def test_a_node_that_holds_something_serves_it_without_the_others(cluster_of):
    two = cluster_of(2)
    two.wait("they have met", lambda: two.ready(0) == "ready")
    client_id = unique()
    with RawClient(two[0], V5) as client:
        client.connect(client_id, **KEPT)
    two[1].kill()
    two[0].stop()
    two.restart(0)
    with RawClient(two[0], V5) as client:
        assert client.connect(client_id, **KEPT).session_present


def test_nothing_of_an_engine_runs_before_init(cluster_of):
    two = cluster_of(2)
    two.wait("they have met", lambda: all("cluster.member_here" in node.log for node in two))
    assert two.engine(0) == two.engine(1) == 0
    assert not (two[0].data / "engine").exists()
    assert two.ask(0, "/v1/cluster")[1]["engine"] == {
        "kind": "managed", "connected": False, "rests": False, "wait_ms": 0}


def test_init_on_two_nodes_at_once_makes_one_cluster(cluster_of):
    two = cluster_of(2)
    results = {}
    threads = [threading.Thread(target=lambda n=n: results.update({n: two.run(n, "init")}))
               for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 in {done.returncode for done in results.values()}, results
    two.wait_until_settled()
    assert mark(two, 0)[0] == mark(two, 1)[0]


def test_init_waits_for_all_nodes_that_are_configured_and_goes_on_after_a_crash(cluster_of):
    two = cluster_of(2)
    two[1].stop()
    two.wait("alone", lambda: not two.ask(0, "/v1/cluster")[1]["members"][:1]
             or not two.ask(0, "/v1/cluster")[1]["members"][0]["here"])
    asked = threading.Thread(target=lambda: two.run(0, "init"))
    asked.start()
    two.wait("it waits", lambda: "not all nodes" in two.ask(0, "/v1/cluster")[1].get("waits_for", ""))
    assert two.state(0) == "gathering"
    two[0].kill()
    asked.join()
    two.restart(0)
    two.restart(1)
    two.wait_until_settled()
    assert mark(two, 0)[0] == mark(two, 1)[0]


def test_node_whose_cluster_is_not_in_the_engine_makes_nothing_and_says_so(cluster_of):
    one = cluster_of(1).init()
    one[0].stop()
    shutil.rmtree(one[0].data / "engine")
    one.restart(0)
    one.wait("it says so", lambda: one.state(0) == "lost")
    told = one.ask(0, "/v1/cluster")[1]
    assert mark(one, 0)[0]["id"] in told["waits_for"] and "Nothing is made again" in told["waits_for"]
    assert one.run(0, "init").returncode == 70
    assert one.homes() == [None] * GROUPS


def test_data_directory_of_another_cluster_is_refused(cluster_of):
    one = cluster_of(1).init()
    one[0].stop()
    path = one[0].data / "cluster"
    text = path.read_text()
    path.write_text(text.replace("name tests", "name others"))
    refused = subprocess.run([one[0].binary, "serve", "-c", one[0].folder / "skein.yaml", "-d", one[0].data],
                             capture_output=True, text=True, timeout=60)
    assert refused.returncode == 65 and "belongs to cluster others" in refused.stderr
    path.write_text(text)
    one.restart(0)
    one.wait_until_settled()


def test_node_that_comes_later_joins_and_takes_its_share(cluster_of):
    four = cluster_of(4, known=3)
    four.init()
    before = four.homes()
    four.append(Broker(four.configuration(3)))
    four.wait_until_settled()
    after = four.homes()
    assert "n3" in after
    assert all(new in (old, "n3") for old, new in zip(before, after))


def copies(cluster, number):
    engine = cluster.status(number)["engine"]
    return engine.get("replicas"), engine.get("replicas_current")


def test_changelogs_of_two_nodes_get_a_third_copy_when_a_third_node_joins(cluster_of, connect, topic):
    three = cluster_of(3, known=2)
    three.init()
    three.wait("two copies", lambda: copies(three, 0) == (2, 2))
    kept = {"clean_start": False, "properties": [("session_expiry_interval", 600)]}
    bob = connect_again(three[0], V5, unique("bob"), **kept)
    bob.subscribe(topic, qos=1)
    three.append(Broker(three.configuration(2)))
    three.wait("three copies", lambda: all(copies(three, n) == (3, 3) for n in range(3)),
               30 * patience())
    three.wait_until_settled()
    os.kill(three.engine(1), signal.SIGKILL)  # with two copies nothing could go on now
    three.wait_until_logs_go_on(2)
    connect_again(three[2], V5, "").publish(topic, "still", 1)
    come_back(three[1], bob.client_id).receive(topic=topic, payload="still")


def test_status_members_and_shards_are_shown(cluster_of):
    two = cluster_of(2)
    two.init()
    status, members, shards = (two.run(0, word).stdout for word in ("status", "members", "shards"))
    assert "state" in status and "running" in status and "managed" in status
    assert members.split()[0] == "node" and " n1 " in " " + members.replace("\n", " ")
    assert len(shards.splitlines()) == GROUPS + 1 and "n1" in shards
    assert two.run(0, "what").returncode == 64


@pytest.fixture
def external_engine(tmp_path):
    """The URL of a NATS with JetStream that somebody else runs."""
    port = free_port()
    program = shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin")
    process = subprocess.Popen([program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", tmp_path],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"nats://127.0.0.1:{port}"
    process.kill()
    process.wait()


def test_engine_that_somebody_else_runs_is_used(cluster_of, external_engine):
    two = cluster_of(2, engine="external", engine_urls=[external_engine])
    two.init()
    assert set(two.homes()) == {"n0", "n1"}
    engine = {"kind": "external", "connected": True, "replicas": 1, "replicas_current": 1}
    two.wait("it is told", lambda: engine.items() <= two.status(1)["engine"].items())
    assert not (two[0].data / "engine").exists()
    assert "homes.one_copy" in two[0].log  # one server alone


def test_engine_that_is_not_there_is_said(cluster_of):
    one = cluster_of(1, engine="external", engine_urls=[f"nats://127.0.0.1:{free_port()}"])
    asked = threading.Thread(target=lambda: one.run(0, "init"))
    asked.start()
    one.wait("it is said", lambda: "no connection to the engine"
             in one.ask(0, "/v1/cluster")[1].get("waits_for", ""))
    one[0].stop()  # nobody waits for init any more
    asked.join()


def wait_until_met(cluster):
    """... and have told each other whether they hold anything."""
    cluster.wait("they have met", lambda: all(
        member["here"] and "role" in member for n in range(len(cluster))
        for member in cluster.ask(n, "/v1/cluster")[1]["members"]) and all(
            cluster.ask(n, "/v1/cluster")[1]["members"] for n in range(len(cluster))))


def test_cluster_is_not_initialised_from_another_node_than_the_one_that_holds_sessions(
        cluster_of, connect, topic):
    two = cluster_of(2)
    connect(V5, broker=two[1], **KEPT).subscribe(topic, qos=1)
    wait_until_met(two)
    two.wait("it is refused", lambda: "Node n1 holds sessions" in two.run(0, "init").stderr)
    assert two.state(0) == two.state(1) == "not_initialised"
    assert not (two[0].data / "cluster").exists()
    two.init(1)
    assert mark(two, 0)[0] == mark(two, 1)[0]


def test_two_nodes_that_hold_sessions_are_not_made_a_cluster(cluster_of, connect, topic):
    two = cluster_of(2)
    for broker in two:
        connect(V5, broker=broker, **KEPT).subscribe(topic, qos=1)
    wait_until_met(two)
    for number, other in ((0, 1), (1, 0)):
        two.wait("it is refused", lambda: f"Nodes n{number} and n{other} both hold sessions"
                 in two.run(number, "init").stderr)
        assert two.state(number) == "not_initialised"


def test_node_that_holds_sessions_does_not_join_a_cluster_that_is_there(cluster_of, connect, topic):
    three = cluster_of(3, known=2)
    three.init()
    late = Broker()
    connect(V5, broker=late, **KEPT).subscribe(topic, qos=1)
    late.stop()
    late.config = three.configuration(2)
    three.append(late)
    three.restart(2)
    three.wait("it is said", lambda: "empty data directory" in
               three.ask(2, "/v1/cluster")[1].get("waits_for", ""))
    assert three.state(2) == "not_initialised"
    assert set(three.homes()) == {"n0", "n1"}
