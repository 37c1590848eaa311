# SPDX-License-Identifier: Apache-2.0
"""Nodes of a cluster that is initialised: real brokers, each with a nats-server of its own."""

import contextlib
import http.client
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from kit import PEER, V5, Broker, RawClient, patience, unique, wire
from kit.broker import listening

GROUPS = 16
LEASE_MS = 1500
STAY_S = 2
EDGE_LEASE_MS = 2500  # of a client without a link, above a failover; its home waits twice that
SECRET = "the-secret-of-the-tests"


class Unix(http.client.HTTPConnection):
    def __init__(self, path, seconds):
        super().__init__("localhost", timeout=seconds)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def link_ports(count):
    """Ports that are free with those of the engines, which are 1000 and 2000 above them."""
    found = []
    port = 20000 + os.getpid() % 500 * 10
    while len(found) < count:
        port += 1
        if not {port, port + 1000, port + 2000} & listening():
            found.append(port)
    return found


def quiet_ports(count):
    """Ports below those that the kernel gives to connections: nobody has them when a node comes
    back."""
    found = []
    port = 28000 + os.getpid() % 460 * 10
    while len(found) < count:
        port += 1
        if port not in listening():
            found.append(port)
    return found


class Cluster(list):
    """[0], [1], ... are kit.Broker. `known`: how many of them are in each other's configuration;
    `each`: what the section `cluster` of a node's has beside the others'; `broker` and `mqtt` are
    sections of all."""

    def __init__(self, count, known=None, each=None, environment=None, mqtt=None, broker=None, **cluster):
        super().__init__()
        self.links = link_ports(count)
        ports = quiet_ports(2 * count)
        self.health, self.agents = ports[:count], ports[count:]
        self.known = known or count
        self.extra = {"drain_delay": 0, "home_stay": f"{STAY_S}s", **cluster}
        self.each = each or {}
        self.sections = {"mqtt": mqtt or {}, "broker": broker or {}}
        for number in range(self.known):
            self.append(Broker(self.configuration(number), environment={
                "SKEIN_TEST_EDGE_LEASE": str(EDGE_LEASE_MS), **(environment or {})}))

    def configuration(self, number):
        others = [f"127.0.0.1:{port}" for n, port in enumerate(self.links[:self.known]) if n != number]
        return {"cluster": {"name": "tests", "node": f"n{number}", "secret": SECRET,
                            "listen": f"127.0.0.1:{self.links[number]}", "addresses": others,
                            **self.extra, **self.each.get(number, {})},
                **{name: keys for name, keys in self.sections.items() if keys},
                "health": {"listen": f"127.0.0.1:{self.health[number]}",
                           "agent_listen": f"127.0.0.1:{self.agents[number]}"}}

    # ---- asking ----

    def ask(self, number, path, method="GET", seconds=None):
        """Status and JSON of the API."""
        connection = Unix(self[number].data / "control.sock", seconds or 20 * patience())
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def shards(self, number, seconds=None):
        """The groups as this node sees them."""
        return self.ask(number, "/v1/cluster/shards", seconds=seconds)[1]["groups"]

    def homes(self, number=0):
        """The home of each group, as this node sees them; None: there is none."""
        return [group.get("home") for group in self.shards(number)]

    def status(self, number):
        return self.ask(number, "/v1/cluster")[1]

    def state(self, number):
        return self.status(number)["state"]

    def ready(self, number):
        """What a balancer is told: "ready", or why not."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health[number], timeout=patience())
        with contextlib.closing(connection):
            connection.request("GET", "/ready")
            answer = json.loads(connection.getresponse().read())
            return answer.get("reason", answer["status"])

    def agent(self, number):
        """... and HAProxy's agent-check."""
        with socket.create_connection(("127.0.0.1", self.agents[number]), patience()) as asking:
            return asking.makefile().read().strip()

    def run(self, number, *words):
        """`skein cluster ...` on a node."""
        return subprocess.run([self[number].binary, "cluster", "-d", self[number].data, *words],
                              capture_output=True, text=True, timeout=120)

    def engine(self, number):
        """Process id of its engine, 0: none runs."""
        path = self[number].data / "engine/nats.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int(path.read_text())
            if str(path.parent) in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        return 0

    def ask_engine(self, number, question, **body):
        """What the engine of a node answers to a question of JetStream's own protocol."""
        config = (self[number].data / "engine/nats.conf").read_text()
        port = re.search(r'^listen: "127.0.0.1:(\d+)"', config, re.M).group(1)
        user, password = re.search(r'SKEIN .*user: "(\w+)", password: "(\w+)"', config).groups()
        with socket.create_connection(("127.0.0.1", int(port)), patience()) as asking:
            lines = asking.makefile("rb")
            lines.readline()
            data = json.dumps(body).encode() if body else b""
            login = json.dumps({"user": user, "pass": password, "verbose": False})
            asking.sendall(f"CONNECT {login}\r\nSUB inbox 1\r\n"
                           f"PUB $JS.API.{question} inbox {len(data)}\r\n".encode() + data + b"\r\n")
            for line in lines:
                if line.startswith(b"MSG"):
                    return json.loads(lines.read(int(line.split()[-1])))
        raise AssertionError("the engine closed the connection")

    # ---- waiting ----

    def living(self):
        return [n for n, broker in enumerate(self) if broker.alive()]

    def wait(self, what, condition, seconds=None):
        """Seconds until it was so."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + (seconds or 12 * patience()), \
                f"not {what}:\n" + "\n\n".join(broker.tail(40) for broker in self)
            time.sleep(0.02)
        return time.monotonic() - began

    def agreed(self, nodes=None):
        """All that live say the same of every group, and its home is among `nodes`."""
        living = self.living()
        nodes = living if nodes is None else nodes
        seen = [self.homes(n) for n in living]
        return all(each == seen[0] for each in seen) and \
            all(home in {f"n{n}" for n in nodes} for home in seen[0])

    def settled(self):
        """... and each has the home that it should have."""
        return self.agreed() and all(group.get("home") == group.get("preferred")
                                     for n in self.living() for group in self.shards(n))

    def wait_until_settled(self):
        self.wait("all groups at the homes that they should have", self.settled,
                  STAY_S + 12 * patience())
        return self

    def wait_until_logs_go_on(self, number):
        """What an engine does that has lost a server: all changelogs grow, as this node reads them."""
        before = [group["sequence"] for group in self.shards(number)]
        self.wait("the logs go on", lambda: all(
            group["sequence"] > old + 2 for group, old in zip(self.shards(number), before)),
            20 * patience())

    # ---- life ----

    def init(self, number=0):
        done = self.run(number, "init")
        assert done.returncode == 0, done.stderr + self[number].tail()
        return self.wait_until_settled()

    def restart(self, number):
        self[number].start()

    def mend(self):
        """Whatever a test has stopped runs again."""
        for number, broker in enumerate(self):
            broker.check()
            if broker.stopped:
                self.restart(number)
        return self.wait_until_settled()

    def close(self):
        failures = []
        for number, broker in enumerate(self):
            try:
                broker.stop()
            except AssertionError as failure:
                failures.append(str(failure))
            pid = self.engine(number)  # of a broker that was killed
            if pid:
                os.kill(pid, signal.SIGKILL)
        for broker in self if not failures else []:
            shutil.rmtree(broker.folder, ignore_errors=True)
        assert not failures, "\n\n".join(failures)


class Watch:
    """Asks all nodes for their groups, again and again, until stopped; a subclass looks at each."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while not self.ended.is_set():
            for number in self.cluster.living():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    for group in self.cluster.shards(number, seconds=0.5):
                        self.look(number, group)

    def stop(self):
        self.ended.set()
        self.thread.join()
        return self

    def look(self, number, group):
        raise NotImplementedError


class Leases(Watch):
    """Watches what all nodes say of their leases, until stopped; then says whether two of them ever
    had one of the same group at the same time."""

    def __init__(self, cluster):
        self.sent = {}  # (group, node, epoch): when what the lease rests on was sent, first and last
        super().__init__(cluster)

    def look(self, number, group):
        if "lease_age_ms" not in group or "home" not in group:
            return
        now = time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
        sent = now - group["lease_age_ms"]
        key = (group["group"], number, group["epoch"])
        first, last = self.sent.get(key, (sent, sent))
        self.sent[key] = (min(first, sent), max(last, sent))

    def overlaps(self, slack_ms=250):
        """Groups in which a node acted while the lease of another one lasted that had not given it
        up. The slack is for what an answer takes; a claimer waits 500 ms more than the lease."""
        found = []
        for (group, node, epoch), (_, last) in self.sent.items():
            for (other_group, other, later), (first, _) in self.sent.items():
                if other_group == group and other != node and later > epoch and \
                        first + slack_ms < last + LEASE_MS and \
                        f"homes.released group={group} epoch={epoch}\n" not in self.cluster[node].log:
                    found.append((group, node, epoch, other, later, first - last))
        return found


class Homeless(Watch):
    """Watches all groups on all nodes until stopped; `longest` is then for how many seconds one of
    them had no home, as a node saw it. What a node says is up to 0.1 s old."""

    def __init__(self, cluster):
        self.since, self.longest, self.moves = {}, 0.0, 0
        super().__init__(cluster)

    def look(self, number, group):
        key, now = (number, group["group"]), time.monotonic()
        if "home" not in group:
            self.moves += key not in self.since
            began = self.since.setdefault(key, now)
            self.longest = max(self.longest, now - began)
        elif key in self.since:
            self.longest = max(self.longest, now - self.since.pop(key))


def retained(broker, pattern):
    """What a new subscriber is given: {topic: payload}."""
    with RawClient(broker, V5) as bob:
        bob.connect(unique())
        bob.subscribe(pattern, qos=1)
        bob.send(wire.pingreq())
        packets = iter(bob.next_packet, None)
        return {packet.topic: packet.payload.decode() for packet in
                itertools.takewhile(lambda packet: packet.type == wire.PUBLISH, packets)}


def need_server():
    if PEER:
        pytest.skip("needs brokers of its own")
    if not shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.fail("nats-server is not installed: ./dev deps test")


@pytest.fixture
def cluster_of():
    """cluster_of(3): that many nodes that are not initialised."""
    need_server()
    started = []

    def start(count, **options):
        started.append(Cluster(count, **options))
        return started[-1]
    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def shared_three():
    need_server()
    three = Cluster(3)
    try:
        yield three.init()
    finally:
        three.close()


@pytest.fixture
def three(shared_three):
    """Three nodes, initialised, each group at the home that it should have. Shared."""
    yield shared_three.mend()
