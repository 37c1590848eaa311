#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Kills the broker KILLS times in each way there is, and holds it to what it had acknowledged.

    ./dev soak crash KILLS [--seed N] [--sort SORT] [--jobs N] [--keep]
    tests/crash/main.py show FOLDER       what was wrong in a history that was kept

Sorts: kill (SIGKILL at any time), term (SIGTERM), power (SIGKILL, then everything is gone that was not
synced), and each fault point of src/base/fault.h. It ends with one line and with 1 on a violation.
SKEIN_BINARY names the program; SKEIN_TEST_BREAK is passed on to it.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import random
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from crash import checker, world  # noqa: E402
from crash.broker import Mosquitto, Skein, fault_points  # noqa: E402
from crash.disk import Disk  # noqa: E402
from crash.history import History  # noqa: E402

KILLS_PER_HISTORY = 25
BROKERS = {"skein": Skein, "mosquitto": Mosquitto}


def sorts():
    return ["kill", "term", "power", *fault_points()]


def one_history(seed, sort, kills, broker="skein", **more):
    """The Result of one history in which every kill is of that sort; `more`: see world.play()."""
    options = {"points": fault_points(), "make": BROKERS[broker], **more}
    if sort != "power":
        return world.play(seed, [sort] * kills, **options)
    with Disk(delay_us=random.Random(seed).choice([0, 0, 3000])) as disk:
        return world.play(seed, [sort] * kills, disk=disk, **options)


class Tally:
    def __init__(self, kills):
        self.wanted, self.struck = kills, collections.Counter()
        self.messages = self.deliveries = self.wills = self.inspections = self.violations = 0
        self.not_reached = collections.Counter()

    def add(self, sort, result):
        self.struck.update(result.done)
        self.not_reached[sort] += result.not_reached
        self.messages += result.messages
        self.deliveries += result.deliveries
        self.wills += result.wills
        self.inspections += result.inspections
        self.violations += len(result.violations)

    def line(self):
        kills = ", ".join(f"{sort} {count}" for sort, count in self.struck.items())
        return (f"{sum(self.struck.values())} kills ({kills}), {self.messages} messages, {self.deliveries} "
                f"deliveries, {self.wills} wills, {self.inspections} looks at what is retained, "
                f"{self.violations} violations")


def report(sort, result):
    shown = list(world.few_of_each(result.violations, 3))
    for violation in shown:
        print(f"   {violation}")
    if len(result.violations) > len(shown):
        print(f"   and {len(result.violations) - len(shown)} more")
    if result.violations:
        print(f"   kept: {result.folder}; again: --sort {sort} --history {result.seed}", flush=True)


def soak_sort(pool, sort, options, tally):
    """Histories until that sort has struck as often as wanted; False when it cannot be reached."""
    wanted, number, running = options.kills, 0, {}
    while True:
        done = tally.struck[sort]
        planned = done + sum(kills for _, kills in running.values())
        while planned < wanted and len(running) < options.jobs:
            kills = min(KILLS_PER_HISTORY, wanted - planned)
            seed = options.history or f"{options.seed}.{sort}.{number}"
            number, planned = number + 1, planned + kills
            future = pool.submit(one_history, seed, sort, kills, options.broker, keep=options.keep)
            running[future] = (seed, kills)
        if not running:
            return True
        ready, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in ready:
            del running[future]
            tally.add(sort, future.result())
            report(sort, future.result())
        if tally.struck[sort] == 0 and tally.not_reached[sort] > 0:
            return False


def soak(options):
    tally, failed = Tally(options.kills), False
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        for sort in options.sort or sorts():
            began, before = time.monotonic(), tally.violations
            reached = soak_sort(pool, sort, options, tally)
            print(f"{sort}: {tally.struck[sort]} kills, {tally.violations - before} violations in "
                  f"{time.monotonic() - began:.0f} s", flush=True)
            if not reached:
                print(f"   FAILED: {sort} is never reached")
                failed = True
    print(f"seed {options.seed}: {tally.line()}")
    return 1 if failed or tally.violations else 0


def show(folder):
    history = History.load(pathlib.Path(folder) / "history.jsonl")
    violations = checker.check(history.events)
    for violation in violations:
        print(violation, *checker.explain(history.events, violation), sep="\n    ")
    print(f"{len(history.events)} events, {len(violations)} violations")
    return 1 if violations else 0


def main():
    if sys.argv[1:2] == ["show"]:
        return show(sys.argv[2])
    parser = argparse.ArgumentParser(prog="./dev soak crash", description=__doc__.splitlines()[0])
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--sort", action="append", choices=sorts() + ["calm"])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", action="store_true", help="keep every history")
    parser.add_argument("--history", help="the seed of a single history, as it was reported")
    parser.add_argument("--broker", choices=BROKERS, default="skein", help="a second opinion")
    options = parser.parse_args()
    version = subprocess.run([os.environ.get("SKEIN_BINARY") or "build/release/skein", "version"],
                             text=True, capture_output=True, check=False).stdout.splitlines()
    print(f"crash: seed {options.seed}, {options.jobs} at a time, {''.join(version[:1])}", flush=True)
    return soak(options)


if __name__ == "__main__":
    sys.exit(main())
