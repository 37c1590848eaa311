# SPDX-License-Identifier: Apache-2.0
"""A disk that is full: nothing durable is acknowledged, all else goes on, and when there is space again
it works by itself. What was acknowledged stays, whatever happens."""

import os
import subprocess
import time

import pytest

from kit import PUBACK, V5, V311, publish
from kit.client import patience

QUOTA_EXCEEDED = 0x97
DISK = 192 * 1024 * 1024
DURABLE = {"session_expiry_interval": 86400}


@pytest.fixture
def disk(node):
    """disk(): a Node whose data directory is a small file system of its own."""
    mounted = []

    def make():
        n = node()
        n.data.mkdir(mode=0o700)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs",
                               n.data], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"needs the right to mount a file system: {done.stderr.strip()}")
        mounted.append(n)
        return n
    yield make
    for n in mounted:
        n.kill()
        subprocess.run(["umount", n.data], check=True)


def fill(n, left):
    """Takes the space but for that many bytes."""
    free = os.statvfs(n.data)
    size = free.f_bavail * free.f_frsize - left
    with open(n.data / "ballast", "wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, size)


def free(n):
    (n.data / "ballast").unlink()


def offline_session(n, client_id="pump", topic="t/#"):
    client = n.client(V5)
    client.connect(client_id, clean_start=False, properties=DURABLE)
    client.subscribe(topic, 1)
    client.close()


def queued(n, client_id="pump"):
    """All messages that wait for it."""
    client = n.client(V5)
    connack = client.connect(client_id, clean_start=False, properties=DURABLE)
    assert connack.session_present
    marker = n.client(V5)
    marker.connect()
    assert marker.publish("t/end", "", 1).reason == 0
    got = []
    while True:
        packet = client.receive()
        if packet.topic == "t/end":
            return got
        got.append(packet.payload)


def test_full_disk_refuses_what_is_durable_and_nothing_else(disk):
    n = disk()
    n.start()
    offline_session(n)
    five, three, reader = n.client(V5), n.client(V311), n.client(V5)
    for client in (five, three, reader):
        client.connect()
    reader.subscribe("now/#")
    assert five.publish("t/kept", "kept", 1, retain=True).reason == 0
    fill(n, left=4 * 1024 * 1024)
    n.wait_for_log("store.disk_full")

    assert five.publish("t/a", "refused", 1).reason == QUOTA_EXCEEDED
    three.send(publish("t/a", "withheld", 1, 77))
    three.expect_quiet()
    five.publish("now/a", "quick", 0)
    reader.receive(topic="now/a", payload="quick")
    reader.subscribe("t/kept")
    reader.receive(topic="t/kept", payload="kept")
    for client in (five, reader):
        client.barrier()

    free(n)
    n.wait_for_log("store.works_again")
    assert five.publish("t/a", "again", 1).reason == 0
    three.send(publish("t/b", "again", 1, 78))
    three.wait_for(PUBACK, id=78)
    n.kill()
    n.start()
    got = queued(n)
    assert b"kept" in got and got.count(b"again") == 2 and b"refused" not in got
    n.kill()


def test_queue_is_read_while_the_disk_is_full(disk):
    n = disk()
    n.start()
    client, publisher = n.client(V5), n.client(V5)
    publisher.connect()
    client.connect("slow", clean_start=False, properties={**DURABLE, "receive_maximum": 5})
    client.subscribe("t/#", 1)
    for number in range(300):
        assert publisher.publish("t/x", f"{number}", 1).reason == 0
    fill(n, left=4 * 1024 * 1024)
    n.wait_for_log("store.disk_full")
    for number in range(300):
        client.receive(payload=f"{number}")
    n.kill()


def publish_until_refused(n, publisher, acknowledged):
    """Large messages; gives up when the store has refused one."""
    deadline = time.monotonic() + 12 * patience()
    number = len(acknowledged)
    while time.monotonic() < deadline:
        payload = f"{number} ".encode() + bytes([number % 256]) * 60000
        if publisher.publish("t/x", payload, 1).reason != 0:
            return
        acknowledged.append(payload)
        number += 1
    raise AssertionError(f"never refused:\n{n.tail()}")


@pytest.mark.parametrize("left", [0, 200 * 1024, 2 * 1024 * 1024])
def test_kill_on_a_full_disk_loses_nothing_that_was_acknowledged(disk, left):
    n = disk()
    n.start()
    offline_session(n)
    publisher = n.client(V5)
    publisher.connect()
    acknowledged = []
    fill(n, left=24 * 1024 * 1024)
    publish_until_refused(n, publisher, acknowledged)
    assert acknowledged
    free(n)
    fill(n, left)
    for number in range(3):
        publisher.publish("t/refused", f"{number}", 1)
    n.kill()
    code, said = n.refused()
    assert code == 74 and "is full" in said and "bytes are needed" in said
    free(n)
    n.start()
    got = queued(n)
    assert [payload for payload in got if len(payload) > 100] == acknowledged
    n.kill()


def test_disk_that_fills_up_without_warning(disk):
    """Faster than the look that is taken once a second."""
    n = disk()
    n.start()
    offline_session(n)
    publisher, other = n.client(V5), n.client(V5)
    publisher.connect()
    other.connect()
    acknowledged = []
    fill(n, left=0)
    for number in range(50):
        payload = f"{number} ".encode() + b"y" * 60000
        if publisher.publish("t/x", payload, 1).reason == 0:
            acknowledged.append(payload)
    other.barrier()
    free(n)
    deadline = time.monotonic() + 4 * patience()
    while other.publish("t/probe", "probe", 1).reason != 0:
        assert time.monotonic() < deadline, n.tail()
    n.kill()
    n.start()
    got = queued(n)
    assert [payload for payload in got if payload in acknowledged] == acknowledged
    n.kill()
