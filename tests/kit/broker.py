# SPDX-License-Identifier: Apache-2.0
"""Starts the broker under test and holds it to a clean life: ready in time, alive at the end, exit
code 0 on SIGTERM, no sanitizer report.

SKEIN_BINARY names the program. SKEIN_TEST_PEER=HOST:PORT (and SKEIN_TEST_PEER_WS) points the same
tests at another broker that already runs: how a test is tried out on a second opinion.
"""

import contextlib
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from .client import RawClient, patience

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PEER = os.environ.get("SKEIN_TEST_PEER")
PEER_WS = os.environ.get("SKEIN_TEST_PEER_WS")
REPORT = re.compile(r"(ERROR|WARNING): \w+Sanitizer|runtime error:|CHECK failed")

_START_ATTEMPTS = 5


def _ports():
    """Of processes that test at once each has its own, below those that the kernel gives to clients; each comes
    again when all others have had their turn."""
    first, count, processes = 10_000, 22_000, 16
    which = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0) % processes
    for turn in itertools.count(random.randrange(count)):
        yield first + (turn * processes + which) % count


_untried = _ports()


def free_port():
    """A port that nobody has now, on any address of this machine."""
    for port in _untried:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port


def listening():
    """The TCP ports of this machine that somebody listens on. Asking the kernel, where a trial
    connection would count as a client."""
    ports = set()
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name, encoding="ascii") as table:
            next(table)
            for field in map(str.split, table):
                if field[3] != "0A":
                    break  # listeners come first; of others there may be thousands
                ports.add(int(field[1].rsplit(":", 1)[1], 16))
    return ports


def merged(base, over):
    out = dict(base)
    for key, value in over.items():
        out[key] = merged(base[key], value) if isinstance(value, dict) and key in base else value
    return out


def _address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


class Peer:
    """Another broker, started by somebody else."""

    def __init__(self):
        self.address = _address(PEER)
        self.ws_address = _address(PEER_WS) if PEER_WS else None
        self.port = self.address[1]
        self.ws_port = self.ws_address[1] if PEER_WS else None
        self.log, self.stopped = "", False

    def rss_kb(self):
        return 0

    def alive(self):
        return True

    def check(self):
        pass

    def stop(self):
        pass

    kill = stop


class Broker:
    """A running broker with one TCP and one WebSocket listener on loopback.

    `config` is laid over the kit's own: nested dicts, as in the YAML file. `listeners` in it
    replaces both listeners, and then only `port` of the first one is awaited. `data`: where it keeps
    its data, if not in a folder of its own.
    """

    DEFAULTS = {"workers": 2}

    def __init__(self, config=None, binary=None, arguments=(), environment=None, data=None):
        self.binary = pathlib.Path(binary or os.environ.get("SKEIN_BINARY")
                                   or ROOT / "build/release/skein")
        self.config = config or {}
        self.arguments, self.environment = list(arguments), environment or {}
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-test-"))
        self.data = pathlib.Path(data or self.folder / "data")
        self.process = None
        self.stopped = False
        self.start()

    # ---- life ----

    def start(self):
        """Also after stop() or kill(): the same data directory, other ports."""
        for attempt in range(_START_ATTEMPTS):
            self._spawn()
            if self._ready():
                return
            if attempt == _START_ATTEMPTS - 1 or "in use" not in self.log:
                status = self.process.poll()
                self._end(signal.SIGKILL)
                raise AssertionError(f"the broker is not ready (exit code {status}):\n{self.log}")

    def _spawn(self):
        self.port, self.ws_port = free_port(), free_port()
        self.address, self.ws_address = ("127.0.0.1", self.port), ("127.0.0.1", self.ws_port)
        listeners = [{"address": f"127.0.0.1:{self.port}", "transport": "tcp"},
                     {"address": f"127.0.0.1:{self.ws_port}", "transport": "ws"}]
        config = merged({**self.DEFAULTS, "listeners": listeners}, self.config)
        if "listeners" in self.config:
            self.address = _address(self.config["listeners"][0]["address"])
            self.port = self.address[1]
        path = self.folder / "skein.yaml"
        path.write_text(json.dumps(config, indent=1))  # JSON is YAML
        self._log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [self.binary, "serve", "-c", path, "-d", self.data, *self.arguments],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            env={**os.environ, **self.environment})
        self._log.close()
        self.stopped = self.told_to_end = False

    def _ready(self):
        deadline = time.monotonic() + 4 * patience()
        awaited = {self.port, self.ws_port}
        if "listeners" in self.config:
            awaited = {_address(listener["address"])[1] for listener in self.config["listeners"]}
        while time.monotonic() < deadline and self.process.poll() is None:
            if awaited <= listening():
                return True
            time.sleep(0.01)
        return False

    def _end(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(4 * patience())
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = "none: killed, SIGTERM was not enough"
        self.stopped = True
        return status

    def terminate(self):
        """SIGTERM, and does not wait: stop() does."""
        self.process.send_signal(signal.SIGTERM)
        self.told_to_end = True

    def stop(self):
        """SIGTERM; asserts a clean end."""
        if not self.stopped:
            alive = self.alive() or self.told_to_end
            status = self._end(signal.SIGTERM)
            assert alive, f"the broker died before its end (exit code {status}):\n{self.tail()}"
            assert status == 0, f"the broker ended with exit code {status}:\n{self.tail()}"
            self.check()

    def kill(self):
        """SIGKILL, as a power failure would."""
        if not self.stopped:
            self._end(signal.SIGKILL)

    def close(self):
        """stop(), and removes its folder when all was well."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- what it is like ----

    def alive(self):
        return self.process.poll() is None

    def check(self):
        """Neither dead without being told to, nor anything in the log that no test may cause."""
        assert self.stopped or self.told_to_end or self.alive(), \
            f"the broker died (exit code {self.process.returncode}):\n{self.tail()}"
        found = REPORT.search(self.log)
        assert not found, f"{found.group(0)} in the log:\n{self.log[found.start():][:6000]}"

    @property
    def log(self):
        """What the broker has written so far."""
        return (self.folder / "log").read_text(errors="replace")

    def tail(self, lines=60):
        return "\n".join(self.log.splitlines()[-lines:])

    def wait_for_log(self, text):
        deadline = time.monotonic() + patience()
        while text not in self.log:
            assert time.monotonic() < deadline, f"{text!r} not in the log:\n{self.tail()}"
            time.sleep(0.01)

    def rss_kb(self):
        """Resident memory."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def descriptors(self):
        """Open sockets. (The store opens and closes files as it likes.)"""
        folder, sockets = f"/proc/{self.process.pid}/fd", 0
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                sockets += os.readlink(f"{folder}/{name}").startswith("socket:")
        return sockets

    def client(self, version, **options):
        """A RawClient that has not sent CONNECT."""
        return RawClient(self, version, **options)
