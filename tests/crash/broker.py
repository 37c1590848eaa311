# SPDX-License-Identifier: Apache-2.0
"""The broker under test as a process that is killed and started again: one port, one directory."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess

from .checker import WEAK

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Nothing may be dropped by a limit: whatever is missing was lost.
CONFIG = {
    "workers": 2,
    "queue": {"messages_max": 10_000_000, "bytes_max": "10G"},
    "log": {"level": "info"},
    "broker": {"drain_timeout": "2s"},
    "durability_topics": [{"filter": f"c/+/{letter}", "durability": durability}
                          for letter, durability in WEAK.items()],
}


def fault_points():
    """The names in the broker's own list of places where it can be made to die."""
    listed = (ROOT / "src/base/fault.h")
    if not listed.exists():
        return []
    table = re.search(r"#define FAULT_POINTS\(X\)(.*?)\n\n", listed.read_text(), re.DOTALL).group(1)
    return re.findall(r'^ +X\("([\w.]+)"', table, re.MULTILINE)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Skein:
    """`folder` takes log and configuration, `data` what the broker keeps."""

    name = "skein"

    def __init__(self, folder, data, history, config=None, environment=None):
        self.folder, self.data, self.history = folder, data, history
        self.config, self.environment = config or {}, environment or {}
        self.binary = os.environ.get("SKEIN_BINARY") or str(ROOT / "build/release/skein")
        self.port = free_port()
        self.process, self.fault = None, None

    @property
    def log(self):
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def command(self):
        config = json.loads(json.dumps(CONFIG))
        config["listeners"] = [{"address": f"127.0.0.1:{self.port}"}]
        for key, value in self.config.items():
            config[key] = {**config[key], **value} if isinstance(value, dict) and key in config else value
        path = self.folder / "skein.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        return [self.binary, "serve", "-c", str(path), "-d", str(self.data)]

    def backup_command(self, name):
        return [self.binary, "store", "backup", "-d", str(self.data), str(self.folder / name)]

    def start(self, fault=None):
        """`fault`: NAME:N, where the broker shall kill itself."""
        self.fault = fault
        environment = {**os.environ, **self.environment}
        environment.pop("SKEIN_TEST_FAULT", None)
        if fault:
            environment["SKEIN_TEST_FAULT"] = fault
        self.history.add("broker", what="start", sort=fault, code=None)
        self.log_before, self.told_to_end = len(self.log), False
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=environment)

    def ended(self):
        return self.process.poll() is not None

    def kill(self, sort):
        """SIGKILL. It returns when the process is gone."""
        self.history.add("broker", what="kill", sort=sort, code=None)
        if not self.ended():
            self.process.kill()
        self.process.wait()

    def note_end(self):
        """The process has ended by itself: at its fault point, or else it should not have."""
        code = self.process.wait()
        self.history.add("broker", what="ended", sort=self.fault, code=code)
        if not (self.fault and code == -signal.SIGKILL) and not self.died_starting():
            self.history.add("trouble", what=f"the broker ended with {code}: {self.last_words()}")

    def died_starting(self):
        """Of SIGTERM, before main() could have its say about that: nobody had to be told good-bye."""
        return (self.told_to_end and self.process.returncode == -signal.SIGTERM
                and "broker.started" not in self.log[self.log_before:])

    def last_words(self):
        return " | ".join(self.log.splitlines()[-6:])[-1200:]

    def terminate(self):
        self.history.add("broker", what="term", sort=self.fault, code=None)
        self.told_to_end = True
        self.process.send_signal(signal.SIGTERM)

    def judge_stop(self):
        """After SIGTERM it ends in time and with 0, or at its fault point."""
        if not self.ended():
            self.history.add("trouble", what=f"the broker does not end on SIGTERM: {self.last_words()}")
            self.kill("stuck")
        elif self.process.returncode == 0 or self.died_starting():
            self.history.add("broker", what="stopped", sort=None, code=self.process.returncode)
        else:
            self.note_end()


class Mosquitto(Skein):
    """A second opinion on the harness: restarts by SIGTERM must cost it nothing."""

    name = "mosquitto"

    def command(self):
        path = self.folder / "mosquitto.conf"
        self.data.mkdir(exist_ok=True)
        self.data.chmod(0o777)
        path.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
                        f"persistence_location {self.data}/\nmax_queued_messages 0\n"
                        "max_inflight_messages 100\nautosave_interval 1\nuser root\n")
        return ["/usr/sbin/mosquitto", "-c", str(path)]
