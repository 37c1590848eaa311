# SPDX-License-Identifier: Apache-2.0
"""The durable rows: what it costs that an acknowledgement means safe, and how much of it was really
written, by the broker's own counters."""

import dataclasses
import http.client
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

import brokers
import rows
from report import median

POLL_S = 0.1
SETTLE_S = 1
STORE_THREADS = ("commit", "rocksdb")  # how the names of the store's own threads begin
COUNTERS = ("store_commits", "store_syncs", "store_records", "store_bytes")


class ControlSocket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=5)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def thread_seconds(pid):
    """CPU seconds of the store's threads."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            if (task / "comm").read_text().startswith(STORE_THREADS):
                total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # it has ended
    return total / 1e9


class Watch(threading.Thread):
    """Reads the counters of a Skein ten times a second while something else loads it."""

    def __init__(self, broker):
        super().__init__()
        self.broker, self.samples, self.done = broker, [], threading.Event()
        self.take()

    def take(self):
        control = ControlSocket(self.broker.folder / "data" / "control.sock")
        control.request("GET", "/v1/metrics")
        answer = json.load(control.getresponse())
        control.close()
        commit = [d for d in answer["distributions"] if d["name"] == "store_commit"][0]
        self.samples.append({**answer["metrics"], "commit_p50_us": commit["p50"] / 1e3,
                             "commit_p99_us": commit["p99"] / 1e3,
                             "store_threads_s": thread_seconds(self.broker.pid)})

    def run(self):
        while not self.done.wait(POLL_S):
            self.take()

    def stop(self):
        self.done.set()
        self.join()
        self.take()

    def between(self, messages, stored):
        """What the store did for so many messages. `stored`: only until the last one was in, and
        none had been sent."""
        first, last = self.samples[0], self.samples[-1]
        if stored:
            before = [s for s in self.samples if s["publish_sent"] == 0]
            last = ([s for s in before if s["publish_received"] >= messages] or before)[-1]
        figures = {name: last[name] - first[name] for name in COUNTERS}
        commits, syncs = figures["store_commits"], figures["store_syncs"]
        figures |= {
            "records_each": figures["store_records"] / messages,
            "records_a_commit": figures["store_records"] / commits if commits else 0,
            "bytes_a_commit": figures["store_bytes"] / commits if commits else 0,
            "commits_synced": syncs / commits if commits else 0,
            "commit_p50_us": last["commit_p50_us"], "commit_p99_us": last["commit_p99_us"],
            "store_threads_us_each": (last["store_threads_s"] - first["store_threads_s"]) * 1e6
                                     / messages,
        }
        return figures


def empty_store(kind):
    """Resident bytes without a client: all, and what is no file's."""
    with kind.start(None) as broker:
        time.sleep(SETTLE_S)
        status = pathlib.Path(f"/proc/{broker.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return {"rss_bytes": int(fields["VmRSS"].split()[0]) * 1024,
                "anonymous_bytes": int(fields["RssAnon"].split()[0]) * 1024}


@dataclasses.dataclass
class Durable:
    """Measures the rows; `figures[row][broker]` are those of each round."""
    run: object
    floor: pathlib.Path
    figures: dict = dataclasses.field(default_factory=dict)
    empty: dict = dataclasses.field(default_factory=dict)

    def measure(self, row):
        kinds = [kind for kind in brokers.durable_kinds(self.run.options.binary)
                 if kind.name in row.brokers]
        for number in range(self.run.rounds):
            for kind in kinds if number % 2 == 0 else reversed(kinds):
                self.measure_one(row, kind, number)

    def measure_one(self, row, kind, number):
        with kind.start(self.run.options.broker_cpu) as broker:
            watch = Watch(broker) if kind.own else None
            if watch is not None:
                watch.start()
            try:
                figures = self.run.load(row, broker, kind.name, pinned=True)
            finally:
                if watch is not None:
                    watch.stop()
            if not figures:
                return
            if watch is not None:
                figures |= watch.between(figures["sent"], row.stored)
            self.keep(row, kind.name, figures)
            if row.floor and figures.get("store_syncs") and kind.name == brokers.DURABLE:
                self.measure_floor(row, broker, figures)
        self.run.say(f"  {row.name} {number + 1}/{self.run.rounds} {kind.name}: "
                     f"{figures.get(row.figure, 0):,.0f}/s")

    def measure_floor(self, row, broker, figures):
        """Appends batches as large, as many and on the same disk as the broker just did."""
        batch = {"bytes": round(figures["bytes_a_commit"]), "records": figures["records_a_commit"]}
        done = subprocess.run(
            ["taskset", "-c", str(self.run.options.broker_cpu), str(self.floor),
             str(broker.folder / "floor"), str(batch["bytes"]), str(figures["store_commits"])],
            stdout=subprocess.PIPE, text=True, check=True,
            preexec_fn=lambda: brokers.raise_priority(os.getpid()))
        floor = json.loads(done.stdout)
        floor |= {"store_per_s": floor["batches_per_s"] * batch["records"],
                  "store_broker_cpu_us": floor["cpu_us_each"] / batch["records"],
                  "records_a_commit": batch["records"], "bytes_a_commit": batch["bytes"]}
        self.keep(row, brokers.APPEND_FLOOR, floor)
        self.run.records.append({"row": row.name, "label": brokers.APPEND_FLOOR, **floor})

    def keep(self, row, name, figures):
        self.figures.setdefault(row.name, {}).setdefault(name, []).append(figures)

    def measure_empty(self):
        for kind in brokers.durable_kinds(self.run.options.binary):
            if kind.own:
                self.empty[kind.name] = empty_store(kind)

    def median(self, row, name, figure):
        return median([f[figure] for f in self.figures.get(row.name, {}).get(name, [])
                       if figure in f])


# ---- the report --------------------------------------------------------------------------------

TEXT = """\
Skein flushes before it acknowledges (`durability: fsync`, its default); `memory` is Skein without a
store; mosquitto has `persistence true`, which writes its file now and then and acknowledges at once.
Records, commits and their sizes are the store's own counters (`skein ctl metrics`). A commit's time
is from its first record until the answer is back with the worker. Bytes written are those that the
kernel counts for the process (`write_bytes` of /proc/PID/io, in pages of 4 KiB): log, tables and
their merging.
"""

ONLINE = """\
### Persistent subscribers that are online: {what}

64 bytes. A message that its subscriber has acknowledged before the store took it is
safe and is never written: records a message says how many were.
"""

OFFLINE = """\
### Sessions that are away: {what}

Storing them; the last two columns are reading them back, with a deletion for each. The floor appends
as many batches of as many bytes, with `fdatasync()` behind each and nothing else, in the same folder.
"""

SMALL = """\
### The small profile

An empty store, and bytes written a message: stored in large commits, read back and deleted, and each
in a commit of its own (one publisher, one message under way).
"""


def cell(value, form="{:,.0f}"):
    return "-" if value is None else form.format(value)


def pair(one, two):
    """Two figures; none when there was nothing to measure."""
    return f"{one:,.0f} / {two:,.0f}" if one and two else "-"


def table(head, lines):
    return "\n".join(["| " + " | ".join(head) + " |",
                      "| --- |" + " ---: |" * (len(head) - 1),
                      *("| " + " | ".join(line) + " |" for line in lines)])


def target(what, value, limit, at_least=True, form="{:,.2f}"):
    if value is None or limit is None:
        return f"- {what}: not measured"
    met = value >= limit if at_least else value <= limit
    sign = "at least" if at_least else "at most"
    return (f"- {what}: {form.format(value)} ({sign} {form.format(limit)}; "
            f"{'met' if met else '**not met**'})")


def ratio(one, two):
    return None if not one or not two else one / two


def payload_ratio(durable, row, name, figure):
    written = durable.median(row, name, figure)
    return None if written is None else written / row.payload


def online_section(durable, row):
    get = lambda name, figure: durable.median(row, name, figure)  # noqa: E731
    lines = [[name, cell(get(name, "delivered_per_s")), cell(get(name, "broker_cpu_us_each"),
              "{:.2f}"), cell(get(name, "records_each"), "{:.2f}"),
              cell(get(name, "records_a_commit")),
              pair(get(name, "commit_p50_us"), get(name, "commit_p99_us")),
              cell(payload_ratio(durable, row, name, "broker_written_bytes_each"), "{:.2f}")]
             for name in row.brokers]
    rate = get(brokers.DURABLE, "delivered_per_s")
    return "\n".join([
        ONLINE.format(what=row.what),
        table(["broker", "delivered/s", "CPU us a message", "records a message",
               "records a commit", "commit p50 / p99, us", "bytes written a payload byte"], lines),
        "",
        target("rate beside `memory`", ratio(rate, get(brokers.MEMORY, "delivered_per_s")), 0.5),
        target("rate beside mosquitto", ratio(rate, get(brokers.PERSISTENT_MOSQUITTO,
                                                        "delivered_per_s")), 1)])


def offline_section(durable, row):
    get = lambda name, figure: durable.median(row, name, figure)  # noqa: E731
    names = [*row.brokers, brokers.APPEND_FLOOR]
    lines = [[name, cell(get(name, "store_per_s")), cell(get(name, "store_broker_cpu_us"),
              "{:.2f}"), cell(get(name, "store_threads_us_each"), "{:.2f}"),
              cell(get(name, "records_each"), "{:.2f}"), cell(get(name, "records_a_commit")),
              pair(get(name, "commit_p50_us") or get(name, "batch_p50_us"),
                   get(name, "commit_p99_us") or get(name, "batch_p99_us")),
              cell(payload_ratio(durable, row, name, "store_written_bytes_each"), "{:.2f}"),
              cell(get(name, "read_per_s")), cell(get(name, "read_broker_cpu_us"), "{:.2f}")]
             for name in names]
    rate, synced = get(brokers.DURABLE, "store_per_s"), get(brokers.DURABLE, "commits_synced")
    return "\n".join([
        OFFLINE.format(what=row.what),
        table(["broker", "stored/s", "CPU us a message", "of that the store's threads",
               "records a message", "records a commit", "commit p50 / p99, us",
               "bytes written a payload byte", "read/s", "CPU us a message read"], lines),
        "",
        f"{cell(synced, '{:.1%}')} of the commits were flushed before they were answered.",
        "",
        target(f"rate beside {rows.BEST_PEER}", ratio(rate, rows.BEST_PEER_PER_S), 3),
        target("rate beside the floor", ratio(rate, get(brokers.APPEND_FLOOR, "store_per_s")),
               0.25),
        target("CPU us a message, network included",
               get(brokers.DURABLE, "store_broker_cpu_us"), 4, at_least=False)])


def small_section(durable, offline, single):
    def mb(name, figure):
        return cell(durable.empty.get(name, {}).get(figure, 0) / 1e6, "{:.1f}")
    lines = [[name, mb(name, "rss_bytes"), mb(name, "anonymous_bytes"),
              cell(durable.median(offline, name, "store_written_bytes_each")),
              cell(durable.median(offline, name, "read_written_bytes_each")),
              cell(durable.median(single, name, "store_written_bytes_each")),
              pair(durable.median(single, name, "commit_p50_us"),
                   durable.median(single, name, "commit_p99_us"))] for name in single.brokers]
    rss = durable.empty.get(brokers.SMALL, {}).get("rss_bytes")
    return "\n".join([
        SMALL,
        table(["store", "RSS, MB", "of that anonymous, MB", "bytes stored in large commits",
               "read and deleted", "each in its own commit", "its commit p50 / p99, us"], lines),
        "",
        target("RSS of the small profile, MB", rss and rss / 1e6, 30, at_least=False,
               form="{:,.1f}")])


def section(durable):
    measured = durable.figures
    parts = ["## Durable\n", TEXT]
    for row in rows.DURABLE_ONLINE:
        if row.name in measured:
            parts += [online_section(durable, row), ""]
    if rows.DURABLE_OFFLINE.name in measured:
        parts += [offline_section(durable, rows.DURABLE_OFFLINE), ""]
    if rows.DURABLE_SINGLE.name in measured and rows.DURABLE_OFFLINE.name in measured:
        parts += [small_section(durable, rows.DURABLE_OFFLINE, rows.DURABLE_SINGLE)]
    return "\n".join(parts).rstrip("\n")
