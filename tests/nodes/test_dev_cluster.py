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

from kit import PEER, V5, RawClient, connect_again, patience
from kit.broker import listening

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NODES = 3
END_S = 12  # the last node waits for a majority that has gone


class _At:
    def __init__(self, port):
        self.address = ("127.0.0.1", port)


def ports_of(base):
    """Of HAProxy and all nodes."""
    return {base} | {base + n + 1000 * k for n in range(1, NODES + 1) for k in range(7)}


def _free_base():
    """A port from which on all that the nodes need is free, below those that clients get."""
    for _ in range(100):
        base = random.randrange(10_000, 26_000)
        if not ports_of(base) & listening():
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
    process.wait(END_S * patience())


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
    assert process.wait(END_S * patience()) == 0
    assert not listening() & ports_of(base)


def test_stored_session_goes_on_at_another_node_when_its_own_is_killed(cluster, topic):
    process, base = cluster
    stored = {"clean_start": False, "properties": {"session_expiry_interval": 600}}
    with RawClient(_At(base + 1), V5) as bob:
        bob.connect(topic, **stored)
        bob.subscribe(topic, 1)
    ends = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "n1/skein.yaml"],
                          capture_output=True, text=True, check=True)
    os.kill(int(ends.stdout), signal.SIGKILL)
    with RawClient(_At(base + 2), V5) as alice:
        alice.connect()
        alice.publish(topic, "m", 1, within=4 * patience())  # a lease, and a new home
    with connect_again(_At(base + 3), V5, topic, **stored) as bob:
        assert bob.connack.session_present
        bob.receive(topic=topic, payload="m")
