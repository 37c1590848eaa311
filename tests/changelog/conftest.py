# SPDX-License-Identifier: Apache-2.0
"""Three real nats-servers on loopback, started as a broker starts them, and nodes that have nothing
but changelogs (tests/c/changelog_node)."""

import collections
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("SKEIN_TEST_BUILD") or ROOT / "build/debug")
PROGRAM = BUILD / "changelog_node"
SECRET = "0123456789abcdef"
CLUSTER = "test"
PATIENCE = 60
GROUPS = 16


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Program:
    """One changelog_node; `expect` waits for a line."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.seen = []
        self.log = collections.deque(maxlen=200)
        self.log_lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_log, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            self.log_lines.put(line.rstrip("\n"))

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def expect(self, *starts, patience=PATIENCE):
        """The next line that begins with one of these; others are kept in `seen`."""
        deadline = time.monotonic() + patience
        while True:
            try:
                line = self.lines.get(timeout=max(0.001, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"none of {starts}; seen {self.seen[-20:]}, log {list(self.log)[-20:]}") from None
            self.seen.append(line)
            assert not line.startswith("broken"), (line, list(self.log)[-20:])
            if line.startswith(starts):
                return line

    def expect_log(self, part):
        """The next line of its log that has this in it."""
        line = ""
        while part not in line:
            line = self.log_lines.get(timeout=PATIENCE)
        return line

    def do(self, command, *starts):
        self.say(command)
        return self.expect(*starts)

    def append(self, group, text):
        """The sequence that the batch was committed at."""
        assert self.do(f"append {group} {text}", "append") == f"append {group} ok"
        return int(self.expect(f"committed {group}").split()[3])

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        if how == signal.SIGKILL:
            self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()


class Servers:
    """Three nats-servers, each with the program that keeps it alive."""

    def __init__(self, folder, count=3):
        self.folder = folder
        self.ports, self.route_ports = free_ports(count), free_ports(count)
        self.keepers = {}
        self.pids = {}
        self.names = {}

    def start(self, n):
        routes = [port for i, port in enumerate(self.route_ports) if i != n]
        keeper = Program("engine", self.folder / f"n{n}", CLUSTER, f"n{n}", SECRET, self.ports[n],
                         self.route_ports[n], *routes)
        self.keepers[n] = keeper
        line = keeper.expect("started", "adopted")
        self.pids[n] = int(line.split()[1])
        self.names[n] = line.split()[2]
        return line

    def mend(self):
        """What a test has killed runs again."""
        for n, keeper in self.keepers.items():
            if keeper.process.poll() is not None:
                self.start(n)

    def lose_store(self, n):
        """Server and keeper die, and the disk is empty when they come back."""
        self.keepers[n].kill()
        os.kill(self.pids[n], signal.SIGKILL)
        folder = self.folder / f"n{n}"
        while subprocess.run([PROGRAM, "discard", folder], capture_output=True).returncode != 0:
            pass  # the process is not gone yet
        self.start(n)

    def remove(self, n, name):
        """Takes a server out, as seen by the n-th; what the engine says."""
        deadline = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run([PROGRAM, "remove", CLUSTER, SECRET, self.url(n), name],
                                  capture_output=True, text=True, check=True)
            if not done.stdout.startswith("again") or time.monotonic() > deadline:
                return done.stdout.split()[0]

    def killed(self, n):
        """Kills a server and gives a function that waits until it has been started again."""
        os.kill(self.pids[n], signal.SIGKILL)

        def back():
            self.pids[n] = int(self.keepers[n].expect("started").split()[1])
        return back

    def url(self, n):
        return f"nats://127.0.0.1:{self.ports[n]}"

    def close(self):
        for keeper in self.keepers.values():
            keeper.close()
        for pid in self.pids.values():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


@pytest.fixture(scope="session")
def all_servers(tmp_path_factory):
    """One set for all tests: it takes seconds until servers that are new have found each other."""
    if not shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.fail("nats-server is not installed: ./dev deps test")
    servers = Servers(tmp_path_factory.mktemp("servers"))
    for n in range(3):
        servers.start(n)
    first = Program("node", "first", CLUSTER, SECRET, servers.url(0))
    create(first, GROUPS)
    first.close()
    yield servers
    servers.close()


@pytest.fixture
def servers(all_servers):
    yield all_servers
    all_servers.mend()


@pytest.fixture(scope="session")
def _groups():
    return iter(range(GROUPS))


@pytest.fixture
def group(servers, _groups):
    """A group of the test's own; its stream is there and empty."""
    return next(_groups)


@pytest.fixture
def node(servers):
    """node(n, "a"): a node at the n-th server, connected."""
    nodes = []

    def start(n, name):
        program = Program("node", name, CLUSTER, SECRET, servers.url(n))
        nodes.append(program)
        program.expect("connected")
        return program

    yield start
    for program in nodes:
        program.close()


def create(program, groups, replicas=3):
    """Makes the streams, as soon as the servers have found each other."""
    deadline = time.monotonic() + PATIENCE
    while True:
        line = program.do(f"create {groups} {replicas}", "created")
        if line.startswith("created ok"):
            return
        assert line.startswith("created again") and time.monotonic() < deadline, line
