# SPDX-License-Identifier: Apache-2.0
"""./dev cluster: what a person starts to try it out."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from kit import PEER, V5, RawClient, patience
from kit.broker import listening

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NODES = 3


class _At:
    def __init__(self, port):
        self.address = ("127.0.0.1", port)


def _free_base():
    """A port from which on all that the nodes need is free, below those that clients get."""
    for _ in range(100):
        base = random.randrange(10_000, 26_000)
        needed = {base} | {base + n + 1000 * k for n in range(1, NODES + 1) for k in range(7)}
        if not needed & listening():
            return base
    raise AssertionError("no free ports")


@pytest.fixture
def cluster(tmp_path):
    if PEER:
        pytest.skip("starts brokers of its own")
    base = _free_base()
    process = subprocess.Popen(
        [sys.executable, ROOT / "tools/cluster.py", str(NODES), "--port", str(base),
         "--data", tmp_path], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "SKEIN_BINARY": os.environ.get("SKEIN_BINARY",
                                                          str(ROOT / "build/release/skein"))})
    for line in process.stdout:
        if "Ctrl-C ends all" in line:
            break
    yield process, base
    process.terminate()
    process.wait(4 * patience())


def test_clients_behind_haproxy_and_on_any_node_hear_each_other(cluster, topic):
    process, base = cluster
    assert process.poll() is None
    with RawClient(_At(base), V5) as bob, RawClient(_At(base + NODES), V5) as alice:
        bob.connect()
        alice.connect()
        bob.subscribe(topic)
        alice.publish(topic, "m")
        bob.receive(topic=topic)


def test_haproxy_sends_clients_to_the_nodes_that_are_left(cluster, topic):
    process, base = cluster
    ends = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "n1/skein.yaml"],
                          capture_output=True, text=True, check=True)
    os.kill(int(ends.stdout), signal.SIGKILL)
    deadline = time.monotonic() + 2 * patience()
    for _ in range(6):  # more than enough to meet each node
        while True:
            try:
                with RawClient(_At(base), V5) as client:
                    client.connect()
                break
            except (AssertionError, OSError):
                assert time.monotonic() < deadline


def test_sigterm_ends_all_of_it(cluster):
    process, base = cluster
    process.terminate()
    assert process.wait(4 * patience()) == 0
    assert not listening() & {base + n for n in range(NODES + 1)}
