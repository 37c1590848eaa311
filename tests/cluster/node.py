# SPDX-License-Identifier: Apache-2.0
"""Brokers that are one cluster, each on a machine of a lab."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

from crash.disk import Disk
from kit import patience
from kit.broker import REPORT, merged

from .lab import Fault, freeze

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MQTT, LINK, ENGINE = 1883, 7883, 8883  # ENGINE: on loopback, for its own broker
SECRET = "the-secret-of-the-tests"
ENGINE_PROGRAM = "nats-server"
ENGINE_STORE = "engine/store"  # below the data directory
# Nothing may be dropped by a limit: whatever is missing was lost.
CONFIG = {"workers": 2, "allow_anonymous": True, "queue": {"messages_max": 10_000_000, "bytes_max": "10G"},
          "broker": {"drain_timeout": "2s"}}


def name_of(pid):
    """What program runs as it; "" when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Node:
    """A broker on its machine, and what its broker started there. `folder` keeps its configuration, its log
    and its data; the log of all its lives is one file."""

    def __init__(self, machine, folder, config=None, environment=None, disk_mb=None, forgets=None):
        """`disk_mb`: a disk of its own of that size, which can be filled. `forgets`: a random.Random; its disk
        loses at a power cut what was not synced, as that draws."""
        self.machine, self.name, self.folder = machine, machine.name, folder
        self.config, self.environment = config or {}, environment or {}
        self.binary = os.environ.get("SKEIN_BINARY") or str(ROOT / "build/release/skein")
        self.address = (machine.address, MQTT)
        self.data, self.log_path, self.process, self._log_before = folder / "data", folder / "log", None, 0
        self.disk_mb, self.forgets, self.disk = disk_mb, forgets, Disk() if forgets else None
        if self.disk:
            self.data = self.disk.mount / "data"
        folder.mkdir(parents=True)
        self.data.mkdir()
        if disk_mb:
            machine.lab.mount_disk(self.data, disk_mb)

    # ---- life ----

    def command(self):
        path = self.folder / "skein.yaml"
        path.write_text(json.dumps(self.config, indent=1))  # JSON is YAML
        return [self.binary, "serve", "-c", path, "-d", self.data]

    def start(self):
        """ready() tells when it serves."""
        self._log_before = len(self.log)
        self.process = self.machine.start(self.command(), log=self.log_path, env={**os.environ, **self.environment})

    def ready(self):
        """Whether it says that it serves. AssertionError when it has ended."""
        assert self.alive(), f"{self.name} ended with {self.process.returncode}:\n{self.tail()}"
        return "broker.started" in self.log[self._log_before:]

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL to the broker alone; what it started goes on."""
        if self.alive():
            self.process.kill()
            self.process.wait()

    def terminate(self):
        """SIGTERM, and does not wait: ended() tells."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self):
        return not self.alive()

    def freeze(self):
        freeze([self.process.pid])

    def thaw(self):
        if self.alive():
            self.process.send_signal(signal.SIGCONT)

    def cut_power(self):
        self.machine.cut_power()
        if self.process:
            self.process.wait()
        if self.disk:
            self.disk.cut(self.forgets)

    def keep_engine_log(self):
        """Beside the node's own, as its disk may go."""
        for path in (self.data / "engine").glob("engine.[le]*"):
            shutil.copy(path, self.folder)

    def close(self):
        """Nothing of it is left but its folder."""
        self.kill()
        if self.disk_mb:
            self.machine.lab.unmount_disk(self.data)
        if self.disk:
            self.disk.close()

    # ---- the engine on the same machine ----

    def engine(self):
        """Its processes: none when it has no engine, or that is down."""
        return [pid for pid in self.machine.pids() if name_of(pid) == ENGINE_PROGRAM]

    def kill_engine(self):
        self.machine.signal(signal.SIGKILL, self._running_engine())

    def freeze_engine(self):
        freeze(self._running_engine())

    def thaw_engine(self):
        self.machine.signal(signal.SIGCONT, self._running_engine())

    def _running_engine(self):
        pids = self.engine()
        assert pids, f"{self.name} has no engine that runs"
        return pids

    # ---- disk ----

    def fill_disk(self):
        """Until undo(), nothing more can be written."""
        assert self.disk_mb, f"{self.name} has no disk of its own"
        filler = self.data / "filler"
        with open(filler, "wb", buffering=0) as out, contextlib.suppress(OSError):
            while True:
                out.write(bytes(1 << 16))
        return Fault(lambda: filler.unlink(missing_ok=True), f"disk of {self.name} full")

    def wipe(self):
        """An empty disk. Only while nothing runs."""
        assert not self.alive() and not self.engine()
        for path in self.data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def copy_engine_store(self):
        """As it is on disk now, for roll_back()."""
        copy = self.folder / "engine-copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.data / ENGINE_STORE, copy)

    def roll_back_engine_store(self):
        """To the copy. Only while the engine is down."""
        assert not self.engine()
        shutil.rmtree(self.data / ENGINE_STORE, ignore_errors=True)  # it may have been thrown away
        shutil.copytree(self.folder / "engine-copy", self.data / ENGINE_STORE)

    # ---- what it says ----

    @property
    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def tail(self, lines=40):
        return "\n".join(self.log.splitlines()[-lines:])

    def homes_of_all(self):
        """Whether it knows a home of each group of sessions."""
        said = subprocess.run([self.binary, "cluster", "shards", "--json", "-d", self.data], capture_output=True,
                              text=True)
        return said.returncode == 0 and all("home" in group for group in json.loads(said.stdout)["groups"])

    def has_all(self):
        """Whether it has read all logs to their ends, of groups that have homes: no copy is missing."""
        said = subprocess.run([self.binary, "cluster", "shards", "--json", "-d", self.data], capture_output=True,
                              text=True)
        return said.returncode == 0 and all(
            group.get("state") in ("following", "serving") and group.get("home") and group["epoch"] > 0
            and group["read_lag"] == 0 for group in json.loads(said.stdout)["groups"])

    def gives_up_on(self, name):
        """Tells it that a node will not come back, as a person does; whether it has taken that."""
        said = subprocess.run([self.binary, "cluster", "remove", name, "-d", self.data], capture_output=True)
        return said.returncode == 0

    def meets(self, others):
        """Whether this life has met them all."""
        said = self.log[self._log_before:]
        return all(f"cluster.member_here node={other}" in said for other in others)

    def complaint(self):
        """What no test may cause, in its log; None: nothing."""
        found = REPORT.search(self.log)
        return self.log[found.start():][:4000] if found else None


class Cluster:
    """Nodes on machines of a lab. `options`: of each Node; `config` is laid over each one's. `addresses`: for
    clients, {name: (host, port)}, as it is now."""

    def __init__(self, lab, folder, names=(), config=None, make=Node, **options):
        self.lab, self.folder, self.nodes, self.addresses = lab, pathlib.Path(folder), {}, {}
        self.config, self.options, self.make = config or {}, options, make
        for name in names:
            self.add(name)

    def __getitem__(self, name):
        return self.nodes[name]

    def __iter__(self):
        return iter(self.nodes.values())

    def add(self, name, **options):
        """A node on that machine; start() it. `options`: of this Node."""
        machine = self.lab[name]
        node = self.make(machine, self.folder / name, **{**self.options, **options})
        self.nodes[name], self.addresses[name] = node, node.address
        node.config = merged(merged(CONFIG, {
            "listeners": [{"address": f"{machine.address}:{MQTT}"}],
            "cluster": {"name": "lab", "node": name, "secret": SECRET, "listen": f"{machine.address}:{LINK}",
                        "addresses": [f"{other.machine.address}:{LINK}" for other in self if other is not node]},
        }), self.config)
        for other in self:
            addresses = other.config["cluster"]["addresses"]
            if other is not node and f"{machine.address}:{LINK}" not in addresses:
                addresses.append(f"{machine.address}:{LINK}")
        return node

    def drop(self, name):
        """It is no longer one of them. Another may come under its name."""
        self.nodes.pop(name).close()
        del self.addresses[name]
        folder, number = self.folder / name, 1
        while (self.folder / f"{name}-{number}").exists():
            number += 1
        folder.rename(self.folder / f"{name}-{number}")

    @property
    def spare(self):
        """Machines that have no node."""
        return [name for name in self.lab.machines if name not in self.nodes and name != self.lab.CLIENTS]

    def start(self):
        """All, until they have met."""
        for node in self:
            node.start()
        for node in self:
            others = [other.name for other in self if other is not node]
            self.wait(lambda node=node, others=others: node.ready() and node.meets(others), f"{node.name} is ready")
        return self

    def init(self):
        """Once, when all have met: sessions have homes from then on."""
        first = next(iter(self))
        done = subprocess.run([first.binary, "cluster", "init", "-d", first.data], capture_output=True, text=True,
                              timeout=120)
        assert done.returncode == 0, done.stderr + first.tail()
        for node in self:
            self.wait(lambda node=node: node.homes_of_all(), f"{node.name} knows all homes")
        return self

    @staticmethod
    def wait(condition, what):
        deadline = time.monotonic() + 6 * patience()
        while not condition():
            assert time.monotonic() < deadline, f"it takes too long until {what}"
            time.sleep(0.01)

    def close(self):
        for node in self:
            node.close()

    def complaints(self):
        return {node.name: node.complaint() for node in self if node.complaint()}
