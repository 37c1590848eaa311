# SPDX-License-Identifier: Apache-2.0
"""docs/examples: clients that know two nodes, of which the first dies."""

import os
import queue
import shutil
import subprocess
import sys
import threading

import pytest

from kit import PEER, V5, RawClient, patience, unique
from kit.broker import ROOT

EXAMPLES = ROOT / "docs/examples"


class Example:
    """One that runs; expect() takes what it prints, line by line."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "NODE_PATH": "/usr/share/nodejs"})
        self.lines = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def expect(self, *expected):
        for line in expected:
            assert self.lines.get(timeout=6 * patience()) == line

    def publish(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self):
        self.process.kill()
        self.close()

    def close(self):
        """Gives its exit code, once its input has ended."""
        self.process.stdin.close()
        try:
            return self.process.wait(2 * patience())
        finally:
            self.process.kill()
            self._reader.join()
            self.process.stdout.close()


def python(_folder):
    return [sys.executable, EXAMPLES / "failover.py"], ""


def mqtt_js(_folder):
    return ["node", EXAMPLES / "failover.js"], ""


def paho_c(folder):
    path = folder / "failover"
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-o", path, EXAMPLES / "failover.c",
                    "-lpaho-mqtt3a"], check=True)
    return [path], "tcp://"


@pytest.fixture(params=[python, paho_c, mqtt_js], ids=["paho_python", "paho_c", "mqtt_js"])
def example(request, tmp_path):
    """example(client_id, topic, nodes): runs one that knows these nodes."""
    if PEER:
        pytest.skip("needs brokers of its own")
    if request.param is mqtt_js and not shutil.which("node"):
        pytest.fail("nodejs is not installed; ./dev deps test installs it")
    command, scheme = request.param(tmp_path)
    started = []

    def start(client_id, topic, nodes):
        addresses = [f"{scheme}127.0.0.1:{node.port}" for node in nodes]
        started.append(Example([*command, client_id, topic, *addresses]))
        started[-1].names = addresses
        return started[-1]
    yield start
    for each in started:
        each.process.kill()
        each.close()


def say(node, topic, text):
    with RawClient(node, V5) as client:
        client.connect()
        client.publish(topic, text, qos=1)


def test_client_goes_on_with_the_other_node_and_nothing_it_published_is_lost(nodes, example, topic):
    a, b = nodes(2)
    client = example(unique(), topic, [a, b])
    client.expect(f"connected {client.names[0]} new", "subscribed")
    say(b, topic, "one")
    client.expect("message one")
    with RawClient(b, V5) as listener:
        listener.connect()
        listener.subscribe(topic, qos=1)
        a.kill()
        client.publish("two")
        client.expect(f"connected {client.names[1]} new")
        assert listener.receive(topic=topic, payload=b"two", within=4 * patience()).qos == 1
    while (line := client.lines.get(timeout=6 * patience())) != "subscribed":
        assert line == "message two"
    say(b, topic, "three")
    client.expect("message three")
    assert client.close() == 0


def test_client_that_comes_back_gets_what_was_published_meanwhile(nodes, example, topic):
    a, b = nodes(2)
    client_id = unique()
    client = example(client_id, topic, [b])
    client.expect(f"connected {client.names[0]} new", "subscribed")
    client.kill()
    say(a, topic, "meanwhile")
    a.kill()
    client = example(client_id, topic, [a, b])  # a does not answer
    client.expect(f"connected {client.names[1]} resumed", "message meanwhile")
    assert client.close() == 0
