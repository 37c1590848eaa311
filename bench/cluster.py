#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Three nodes of Skein beside three of RabbitMQ and of nats-server, both speaking MQTT themselves:
publishers on one node, subscribers on another. Writes bench/cluster.md and bench/cluster.json.

    ./dev bench cluster [--rounds N] [--seconds N] [--only ROW]

All nodes and the generator share the machine's CPUs. Clusters run one after the other within each
round, each started afresh; what counts is the CPU time of all processes of a cluster, engines
included, per delivered message, and the rate.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import clusters
import report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
RUN_TIMEOUT_S = 180
WARMUP_S = 2


class Row:
    def __init__(self, name, text, *arguments, rate=False, local=False):
        self.name, self.text, self.arguments = name, text, list(arguments)
        self.rate = rate    # an open loop: what counts is latency
        self.local = local  # subscribers on the publishers' node


ROWS = [
    Row("q0", "QoS 0", "-q", "0"),
    Row("q1-clean", "QoS 1, clean sessions", "-q", "1"),
    Row("q1-durable", "QoS 1, durable sessions", "-q", "1", "--persistent"),
    Row("latency", "5,000 msg/s at QoS 0, crossing nodes", "-q", "0", "--rate", "5000", rate=True),
    Row("latency-local", "5,000 msg/s at QoS 0, on one node", "-q", "0", "--rate", "5000", rate=True,
        local=True),
    Row("latency-q1", "5,000 msg/s at QoS 1, crossing nodes", "-q", "1", "--rate", "5000", rate=True),
]


def load(row, cluster, options):
    """One run of the generator: its figures, or why there are none."""
    words = [str(options.binary), "bench", "pairs", *row.arguments, "--json", "-p", str(cluster.ports[0]),
             "-d", str(options.seconds), "--warmup", str(WARMUP_S), "--prefix", row.name]
    if not row.local:
        words += ["--subscribers-at", f"127.0.0.1:{cluster.ports[1]}"]
    for pid in cluster.pids():
        words += ["--pid", str(pid)]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=RUN_TIMEOUT_S, check=False)
        return json.loads(done.stdout), ""
    except subprocess.TimeoutExpired:
        return None, f"not done after {RUN_TIMEOUT_S} s"
    except ValueError:
        return None, done.stderr.strip()[-200:] or f"exit code {done.returncode}"


def trouble(figures):
    return ", ".join(f"{key} {figures[key]}" for key in ("lost", "duplicated", "reordered", "refused",
                                                         "strange", "disconnected") if figures.get(key))


class Measured:
    def __init__(self, options):
        self.options, self.values, self.problems = options, {}, []

    def add(self, kind, row, figures, why):
        text = why or trouble(figures)
        if text:
            self.problems.append(f"{row.name}, {kind.name}: {text}")
        if figures is not None:
            self.values.setdefault((row.name, kind.name), []).append(figures)
        say(f"  {row.name} {kind.name}: " + (why or " ".join(
            f"{key} {figures.get(key, 0):.4g}" for key in ("delivered_per_s", "broker_cpu_us_each",
                                                           "latency_p50_us", "latency_p99_us"))
            + (" " + text if text else "")))

    def round(self, kinds, rows):
        for kind in kinds:
            with kind(self.options) as cluster:
                for row in rows:
                    self.add(kind, row, *load(row, cluster, self.options))

    def median(self, row, kind, key):
        runs = self.values.get((row.name, kind.name), [])
        return statistics.median(run.get(key, 0) for run in runs) if runs else None


def cell(value, form):
    return "-" if value is None else format(value, form)


def throughput(measured, kinds, rows):
    lines = ["| 50 publishers with a subscriber each | " + " | ".join(
        f"{kind.title}: msg/s | us" for kind in kinds) + " | Skein's rate: times the best other |",
        "| --- " + "| ---: " * (2 * len(kinds) + 1) + "|"]
    for row in rows:
        rates = [measured.median(row, kind, "delivered_per_s") for kind in kinds]
        costs = [measured.median(row, kind, "broker_cpu_us_each") for kind in kinds]
        others = [rate for rate in rates[1:] if rate]
        times = rates[0] / max(others) if rates[0] and others else None
        cells = [f"{cell(rate, ',.0f')} | {cell(cost, '.2f')}" for rate, cost in zip(rates, costs)]
        lines.append(f"| {row.text} | " + " | ".join(cells) + f" | {cell(times, '.1f')} |")
    return lines


def latencies(measured, kinds, rows):
    lines = ["| open loop | " + " | ".join(f"{kind.title}: p50 | p99, us" for kind in kinds) + " |",
             "| --- " + "| ---: " * (2 * len(kinds)) + "|"]
    for row in rows:
        cells = [f"{cell(measured.median(row, kind, 'latency_p50_us'), ',.0f')} | "
                 f"{cell(measured.median(row, kind, 'latency_p99_us'), ',.0f')}" for kind in kinds]
        lines.append(f"| {row.text} | " + " | ".join(cells) + " |")
    return lines


def write(measured, kinds, rows):
    options = measured.options
    lines = ["# Three nodes", "", f"{report.machine()}; {options.rounds} rounds, medians. "
             "Made by `./dev bench cluster`.", "",
             "- us: CPU microseconds of all processes of the cluster, engines included, per delivered message.",
             "- 64 bytes of payload, a window of 20 for each publisher, MQTT 3.1.1; publishers on the first "
             "node, subscribers on the second; every message is checked by its number.", ""]
    lines += [f"- {kind.title}: {kind.told()}" for kind in kinds] + [""]
    lines += throughput(measured, kinds, [row for row in rows if not row.rate]) + [""]
    lines += latencies(measured, kinds, [row for row in rows if row.rate]) + [""]
    if measured.problems:
        lines += ["Not as it should be:", ""] + [f"- {problem}" for problem in measured.problems] + [""]
    (HERE / "cluster.md").write_text("\n".join(lines))
    (HERE / "cluster.json").write_text(json.dumps(
        [{"row": row, "cluster": kind, "runs": runs} for (row, kind), runs in measured.values.items()],
        indent=1) + "\n")
    print("\n".join(lines))


def say(text):
    print(text, file=sys.stderr, flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--only", action="append", default=[], metavar="ROW", help="just these rows")
    parser.add_argument("--cluster", action="append", default=[], metavar="NAME", help="just these")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/release/skein")
    return parser.parse_args()


def main():
    options = parse()
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    kinds = [kind for kind in clusters.KINDS if not options.cluster or kind.name in options.cluster]
    measured = Measured(options)
    for number in range(options.rounds):
        say(f"round {number + 1}")
        measured.round(kinds if number % 2 == 0 else kinds[::-1], rows)
    write(measured, kinds, rows)
    return 1 if measured.problems else 0


if __name__ == "__main__":
    sys.exit(main())
