#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long stored sessions stand still when their node dies, or when a node joins. Three nodes, many sessions
at home on one of them; some of those are connected to another node and get messages from a third. Then the
node dies; or it had ended before there were any sessions, and comes back, and takes its groups.

    ./dev bench failover [--sessions N] [--rounds N]

For each connected session: from the kill to the first message that was published after it. Two ways to
die: the broker's process alone, and with its engine, as when the machine dies. Beside it, how long the engine
took until all streams had leaders again: what the broker cannot do anything about. When it joins: the longest that
any of them waited for its next message, beside the longest in as much time before.
"""

import argparse
import asyncio
import json
import os
import pathlib
import re
import signal
import sys
import time

import clusters

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from kit import shards, wire  # noqa: E402

GROUPS = 16
VICTIM, EDGE, SOURCE = 1, 2, 0
CONNECTING = 100      # at a time
RATE = 500            # publications a second in all
PATIENCE_S = 40
JOINING_WATCHERS = 32  # each gets more messages
WAYS = {"broker": "its broker's process", "machine": "the broker and its engine at once",
        "join": "it comes back, and takes its groups"}


class Link(asyncio.Protocol):
    """One connection; `handle(packet)` takes what comes, `lost()` its end."""

    def __init__(self, handle, lost):
        self.decoder, self.handle, self.lost = wire.Decoder(4), handle, lost

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.decoder.feed(data)
        while (packet := self.decoder.next()) is not None:
            self.handle(packet)

    def connection_lost(self, _error):
        self.lost()

    def send(self, packet):
        self.transport.write(wire.encode(packet, 4))


async def open_link(port, handle, lost):
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(lambda: Link(handle, lost), "127.0.0.1", port))[1]


async def make_session(port, client_id):
    """A stored session with one subscription; its client has gone."""
    future = asyncio.get_running_loop().create_future()

    def handle(packet):
        if packet.type == wire.SUBACK and not future.done():
            future.set_result(packet)

    link = await open_link(port, handle, lambda: future.done() or future.set_exception(OSError("closed")))
    link.send(wire.connect(client_id, clean_start=False))
    link.send(wire.subscribe([(f"f/{client_id}", 1)], id=1))
    await future
    link.send(wire.disconnect())
    link.transport.close()


async def make_sessions(port, ids):
    ids = iter(ids)

    async def some():
        for client_id in ids:
            await make_session(port, client_id)
    await asyncio.gather(*[some() for _ in range(CONNECTING)])


class Watcher:
    """One of the sessions, connected; comes back at once when it is closed."""

    def __init__(self, port, client_id):
        self.port, self.id = port, client_id
        self.got, self.first_after, self.lost_session = set(), None, False
        self.link, self.killed_at = None, None
        self.closed = asyncio.Event()
        self.up = asyncio.Event()
        self.last_at, self.longest_s = None, 0.0

    def look_again(self):
        """The longest wait so far, and it counts anew. One that has not ended counts."""
        now, longest_s = time.monotonic(), self.longest_s
        self.longest_s = 0.0
        return max(longest_s, now - (self.last_at or now))

    def handle(self, packet):
        if packet.type == wire.CONNACK and packet.reason == 0:
            self.lost_session |= not packet.session_present
            self.up.set()
        elif packet.type == wire.PUBLISH:
            self.link.send(wire.puback(packet.id))
            sent = float(packet.payload.split()[1])
            self.got.add(int(packet.payload.split()[0]))
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - (self.last_at or now))
            self.last_at = now
            if self.killed_at and self.first_after is None and sent > self.killed_at:
                self.first_after = time.monotonic()

    async def live(self):
        while True:
            self.closed.clear()
            try:
                self.link = await open_link(self.port, self.handle, self.closed.set)
                self.link.send(wire.connect(self.id, clean_start=False))
                await self.closed.wait()
            except OSError:
                pass
            self.up.clear()
            await asyncio.sleep(0.05)


class Source:
    """Publishes to the watchers in turn, at QoS 1, and notes what was acknowledged. When it is closed it
    comes back and publishes on: what was not acknowledged it does not send again."""

    def __init__(self, port, watchers):
        self.port, self.watchers, self.number = port, watchers, 0
        self.acknowledged, self.under_way = {}, {}
        self.link, self.up = None, asyncio.Event()

    def handle(self, packet):
        if packet.type == wire.CONNACK:
            self.up.set()
        elif packet.type == wire.PUBACK and packet.id in self.under_way:
            number, watcher = self.under_way.pop(packet.id)
            self.acknowledged[number] = watcher

    async def live(self):
        self.link = await open_link(self.port, self.handle, self.up.clear)
        self.link.send(wire.connect("failover-source", clean_start=True))
        await self.up.wait()
        while True:
            for _ in range(RATE // 100):
                watcher = self.watchers[self.number % len(self.watchers)]
                id = self.number % 65535 + 1
                if id not in self.under_way:
                    self.under_way[id] = (self.number, watcher)
                    self.link.send(wire.publish(f"f/{watcher.id}", f"{self.number} {time.monotonic()}".encode(), 1, id))
                    self.number += 1
            await asyncio.sleep(0.01)


class Engine:
    """Asks a node's nats-server who leads the streams, twenty times a second."""

    def __init__(self, folder):
        configuration = (folder / "engine/nats.conf").read_text()
        self.port = int(re.search(r'^listen: "[^"]*:(\d+)"', configuration, re.M).group(1))
        self.user, self.password = re.search(r'SKEIN \{.*?user: "(\w+)", password: "(\w+)"', configuration,
                                             re.S).groups()
        self.leaders, self.since = {}, {}  # by stream: its name, and from when on it is that

    async def _ask(self, subject, inbox):
        self.writer.write(f"PUB {subject} {inbox} 0\r\n\r\n".encode())
        await self.writer.drain()

    async def _answers(self):
        while line := await self.reader.readline():
            words = line.decode().split() or [""]  # what follows a body
            if words[0] == "PING":
                self.writer.write(b"PONG\r\n")
            elif words[0] == "-ERR":
                raise RuntimeError(f"the engine: {line.decode().strip()}")
            elif words[0] == "MSG":
                body = json.loads(await self.reader.readexactly(int(words[-1])) or b"{}")
                yield words[1].split(".", 1)[1], body

    async def live(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        hello = {"verbose": False, "pedantic": False, "user": self.user, "pass": self.password}
        self.writer.write(f"CONNECT {json.dumps(hello)}\r\nSUB bench.> 1\r\n".encode())
        await self._ask("$JS.API.STREAM.NAMES", "bench.names")
        asking = None
        try:
            async for about, body in self._answers():
                if about == "names":
                    asking = asyncio.ensure_future(self._look(body["streams"]))
                else:
                    leader = body.get("cluster", {}).get("leader")
                    if leader and leader != self.leaders.get(about):
                        self.leaders[about], self.since[about] = leader, time.monotonic()
        finally:
            if asking is not None:
                asking.cancel()

    async def _look(self, streams):
        while True:
            for stream in streams:
                await self._ask(f"$JS.API.STREAM.INFO.{stream}", f"bench.{stream}")
            await asyncio.sleep(0.05)

    def led_without(self, node):
        """Whether all streams have leaders, and none is a server of that node."""
        return bool(self.leaders) and not any(leader.startswith(f"{node}-") for leader in self.leaders.values())


def ids_at_home(cluster):
    """Client ids, without end, whose home is the victim."""
    groups = json.loads(cluster.cluster("shards", "--json").stdout)["groups"]
    mine = {group["group"] for group in groups if group["home"] == f"n{VICTIM}"}
    number = 0
    while True:
        number += 1
        if shards.shard_of(f"s{number:x}") % GROUPS in mine:
            yield f"s{number:x}"


def die(cluster, way):
    folder = str(cluster.folder / f"n{VICTIM}").encode()
    pids = [cluster.processes[VICTIM].pid]
    if way == "machine":
        pids += [pid for pid in cluster.pids() if folder + b"/" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                 and pid not in pids]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


async def until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return condition()


async def until_told(condition, seconds):
    """The same for what asks another process, which takes its time."""
    deadline = time.monotonic() + seconds
    while not (is_so := await asyncio.get_running_loop().run_in_executor(None, condition)):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    return is_so


class Watched:
    """Some of the sessions, connected, and who publishes to them."""

    async def begin(self, cluster, ids, count):
        self.watchers = [Watcher(cluster.ports[EDGE], client_id) for client_id in ids[::len(ids) // count]]
        self.source = Source(cluster.ports[SOURCE], self.watchers)
        self.tasks = [asyncio.ensure_future(each.live()) for each in self.watchers]
        for watcher in self.watchers:
            await asyncio.wait_for(watcher.up.wait(), PATIENCE_S)
        self.publishing = asyncio.ensure_future(self.source.live())
        await until(lambda: all(watcher.got for watcher in self.watchers), PATIENCE_S)
        return self

    def owed(self):
        return [n for n, watcher in self.source.acknowledged.items() if n not in watcher.got]

    async def end(self):
        """What came of it, when nothing more comes."""
        self.publishing.cancel()
        await until(lambda: not self.owed(), 10)
        for task in self.tasks:
            task.cancel()
        return {"acknowledged": len(self.source.acknowledged), "lost": len(self.owed()),
                "sessions_lost": sum(watcher.lost_session for watcher in self.watchers)}


async def play_joining(cluster, options):
    ids = [client_id for client_id, _ in zip(ids_at_home(cluster), range(options.sessions))]
    cluster.end(VICTIM)
    assert await until_told(lambda: cluster.homes() == {f"n{SOURCE}", f"n{EDGE}"}, PATIENCE_S)
    await make_sessions(cluster.ports[EDGE], ids)
    watched = await Watched().begin(cluster, ids, JOINING_WATCHERS)
    await asyncio.sleep(2)
    for watcher in watched.watchers:
        watcher.look_again()
    await asyncio.sleep(10)
    before = max(watcher.look_again() for watcher in watched.watchers)
    cluster.begin(VICTIM)
    joined = await until_told(lambda: f"n{VICTIM}" in cluster.homes() and cluster.settled(), 3 * PATIENCE_S)
    await asyncio.sleep(2)
    waits = sorted(watcher.look_again() for watcher in watched.watchers)
    return {"way": "join", "sessions": len(ids), "watchers": len(waits), "joined": bool(joined),
            "before_s": before, "median_s": waits[len(waits) // 2], "last_s": waits[-1], **await watched.end()}


async def play(cluster, way, options):
    if way == "join":
        return await play_joining(cluster, options)
    ids = [client_id for client_id, _ in zip(ids_at_home(cluster), range(options.sessions))]
    began = time.monotonic()
    await make_sessions(cluster.ports[VICTIM], ids)
    print(f"  {len(ids)} sessions made in {time.monotonic() - began:.0f} s", flush=True)
    watched = await Watched().begin(cluster, ids, options.watchers)
    watchers, engine = watched.watchers, Engine(cluster.folder / f"n{SOURCE}")
    watched.tasks.append(asyncio.ensure_future(engine.live()))
    assert await until(lambda: len(engine.leaders) == GROUPS, PATIENCE_S), watched.tasks[-1]
    killed_at = time.monotonic()
    for watcher in watchers:
        watcher.killed_at = killed_at
    die(cluster, way)
    await until(lambda: all(watcher.first_after for watcher in watchers), PATIENCE_S)
    await asyncio.sleep(2)
    kept = await watched.end()
    elected = max((at - killed_at for at in engine.since.values() if at > killed_at), default=0.0)
    if way == "machine" and not engine.led_without(f"n{VICTIM}"):
        elected = float("inf")
    waits = sorted((watcher.first_after or float("inf")) - killed_at for watcher in watchers)
    return {"way": way, "sessions": len(ids), "watchers": len(watchers),
            "engine_elected_s": elected, "first_s": waits[0], "median_s": waits[len(waits) // 2], "last_s": waits[-1],
            **kept}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--watchers", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/release/skein")
    options = parser.parse_args()
    failures = 0
    for _ in range(options.rounds):
        for way in options.way or WAYS:
            with clusters.Skein(options) as cluster:
                figures = asyncio.run(play(cluster, way, options))
            print(json.dumps(figures), flush=True)
            failures += figures["lost"] + figures["sessions_lost"] + (not figures.get("joined", True))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
