# SPDX-License-Identifier: Apache-2.0
"""Engines whose machines went down: they may have lost what they had promised. A machine that boots
again is played by another boot id in what was noted of the engine."""

import contextlib
import os
import signal

import pytest

pytestmark = pytest.mark.xdist_group("homes")


def power_off(cluster, number):
    """Broker and engine of a node, and the boot of its machine."""
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
    three.wait("its name is known", lambda: server(three, 1) != "")
    old = server(three, 1)
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


def test_engines_are_kept_when_most_went_down_and_nothing_is_claimed_before_all_are_back(three):
    names = [server(three, number) for number in range(3)]
    for number in range(3):
        power_off(three, number)
    seen = [len(node.log) for node in three]
    for number in range(2):
        three.restart(number)
    three.wait("two of them run", lambda: three.state(0) == three.state(1) == "running")
    three.wait("they have read the logs", lambda: all(
        group["state"] == "following" and group["sequence"] > 0
        for number in range(2) for group in three.shards(number)))
    assert not any("homes.claims" in node.log[start:] for node, start in zip(three, seen))
    three.restart(2)
    three.wait_until_settled()
    assert all("engine.store_kept" in three[number].log[seen[number]:] for number in range(2))
    assert [server(three, number) for number in range(3)] == names


def test_engine_of_a_node_that_is_alone_is_kept(cluster_of):
    one = cluster_of(1).init()
    epochs = [group["epoch"] for group in one.shards(0)]
    power_off(one, 0)
    one.restart(0)
    one.wait_until_settled()
    assert "engine.store_kept" in one[0].log
    assert all(new["epoch"] > old for new, old in zip(one.shards(0), epochs))
