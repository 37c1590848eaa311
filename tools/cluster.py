#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""N brokers that are one cluster on this machine, with HAProxy in front, until SIGTERM or Ctrl-C.

    ./dev cluster [N] [--port PORT] [--data FOLDER]

HAProxy has PORT (1883), the nodes have MQTT on PORT+1, PORT+2 and so on, and for themselves PORT+1000+i
(from HAProxy, with the PROXY protocol), PORT+2000+i (links), PORT+3000+i and PORT+4000+i (engines),
PORT+5000+i (health) and PORT+6000+i (agent). The cluster is initialised when it is new. SKEIN_BINARY names
the program.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
NODES_MAX = 16
READY_SECONDS, END_SECONDS = 30, 30

HELLO = """
{nodes} nodes are one cluster; HAProxy has 127.0.0.1:{port} and spreads clients over them. In another terminal:

  build/release/skein sub -p {first} -t 'hello/#' -v     # a subscriber on the first node
  build/release/skein pub -p {last} -t hello/world -m hi  # hears what is published on the last
  build/release/skein pub -p {port} -t hello/world -m hi  # and anywhere

  build/release/skein cluster -d {data}/n1/data members   # whom the first node knows
  build/release/skein cluster -d {data}/n1/data shards    # who leads which sessions

Stored sessions and retained messages are the cluster's: kill a node, reconnect to another. Node i has MQTT on port {port}+i. Logs, configurations and data are in {data}. Ctrl-C ends all.
"""


class Node:
    def __init__(self, number, options):
        self.number, self.port = number, options.port + number
        self.folder = options.data / f"n{number}"
        self.file = self.folder / "skein.yaml"
        self.proxied, self.link, self.health, self.agent = (self.port + 1000 * n for n in (1, 2, 5, 6))
        self.process = None

    def configuration(self, nodes):
        return {
            "listeners": [{"address": f"127.0.0.1:{self.port}"},
                          {"address": f"127.0.0.1:{self.proxied}", "proxy_protocol": "required"}],
            "health": {"listen": f"127.0.0.1:{self.health}",
                       "agent_listen": f"127.0.0.1:{self.agent}"},
            "cluster": {"name": "dev", "node": f"n{self.number}", "listen": f"127.0.0.1:{self.link}",
                        "addresses": [f"127.0.0.1:{node.link}" for node in nodes if node is not self]},
        }

    def start(self, nodes, binary):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.configuration(nodes), indent=1))  # JSON is YAML
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen([binary, "serve", "-c", self.file, "-d", self.folder / "data"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ready(self):
        if self.process.poll() is not None:
            sys.exit(f"cluster: node n{self.number} has ended:\n{(self.folder / 'log').read_text()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/ready", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def has_met(self, others):
        return (self.folder / "log").read_text().count("cluster.member_here") >= others

    def cluster(self, binary, *words):
        """`skein cluster ...` of this node."""
        return subprocess.run([binary, "cluster", "-d", self.folder / "data", *words], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)

    def state(self, binary):
        done = self.cluster(binary, "status", "--json")
        return json.loads(done.stdout)["state"] if done.returncode == 0 else done.stderr

    def knows_homes(self, binary):
        """Of all groups of sessions."""
        done = self.cluster(binary, "shards", "--json")
        return done.returncode == 0 and all("home" in group for group in json.loads(done.stdout)["groups"])

    def end_engine(self):
        """It outlives a broker that was killed."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "data/engine/nats.pid").read_text())
            if str(self.folder) in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGTERM)


def wait(what, condition):
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"cluster: {what} within {READY_SECONDS} s; the logs say why")
        time.sleep(0.05)


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2):
        return True
    return False


def initialise(nodes, binary):
    """Makes one cluster of them, unless they are one."""
    if nodes[0].state(binary) == "not_initialised":
        done = nodes[0].cluster(binary, "init")
        if done.returncode != 0:
            sys.exit(f"cluster: {done.stderr}")
    wait("not all nodes were members", lambda: all(node.state(binary) == "running" for node in nodes))
    wait("some sessions had no home", lambda: all(node.knows_homes(binary) for node in nodes))


def start_haproxy(options, nodes, binary):
    """With what `skein cluster haproxy` makes of the nodes' configurations."""
    files = [word for node in nodes for word in ("-c", node.file)]
    made = subprocess.run([binary, "cluster", "haproxy", "--listen", f"127.0.0.1:{options.port}", *files],
                          stdout=subprocess.PIPE, check=False)
    if made.returncode != 0:
        sys.exit("cluster: there is no configuration for HAProxy")
    path = options.data / "haproxy.cfg"
    path.write_bytes(made.stdout)
    program = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
    with open(options.data / "haproxy.log", "wb") as log:
        return subprocess.Popen([program, "-db", "-f", path], stdin=subprocess.DEVNULL, stdout=log,
                                stderr=log)


def end(processes):
    """False when one of them had to be killed."""
    fine = True
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            fine = False
    return fine


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nodes", type=int, nargs="?", default=3, choices=range(1, NODES_MAX + 1),
                        metavar="N")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "data/cluster")
    options = parser.parse_args()
    binary = os.environ.get("SKEIN_BINARY", ROOT / "build/release/skein")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    nodes = [Node(number, options) for number in range(1, options.nodes + 1)]
    haproxy, running = None, list(nodes)
    try:
        for node in nodes:
            node.start(nodes, binary)
        wait("not all nodes were ready", lambda: all(node.ready() for node in nodes))
        wait("the nodes have not met",
             lambda: all(node.has_met(len(nodes) - 1) for node in nodes))
        initialise(nodes, binary)
        haproxy = start_haproxy(options, nodes, binary)
        wait("HAProxy does not listen",
             lambda: haproxy.poll() is not None or listens(options.port))
        print(HELLO.format(nodes=len(nodes), port=options.port, first=nodes[0].port,
                           last=nodes[-1].port, data=options.data), flush=True)
        while haproxy.poll() is None:
            for node in running:
                if node.process.poll() is not None:
                    print(f"n{node.number} has ended; the others go on", flush=True)
                    running.remove(node)
                    break
            time.sleep(0.2)
        sys.exit(f"cluster: HAProxy has ended:\n{(options.data / 'haproxy.log').read_text()}")
    finally:
        fine = end(([haproxy] if haproxy else []) + [node.process for node in running if node.process])
        for node in nodes:
            node.end_engine()
        if not fine:
            sys.exit("cluster: a process did not end and was killed")


if __name__ == "__main__":
    main()
