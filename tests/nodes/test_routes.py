# SPDX-License-Identifier: Apache-2.0
"""Publications between nodes: what is subscribed to on one arrives from all."""

import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

from kit import SUBACK, V5, V311, patience, publish, subscribe

both_versions = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])
every_qos = pytest.mark.parametrize("qos", [0, 1, 2])


@every_qos
@both_versions
def test_a_subscriber_gets_what_is_published_on_any_node(nodes, connect, topic, version, qos):
    three = nodes(3)
    bob = connect(version, broker=three[0])
    bob.subscribe(f"{topic}/#", qos=2)
    for number, node in enumerate(three):
        alice = connect(version, broker=node)
        alice.publish(f"{topic}/{number}", f"from {number}", qos)
        packet = bob.receive(topic=f"{topic}/{number}", payload=f"from {number}")
        assert packet.qos == qos


def test_suback_means_that_every_node_knows(nodes, connect, topic):
    three = nodes(3)
    bob, alices = connect(V5, broker=three[0]), [connect(V5, broker=node) for node in three[1:]]
    for number in range(50):
        bob.subscribe(f"{topic}/{number}")
        for alice in alices:
            alice.publish(f"{topic}/{number}", "m")
        for _ in alices:
            bob.receive(topic=f"{topic}/{number}")


def test_a_publication_comes_once_however_many_subscribers_and_filters_match(nodes, connect, topic):
    two = nodes(2)
    bobs = [connect(V5, broker=two[0]) for _ in range(3)]
    for bob in bobs:
        bob.subscribe([f"{topic}/a", f"{topic}/+", f"{topic}/#"])
    alice = connect(V5, broker=two[1])
    alice.publish(f"{topic}/a", "m")
    for bob in bobs:
        bob.receive(topic=f"{topic}/a")
        bob.expect_quiet()


def test_everything_of_a_publication_arrives(nodes, connect, topic):
    two = nodes(2)
    bob, alice = connect(V5, broker=two[0]), connect(V5, broker=two[1])
    bob.subscribe(topic, qos=1)
    properties = [("payload_format_indicator", 1), ("message_expiry_interval", 60),
                  ("content_type", "text/plain"), ("response_topic", "answers"),
                  ("correlation_data", b"\x00\x01"), ("user_property", ("a", "1")),
                  ("user_property", ("b", "2"))]
    alice.publish(topic, "m", 1, properties=properties)
    assert sorted(map(str, bob.receive(topic=topic).properties)) == sorted(map(str, properties))


@pytest.mark.parametrize("size", [0, 1, 7_000, 9_000, 300_000, 3_000_000])
def test_payloads_of_every_size_arrive_whole(nodes, connect, topic, size):
    two = nodes(2)
    bob, alice = connect(V5, broker=two[0]), connect(V5, broker=two[1])
    bob.subscribe(topic)
    payload = os.urandom(size)
    alice.publish(topic, payload)
    assert bob.receive(topic=topic).payload == payload


@every_qos
def test_order_is_kept(nodes, connect, topic, qos):
    two = nodes(2)
    bob, alice = connect(V5, broker=two[0]), connect(V5, broker=two[1])
    bob.subscribe(topic, qos=qos)
    for number in range(500):
        alice.publish(topic, str(number), qos)
    got = [int(bob.receive(topic=topic).payload) for _ in range(500)]
    assert got == list(range(500))


def _metric(connect, node, name):
    reader = connect(V5, broker=node)
    reader.subscribe(f"$SYS/skein/{name}")
    value = int(reader.receive(topic=f"$SYS/skein/{name}").payload)
    reader.disconnect()
    return value


def test_after_unsubscribe_and_after_the_end_of_a_session_nothing_is_sent(nodes, connect, topic):
    two = nodes(2, {"broker": {"sys_interval": "1s"}})
    bob, carol = connect(V5, broker=two[0]), connect(V5, broker=two[0])
    alice, watcher = connect(V5, broker=two[1]), connect(V5, broker=two[1])
    for client in (bob, carol):
        client.subscribe(topic)
    bob.unsubscribe(topic)
    carol.disconnect()
    watcher.subscribe("$SYS/broker/uptime")
    deadline, before, now = time.monotonic() + 2 * patience(), None, -1
    while now != before:  # the node is told in a moment
        assert time.monotonic() < deadline, "publications are still forwarded"
        alice.publish(topic, "m")
        watcher.receive(topic="$SYS/broker/uptime")
        watcher.receive(topic="$SYS/broker/uptime")
        before, now = now, _metric(connect, two[1], "publish_forwarded")
    assert now >= 0


def test_one_member_of_a_share_gets_each_message_wherever_it_is(nodes, connect, topic):
    three = nodes(3)
    members = [connect(V5, broker=node) for node in three]
    for member in members:
        member.subscribe(f"$share/g/{topic}", qos=1)
    alices = [connect(V5, broker=node) for node in three]
    for number in range(60):
        alices[number % 3].publish(topic, str(number), 1)
    got = []
    for member in members:
        while True:
            try:
                got.append(int(member.receive(topic=topic, within=1).payload))
            except AssertionError:
                break
    assert sorted(got) == list(range(60))


def test_system_topics_stay_on_their_node(nodes, connect):
    two = nodes(2, {"broker": {"sys_interval": "1s"}})
    bob = connect(V5, broker=two[0])
    bob.subscribe("$SYS/broker/uptime")
    first = bob.receive(topic="$SYS/broker/uptime")
    times = [time.monotonic()]
    for _ in range(3):
        bob.receive(topic="$SYS/broker/uptime")
        times.append(time.monotonic())
    assert first and times[-1] - times[0] > 1.5  # else two brokers' would come


# ---- members -----------------------------------------------------------------------------------


def test_a_node_learns_of_others_from_those_it_knows(nodes, connect, topic):
    three = nodes(3, meet=False)
    for number in (1, 2):  # they know the first only
        three[number].stop()
        config = three.configuration(number)
        config["cluster"]["addresses"] = [f"127.0.0.1:{three.links[0]}"]
        three[number].config = config
        three[number].start()
    three.wait_until_here(1, [2])
    three.wait_until_here(2, [1])
    bob, alice = connect(V5, broker=three[1]), connect(V5, broker=three[2])
    bob.subscribe(topic)
    alice.publish(topic, "m")
    bob.receive(topic=topic)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_node_that_starts_again_is_told_everything(nodes, connect, topic, end):
    two = nodes(2)
    bob = connect(V5, broker=two[0])
    bob.subscribe([f"{topic}/{n}" for n in range(2000)])
    getattr(two[1], end)()
    two[1].start()
    two.wait_until_here(1, times=2)
    two.wait_until_here(0, times=2)
    late = connect(V5, broker=two[0])
    late.subscribe(f"{topic}/late")  # its SUBACK means that the table has come
    alice = connect(V5, broker=two[1])
    for number in (0, 1234, 1999):
        alice.publish(f"{topic}/{number}", "m")
        bob.receive(topic=f"{topic}/{number}")


def _stop(pid):
    """SIGSTOP, until every thread has heard of it."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + patience()
    tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
    while any((task / "stat").read_text().rpartition(")")[2].split()[0] != "T" for task in tasks):
        assert time.monotonic() < deadline


def test_a_node_that_stops_for_a_while_delays_a_suback_until_it_is_away(nodes, connect, topic):
    two = nodes(2)
    bob = connect(V5, broker=two[0])
    _stop(two[1].process.pid)
    began = time.monotonic()
    try:
        bob.send(subscribe([(topic, 0)], id=1))
        bob.expect(SUBACK)
        waited = time.monotonic() - began
    finally:
        os.kill(two[1].process.pid, signal.SIGCONT)
    assert 1 < waited < 10
    two.wait_until_here(0, times=2)
    two.wait_until_here(1, times=1)
    alice = connect(V5, broker=two[1])
    carol = connect(V5, broker=two[0])
    carol.subscribe(f"{topic}/after")
    alice.publish(topic, "m")
    bob.receive(topic=topic)


def test_a_node_that_is_told_to_end_says_so(nodes, connect, topic):
    two = nodes(2)
    bob = connect(V5, broker=two[0])
    two[1].stop()
    began = time.monotonic()
    bob.subscribe(topic)
    assert time.monotonic() - began < 1  # else it waits until the node is away
    assert "cluster.member_away node=n1" in two[0].log


def _told(node):
    """What `skein ctl cluster` says."""
    answer = subprocess.run([node.binary, "ctl", "--json", "cluster", "-d", node.data],
                            capture_output=True, check=True, timeout=30)
    return json.loads(answer.stdout)


def test_ctl_cluster_tells_who_is_here(nodes, connect, topic):
    two = nodes(2)
    bob = connect(V5, broker=two[1])
    bob.subscribe([f"{topic}/a", f"{topic}/b"])
    deadline, told = time.monotonic() + patience(), None
    while told is None or told["members"][0]["filters"] != 2:
        assert time.monotonic() < deadline, told
        told = _told(two[0])
    assert told["node"] == "n0" and told["name"] == "tests"
    (member,) = told["members"]
    assert member["node"] == "n1" and member["here"] and member["silent_ms"] < 3000
    assert member["address"] == f"127.0.0.1:{two.links[1]}"
    two[1].stop()
    while _told(two[0])["members"][0]["here"]:
        assert time.monotonic() < deadline


def test_ctl_cluster_of_a_broker_that_is_alone_says_so(broker):
    answer = subprocess.run([broker.binary, "ctl", "cluster", "-d", broker.data],
                            capture_output=True, text=True, timeout=30)
    assert answer.returncode != 0 and "no cluster" in answer.stderr


def test_a_node_with_another_secret_is_not_let_in(nodes):
    two = nodes(2, meet=False)
    two[1].stop()
    two[1].config = two.configuration(1)
    two[1].config["cluster"]["secret"] = "not-the-secret-of-them"
    log = len(two[0].log)
    two[1].start()
    two.wait_for_event(1, "the nodes have different secrets")
    assert "cluster.member_here" not in two[1].log[two[1].log.rindex("cluster.joining"):]
    assert "cluster.member_here node=n1" not in two[0].log[log:]


# ---- what an acknowledgement means -------------------------------------------------------------

LASTING = {"session_expiry_interval": 600}


def test_what_was_acknowledged_is_safe_on_the_subscribers_node(nodes, connect, topic, client_id):
    two = nodes(2)
    bob = connect(V5, client_id, broker=two[0], clean_start=False, properties=LASTING)
    bob.subscribe(topic, qos=1)
    bob.disconnect()
    alice = connect(V5, broker=two[1])
    for number in range(100):
        assert alice.publish(topic, str(number), 1).reason == 0
    two[0].kill()
    two[0].start()
    bob = connect(V5, client_id, broker=two[0], clean_start=False, properties=LASTING)
    for number in range(100):
        bob.receive(payload=str(number))


def test_a_message_for_a_session_on_a_node_that_hangs_is_not_acknowledged(nodes, connect, topic,
                                                                          client_id):
    two = nodes(2)
    bob = connect(V5, client_id, broker=two[0], clean_start=False, properties=LASTING)
    bob.subscribe(topic, qos=1)
    alice, carol = connect(V5, broker=two[1]), connect(V311, broker=two[1])
    _stop(two[0].process.pid)
    try:
        alice.send(publish(topic, "m", 1, 7))
        carol.send(publish(topic, "m", 1, 7))
        assert alice.next_packet(within=3 * patience()).reason == 0x83  # when the node is away
        carol.expect_quiet()  # 3.x has no word for it
    finally:
        os.kill(two[0].process.pid, signal.SIGCONT)


def test_who_is_there_only_now_is_not_waited_for(nodes, connect, topic):
    two = nodes(2)
    bob, alice = connect(V5, broker=two[0]), connect(V5, broker=two[1])
    bob.subscribe(topic, qos=1)
    _stop(two[0].process.pid)
    try:
        assert alice.publish(topic, "m", 1).reason == 0
    finally:
        os.kill(two[0].process.pid, signal.SIGCONT)


# ---- pressure ----------------------------------------------------------------------------------


def test_a_flood_to_another_node_is_slowed_and_loses_nothing(nodes, connect, topic):
    two = nodes(2)
    bob, alice = connect(V5, broker=two[0]), connect(V5, broker=two[1])
    bob.subscribe(topic)
    count, payload = 20_000, bytes(1000)

    def flood():
        for number in range(count):
            alice.send(publish(topic, number.to_bytes(4, "big") + payload))

    flooding = threading.Thread(target=flood)
    flooding.start()
    for number in range(count):
        assert bob.next_packet().payload[:4] == number.to_bytes(4, "big")
    flooding.join()
