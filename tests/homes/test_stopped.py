# SPDX-License-Identifier: Apache-2.0
"""A broker that was stopped for longer than a lease, and goes on: others have taken its groups, and
let its clients in, of which it knows nothing."""

import contextlib
import os
import pathlib
import signal
import time

import pytest

from kit import CONNACK, PINGRESP, V5, V311, RawClient, patience, unique, wire

from .test_wills import client_of


def all_threads_stand(pid):
    """A signal is sent before the last thread has seen it, and what comes in between is answered."""
    stats = pathlib.Path(f"/proc/{pid}/task").glob("*/stat")
    return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in stats)


@contextlib.contextmanager
def stopped(broker):
    os.kill(broker.process.pid, signal.SIGSTOP)
    while not all_threads_stand(broker.process.pid):
        time.sleep(0.001)
    try:
        yield
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("version", [V311, V5])
def test_it_does_not_answer_a_clean_client_that_another_node_has_let_in(three, version):
    client_id = client_of(three, 1)
    with RawClient(three[1], version) as before, RawClient(three[0], version) as now:
        before.connect(client_id)
        with stopped(three[1]):
            before.send(wire.pingreq())
            now.send(wire.connect(client_id))
            now.expect(CONNACK, within=8 * patience(), reason=0)
        # no PINGRESP before; its home has told it, or it was given up before that was heard
        before.expect_closed(reason={0x8E, 0x89}, within=4 * patience())
        now.barrier()
        three[1].wait_for_log("cluster.goes_on")
    three.wait_until_settled()


def test_it_goes_on_with_its_clients_when_nobody_has_taken_them(three, topic):
    """Its groups come back to it, and a client whose home lives is still its."""
    client_id = client_of(three, 0)
    stalls = three[1].log.count("cluster.stalled")
    with RawClient(three[1], V5) as client, RawClient(three[2], V5) as other:
        client.connect(client_id)
        client.subscribe(topic)
        other.connect(unique())
        with stopped(three[1]):
            client.send(wire.pingreq())
            three.wait("its groups are taken", lambda: "n1" not in three.homes(0))
        client.expect(PINGRESP, within=6 * patience())
        assert three[1].log.count("cluster.stalled") == stalls + 1
        three.wait_until_settled()
        other.publish(topic, "x", 1)
        client.receive(payload="x")
