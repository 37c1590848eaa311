# SPDX-License-Identifier: Apache-2.0
"""Starts and stops the brokers that are measured: each in a folder of its own, on a free loopback
port, on one CPU or on all."""

import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 20

MOSQUITTO_CONF = """\
listener {port} 127.0.0.1
allow_anonymous true
max_inflight_messages 1000
max_queued_messages 0
max_connections -1
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    wanted = f":{port:04X}"
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(wanted) and fields[3] == "0A":
            return True
    return False


def raise_priority(pid):
    """Keeps other work on the machine from being measured, where we may."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, -10)
        pathlib.Path(f"/proc/{pid}/autogroup").write_text("-15")
    except OSError:
        pass


def limits():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.setsid()  # an autogroup of its own


class Kind:
    """One broker program. `command` gets folder, port and workers and returns the words."""

    def __init__(self, name, command, version, can=lambda row: True, own=False):
        self.name, self.command, self.version, self.can = name, command, version, can
        self.own = own  # it is Skein, and tells its counters

    def start(self, cpu, workers=1):
        return Running(self, cpu, workers)


class Running:
    """A broker that runs; a context manager."""

    def __init__(self, kind, cpu, workers):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-bench-"))
        self.port = free_port()
        words = kind.command(self.folder, self.port, workers)
        if cpu is not None:
            words = ["taskset", "-c", str(cpu), *words]
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, preexec_fn=limits)
        self.pid = self.process.pid
        raise_priority(self.pid)
        self.wait_until_ready(kind)

    def wait_until_ready(self, kind):
        deadline = time.monotonic() + START_TIMEOUT_S
        while not listens(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = (self.folder / "log").read_text(errors="replace")
                self.stop()
                raise SystemExit(f"{kind.name} does not start:\n{text}")
            time.sleep(0.02)
        time.sleep(0.2)

    def rss_bytes(self):
        fields = pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * resource.getpagesize()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def first_line(words):
    done = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.splitlines()[0].strip() if done.stdout else "?"


def skein(binary, name="skein", settings=()):
    def command(folder, port, workers):
        words = [str(binary), "serve", "-p", str(port), "-d", str(folder / "data")]
        for setting in [f"workers={workers}", *settings]:
            words += ["--set", setting]
        return words
    return Kind(name, command, first_line([str(binary), "version"]), own=True)


def mosquitto(name="mosquitto", conf=""):
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise SystemExit("mosquitto is not installed; ./dev deps bench installs it")

    def command(folder, port, _workers):
        # It drops root for a user that could not read the folder.
        (folder / "mosquitto.conf").write_text(
            MOSQUITTO_CONF.format(port=port) + "user root\n" + conf.format(dir=folder))
        return [program, "-c", str(folder / "mosquitto.conf")]
    return Kind(name, command, first_line([program, "-h"]))


# Names of what the durable rows compare.
DURABLE, MEMORY, SMALL = "Skein", "Skein, memory", "Skein, small"
PERSISTENT_MOSQUITTO = "mosquitto, unsynced"
APPEND_FLOOR = "append + fdatasync"


def durable_kinds(binary):
    return [skein(binary, DURABLE, ["durability=fsync"]),
            skein(binary, MEMORY, ["durability=memory"]),
            skein(binary, SMALL, ["durability=fsync", "store.profile=small"]),
            mosquitto(PERSISTENT_MOSQUITTO, "persistence true\npersistence_location {dir}/\n")]


def floor(binary):
    def can(row):
        return row.floor
    return Kind("floor", lambda _folder, port, _workers: [str(binary), str(port)],
                "bare TCP forwarder", can)


def peer(text):
    """NAME=COMMAND, where {port} and {dir} stand for what this run gives it."""
    name, equals, command = text.partition("=")
    if not equals or "{port}" not in command:
        raise SystemExit(f"--peer '{text}': NAME='command with {{port}}' is expected")

    def words(folder, port, _workers):
        return [word.format(port=port, dir=folder) for word in command.split()]
    return Kind(name, words, command)
