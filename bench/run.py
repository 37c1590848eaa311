#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Skein beside Debian's mosquitto and writes bench/results.md and bench/results.json.

The broker is pinned to one CPU with one worker, the generator spins on another; brokers take turns
within each round. `./dev bench` builds what is needed and calls this.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import brokers
import durable
import report
import rows

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
RUN_TIMEOUT_S = 180


class Run:
    """Everything measured so far."""

    def __init__(self, options, kinds):
        self.options, self.kinds = options, kinds
        self.rounds = 1 if options.quick else options.rounds
        self.measured, self.workers, self.records, self.problems = [], [], [], []
        self.idle_rss = self.durable = None
        self.workers_at_most, self.idle_rss_at_most = rows.WORKERS_AT_MOST, rows.IDLE_RSS_AT_MOST

    def load(self, row, broker, label, pinned):
        """One run of the generator; gives its figures."""
        words = [str(self.options.generator), "bench", *row.arguments, "-p", str(broker.port),
                 "--pid", str(broker.pid), "--json", "--label", label]
        if pinned:
            words += ["--cpu", str(self.options.generator_cpu)]
            if row.spin:
                words += ["--spin"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   preexec_fn=os.setsid)
        brokers.raise_priority(process.pid)
        try:
            out, err = process.communicate(timeout=RUN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        try:
            figures = json.loads(out)
        except ValueError:
            self.problems.append(f"{row.name}, {label}: no figures, {err.strip()[-200:]}")
            return {}
        if not figures["well"]:
            self.problems.append(f"{row.name}, {label}: " + ", ".join(
                f"{key} {figures[key]}" for key in ("lost", "duplicated", "reordered", "refused",
                                                    "strange", "disconnected", "connect_failed")
                if figures.get(key)))
        self.records.append({"row": row.name, **figures})
        return figures

    def variant(self, kind, row):
        if row.memory and kind is self.kinds[0]:
            return brokers.skein(self.options.binary, kind.name, ["durability=memory"])
        return kind

    def measure(self, group):
        """Rows that read figures of one run, in interleaved rounds."""
        values = [(row, {}) for row in group]
        first = group[0]
        count = first.rounds if first.rounds and not self.options.only else self.rounds
        for number in range(count):
            kinds = [kind for kind in self.kinds if kind.can(first)]
            if number % 2:
                kinds.reverse()
            for kind in kinds:
                with self.variant(kind, first).start(self.options.broker_cpu) as broker:
                    figures = self.load(first, broker, kind.name, pinned=True)
                for row, by_name in values:
                    if row.figure in figures:
                        by_name.setdefault(kind.name, []).append(figures[row.figure])
                shown = ", ".join(f"{row.figure} {figures.get(row.figure, 0):.4g}" for row in group)
                say(f"  {first.name} {number + 1}/{count} {kind.name}: {shown}")
        self.measured += values

    def measure_workers(self, row):
        own = self.kinds[0]
        costs = {1: [], 2: []}
        for number in range(self.rounds):
            for workers in (1, 2) if number % 2 == 0 else (2, 1):
                with own.start(None, workers) as broker:
                    figures = self.load(row, broker, f"skein, workers={workers}", pinned=False)
                if row.figure in figures:
                    costs[workers].append(figures[row.figure])
                say(f"  {row.name} {number + 1}/{self.rounds} workers={workers}: "
                    f"{figures.get(row.figure, 0):.4g}")
        if costs[1] and costs[2]:
            self.workers.append((row, costs[1], costs[2]))

    def measure_durable(self, wanted):
        self.durable = durable.Durable(self, built(self.options, "skein_append_floor"))
        for row in wanted:
            self.durable.measure(row)
        if rows.DURABLE_SINGLE in wanted:
            self.durable.measure_empty()

    def measure_idle(self):
        with self.kinds[0].start(None, 1) as broker:
            time.sleep(1)
            self.idle_rss = broker.rss_bytes()


    @staticmethod
    def say(text):
        say(text)

    def durable_section(self):
        return durable.section(self.durable) if self.durable is not None else ""


def say(text):
    print(text, file=sys.stderr, flush=True)


def grouped(wanted):
    """Rows of one run together, in order."""
    groups = {}
    for row in wanted:
        groups.setdefault(row.run or row.name, []).append(row)
    return groups.values()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of a few rows; writes no files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--floor", action="store_true", help="also a bare TCP forwarder")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND",
                        help="also this broker; {port} and {dir} are filled in")
    parser.add_argument("--only", action="append", default=[], metavar="ROW", help="just these rows")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/release/skein",
                        help="the broker; the generator is --generator or the same")
    parser.add_argument("--generator", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=HERE)
    parser.add_argument("--broker-cpu", type=int, default=0)
    parser.add_argument("--generator-cpu", type=int, default=1)
    options = parser.parse_args()
    options.generator = options.generator or options.binary
    if not options.binary.exists():
        parser.error(f"{options.binary} is not there; ./dev build makes it")
    if os.cpu_count() < 2:
        parser.error("one CPU for the broker and one for the generator are needed")
    return options


def built(options, program):
    """The path of a program of this folder, built."""
    build = options.binary.parent
    subprocess.run(["cmake", "--build", build, "--target", program], check=True,
                   stdout=subprocess.DEVNULL)
    return build / program


def main():
    options = parse()
    kinds = [brokers.skein(options.binary), brokers.mosquitto()]
    if options.floor:
        kinds.append(brokers.floor(built(options, "skein_floor")))
    kinds += [brokers.peer(text) for text in options.peer]
    run = Run(options, kinds)

    every = [*rows.STREAMS, *rows.LATENCY, *rows.MEMORY]
    wanted = [row for row in every if row.quick or not options.quick]
    workers = [] if options.quick else rows.WORKERS
    durable_rows = [row for row in rows.DURABLE if row.quick or not options.quick]
    if options.only:
        wanted = [row for row in every if row.name in options.only]
        workers = [row for row in rows.WORKERS if row.name in options.only]
        durable_rows = [row for row in rows.DURABLE if row.name in options.only]
        if not wanted and not workers and not durable_rows:
            raise SystemExit("rows: " + " ".join(
                row.name for row in [*every, *rows.WORKERS, *rows.DURABLE]))
    for group in grouped(wanted):
        run.measure(group)
    for row in workers:
        run.measure_workers(row)
    if durable_rows:
        run.measure_durable(durable_rows)
    if not options.only:
        run.measure_idle()

    print(report.markdown(run))
    if not options.quick and not options.only:
        report.write(run, options.output)
    return 1 if run.problems else 0


if __name__ == "__main__":
    sys.exit(main())
