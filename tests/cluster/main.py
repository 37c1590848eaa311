#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plays a cluster RUNS times with faults drawn from a seed, and holds it to C1 to C11.

    tests/cluster/main.py RUNS [--seed N] [--seconds N] [--nodes N] [--only KIND ...] [--calm]
    tests/cluster/main.py broken [NAME ...] whether broken builds are caught, and whole ones are not
    tests/cluster/main.py show FOLDER       what was wrong in a run that was kept

It ends with one line and with 1 on a violation. SKEIN_BINARY names the program; SKEIN_TEST_BREAK is passed
on to it. A run with violations is kept: history.jsonl, violations.txt, schedule.txt, and each node's
configuration, log and data. `nemesis.py SEED` prints what a seed does.
"""

import argparse
import collections
import pathlib
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from cluster import checker  # noqa: E402
from cluster.history import History  # noqa: E402
from cluster.lab import Lab  # noqa: E402
from cluster.nemesis import KINDS, Nemesis, possible, schedule  # noqa: E402
from cluster.node import Cluster  # noqa: E402
from cluster.workload import play, summary, verdict  # noqa: E402

SHOWN = 3       # violations of each rule
DISK_MB = 200


class Result:
    def __init__(self, seed, folder, history, steps):
        self.seed, self.folder, self.history, self.steps = seed, folder, history, steps
        self.violations = verdict(history.events)
        self.rules = collections.Counter(violation.rule for violation in self.violations)

    def few(self):
        """The first ones of each rule."""
        seen = collections.Counter()
        for violation in self.violations:
            seen[violation.rule] += 1
            if seen[violation.rule] <= SHOWN:
                yield violation

    def line(self):
        rules = ", ".join(f"{rule} {count}" for rule, count in sorted(self.rules.items()))
        return f"seed {self.seed}: {summary(self.history.events)}, {rules or '0 violations'}"

    def write(self):
        (self.folder / "schedule.txt").write_text("".join(f"{step}\n" for step in self.steps))
        with open(self.folder / "violations.txt", "w", encoding="utf-8") as out:
            out.write(self.line() + "\n\n")
            for violation in self.few():
                lines = checker.explain(self.history.events, violation)
                out.write(f"{violation}\n" + "".join(f"    {line}\n" for line in lines) + "\n")

    def forget(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def disks(seed, name):
    """What kind of disk the nodes of that seed have: one that can be full, or one that forgets what was not synced
    when its power is cut."""
    draw = random.Random(f"{seed}/{name}/disk")
    if random.Random(f"{seed}/disks").random() < 0.5:
        return {"disk_mb": DISK_MB}
    return {"forgets": draw}


def one_run(seed, seconds, nodes=3, only=None, calm=False, keep=False, config=None, environment=None, rejoin_s=10.0,
            **options):
    """A new cluster, the workload, the faults of that seed for `seconds`, a peaceful end, and the verdict. Its
    folder is kept when there is a violation. `options`: of Workload."""
    names = [f"n{number}" for number in range(1, nodes + 1)]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-cluster-"))
    history = History(folder / "history.jsonl")
    with Lab([*names, f"n{nodes + 1}"]) as lab:
        cluster = Cluster(lab, folder, config=config, environment=environment)
        try:
            for name in names:
                cluster.add(name, **({} if calm else disks(seed, name)))
            nemesis = Nemesis(cluster, history, seed)
            steps = [] if calm else schedule(seed, names, seconds, only)
            nemesis.prepare(steps)
            cluster.start().init()
            kinds = possible(cluster)
            steps = [step for step in steps if step.kind in kinds]
            play(seed, history, cluster.addresses, seconds, nemesis.run(steps) if steps else None, rejoin_s,
                 make_socket=lab[lab.CLIENTS].socket, **options)
            for name, complaint in cluster.complaints().items():
                history.add("trouble", what=f"in the log of {name}: {complaint}")
            for node in cluster:
                node.keep_engine_log()
        finally:
            cluster.close()
    result = Result(seed, folder, history, steps)
    result.write()
    if not keep and not result.violations:
        result.forget()
    return result


def show(folder):
    history = History.load(pathlib.Path(folder) / "history.jsonl")
    result = Result("?", pathlib.Path(folder), history, [])
    for violation in result.violations:
        print(violation, *checker.explain(history.events, violation), sep="\n    ")
    print(result.line())
    return 1 if result.violations else 0


def catch(names):
    """Each break until it is caught, and the same runs with nothing broken."""
    from cluster import broken  # which needs this module
    wrong = 0
    for name in names or broken.ALL:
        rules, caught = " ".join(sorted(broken.ALL[name].rules)), False
        for run in broken.runs(name):
            print(f"{name}: {run.line}", flush=True)
            if caught := run.caught:
                break
        whole, = broken.runs(name, [run.seed], whole=True)
        print(f"{name}, nothing broken: {whole.line}", flush=True)
        wrong += not caught or bool(whole.caught)
        print(f"== {name}: {'caught by ' + ' '.join(caught) if caught else 'NOT CAUGHT by one of ' + rules}"
              + (f", but SO IS A WHOLE BUILD: {whole.folder}" if whole.caught else ""), flush=True)
    print(f"{wrong} of {len(names or broken.ALL)} are not told from a whole build")
    return 1 if wrong else 0


def main():
    if sys.argv[1:2] == ["show"]:
        return show(sys.argv[2])
    if sys.argv[1:2] == ["broken"]:
        return catch(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=int)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    parser.add_argument("--seconds", type=float, default=40, help="of faults, in each run")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--rate", type=float, default=30, help="messages a second of each publisher")
    parser.add_argument("--only", nargs="+", choices=sorted(KINDS), metavar="KIND", help="of faults")
    parser.add_argument("--calm", action="store_true", help="no faults")
    parser.add_argument("--keep", action="store_true", help="keep every run")
    options = parser.parse_args()
    rules, began = collections.Counter(), time.monotonic()
    for number in range(options.runs):
        seed = options.seed if options.runs == 1 else f"{options.seed}.{number}"
        result = one_run(seed, options.seconds, options.nodes, options.only, options.calm, options.keep,
                         rate=options.rate)
        rules.update(result.rules)
        print(result.line(), flush=True)
        for violation in result.few():
            print(f"   {violation}")
        if result.violations or options.keep:
            print(f"   kept: {result.folder}; again: 1 --seed {seed} --seconds {options.seconds:g}", flush=True)
    print(f"{options.runs} runs in {time.monotonic() - began:.0f} s, {sum(rules.values())} violations"
          + "".join(f", {rule} {count}" for rule, count in sorted(rules.items())))
    return 1 if rules else 0


if __name__ == "__main__":
    sys.exit(main())
