#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Normal and hostile clients that come and go, for as long as asked; memory must end flat.

    ./dev soak MINUTES [--clients N] [--seed N]

The time is cut into rounds. In a round each of N processes plays episodes drawn at random; then
all stop, what they left behind expires, and resident memory and descriptors are read. The first
third is warm-up: what is bounded fills. It fails when the broker dies, a normal episode goes wrong, a
descriptor stays open, or memory in the last three rounds is above that in the three after the warm-up
(medians): memory in use, but for what the store is about to write out and its cache, by more than 5 %
or 512 KiB; resident memory by more than 5 % or what a thread's arena keeps of a burst, 4 MiB.
SKEIN_BINARY names the program.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from kit import (V31, V311, V5, Broker, RawClient, Will, disconnect, encode, pingreq,  # noqa: E402
                 publish, subscribe, unique, unsubscribe, wire)

ROUNDS_MIN = 6
SETTLE_SECONDS = 8  # a little more than the longest session expiry and will delay below
ARENA_KB = 4096  # set_malloc() in src/broker/broker.c
TOPICS = 50  # retained topics: a fixed set, so that they cannot look like growth
CONFIG = {
    "mqtt": {"session_expiry_max": "5s"},
    "limits": {"packet_bytes": "256K", "connect_timeout": "2s"},
    "queue": {"messages_max": 500, "bytes_max": "1M"},
    "log": {"level": "error"},
    "store": {"profile": "small"},  # its memory tables are full after the first round
}


class Address:
    """What a RawClient needs of a broker that another process started."""

    def __init__(self, broker):
        self.address, self.ws_address = broker.address, broker.ws_address


# ---- normal episodes: what they expect must come ----


def version(draw):
    return draw.choice([V31, V311, V5])


def join(broker, draw, v=None, **fields):
    client = RawClient(broker, v or version(draw), websocket=draw.random() < 0.3)
    client.connect(unique("soak"), **fields)
    return client


def conversation(broker, draw):
    topic = unique("talk/")
    with join(broker, draw) as alice, join(broker, draw) as bob:
        bob.subscribe(f"{topic}/#", qos=2)
        for _ in range(draw.randint(1, 20)):
            payload = draw.randbytes(draw.choice([0, 10, 100, 5000]))
            alice.publish(f"{topic}/a", payload, qos=draw.randint(0, 2))
            bob.receive(payload=payload)
        if draw.random() < 0.5:
            bob.disconnect()


def resumed_session(broker, draw):
    topic, who = unique("away/"), unique("soak")
    fields = {"properties": {"session_expiry_interval": 5}}
    with RawClient(broker, V5) as client:
        client.connect(who, clean_start=False, **fields)
        client.subscribe(topic, qos=1)
        client.disconnect()
    with join(broker, draw) as other:
        for _ in range(draw.randint(1, 30)):
            other.publish(topic, b"while away", qos=1)
    with RawClient(broker, V5) as client:
        client.connect(who, clean_start=False, **fields)
        client.receive(payload=b"while away")


def will(broker, draw):
    topic = unique("will/")
    with join(broker, draw) as watcher:
        watcher.subscribe(topic)
        leaver = join(broker, draw, will=Will(topic, b"gone"))
        leaver.close()
        watcher.receive(payload=b"gone")


def retained(broker, draw):
    topic = f"kept/{draw.randrange(TOPICS)}"
    with join(broker, draw) as client:
        client.publish(topic, draw.randbytes(draw.randint(1, 200)), qos=1, retain=True)
        client.subscribe("kept/+")
        client.barrier()
        if draw.random() < 0.5:
            client.publish(topic, b"", qos=1, retain=True)


def shared_group(broker, draw):
    topic = unique("work/")
    members = [join(broker, draw, v=V5) for _ in range(draw.randint(2, 5))]
    for member in members:
        member.subscribe(f"$share/crew/{topic}", qos=1)
    with join(broker, draw) as boss:
        for number in range(20):
            boss.publish(topic, str(number).encode(), qos=1)
    for member in members:
        member.close()


def many_subscriptions(broker, draw):
    with join(broker, draw) as client:
        root = unique("many/")
        filters = [f"{root}/{n}/+/#" for n in range(200)]
        client.subscribe(filters, qos=1)
        if draw.random() < 0.5:
            client.unsubscribe(filters)


def takeover(broker, draw):
    who = unique("soak")
    clients = []
    for _ in range(5):
        clients.append(RawClient(broker, V5))
        clients[-1].connect(who)
    for client in clients:
        client.close()


NORMAL = [conversation, conversation, resumed_session, will, retained, shared_group,
          many_subscriptions, takeover]


# ---- hostile episodes: anything may come back, as long as others are unharmed ----


def packets(draw, v):
    fields = {"properties": {"session_expiry_interval": 1}} if v == V5 else {}
    return [wire.connect(unique("bad"), **fields), publish("bad/topic", draw.randbytes(50), qos=1, id=1),
            subscribe([("bad/#", 1)], id=2), unsubscribe(["bad/#"], id=3), pingreq(), disconnect()]


def send(broker, raw, websocket=False):
    """Sends, reads a little of what comes, and goes without a word."""
    with RawClient(broker, V311, websocket=websocket) as client:
        try:
            client.send(raw)
            client.socket.settimeout(0.05)
            client.socket.recv(4096)
        except OSError:
            pass


def garbage(broker, draw):
    send(broker, draw.randbytes(draw.randint(1, 2000)), draw.random() < 0.3)


def truncated(broker, draw):
    v = version(draw)
    raw = b"".join(encode(packet, v) for packet in packets(draw, v))
    send(broker, raw[: draw.randrange(len(raw))])


def corrupted(broker, draw):
    v = version(draw)
    raw = bytearray(b"".join(encode(packet, v) for packet in packets(draw, v)))
    for _ in range(draw.randint(1, 3)):
        raw[draw.randrange(len(raw))] = draw.randrange(256)
    send(broker, bytes(raw))


def oversize(broker, draw):
    connected = encode(wire.connect(unique("bad")), V311)
    send(broker, connected + bytes([draw.randrange(16, 240), 0xFF, 0xFF, 0xFF, draw.choice([0x7F, 0xFF])]))


def never_reads(broker, draw):
    topic = unique("flood/")
    deaf = RawClient(broker, V311, receive_buffer=4096)
    with deaf, join(broker, draw) as flooder:
        deaf.send(wire.connect(unique("bad")), subscribe([(topic, draw.randint(0, 2))], id=1))
        payload = bytes(10_000)
        for _ in range(100):
            flooder.send(publish(topic, payload))
        flooder.barrier()


def half_open(broker, draw):
    clients = [RawClient(broker, V311) for _ in range(20)]
    for client in clients:
        client.send(encode(wire.connect(unique("bad")), V311)[: draw.randint(0, 10)])
    for client in clients:
        client.close()


HOSTILE = [garbage, truncated, corrupted, corrupted, oversize, never_reads, half_open]


# ---- rounds ----


def play(broker, seed, seconds, results):
    """One process, one round: episodes until the time is over."""
    draw = random.Random(seed)
    end = time.monotonic() + seconds
    played = 0
    while time.monotonic() < end:
        episode = draw.choice(NORMAL if draw.random() < 0.5 else HOSTILE)
        try:
            episode(broker, draw)
        except Exception as error:  # reported, never swallowed
            if episode in NORMAL or not isinstance(error, (OSError, AssertionError)):
                results.put((played, f"{episode.__name__}: {type(error).__name__}: {str(error)[:1500]}"))
                return
        played += 1
    results.put((played, None))


def play_round(broker, clients, seed, seconds):
    results = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=play, args=(Address(broker), seed + n, seconds, results))
                 for n in range(clients)]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=seconds + 120) for _ in processes]
    for process in processes:
        process.join()
    return sum(played for played, _ in outcomes), [failure for _, failure in outcomes if failure]


def anonymous_kb(broker):
    """Resident memory that is not code."""
    text = pathlib.Path(f"/proc/{broker.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", text).group(1))


def used_kb(broker):
    """Memory in use, without what the store holds until it writes it out and its cache."""
    def get(what):
        answer = subprocess.run([broker.binary, "ctl", "--json", what, "-d", broker.data],
                                capture_output=True, check=True, timeout=30)
        return json.loads(answer.stdout)
    numbers = get("store")["numbers"]
    return int(get("broker")["heap_used_bytes"] - numbers["memory_bytes"]
               - numbers["cache_bytes"]) // 1024


def clear_retained(broker):
    """Every round begins without retained messages, also those that corrupted packets left."""
    with RawClient(Address(broker), V311) as client:
        client.connect(unique("broom"))
        client.send(subscribe([("#", 0)], id=1))
        client.wait_for(wire.SUBACK)
        kept = set()
        while True:
            try:
                packet = client.next_packet(within=0.3)
            except AssertionError:
                break
            kept.add(packet.topic)
    with RawClient(Address(broker), V311) as client:
        client.connect(unique("broom"))
        for topic in kept:
            client.publish(topic, b"", qos=1, retain=True)


def fill_topic_memory(broker):
    """Each worker remembers the routes of some thousand topics that it has seen twice. Full from the
    start, that cannot look like growth."""
    for _ in range(8):  # clients are spread over the workers
        with RawClient(Address(broker), V311) as client:
            client.connect(unique("filler"))
            topics = [encode(publish(f"fill/{unique()}/{'x' * 20}", b""), V311) for _ in range(8000)]
            client.send(b"".join(topic * 2 for topic in topics))
            client.barrier()


def judge(samples):
    """Each of `samples`: memory in use, resident memory, descriptors."""
    warm, problems = len(samples) // 3, []
    for what, place, spare in (("memory in use", 0, 512), ("resident memory", 1, ARENA_KB)):
        base = statistics.median(sample[place] for sample in samples[warm : warm + 3])
        last = statistics.median(sample[place] for sample in samples[-3:])
        if last > base + max(base * 5 // 100, spare):
            problems.append(f"{what} grew from {base} to {last} KiB")
    if samples[-1][2] > samples[0][2]:
        problems.append(f"descriptors grew from {samples[0][2]} to {samples[-1][2]}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float)
    parser.add_argument("--clients", type=int, default=2 * (os.cpu_count() or 2), help="processes")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()

    rounds = max(ROUNDS_MIN, min(40, int(options.minutes * 2)))
    seconds = max(2.0, options.minutes * 60 / rounds - SETTLE_SECONDS)
    print(f"seed {options.seed}, {rounds} rounds of {seconds:.0f} s, {options.clients} processes", flush=True)
    broker = Broker(CONFIG)
    samples, failures, episodes = [], [], 0
    try:
        fill_topic_memory(broker)
        for number in range(rounds):
            seed = options.seed * 1_000_003 + number * 1000
            played, failed = play_round(broker, options.clients, seed, seconds)
            episodes += played
            failures += failed
            broker.check()
            clear_retained(broker)
            time.sleep(SETTLE_SECONDS)
            open_now = broker.descriptors()  # before the broker is asked, which takes one
            samples.append((used_kb(broker), anonymous_kb(broker), open_now))
            used, resident, descriptors = samples[-1]
            print(f"round {number + 1}: {played} episodes, {used} KiB used, {resident} KiB resident, "
                  f"{descriptors} descriptors", flush=True)
        failures += judge(samples)
        broker.close()
    except AssertionError as failure:
        failures.append(str(failure))
    finally:
        broker.kill()
    for failure in failures:
        print(f"FAILED {failure}")
    if not failures:
        shutil.rmtree(broker.folder, ignore_errors=True)
    print(f"{episodes} episodes; {'failed' if failures else 'memory is flat'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
