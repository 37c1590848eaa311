# SPDX-License-Identifier: Apache-2.0
"""Stores to be damaged, and brokers that are started on them."""

import json
import shutil
import subprocess
import time

import pytest

from kit import V5, Will, patience
from kit.broker import Broker, free_port

SESSIONS = 12
NO_SOCKET = shutil.ignore_patterns("control.sock*")


class Node(Broker):
    """A broker on a copy of a data directory; started with start(), if it can be."""

    def __init__(self, data=None, config=None):
        self.made = False
        super().__init__(config)
        self.made, self.stopped = True, True
        self.data = self.folder / "data"
        self.store = self.data / "store"
        if data is not None:
            shutil.copytree(data, self.data, ignore=NO_SOCKET)

    def start(self):
        if self.made:
            super().start()
            deadline = time.monotonic() + patience()  # it listens before it looks at its store
            while "broker.started" not in self.log and self.process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def close(self):
        if self.process is not None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tool(self, *arguments):
        return subprocess.run([self.binary, "store", *map(str, arguments)], capture_output=True,
                              text=True, timeout=120)

    def refused(self, **options):
        """Starts it and waits for it to give up: exit code and what it said."""
        done = subprocess.run([self.binary, "serve", "-p", str(free_port()), "-d", self.data],
                              capture_output=True, text=True, timeout=60, **options)
        return done.returncode, done.stderr

    def lines(self):
        """What is in the store."""
        done = self.tool("export", self.data)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def content(self):
        """The same as texts, without what each start changes."""
        return {json.dumps(line, sort_keys=True) for line in self.lines()
                if "kind" in line and line["kind"] != "mark"}


def fill(broker, begin=0, count=60):
    publisher = broker.client(V5)
    publisher.connect()
    for n in range(begin, begin + count):
        publisher.publish(f"own/{n % SESSIONS}", f"message {n} " + "x" * 80, 1 + n % 2)
        if n % 5 == 0:
            publisher.publish("all", f"shared {n}", 1)
        if n % 20 == 0:
            publisher.publish(f"own/{n % SESSIONS}", "large " * 1500, 1)
        publisher.publish(f"kept/{n}", f"retained {n}", n % 3, retain=True)
    publisher.disconnect()


def subscribers(broker):
    for n in range(SESSIONS):
        client = broker.client(V5)
        will = Will(f"will/{n}", "gone", 1, False, {"will_delay_interval": 3000}) if n == 0 else None
        client.connect(f"pump-{n}", clean_start=False, will=will,
                       properties={"session_expiry_interval": 86400})
        client.subscribe([(f"own/{n}", 2), ("all", 1)])
        client.close()


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """Data directories of a broker that was killed: "log" has everything in a log, "tables" nearly
    all in tables."""
    folder = tmp_path_factory.mktemp("filled")
    broker = Broker({"broker": {"drain_timeout": "1s"}})
    subscribers(broker)
    fill(broker)
    broker.kill()
    shutil.copytree(broker.folder / "data", folder / "log", ignore=NO_SOCKET)
    broker.start()  # what is in the log comes into tables
    fill(broker, 60, 5)
    broker.kill()
    shutil.copytree(broker.folder / "data", folder / "tables", ignore=NO_SOCKET)
    shutil.rmtree(broker.folder)
    return folder


@pytest.fixture
def node():
    """node(data): a Node on a copy of that data directory."""
    made = []

    def make(data=None, config=None):
        made.append(Node(data, config))
        return made[-1]
    yield make
    for each in made:
        each.close()
