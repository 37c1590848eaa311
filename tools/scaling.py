#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a cluster costs as it grows: a model, and real nodes that it is held to.

    tools/scaling.py table            the tables of docs/scaling.md
    tools/scaling.py check [N...]     N real nodes (2 4): the model's figures beside theirs
    tools/scaling.py engine           what the constants of changelogs are taken from: three real servers
                                      (SKEIN_TEST_BUILD has tests/c/changelog_node)

Figures of the model are of one node, in bytes, seconds and microseconds of CPU. What it counts on is in
CONSTANTS; each was measured by `check`, `engine` or bench/.
"""

import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

WORKERS = 2

CONSTANTS = {
    # src/cluster/inside.h (500 ms, seen at a tick of 100), src/link/frame.h
    "heartbeat_s": 0.56, "frame": 8, "packet": 66,  # Ethernet, IP and TCP with timestamps; an ACK is one
    "news": 1096,                                   # what a node says of its groups, behind each heartbeat
    "mark": 2 * 16,                                 # "all said", and "done"
    "publish_head": 27,                             # of QoS 0 without properties
    # tools/scaling.py check
    "member_memory": 102_000,                       # another node
    "route_memory": 550, "route_memory_byte": 2.0,  # its filter of two levels: fixed, and each byte of it
    "again_memory": 248, "again_memory_byte": 0.9,  # one that somebody else has told, too
    "heartbeat_us": 120, "route_us": 1.4,
    # bench/results.md (send: half of the bare forwarder with one message in flight), many-connections.md;
    # skein bench pairs --subscribers-at, the publisher's node
    "session_memory": 970, "send_us": 5.5, "forward_us": 0.32,
    # tools/scaling.py engine
    "groups": 16, "idle_append_s": 0.6, "idle_append_us": 870, "append_us": 560, "append_byte_us": 0.0095,
    "append_s": 0.0008, "append_byte_s": 16e-9,
}


class Model:
    """One node of so many, with so many workers each."""

    def __init__(self, nodes, workers=WORKERS, **constants):
        self.nodes, self.workers = nodes, workers
        self.others = nodes - 1
        self.k = {**CONSTANTS, **constants}

    # ---- links ----

    def sockets(self):
        """Each of two nodes tells the other, and each worker has a road there."""
        return self.others * 2 * (1 + self.workers)

    def members_memory(self):
        return self.others * self.k["member_memory"]

    def heartbeat_payload(self):
        """Sent a second, without headers: to each a heartbeat of ours with news, and an answer to its own."""
        return self.others * (2 * self.k["frame"] + self.k["news"]) / self.k["heartbeat_s"]

    def heartbeat_wire(self):
        """The same with headers, and an ACK: an answer carries that of its heartbeat."""
        return self.heartbeat_payload() + self.others * 3 * self.k["packet"] / self.k["heartbeat_s"]

    def heartbeat_cpu(self):
        """CPUs."""
        return self.others / self.k["heartbeat_s"] * self.k["heartbeat_us"] / 1e6

    # ---- routes ----

    def route_bytes(self, filters, length, waits):
        """To tell everybody of filters, with a SUBACK that waits so often; heard answers included."""
        one = filters * (2 + length) + waits * (self.k["frame"] + self.k["mark"])
        return self.others * one

    def routes_memory(self, filters, length):
        """Of all that the others have told: so many filters each, of its own."""
        return self.others * filters * (self.k["route_memory"] + length * self.k["route_memory_byte"])

    def shared_memory(self, filters, length):
        """The same, when all of them have the same filters."""
        again = filters * (self.k["again_memory"] + length * self.k["again_memory_byte"])
        return Model(2).routes_memory(filters, length) + (self.others - 1) * again

    def routes_cpu_s(self, filters):
        """To take in so many of each other node: the control's one thread."""
        return self.others * filters * self.k["route_us"] / 1e6

    # ---- publications ----

    def forwarded(self, messages, wanting):
        return messages * min(wanting, self.others)

    def forward_us(self, messages_a_turn, wanting):
        """A message to so many nodes: what is for one node in a turn of the loop is one send()."""
        wanting = min(wanting, self.others)
        return wanting * (self.k["forward_us"] + self.k["send_us"] / max(1, messages_a_turn * wanting / self.others))

    # ---- changelogs ----

    def groups_of_busiest(self, seed=1, rounds=200):
        """Homes that the unluckiest node is, when each group's is drawn by hash; the median of draws."""
        dice, most = random.Random(seed), []
        for _ in range(rounds):
            draws = [dice.randrange(self.nodes) for _ in range(self.k["groups"])]
            most.append(max(draws.count(n) for n in set(draws)))
        return sorted(most)[rounds // 2]

    def home_sessions(self, sessions):
        return sessions / self.k["groups"]

    def idle_appends(self):
        return self.k["groups"] / self.k["idle_append_s"]

    def idle_cpu(self):
        """Of all servers together, in CPUs."""
        return self.idle_appends() * self.k["idle_append_us"] / 1e6

    def append_cpu_us(self, size):
        """Of three servers together."""
        return self.k["append_us"] + size * self.k["append_byte_us"]

    def group_rate(self, record, batch):
        """Records a second that one group commits, in batches of so many; one batch is under way."""
        return batch / (self.k["append_s"] + record * batch * self.k["append_byte_s"])


# ---- the tables -------------------------------------------------------------------------------

SIZES = (3, 10, 100, 1000)
SESSIONS, FILTER = 100_000_000, 32


def human(value, unit=""):
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {letter}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def row(name, cells):
    return f"| {name} | " + " | ".join(cells) + " |"


def table():
    models = [Model(n, workers=8) for n in SIZES]
    each = [SESSIONS // m.nodes for m in models]
    print(row("one node of", [f"{n:,}" for n in SIZES]))
    print("| --- |" + " ---: |" * len(SIZES))
    print(row("sockets of links", [f"{m.sockets():,}" for m in models]))
    print(row("memory of links and members", [human(m.members_memory(), "B") for m in models]))
    print(row("heartbeats, sent on the wire", [human(m.heartbeat_wire() * 8, "bit/s") for m in models]))
    print(row("heartbeats, CPU", [f"{100 * m.heartbeat_cpu():.2g} %" for m in models]))
    print(row("sessions, 100 million in all", [human(count) for count in each]))
    print(row("their memory", [human(count * CONSTANTS["session_memory"], "B") for count in each]))
    print(row("routes, 10,000 filters that all share",
              [human(m.shared_memory(10_000, FILTER), "B") for m in models]))
    print(row("routes, a filter of its own for each session",
              [human(m.routes_memory(count, FILTER), "B") for m, count in zip(models, each)]))
    print(row("the same taken in after a start, CPU",
              [human(m.routes_cpu_s(count), "s") for m, count in zip(models, each)]))
    print(row("a message to one other node, 64 a turn", [f"{m.forward_us(64, 1):.2g} us" for m in models]))
    print(row("a message to all other nodes", [human(m.forward_us(64, m.others), "us") for m in models]))
    print()
    print(row("changelogs, nodes", [f"{n:,}" for n in SIZES]))
    print("| --- |" + " ---: |" * len(SIZES))
    print(row("durable sessions of a group", [human(m.home_sessions(SESSIONS)) for m in models]))
    print(row("groups of the busiest node", [str(m.groups_of_busiest()) for m in models]))
    print(row("their sessions' memory", [human(m.groups_of_busiest() * m.home_sessions(SESSIONS)
                                               * CONSTANTS["session_memory"], "B") for m in models]))
    print(row("nodes that are no home", [f"{max(0, m.nodes - CONSTANTS['groups']):,} or more" for m in models]))
    print()
    print("| records of 200 bytes in a batch | a group, records/s | all 16 | engine, CPU a record | CPUs for all 16 |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for batch in (1, 10, 100, 1000, 10_000):
        rate, cpu_us = Model(3).group_rate(200, batch), Model(3).append_cpu_us(200 * batch) / batch
        all_groups = rate * CONSTANTS["groups"]
        print(f"| {batch:,} | {human(rate)} | {human(all_groups)} | {cpu_us:.3g} us | "
              f"{all_groups * cpu_us / 1e6:.2g} |")


# ---- real nodes -------------------------------------------------------------------------------


def cpu_us(pid):
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e3


class Nodes:
    """So many real nodes that have met, and what can be read of them."""

    def __init__(self, count):
        from kit import Broker
        from kit.broker import free_port
        self.links = [free_port() for _ in range(count)]
        self.brokers = [Broker({
            "workers": WORKERS, "limits": {"subscriptions_per_client": 1_000_000},
            "cluster": {"name": "scaling", "node": f"n{n}", "listen": f"127.0.0.1:{port}",
                        "addresses": [f"127.0.0.1:{other}" for other in self.links if other != port]}})
            for n, port in enumerate(self.links)]
        for n in range(count):
            self.wait(lambda n=n: sum(m["here"] for m in self.ask(n, "cluster")["members"]) == count - 1)

    @staticmethod
    def wait(condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError("scaling: the nodes do not get there")
            time.sleep(0.05)
        return found

    def ask(self, n, *words):
        broker = self.brokers[n]
        done = subprocess.run([broker.binary, "ctl", "-d", broker.data, "--json", *words],
                              capture_output=True, text=True, timeout=60, check=True)
        return json.loads(done.stdout)

    def metric(self, n, name):
        return self.ask(n, "metrics", f"name={name}")["metrics"][name]

    def heap(self, n):
        return self.ask(n, "broker")["heap_used_bytes"]

    def cpu_us(self, n):
        return cpu_us(self.brokers[n].process.pid)

    def link_ends(self):
        """[bytes that have arrived] of each end of each link: none is counted twice."""
        ports = " or ".join(f"sport = :{port} or dport = :{port}" for port in self.links)
        shown = subprocess.run(["ss", "-tinHO", "state", "established", ports], capture_output=True,
                               text=True, check=True).stdout
        return [int(found.group(1)) if (found := re.search(r"bytes_acked:(\d+)", line)) else 0
                for line in shown.splitlines()]

    def close(self):
        for broker in self.brokers:
            broker.close()


def subscribe(broker, filters):
    """All by one client; gives how often it waited. It stays, and so do they."""
    from kit import V5, RawClient
    client = RawClient(broker, V5)
    client.connect()
    pieces = [filters[i:i + 500] for i in range(0, len(filters), 500)]
    for piece in pieces:
        client.subscribe(piece)
    return client, len(pieces)


def check_routes(nodes, model, at, count, length, heartbeats, say):
    """Filters of a client of node `at`, which all other nodes before it have told, too."""
    last = len(nodes.brokers) - 1
    filters = [f"{n:08}/".ljust(length, "x") for n in range(count)]
    heap, cpu, sent, start = nodes.heap(last), nodes.cpu_us(last), sum(nodes.link_ends()), time.monotonic()
    client, waits = subscribe(nodes.brokers[at], filters)
    sent = sum(nodes.link_ends()) - sent - (time.monotonic() - start) * heartbeats
    told = nodes.wait(lambda: next(m["filters"] for m in nodes.ask(last, "cluster")["members"]
                                   if m["node"] == f"n{at}") == count and count)
    say("filters told", count, told, 0)
    # under a sanitizer, which shows no heap, they are so slow to come that each goes by itself
    say(f"bytes to tell {count} filters of {length} bytes", model.route_bytes(count, length, waits), sent,
        0.2 if heap else 0.8)
    memory = Model(at + 2).shared_memory(count, length) - (Model(at + 1).shared_memory(count, length) if at else 0)
    say(f"memory for them, of {length} bytes, told by {at} others", memory, nodes.heap(last) - heap,
        0.15 if heap else None)  # a sanitizer's heap is not counted
    say("CPU to take them in, us each", model.k["route_us"], (nodes.cpu_us(last) - cpu) / count, None)
    return client


def check_publications(nodes, model, count, heartbeats, say):
    from kit import V5, RawClient
    others = [RawClient(broker, V5) for broker in nodes.brokers[1:]]
    for other in others:
        other.connect()
        other.subscribe("scaling/topic")
    before = nodes.metric(0, "publish_forwarded"), sum(nodes.link_ends()), time.monotonic()
    with RawClient(nodes.brokers[0], V5) as publisher:
        publisher.connect()
        for _ in range(count):
            publisher.publish("scaling/topic", b"x" * 1000)
        publisher.barrier()
        for other in others:
            for _ in range(count):
                other.receive(topic="scaling/topic")
    nodes.wait(lambda: nodes.metric(0, "publish_forwarded") - before[0] >= count * len(others))
    took = time.monotonic() - before[2]
    say("publications forwarded", model.forwarded(count, len(others)),
        nodes.metric(0, "publish_forwarded") - before[0], 0)
    size = model.k["publish_head"] + len("scaling/topic") + 1000
    say("bytes to forward them", model.forwarded(count, len(others)) * size,
        sum(nodes.link_ends()) - before[1] - took * heartbeats, 0.1)
    for other in others:
        other.close()


def check_heartbeats(nodes, model, seconds, say):
    """Gives the bytes a second that all nodes really send; what else is measured goes on top of them."""
    def all_now():
        return sum(nodes.link_ends()), time.monotonic(), nodes.cpu_us(0)
    sent, start, cpu = all_now()
    time.sleep(seconds)
    now = all_now()
    took = now[1] - start
    rate = (now[0] - sent) / took
    say("heartbeats, bytes/s", model.nodes * model.heartbeat_payload(), rate, 0.25)
    say("CPU of an idle node, us/s", None, (now[2] - cpu) / took, None)
    return rate


def check(count, filters=5000, seconds=5, publications=200):
    """Starts so many nodes and prints both figures of each. Gives what is too far off, and the heap of a node."""
    wrong = []

    def say(what, modelled, found, tolerance):
        fine = tolerance is None or abs(found - modelled) <= tolerance * modelled
        print(f"{count} nodes: {what}: model {'-' if modelled is None else f'{modelled:,.1f}'}, real {found:,.1f}"
              + ("" if fine else "  <-- off"), flush=True)
        if not fine:
            wrong.append((count, what, modelled, found))
    model, nodes = Model(count), Nodes(count)
    try:
        say("ends of links", count * model.sockets(), len(nodes.link_ends()), 0)
        heap = nodes.heap(0)
        heartbeats = check_heartbeats(nodes, model, seconds, say)
        check_publications(nodes, model, publications, heartbeats, say)
        for length in (16, 128):
            clients = [check_routes(nodes, model, at, filters, length, heartbeats, say)
                       for at in range(min(2, count - 1))]
            for client in clients:
                client.close()
            nodes.wait(lambda: all(m["filters"] == 0 for m in nodes.ask(count - 1, "cluster")["members"]))
    finally:
        nodes.close()
    return wrong, heap


def check_all(counts, **sizes):
    """Gives what is too far off."""
    wrong, heaps = [], {}
    for count in counts:
        off, heaps[count] = check(count, **sizes)
        wrong += off
    few, many = min(counts), max(counts)
    if many > few:
        modelled = Model(many).members_memory() - Model(few).members_memory()
        print(f"{many - few} more nodes: memory: model {modelled:,.0f}, real {heaps[many] - heaps[few]:,.0f}")
        if heaps[few] and abs(heaps[many] - heaps[few] - modelled) > 0.2 * modelled:
            wrong.append((many, "memory of members", modelled, heaps[many] - heaps[few]))
    return wrong


# ---- the engine -------------------------------------------------------------------------------


def engine():
    """Three servers and one node that is home of all groups, on this machine."""
    from changelog.conftest import CLUSTER, GROUPS, SECRET, Program, Servers, create
    with tempfile.TemporaryDirectory(prefix="skein-scaling-") as folder:
        servers, node = Servers(pathlib.Path(folder)), None

        def spent():
            return sum(cpu_us(pid) for pid in servers.pids.values())
        try:
            for n in range(3):
                servers.start(n)
            node = Program("node", "scaling", CLUSTER, SECRET, servers.url(0))
            node.expect("connected")
            create(node, GROUPS)
            for homes in (0, GROUPS):
                for group in range(homes):
                    node.say(f"attach {group}")
                    node.say(f"claim {group}")
                    node.expect(f"opened {group}")
                before = spent()
                time.sleep(10)
                print(f"{homes} idle homes: servers {(spent() - before) / 10:,.0f} us/s", flush=True)
            for groups in (1, GROUPS):
                for count, size in ((1000, 200), (1000, 1000), (500, 32_768), (100, 1_000_000)):
                    before = spent()
                    line = node.do(f"bench {groups} {count} {size}", "bench")
                    print(f"{line} servers_cpu_us={(spent() - before) / count:,.0f}", flush=True)
        finally:
            if node is not None:
                node.close()
            servers.close()


def main():
    words = sys.argv[1:]
    if words == ["table"]:
        return table()
    if words == ["engine"]:
        return engine()
    if words[:1] == ["check"]:
        return sys.exit(1 if check_all([int(n) for n in words[1:]] or [2, 4]) else 0)
    print(__doc__)
    return sys.exit(64)


if __name__ == "__main__":
    main()
