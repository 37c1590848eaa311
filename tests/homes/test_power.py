# SPDX-License-Identifier: Apache-2.0
"""Engines whose machines went down: they may have lost what they had promised. A machine that boots
again is played by another boot id in what was noted of the engine."""

import contextlib
import os
import signal

import pytest

from kit import patience

from .test_copies import Stored, wipe

pytestmark = pytest.mark.xdist_group("homes")


def names_of_servers(cluster):
    """When all have what the others have."""
    cluster.wait("their engines have everything",
                 lambda: all(server(cluster, number) != "" for number in range(len(cluster))))
    return [server(cluster, number) for number in range(len(cluster))]


def power_off(cluster, number):
    """Broker, if it still runs, and engine of a node, and the boot of its machine."""
    engine = cluster.engine(number)
    cluster[number].kill()
    os.kill(engine, signal.SIGKILL)
    cluster.wait("its engine is gone", lambda: cluster.engine(number) == 0)
    note = cluster[number].data / "engine/process"
    pid, started, _, rest = note.read_text().split(" ", 3)
    note.write_text(f"{pid} {started} 00000000-0000-0000-0000-000000000000 {rest}")


def server(cluster, number):
    with contextlib.suppress(FileNotFoundError):
        return (cluster[number].data / "engine-server").read_text().strip()
    return ""


def test_engine_is_thrown_away_and_replaced_when_most_others_ran_on(three):
    old = names_of_servers(three)[1]
    power_off(three, 1)
    three.restart(1)
    three.wait("another server has its place", lambda: server(three, 1) not in ("", old))
    assert "engine.store_discarded" in three[1].log
    assert f"engine.server_replaced old={old}" in three[1].log and "result=ok" in three[1].log
    three.wait_until_settled()
    before = three.homes()
    os.kill(three.engine(0), signal.SIGKILL)  # from here on the new one is needed
    appended = three.shards(2)[0]["sequence"]
    three.wait("the logs go on", lambda: three.shards(2)[0]["sequence"] > appended + 2)
    three.wait("the homes as before", lambda: three.homes() == before)  # on a busy machine one may move


def test_engine_that_dies_at_each_start_is_replaced_when_most_others_run(three):
    old = names_of_servers(three)[1]
    for path in list((three[1].data / "engine").rglob("_js_/*/peers.idx")):
        path.unlink()
        path.mkdir()  # it can do nothing with that
    os.kill(three.engine(1), signal.SIGKILL)
    three.wait("another server has its place", lambda: server(three, 1) not in ("", old), 24 * patience())
    assert "engine.died" in three[1].log and "engine.store_discarded" in three[1].log
    three.wait_until_settled()


def test_log_that_has_one_server_too_few_gets_another(three):
    """The engine gives a copy up without another one when it knows of no server that has room."""
    log = three.ask_engine(0, "STREAM.NAMES")["streams"][0]

    def servers():
        told = three.ask_engine(0, f"STREAM.INFO.{log}")
        return 1 + len(told["cluster"].get("replicas", [])) if "cluster" in told else 0

    assert servers() == 3
    given_up = three.ask_engine(0, f"STREAM.PEER.REMOVE.{log}", peer=names_of_servers(three)[1])
    assert given_up["error"]["err_code"] == 10075, given_up  # three are all that there are
    three.wait("it has one less", lambda: servers() == 2)
    three.wait("it has as many as before", lambda: servers() == 3, 24 * patience())
    assert any("homes.copies_wanted" in node.log for node in three)


def test_engines_start_anew_when_all_went_down_and_not_before_all_are_back(three):
    names = names_of_servers(three)
    epochs = [group["epoch"] for group in three.shards(0)]
    for number in range(3):
        power_off(three, number)
    seen = [len(node.log) for node in three]
    for number in range(2):
        three.restart(number)
    three.wait("they wait for the third", lambda: all(
        "1 of 2 others are" in three[number].log[seen[number]:] for number in range(2)))
    assert three.state(0) == three.state(1) == "joining"
    three.restart(2)
    three.wait_until_settled()
    assert all("engine.store_discarded" in node.log[start:] for node, start in zip(three, seen))
    assert any("homes.changelogs_made_again" in node.log[start:] for node, start in zip(three, seen))
    three.wait("others have their places", lambda: all(
        server(three, number) not in ("", names[number]) for number in range(3)))
    assert all(new["epoch"] > old for new, old in zip(three.shards(0), epochs))


def test_engines_are_kept_when_most_went_down_and_one_ran_on(three):
    names = names_of_servers(three)
    for number in range(2):
        power_off(three, number)
    seen = [len(node.log) for node in three]
    for number in range(2):
        three.restart(number)
    three.wait_until_settled()
    kept = [n for n in range(2) if "engine.store_kept" in three[n].log[seen[n]:]]
    for number in range(2):  # one may have found most of them running when it looked, on a busy machine both
        three.wait("it is who it should be",
                   lambda n=number: (server(three, n) == names[n]) == (n in kept))
        assert number in kept or "engine.store_discarded" in three[number].log[seen[number]:]


def test_engines_start_anew_when_all_went_down_and_one_has_lost_its_disk(cluster_of, topic):
    """The one that is empty takes no part before the others have decided."""
    three = cluster_of(3).init()
    stored = Stored(topic, sessions=16)
    stored.fill(three)
    for number in range(3):
        power_off(three, number)
    wipe(three[1])
    seen = [len(node.log) for node in three]
    three.restart(1)
    three.wait("it runs", lambda: "broker.started" in three[1].log[seen[1]:])
    for number in (0, 2):
        three.restart(number)
    three.wait_until_settled()
    for number in (0, 2):
        assert "engine.store_discarded" in three[number].log[seen[number]:]
    assert "engine.store_begun" in three[1].log[seen[1]:]
    made = [n for n in range(3) if "homes.changelogs_made_again" in three[n].log[seen[n]:]]
    assert len(made) == 1, made
    assert all(stored.retained(node) == stored.expected("kept") for node in three)
    stored.look(three[1])


def test_engine_that_ran_on_is_given_up_in_a_cluster_of_more_than_three_when_most_went_down(cluster_of, topic):
    four = cluster_of(4).init()
    stored = Stored(topic, sessions=16)
    stored.fill(four)
    four.wait_until_settled()
    for number in range(3):
        power_off(four, number)
    seen = [len(node.log) for node in four]
    for number in range(3):
        four.restart(number)
    four.wait("the fourth gives its engine up", lambda: "engine.given_up" in four[3].log[seen[3]:])
    four.wait_until_settled()
    for node, start in zip(four, seen):
        assert "engine.store_discarded" in node.log[start:]
    assert all(stored.retained(node) == stored.expected("kept") for node in four)
    stored.look(four[3])


def test_files_that_a_power_cut_has_torn_do_not_keep_a_cluster_from_coming_back(cluster_of, topic):
    """What is left of files that were being written may be zeros, and the engine's program ends at each start."""
    three = cluster_of(3).init()
    stored = Stored(topic, sessions=16)
    stored.fill(three)
    for number in range(3):
        power_off(three, number)
        torn = list((three[number].data / "engine").rglob("peers.idx"))
        assert torn
        for path in torn:
            path.write_bytes(bytes(path.stat().st_size))
    for number in range(3):
        three.restart(number)
    three.wait_until_settled()
    assert all(stored.retained(node) == stored.expected("kept") for node in three)
    stored.look(three[2])


def test_engine_of_a_node_that_is_alone_is_kept(cluster_of):
    one = cluster_of(1).init()
    epochs = [group["epoch"] for group in one.shards(0)]
    power_off(one, 0)
    one.restart(0)
    one.wait_until_settled()
    assert "engine.store_kept" in one[0].log
    assert all(new["epoch"] > old for new, old in zip(one.shards(0), epochs))


def test_machines_are_replaced_one_after_the_other(three, topic):
    """Each by one of its name with an empty disk. The engine's servers are others then, and no less of them."""
    stored = Stored(topic, sessions=16)
    stored.fill(three)
    for number in (1, 2, 0):
        power_off(three, number)
        wipe(three[number])
        three.restart(number)
        three.wait_until_settled()
        three.wait("nothing lacks a copy", lambda: three.ask(
            (number + 1) % 3, "/v1/metrics")[1]["metrics"]["engine_copies_missing"] == 0)
    os.kill(three.engine(1), signal.SIGKILL)
    three.wait_until_logs_go_on(0)
    three.wait_until_settled()
    stored.look(three[2])
