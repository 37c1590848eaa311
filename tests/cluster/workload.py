#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A cast of clients on some addresses that are one broker, then a peaceful end, and a history of it.

    tests/cluster/workload.py SECONDS HOST:PORT... [--seed N] [--rate N] [--history FILE]

Whoever answers there must be new: sessions and retained messages of an earlier run are violations.
All draws come from the seed; what the clock decides is not repeatable, which is why the history is kept.
"""

import argparse
import asyncio
import itertools
import os
import pathlib
import random
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from cluster import checker  # noqa: E402
from cluster.history import Event, History  # noqa: E402
from cluster.roles import Eye, cast  # noqa: E402

DIAL_S = 3.0      # a node that does not take a connection in that time is not there
SETTLE_S = 60.0   # without any progress, the end has failed
REJOIN_S = 10.0   # as long after the last fault nodes may take to be together again
ELECTION_S = 40.0  # a log whose engine has no leader is not read by all before it has one: up to half a minute
WAITING = {"C1", "C3", "C4", "C7", "C8"}  # rules by which something may just not have come yet


class Workload:
    """`nodes`: {name: (host, port)}, which may change meanwhile. `rate`: messages a second of each publisher.
    `arrive_s`: what has not come after that, at the end, does not come. `make_socket`: where its connections
    come from. `hops`: see cast()."""

    def __init__(self, seed, history, nodes, rate=30, arrive_s=15.0, make_socket=None, hops=3):
        self.seed, self.history, self.nodes, self.rate = seed, history, nodes, rate
        self.arrive_s, self.hops = arrive_s, hops
        self.make_socket = make_socket or (lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        self.draw = random.Random(f"{seed}/workload")
        self._eyes, self._looking = itertools.count(1), set()

    # ---- what clients use ----

    def random(self, name):
        return random.Random(f"{self.seed}/{name}")

    def node(self, draw):
        return draw.choice(sorted(self.nodes))

    async def dial(self, node):
        """A connected socket; OSError."""
        connection = self.make_socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.wait_for(self.loop.sock_connect(connection, self.nodes[node]), DIAL_S)
        except (OSError, asyncio.TimeoutError) as error:
            connection.close()
            raise OSError(str(error)) from error
        return connection

    def look_soon(self, draw):
        """Somebody looks at what is retained on some node; few at a time."""
        if len(self._looking) < 2:
            looking = asyncio.ensure_future(Eye(self, next(self._eyes)).look(self.node(draw)))
            self._looking.add(looking)
            looking.add_done_callback(self._looking.discard)

    # ---- the play ----

    async def run(self, during):
        """Plays while the coroutine `during` runs; after it no fault may be left, and nodes had their time to
        be together again. Then the end."""
        self.loop = asyncio.get_running_loop()
        self.publishers, self.subscribers, self.willing = cast(self, self.draw, self.rate, self.hops)
        everybody = [*self.publishers, *self.subscribers, *self.willing]
        tasks = [asyncio.ensure_future(role.live()) for role in self.subscribers]
        await self._all([role.subscribed for role in self.subscribers], "SUBACK")
        tasks += [asyncio.ensure_future(role.live()) for role in [*self.publishers, *self.willing]]
        try:
            await during
            for role in everybody:
                role.end()
            await self._end()
        finally:
            everything = left = {*tasks, *self._looking}
            while left:  # asyncio.wait_for() of Python 3.11 may swallow it
                for task in left:
                    task.cancel()
                _, left = await asyncio.wait(left, timeout=1)
            outcomes = await asyncio.gather(*everything, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    async def _end(self):
        """Everybody is there, everything is acknowledged, everything has come."""
        await self._all([role.online for role in self.publishers], "CONNACK for a publisher")
        for publisher in self.publishers:
            publisher.hush()
        await self._all([publisher.finished for publisher in self.publishers], "acknowledgement")
        await self._all([role.online for role in [*self.subscribers, *self.willing]], "CONNACK")
        await self._all([role.subscribed for role in self.subscribers], "SUBACK")
        for publisher in self.publishers:
            publisher.last_words()
        await self._all([publisher.finished for publisher in self.publishers], "acknowledgement of last messages")
        self.history.add("quiet")
        deadline = self.loop.time() + self.arrive_s
        while await self._wrong(WAITING) and self.loop.time() < deadline:
            await asyncio.sleep(0.5)
        await self._look_at_all()
        deadline = self.loop.time() + ELECTION_S
        while await self._wrong({"C6"}) and self.loop.time() < deadline:
            await asyncio.sleep(1.0)
            await self._look_at_all()
        self.history.add("end")

    async def _look_at_all(self):
        for node in sorted(self.nodes):
            if not await Eye(self, next(self._eyes)).look(node):
                self.history.add("trouble", what=f"{node} does not show what is retained")

    async def _wrong(self, rules):
        """What would be wrong by these rules if this were the end, and may yet be right. In a thread: it takes its
        time, and clients have to keep their connections alive."""
        end = Event(len(self.history.events), self.history.now(), "end", None, {})
        found = await self.loop.run_in_executor(None, verdict, [*self.history.events, end])
        return [each for each in found if each.rule in rules]

    async def _all(self, events, what):
        if not await self._wait(lambda: all(event.is_set() for event in events), SETTLE_S):
            lacking = sum(not event.is_set() for event in events)
            self.history.add("trouble", what=f"no {what} within {SETTLE_S:.0f} s, of {lacking}")

    async def _wait(self, condition, seconds):
        deadline = self.loop.time() + seconds
        while not condition():
            if self.loop.time() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True


def play(seed, history, nodes, seconds, faults=None, rejoin_s=REJOIN_S, **options):
    """A whole history of `seconds` and its end. `faults`: a coroutine that runs meanwhile."""
    async def during():
        await asyncio.gather(asyncio.sleep(seconds), *([faults] if faults else []))
        await asyncio.sleep(rejoin_s if faults else 0)

    asyncio.run(Workload(seed, history, nodes, **options).run(during()))
    history.close()


def verdict(events):
    """The checker's, with the patience that this machine needs."""
    return checker.check(events, float(os.environ.get("SKEIN_TEST_PATIENCE", "1")))


def summary(events):
    """What a history is made of, in a line."""
    kinds = [event.kind for event in events]
    messages = len({event.id for event in events if event.kind == "publish"})
    return (f"{messages} messages, {kinds.count('deliver')} deliveries, {kinds.count('connack')} connections, "
            f"{kinds.count('seen')} looks, {kinds.count('fault')} faults")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", type=float)
    parser.add_argument("address", nargs="+")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    parser.add_argument("--rate", type=float, default=30, help="messages a second of each publisher")
    parser.add_argument("--history", default="history.jsonl")
    options = parser.parse_args()
    nodes = {}
    for number, address in enumerate(options.address, 1):
        host, port = address.rsplit(":", 1)
        nodes[f"n{number}"] = (host, int(port))
    history = History(options.history)
    play(options.seed, history, nodes, options.seconds, rate=options.rate)
    violations = verdict(history.events)
    for violation in violations:
        print(violation)
    print(f"seed {options.seed}: {summary(history.events)}, {len(violations)} violations; {options.history}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
