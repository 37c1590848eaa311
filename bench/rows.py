# SPDX-License-Identifier: Apache-2.0
"""What is measured: the rows of the table, each a call of `skein bench` and the figure to read."""

import dataclasses

import brokers

SHORT = ["--warmup", "0.4", "-d", "1.5"]


@dataclasses.dataclass
class Row:
    name: str
    what: str
    arguments: list
    figure: str = "broker_cpu_us_each"
    unit: str = "us"
    share: float = None  # at most 1/share of mosquitto's figure
    at_most: float = None  # or at most this
    quick: bool = False
    floor: bool = False  # the bare forwarder can do it too
    spin: bool = True
    rounds: int = None  # instead of --rounds
    run: str = None  # rows that share a run have the same
    memory: bool = False  # Skein keeps it in memory only, as the peers do here


def fan_in(subscribers, share, quick=False):
    return Row(f"fan-in-{subscribers}", f"50 publishers -> {subscribers} "
               + ("subscriber" if subscribers == 1 else "wildcard subscribers") + ", QoS 0",
               ["fan-in", "--subscribers", str(subscribers), *SHORT], share=share, quick=quick,
               floor=True)


def pairs(name, what, arguments, share, **more):
    return Row(name, f"50 pairs, {what}", ["pairs", *arguments, *SHORT], share=share, **more)


STREAMS = [
    fan_in(1, 24, quick=True),
    fan_in(8, 25),
    Row("fan-out", "1 publisher -> 500 subscribers, QoS 0", ["fan-out", *SHORT], share=20,
        quick=True, floor=True),
    pairs("pairs-q0", "QoS 0", [], 15, quick=True, floor=True),
    pairs("pairs-q1", "QoS 1", ["-q", "1"], 11, quick=True),
    pairs("pairs-q2", "QoS 2", ["-q", "2"], 16, quick=True),
    pairs("pairs-1k", "1 KB, QoS 0", ["-s", "1024"], 10, floor=True),
    pairs("pairs-w1", "one message in flight each", ["-w", "1"], 1.4, floor=True),
    Row("mixed", "100,000 subscriptions of four filter shapes, publish", ["mixed", *SHORT],
        share=6.5),
    Row("retained-store", "100,000 retained messages in memory, store", ["retained"],
        figure="store_broker_cpu_us", share=6, run="retained", memory=True),
    Row("retained-read", "100,000 retained messages in memory, read by `#`", ["retained"],
        figure="read_broker_cpu_us", share=4, run="retained", memory=True),
    Row("retained-durable", "the same, Skein storing each on disk", ["retained"],
        figure="store_broker_cpu_us"),
    Row("storm", "connect + CONNACK + DISCONNECT", ["storm", *SHORT], share=1.6, quick=True,
        floor=True),
]

LATENCY_ARGUMENTS = ["pairs", "--rate", "5000", "--warmup", "0.4", "-d", "2"]
LATENCY_ROUNDS = 10
LATENCY = [
    Row("latency-p50", "latency at 5,000 msg/s, open loop, p50", LATENCY_ARGUMENTS,
        figure="latency_p50_us", share=1 / 1.1, rounds=LATENCY_ROUNDS, run="latency", floor=True),
    Row("latency-p999", "latency at 5,000 msg/s, open loop, p99.9", LATENCY_ARGUMENTS,
        figure="latency_p999_us", share=1 / 1.5, rounds=LATENCY_ROUNDS, run="latency", floor=True),
]

CONNECTIONS = 19000
MEMORY = [
    Row("idle-connection", f"memory of an idle connection with one subscription ({CONNECTIONS:,})",
        ["conns", "--count", str(CONNECTIONS), "--subscribe", "--hold", "1"], figure="bytes_each",
        unit="bytes", at_most=1.2 * 1024, rounds=1),
]

# Skein alone, on all CPUs: what a message costs with two workers, beside one worker.
WORKERS_AT_MOST = 1.18
WORKERS = [
    Row("workers-pairs-q0", "50 pairs, QoS 0, two workers beside one", ["pairs", *SHORT],
        spin=False),
    Row("workers-pairs-q1", "50 pairs, QoS 1, two workers beside one", ["pairs", "-q", "1", *SHORT],
        spin=False),
    Row("workers-fan-in", "50 publishers -> 1 subscriber, QoS 0, two workers beside one",
        ["fan-in", *SHORT], spin=False),
]

IDLE_RSS_AT_MOST = 10e6


@dataclasses.dataclass
class DurableRow:
    """A row of the section Durable: between ways to run brokers, not between brokers alone."""
    name: str
    what: str
    arguments: list
    brokers: list
    figure: str  # the rate
    payload: int = 64
    stored: bool = False  # counters are read when all is stored, before any of it is sent
    floor: bool = False  # beside appending and flushing alone
    quick: bool = False
    spin: bool = True


# The best peer that writes before it acknowledges, measured on the same kind of machine; it is not
# run here.
BEST_PEER, BEST_PEER_PER_S = "nats-server (9,600/s, not run here)", 9600

def durable_online(name, window, quick=False):
    return DurableRow(name, f"50 pairs, QoS 1, {window} messages under way each",
                      ["pairs", "--persistent", "-q", "1", "-w", str(window), *SHORT],
                      [brokers.DURABLE, brokers.MEMORY, brokers.PERSISTENT_MOSQUITTO],
                      "delivered_per_s", quick=quick)


DURABLE_ONLINE = [durable_online("durable-online", 20, quick=True),
                  durable_online("durable-online-w100", 100)]
DURABLE_OFFLINE = DurableRow(
    "durable-offline", "1,000 sessions, 200 messages for each, QoS 1, 64 bytes, 50 publishers",
    ["offline", "-q", "1", "--count", "1000", "--per-session", "200"],
    [brokers.DURABLE, brokers.SMALL, brokers.MEMORY, brokers.PERSISTENT_MOSQUITTO], "store_per_s",
    stored=True, floor=True, quick=True)
DURABLE_SINGLE = DurableRow(
    "durable-single", "one message in each commit",
    ["offline", "-q", "1", "--publishers", "1", "-w", "1", "--count", "10", "--per-session", "100"],
    [brokers.DURABLE, brokers.SMALL], "store_per_s", stored=True)
DURABLE = [*DURABLE_ONLINE, DURABLE_OFFLINE, DURABLE_SINGLE]
