# SPDX-License-Identifier: Apache-2.0
"""Workload and checker held against a single broker whose listeners stand for nodes: a cluster that cannot
go wrong between its nodes. What they find there is their own fault, or the broker's."""

import asyncio
import random

import pytest

from kit.broker import Broker, free_port

from .history import History
from .workload import play, verdict

SECONDS = 5
KILLS = 3
DEATHS = 5
ATTEMPTS = 4
# Nothing may be dropped by a limit: whatever is missing was lost.
CONFIG = {"queue": {"messages_max": 10_000_000, "bytes_max": "10G"}}
BROKEN = {"SKEIN_TEST_BREAK": "ack_before_commit"}


class Nodes:
    """Three addresses of one broker."""

    def __init__(self, **options):
        ports = [free_port() for _ in range(3)]
        config = {**CONFIG, "listeners": [{"address": f"127.0.0.1:{port}"} for port in ports]}
        config.update(options.pop("config", {}))
        self.broker = Broker(config, **options)
        self.addresses = {f"n{at}": ("127.0.0.1", port) for at, port in enumerate(ports, 1)}

    async def killed(self, history, seed):
        """All three at once, now and then."""
        draw = random.Random(f"{seed}/kills")
        for _ in range(KILLS):
            await asyncio.sleep(draw.uniform(0.3, SECONDS / KILLS))
            await self._again(history)

    async def dies(self, history, _seed):
        """By itself, again and again, at the fault point that is in its environment."""
        for death in range(DEATHS):
            while self.broker.alive():
                await asyncio.sleep(0.01)
            if death == DEATHS - 1:
                del self.broker.environment["SKEIN_TEST_FAULT"]
            await self._again(history)

    async def _again(self, history):
        number = history.op()
        history.add("fault", fault=number, what="kill", targets=sorted(self.addresses), minority=[], all_down=False)
        self.broker.kill()
        await asyncio.get_running_loop().run_in_executor(None, self._start)
        history.add("over", fault=number)

    def _start(self):
        try:
            self.broker.start()
        except AssertionError:
            if "SKEIN_TEST_FAULT" not in self.broker.environment:  # else it was dead before it was seen
                raise


@pytest.fixture
def nodes():
    started = []

    def start(**options):
        started.append(Nodes(**options))
        return started[-1]
    yield start
    for each in started:
        each.broker.close()


def told(found, history):
    return "\n".join([f"history in {history.path}:", *map(repr, found[:10])])


def violations(seed, nodes, path, faults=None, seconds=SECONDS):
    history = History(path)
    play(seed, history, nodes.addresses, seconds, faults and faults(history, seed), rejoin_s=0, rate=60, arrive_s=4.0)
    return verdict(history.events), history


def test_one_broker_with_three_addresses_breaks_no_rule(nodes, tmp_path):
    found, history = violations("calm", nodes(), tmp_path / "history.jsonl")
    assert not found, told(found, history)
    kinds = [event.kind for event in history.events]
    assert kinds.count("deliver") > 500 and kinds.count("told") > 5 and kinds.count("seen") > 3
    assert len({event.node for event in history.events if event.kind == "connect"}) == 3


def test_one_broker_that_is_killed_breaks_no_rule(nodes, tmp_path):
    three = nodes()
    found, history = violations("killed", three, tmp_path / "history.jsonl", three.killed)
    assert not found, told(found, history)
    assert [event.kind for event in history.events].count("fault") == KILLS


def test_a_broker_that_acknowledges_before_it_commits_is_caught(nodes, tmp_path):
    for attempt in range(ATTEMPTS):
        three = nodes(environment={**BROKEN, "SKEIN_TEST_FAULT": "store.before_write:150"})
        found, _ = violations(f"broken{attempt}", three, tmp_path / f"{attempt}.jsonl", three.dies, seconds=0)
        if found:
            break
    assert {violation.rule for violation in found} & {"C1", "C3", "C4", "C5", "C6", "C7"}


def test_a_broker_that_keeps_nothing_is_caught(nodes, tmp_path):
    three = nodes(config={"durability": "memory"})
    found, _ = violations("memory", three, tmp_path / "history.jsonl", three.killed)
    assert "C3" in {violation.rule for violation in found}
