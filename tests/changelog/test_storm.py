# SPDX-License-Identifier: Apache-2.0
"""Nodes that take a group from each other while servers are killed and everybody is stopped at times.
SKEIN_STORM_SEED and SKEIN_STORM_SECONDS choose another storm than the short one."""

import contextlib
import os
import queue
import random
import re
import signal
import time

import pytest

from .conftest import PATIENCE

pytestmark = pytest.mark.xdist_group("changelog")

SEED = int(os.environ.get("SKEIN_STORM_SEED", "1"))
SECONDS = float(os.environ.get("SKEIN_STORM_SECONDS", "20"))


class Writer:
    """A node that appends as long as it is home, and takes the group when it is told to."""

    def __init__(self, program, name, group):
        self.program, self.name, self.group = program, name, group
        self.state = "idle"
        self.count = 0
        self.acknowledged = {}  # sequence -> text
        self.waiting = None
        self.resume = None
        program.say(f"attach {group}")

    def append(self):
        self.waiting = f"{self.name}-{self.count}"
        self.count += 1
        self.program.say(f"append {self.group} {self.waiting}")

    def claim(self):
        if self.state == "idle":
            self.state = "claims"
            self.program.say(f"claim {self.group}")

    def stop_for(self, seconds, now):
        if self.resume is None:
            self.program.kill(signal.SIGSTOP)
            self.resume = now + seconds

    def wake(self, now):
        if self.resume is not None and now >= self.resume:
            self.program.kill(signal.SIGCONT)
            self.resume = None

    def take(self, line):
        assert not line.startswith(("broken", "behind")), line
        if line.startswith("opened"):
            self.state = "home"
            self.append()
        elif line.startswith("committed"):
            self.acknowledged[int(line.split()[3])] = self.waiting
            self.append()
        elif line.startswith("deposed"):
            self.state = "idle"

    def listen(self):
        while True:
            try:
                self.take(self.program.lines.get_nowait())
            except queue.Empty:
                return


class Stopped:
    """A server that does nothing for a while, if one does."""

    def __init__(self):
        self.pid = self.resume = None

    def stop(self, pid, until):
        if self.pid is None:
            os.kill(pid, signal.SIGSTOP)
            self.pid, self.resume = pid, until

    def wake(self, now):
        if self.pid is not None and now >= self.resume:
            with contextlib.suppress(ProcessLookupError):  # it has been killed meanwhile
                os.kill(self.pid, signal.SIGCONT)
            self.pid = None


def rage(servers, writers, chance, until):
    """Everything that may happen, until then; gives the servers that come back later."""
    coming, stopped = {}, Stopped()
    while time.monotonic() < until:
        now = time.monotonic()
        stopped.wake(now)
        for writer in writers:
            writer.wake(now)
            writer.listen()
        dice = chance.random()
        if dice < 0.0012:
            chance.choice(writers).claim()
        elif dice < 0.0037:
            chance.choice(writers).stop_for(chance.uniform(0.1, 4), now)
        elif dice < 0.0047:
            stopped.stop(servers.pids[chance.randrange(3)], now + chance.uniform(0.1, 5))
        elif dice < 0.006 and not coming:
            victim = chance.randrange(3)
            coming[victim] = servers.killed(victim)
        elif dice < 0.01 and coming:
            coming.popitem()[1]()
        if all(w.state == "idle" for w in writers):
            chance.choice(writers).claim()
        time.sleep(0.005)  # the pace of the dice; nothing is waited for
    stopped.wake(float("inf"))
    return coming


def test_storm_loses_nothing_that_was_acknowledged(servers, node, group):
    chance = random.Random(SEED)
    writers = [Writer(node(n, name), name, group) for n, name in enumerate("abc")]
    coming = rage(servers, writers, chance, time.monotonic() + SECONDS)
    for back in coming.values():
        back()
    acknowledged = {}
    for writer in writers:
        writer.wake(float("inf"))
        writer.listen()
        assert not acknowledged.keys() & writer.acknowledged.keys()
        acknowledged |= writer.acknowledged
        writer.program.close()
    print(f"seed {SEED}: {len(acknowledged)} acknowledged, "
          f"{[w.count for w in writers]} appended")
    assert len(acknowledged) > 20

    reader = node(0, "reader")
    reader.say(f"attach {group}")
    reader.say(f"claim {group}")
    reader.expect(f"opened {group}", patience=PATIENCE * 2)
    read = {}
    for line in reader.seen:
        found = re.match(r"apply \d+ (\d+) batch \d+ (.*)", line)
        if found:
            assert found.group(2) not in read.values()
            read[int(found.group(1))] = found.group(2)
    lost = {n: text for n, text in acknowledged.items() if read.get(n) != text}
    assert not lost, (SEED, lost)
