# SPDX-License-Identifier: Apache-2.0
"""Engines that have lost the ends of their logs, all at once, as when the power goes before they have
written what they accepted: their stores are those of a moment ago."""

import os
import shutil
import signal

from .test_copies import Stored
from .test_power import power_off


def stores(cluster):
    return [broker.data / "engine/store" for broker in cluster]


def keep_stores(cluster, folder):
    """Copies of what all engines have at the same moment."""
    engines = [cluster.engine(number) for number in range(len(cluster))]
    for pid in engines:
        os.kill(pid, signal.SIGSTOP)
    for number, store in enumerate(stores(cluster)):
        shutil.copytree(store, folder / str(number))
    for pid in engines:
        os.kill(pid, signal.SIGCONT)


def lose_what_came_since(cluster, folder):
    """Kills everything, and gives the engines back what they had."""
    for number, broker in enumerate(cluster):
        engine = cluster.engine(number)
        broker.kill()
        os.kill(engine, signal.SIGKILL)
    for number, store in enumerate(stores(cluster)):
        cluster.wait("its engine is gone", lambda number=number: cluster.engine(number) == 0)
        shutil.rmtree(store)
        shutil.copytree(folder / str(number), store)


def test_what_all_engines_lost_at_once_is_in_the_stores(cluster_of, tmp_path, topic):
    three = cluster_of(3).init()
    stored = Stored(topic, sessions=16)
    stored.subscribe(three)
    keep_stores(three, tmp_path)
    stored.queue(three[0], 20)
    stored.retain(three[1], "kept")
    seen = [len(node.log) for node in three]
    lose_what_came_since(three, tmp_path)
    for number in range(3):
        three.restart(number)
    three.wait_until_settled()
    assert any("homes.log_mended" in node.log[start:] for node, start in zip(three, seen))
    assert all(stored.retained(node) == stored.expected("kept") for node in three)
    stored.look(three[2])


def test_when_all_power_is_lost_the_stores_have_even_what_no_engine_had_written(cluster_of, topic):
    """Not even that there are streams: the engine writes that down when it has time."""
    three = cluster_of(3).init()
    stored = Stored(topic, sessions=16)
    stored.fill(three)
    for number in range(3):
        power_off(three, number)
    for store in stores(three):
        for account in (store / "jetstream").iterdir():
            shutil.rmtree(account)
    for number in range(3):
        three.restart(number)
    three.wait_until_settled()
    assert any("homes.changelogs_made_again" in node.log for node in three)
    assert all(stored.retained(node) == stored.expected("kept") for node in three)
    stored.look(three[2])
