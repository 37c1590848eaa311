#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What belonging to a cluster costs clients that never cross nodes: instructions for each message between
clean sessions on one node, of a broker by itself and of one of three nodes.

    ./dev bench local [--rounds N]

Counted by callgrind, at the same pace in both. What the broker does as long when nobody sends anything, as
heartbeats to other nodes, is counted before, told by itself, and taken off.
"""

import argparse
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

import clusters

ROOT = pathlib.Path(__file__).resolve().parent.parent
AT_MOST = 1.05
RATE, SECONDS = 4000, 6


def counted(folder):
    return ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/callgrind.out"]


class Alone(clusters.Cluster):
    """One broker without a cluster, counted."""

    name = title = "alone"

    def start(self):
        self.run(0, [*counted(self.folder), self.options.binary, "serve", "-p", str(self.ports[0]),
                     "-d", self.folder / "data"])
        self.wait("listening", lambda: clusters.brokers.listens(self.ports[0]))


class OneOfThree(clusters.Skein):
    """The first of three nodes, counted."""

    name = title = "one of three"

    def run(self, number, words, environment=None):
        super().run(number, counted(self.folder) + words if number == 0 else words, environment)


def control(pid, *words):
    subprocess.run(["callgrind_control", *words, str(pid)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def counting(cluster, number, work):
    """What `work` returned, and the instructions of the first broker meanwhile."""
    pid = cluster.processes[0].pid
    control(pid, "-i", "on")
    result = work()
    control(pid, "-i", "off")
    control(pid, "-d")
    path = cluster.folder / f"callgrind.out.{number}"
    return result, int(re.search(r"^totals: (\d+)", path.read_text(), re.M).group(1))


def measure(kind, qos, options):
    """(instructions a message, instructions a second without any)"""
    with kind(options) as cluster:
        words = [options.binary, "bench", "pairs", "-p", str(cluster.ports[0]), "-q", str(qos),
                 "--publishers", "20", "--rate", str(RATE), "--warmup", "0", "-d", str(SECONDS)]

        def load():
            began = time.monotonic()
            done = subprocess.run([*words, "--json"], check=False, stdout=subprocess.PIPE, text=True)
            return int(re.search(r'"received":(\d+)', done.stdout).group(1)), time.monotonic() - began

        load()
        _, idle = counting(cluster, 1, lambda: time.sleep(SECONDS))
        (received, took), busy = counting(cluster, 2, load)
        return (busy - idle * took / SECONDS) / received, idle / SECONDS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/release/skein")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed; ./dev deps peers installs it")
    worst = 0.0
    for qos in (0, 1):
        figures = {kind: [] for kind in (Alone, OneOfThree)}
        for _ in range(options.rounds):
            for kind, found in figures.items():
                found.append(measure(kind, qos, options))
        alone, three = (statistics.median(each for each, _ in found) for found in figures.values())
        idle = [statistics.median(each for _, each in found) for found in figures.values()]
        worst = max(worst, three / alone)
        print(f"QoS {qos}: alone {alone:,.0f}, one of three {three:,.0f} instructions a message: "
              f"{three / alone:.3f}; without any {idle[0]:,.0f} and {idle[1]:,.0f} a second", flush=True)
    return 0 if worst <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main())
