# SPDX-License-Identifier: Apache-2.0
"""Changelogs on real nats-servers: claims, appends, takeovers, servers that die."""

import os
import re
import signal

import pytest

from .conftest import CLUSTER, GROUPS, Program, create, free_ports

pytestmark = pytest.mark.xdist_group("changelog")


def claim(program, group):
    """Makes it home; gives the epoch."""
    program.say(f"attach {group}")
    program.say(f"claim {group}")
    return int(program.expect(f"opened {group}").split()[2])


def batches(program):
    """What it has applied, in order."""
    found = (re.match(r"apply \d+ \d+ batch \d+ (.*)", line) for line in program.seen)
    return [m.group(1) for m in found if m]


def read_until(program, group, last):
    while int(program.expect(f"apply {group}").split()[2]) < last:
        pass
    return batches(program)


def follow(program, group, last):
    """Reads from the beginning up to that sequence."""
    program.say(f"attach {group}")
    program.say(f"follow {group}")
    return read_until(program, group, last)


def test_what_is_committed_is_read_by_another_node_in_order(node, group):
    a, b = node(0, "a"), node(1, "b")
    assert claim(a, group) == 1
    last = [a.append(group, f"m{i}") for i in range(50)][-1]
    assert follow(b, group, last) == [f"m{i}" for i in range(50)]


def test_streams_that_are_there_are_left_as_they_are(node, group):
    a = node(0, "a")
    claim(a, group)
    sequence = a.append(group, "kept")
    create(a, GROUPS)
    assert a.append(group, "after") > sequence
    assert a.do(f"create {GROUPS} 1", "created").startswith("created exists")


def test_stream_that_is_missing_is_told(node, group):
    a = node(0, "a")
    assert a.do(f"look {GROUPS}", "looked") == "looked ok"
    assert a.do(f"look {GROUPS + 1}", "looked") == "looked not_found"
    claim(a, group)


def test_group_without_a_stream_is_not_claimed(node, group):
    a = node(0, "a")
    a.say(f"attach {GROUPS}")
    a.say(f"claim {GROUPS}")
    claim(a, group)
    assert a.do(f"position {GROUPS}", "position") == f"position {GROUPS} 0 0 claiming 00000000"


def test_node_that_takes_over_reads_everything_and_deposes_the_other(node, group):
    a, b = node(0, "a"), node(1, "b")
    claim(a, group)
    for i in range(20):
        a.append(group, f"m{i}")
    a.kill(signal.SIGSTOP)
    assert claim(b, group) > 20
    assert batches(b) == [f"m{i}" for i in range(20)]
    last = b.append(group, "of b")
    a.kill(signal.SIGCONT)
    a.expect(f"deposed {group}")
    a.say(f"follow {group}")
    assert read_until(a, group, last) == ["of b"]


def test_release_hands_over_without_waiting(node, group):
    a, b = node(0, "a"), node(1, "b")
    claim(a, group)
    a.append(group, "m")
    assert a.do(f"release {group}", "released") == f"released {group}"
    claim(b, group)
    assert batches(b) == ["m"]


def test_batch_above_the_servers_payload_goes_in_parts(node, group):
    a, b = node(0, "a"), node(1, "b")
    claim(a, group)
    size = 13 << 20
    assert a.do(f"large {group} {size}", "append") == f"append {group} ok"
    last = int(a.expect(f"committed {group}").split()[3])
    follow(b, group, last)
    assert any(line.startswith(f"apply {group} {last} batch {size} ") for line in b.seen)


def test_what_is_trimmed_is_told_to_who_would_read_it(node, group):
    a = node(0, "a")
    claim(a, group)
    last = [a.append(group, f"m{i}") for i in range(10)][-1]
    a.say(f"trim {group} {last}")
    line = ""
    while not line.startswith("behind"):  # it takes effect a little later
        b = node(1, "b")
        b.say(f"attach {group}")
        b.say(f"follow {group}")
        line = b.expect(f"behind {group}", f"apply {group}")
    assert line == f"behind {group} {last}"


def test_no_acknowledged_record_is_lost_when_servers_are_killed(servers, node, group):
    """One after the other, the leader of the stream among them, while the home appends."""
    a, b = node(0, "a"), node(1, "b")
    claim(a, group)
    texts = []

    def append(what):
        texts.append(what)
        a.append(group, what)

    for n in (1, 2, 0):
        append(f"before {n}")
        back = servers.killed(n)
        for i in range(30):  # the first of them may wait until another server leads
            append(f"without {n} {i}")
        back()
    last = a.append(group, "last")
    assert follow(b, group, last) == [*texts, "last"]


def test_records_are_read_from_a_copy_while_the_log_has_no_leader(servers, node, group):
    """Two of three servers are gone, so nobody leads the stream: what the third has is read all the same."""
    a = node(0, "a")
    claim(a, group)
    last = [a.append(group, f"m{i}") for i in range(50)][-1]
    follow(node(0, "c"), group, last)
    back = [servers.killed(n) for n in (1, 2)]
    assert follow(node(0, "b"), group, last) == [f"m{i}" for i in range(50)]
    for each in back:
        each()
    assert a.append(group, "with a leader again") > last


def test_home_that_is_killed_loses_nothing_that_was_acknowledged(node, group):
    a, b = node(0, "a"), node(1, "b")
    b.say(f"attach {group}")
    b.say(f"follow {group}")
    claim(a, group)
    acknowledged = [f"m{i}" for i in range(100)]
    for text in acknowledged:
        a.append(group, text)
    a.say(f"append {group} perhaps")
    a.kill()
    b.say(f"claim {group}")
    b.expect(f"opened {group}")
    assert batches(b) in (acknowledged, [*acknowledged, "perhaps"])


def test_server_outlives_its_broker_and_is_taken_over(servers):
    pid = servers.pids[0]
    servers.keepers[0].kill()
    os.kill(pid, 0)
    assert servers.start(0).startswith(f"adopted {pid} n0-")
    servers.keepers[0].say("stop")
    servers.keepers[0].process.wait(30)
    assert servers.start(0).startswith("started")


def test_server_that_lost_its_store_comes_back_as_another_and_takes_its_place(servers, node, group):
    """Under its old name it would count as a replica that has what it has lost."""
    a = node(0, "a")
    claim(a, group)
    texts = [f"m{i}" for i in range(20)]
    for text in texts:
        a.append(group, text)
    old = servers.names[2]
    servers.lose_store(2)
    assert servers.names[2] != old and servers.names[2].startswith("n2-")
    assert servers.remove(0, old) == "ok"
    assert servers.remove(0, old) == "not_found"
    texts.append("with the new one")
    a.append(group, texts[-1])
    back = servers.killed(1)  # from here on the new one is needed
    texts.append("without the other")
    a.append(group, texts[-1])
    back()
    last = a.append(group, "last")
    assert follow(node(2, "b"), group, last) == [*texts, "last"]


def test_server_that_refuses_us_is_asked_again_and_said(servers):
    a = Program("node", "a", CLUSTER, "not-the-cluster's-secret", servers.url(0))
    a.expect_log("engine.closed why=")
    a.expect_log("engine.closed why=")
    a.say("end")
    assert a.process.wait(20) == 0


def test_node_ends_in_order_while_there_is_no_server():
    a = Program("node", "a", CLUSTER, "secret", f"nats://127.0.0.1:{free_ports(1)[0]}")
    a.say("attach 0")
    a.say("claim 0")
    assert a.do("position 0", "position") == "position 0 0 0 claiming 00000000"
    a.say("end")
    assert a.process.wait(20) == 0
