# SPDX-License-Identifier: Apache-2.0
"""Some nodes of one cluster on loopback."""

import time

import pytest

from kit import PEER, Broker, patience
from kit.broker import free_port


class Nodes(list):
    """Brokers that know each other's addresses; [0], [1], ... are kit.Broker."""

    SECRET = "the-secret-of-the-tests"

    def __init__(self, count, config=None):
        super().__init__()
        self.links = [free_port() for _ in range(count)]
        self.config = config or {}
        for number in range(count):
            self.append(Broker(self.configuration(number)))

    def configuration(self, number):
        others = [f"127.0.0.1:{port}" for n, port in enumerate(self.links) if n != number]
        cluster = {"name": "tests", "node": f"n{number}", "secret": self.SECRET,
                   "listen": f"127.0.0.1:{self.links[number]}", "addresses": others}
        return {**self.config, "cluster": {**cluster, **self.config.get("cluster", {})}}

    def wait_until_here(self, number, others=None, times=1):
        """Until node `number` has met the others, that often."""
        for other in range(len(self)) if others is None else others:
            if other != number:
                self.wait_for_event(number, f"cluster.member_here node=n{other}", times)

    def wait_for_event(self, number, text, times=1):
        deadline = time.monotonic() + 2 * patience()
        while self[number].log.count(text) < times:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self[number].tail()}"
            time.sleep(0.02)

    def wait_until_all_are_here(self):
        for number in range(len(self)):
            self.wait_until_here(number)
        return self


@pytest.fixture
def nodes():
    """nodes(3): that many nodes that have met; nodes(3, meet=False)."""
    if PEER:
        pytest.skip("needs brokers of its own")
    started = []

    def start(count, config=None, meet=True):
        started.append(Nodes(count, config))
        return started[-1].wait_until_all_are_here() if meet else started[-1]
    yield start
    for each in started:
        for node in each:
            node.close()
