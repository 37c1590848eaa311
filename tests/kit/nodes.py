# SPDX-License-Identifier: Apache-2.0
"""Some nodes of one cluster on loopback."""

import itertools
import time

from .broker import Broker, free_port
from .client import patience
from .shards import shard_of

GROUPS = 16  # of shards that have one home

_numbers = itertools.count(1)


def groups_of(number, count):
    """The groups of shards that node `number` of `count` is home of, when they share evenly."""
    return range(number * GROUPS // count, (number + 1) * GROUPS // count)


def client_at(number, count):
    """A new client id whose session lives on node `number` of `count` then."""
    return next(client_id for client_id in (f"t{n:x}" for n in _numbers)
                if shard_of(client_id) % GROUPS in groups_of(number, count))


def homes_of(count):
    """SKEIN_TEST_HOMES for that."""
    ranges = [groups_of(n, count) for n in range(count)]
    return ",".join(f"n{n}:{each[0]}-{each[-1]}" for n, each in enumerate(ranges))


class Nodes(list):
    """Brokers that know each other's addresses; [0], [1], ... are kit.Broker."""

    SECRET = "the-secret-of-the-tests"

    def __init__(self, count, config=None, environment=None):
        super().__init__()
        self.links = [free_port() for _ in range(count)]
        self.config = config or {}
        for number in range(count):
            self.append(Broker(self.configuration(number), environment=environment))

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
