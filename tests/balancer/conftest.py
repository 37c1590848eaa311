# SPDX-License-Identifier: Apache-2.0
"""Brokers behind load balancers: real ones, on ports of their own."""

import csv
import io
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import pytest

from kit import patience
from kit.broker import free_port


def wait_until(condition, what, seconds=None):
    """Gives what the condition gives, as soon as that is true."""
    deadline = time.monotonic() + (seconds or 2 * patience())
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never: {what() if callable(what) else what}"
        time.sleep(0.02)
    return found


def listening_here():
    """The ports of 127.0.0.1 that somebody listens on; brokers may have the same ones of 127.0.0.11."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return {int(row[1][9:], 16) for row in rows if row[3] == "0A" and row[1][:8] == "0100007F"}


class Process:
    """A balancer in the foreground, ended with its test."""

    def __init__(self, command, folder, ports):
        self.folder = folder
        self.log_path = folder / "log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.address = ("127.0.0.1", ports[0])
        self.ws_address = ("127.0.0.1", ports[-1])
        wait_until(lambda: set(ports) <= listening_here() or self.process.poll() is not None,
                   lambda: f"listening: {self.log}")
        assert self.process.poll() is None, self.log

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def close(self):
        self.process.terminate()
        self.process.wait(patience())
        shutil.rmtree(self.folder)


class Haproxy(Process):
    """haproxy with this configuration behind `global`. Its first port is what clients dial."""

    def __init__(self, text, ports):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-haproxy-"))
        self.socket = folder / "admin.sock"
        (folder / "haproxy.cfg").write_text(
            f"global\n    stats socket {self.socket} level admin\n{text}")
        super().__init__(["haproxy", "-db", "-f", folder / "haproxy.cfg"], folder, ports)
        # it listens for clients first and gives its socket its name behind that
        wait_until(lambda: self.socket.exists() or self.process.poll() is not None,
                   lambda: f"a socket: {self.log}")
        assert self.process.poll() is None, self.log

    def ask(self, command):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(patience())
            admin.connect(str(self.socket))
            admin.sendall(command.encode() + b"\n")
            answer = b""
            while piece := admin.recv(65536):
                answer += piece
        return answer.decode()

    def servers(self):
        """By name, what `show stat` says of each server."""
        rows = csv.DictReader(io.StringIO(self.ask("show stat").removeprefix("# ")))
        return {row["svname"]: row for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")}


@pytest.fixture
def haproxy():
    """haproxy(text, port, ...): runs one; needs Debian's package."""
    if shutil.which("haproxy") is None:
        pytest.fail("haproxy is not installed; ./dev deps test installs it")
    started = []

    def start(text, *ports):
        started.append(Haproxy(text, ports))
        return started[-1]
    yield start
    for each in started:
        each.close()


@pytest.fixture
def ctl():
    """ctl(broker, "clients"): what `skein ctl` prints, as JSON."""
    def run(broker, *words):
        done = subprocess.run([broker.binary, "ctl", "-d", broker.data, "--json", *words],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return run


@pytest.fixture
def ports():
    """ports(3): as many ports that nobody uses."""
    return lambda count: [free_port() for _ in range(count)]
