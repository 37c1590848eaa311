# SPDX-License-Identifier: Apache-2.0
"""Clusters of three nodes on this machine, started and ended for bench/cluster.py."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import brokers

NODES = 3
READY_S = 90
STOP_S = 30
PATH = "/usr/lib/rabbitmq/bin:" + os.environ.get("PATH", "") + ":/usr/sbin"  # not Debian's wrapper, which changes the user


def ports(count):
    """Free ones; all are held until all are known."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return found


def program(name):
    found = shutil.which(name, path=PATH)
    if found is None:
        raise SystemExit(f"{name} is not installed; ./dev deps bench installs it")
    return found


class Cluster:
    """A context manager. `ports` are those of MQTT."""

    name = title = "?"

    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-bench-"))
        self.ports = ports(NODES)
        self.processes = []

    def run(self, number, words, environment=None):
        with open(self.folder / f"log{number}", "ab") as log:
            self.processes.append(subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=brokers.limits,
                env={**os.environ, **(environment or {})}))

    def pids(self):
        """Every process that has the folder in its command line."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(self.folder).encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    def wait(self, what, condition):
        deadline = time.monotonic() + READY_S
        while not condition():
            if time.monotonic() > deadline or any(p.poll() is not None for p in self.processes):
                logs = "\n".join(path.read_text(errors="replace")[-2000:]
                                 for path in self.folder.glob("log*"))
                raise SystemExit(f"{self.title}: not {what}:\n{logs}")
            time.sleep(0.1)

    def listen(self):
        return all(brokers.listens(port) for port in self.ports)

    def start(self):
        raise NotImplementedError

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while self.pids() and time.monotonic() < deadline:
            for process in self.processes:
                process.poll()
            time.sleep(0.1)
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Skein(Cluster):
    """With its defaults: everything is flushed before it is acknowledged, changelogs on its own engines."""

    name, title = "skein", "Skein"

    @staticmethod
    def told():
        return "defaults; the changelog has accepted and the disk has what is acknowledged"

    @staticmethod
    def links():
        """The engines' ports are 1,000 and 2,000 above."""
        base = 21000 + os.getpid() % 700 * 10
        return [base + number for number in range(NODES)]

    def start(self):
        links = self.links()
        for number, port in enumerate(self.ports):
            configuration = {
                "listeners": [{"address": f"127.0.0.1:{port}"}],
                "cluster": {"name": "bench", "node": f"n{number}", "listen": f"127.0.0.1:{links[number]}",
                            "addresses": [f"127.0.0.1:{link}" for link in links if link != links[number]]}}
            (self.folder / f"n{number}.yaml").write_text(json.dumps(configuration))
            self.begin(number)
        self.wait("listening", self.listen)
        self.cluster("init")
        self.wait("settled", self.settled)

    def begin(self, number):
        """A node, with the configuration that is there."""
        self.run(number, [self.options.binary, "serve", "-c", self.folder / f"n{number}.yaml",
                          "-d", self.folder / f"n{number}"])

    def end(self, number):
        """In order, with its engine."""
        process = self.processes.pop(number)
        process.send_signal(signal.SIGTERM)
        process.wait()

    def homes(self):
        done = self.cluster("shards", "--json")
        return {each.get("home") for each in json.loads(done.stdout)["groups"]} if done.returncode == 0 else set()

    def cluster(self, *words, number=0):
        return subprocess.run([self.options.binary, "cluster", "-d", self.folder / f"n{number}", *words],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)

    def settled(self):
        done = self.cluster("shards", "--json")
        groups = json.loads(done.stdout)["groups"] if done.returncode == 0 else []
        return groups and all(each.get("home") == each.get("preferred") for each in groups)


class RabbitMQ(Cluster):
    """Durable sessions in quorum queues, which are what it replicates."""

    name, title = "rabbitmq", "RabbitMQ"

    @staticmethod
    def told():
        return "3 nodes, rabbitmq_mqtt, prefetch 1000, durable sessions in quorum queues"

    def start(self):
        plain, internal = ports(NODES), ports(NODES)
        subprocess.run([program("epmd"), "-daemon"], check=True)
        names = [f"bench{os.getpid()}n{number}@localhost" for number in range(NODES)]
        members = "".join(f"cluster_formation.classic_config.nodes.{number + 1} = {name}\n"
                          for number, name in enumerate(names))
        (self.folder / "plugins").write_text("[rabbitmq_mqtt].\n")
        for number in range(NODES):
            home = self.folder / f"n{number}"
            home.mkdir()
            (home / "rabbitmq.conf").write_text(
                f"listeners.tcp.1 = 127.0.0.1:{plain[number]}\n"
                f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.ports[number]}\n"
                "mqtt.allow_anonymous = true\nmqtt.prefetch = 1000\n"
                "mqtt.durable_queue_type = quorum\nmqtt.tcp_listen_options.nodelay = true\n"
                "cluster_formation.peer_discovery_backend = classic_config\n" + members)
            self.run(number, [program("rabbitmq-server")], {
                "HOME": str(self.folder), "RABBITMQ_NODENAME": names[number],
                "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"), "RABBITMQ_MNESIA_BASE": str(home),
                "RABBITMQ_LOG_BASE": str(home), "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
                "RABBITMQ_DIST_PORT": str(internal[number]), "RABBITMQ_ERLANG_COOKIE": "bench"})
            self.wait("listening", lambda port=self.ports[number]: brokers.listens(port))
        time.sleep(2)

    def __exit__(self, *_):
        super().__exit__()
        subprocess.run([program("epmd"), "-kill"], check=False, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)  # it refuses when it has other nodes


class Nats(Cluster):
    """With JetStream, three replicas of what its MQTT stores."""

    name, title = "nats", "nats-server"

    @staticmethod
    def told():
        return "3 nodes, JetStream, its MQTT's streams with 3 replicas, max_ack_pending 10000"

    def start(self):
        plain, routes = ports(NODES), ports(NODES)
        urls = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
        for number in range(NODES):
            path = self.folder / f"n{number}.conf"
            path.write_text(
                f"server_name: n{number}\nlisten: 127.0.0.1:{plain[number]}\n"
                f"jetstream {{ store_dir: \"{self.folder}/n{number}\" }}\n"
                f"cluster {{ name: bench, listen: 127.0.0.1:{routes[number]}, routes: [{urls}] }}\n"
                f"mqtt {{ listen: 127.0.0.1:{self.ports[number]}, max_ack_pending: 10000, "
                "stream_replicas: 3 }\n")
            self.run(number, [program("nats-server"), "-c", path])
        self.wait("listening", self.listen)
        time.sleep(8)  # its streams elect


KINDS = [Skein, RabbitMQ, Nats]
