#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks checks one at a time and lists those that no test notices.

    ./dev mutate [--file src/codec/wire.c ...] [--survivors] [--limit N] [--suite protocol ...]

All mutants are compiled into one program (mutate/mutants.py). One unbroken run of all tests records
which mutants would have changed a value on the way; then each mutant is tried against the tests in
which it makes a difference, the unit tests first, until one fails (mutate/trials.py).

Mutants: a check dropped, each operand of its && and || dropped, each bound moved by one, each reason
code replaced. Assertions, preprocessor lines and constant tables are left alone. Those that are known
to change nothing that could be seen are in mutate/equal.txt, each with its reason.

The report is build/mutate/report.md, the last line of the output the figures.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools/mutate"))

from mutants import WORK, compile_mutants, copy_tree  # noqa: E402
from trials import Slot, record_suites, record_units, try_mutant  # noqa: E402

EQUAL = ROOT / "tools/mutate/equal.txt"
LAST = WORK / "last.json"  # what came of each mutant the last time


def key_of(mutant):
    """What names a mutant while lines move."""
    return f"{mutant.file} {mutant.function} {mutant.kind}"


# ---- mutants that are known to be equal ----------------------------------------------------------


def read_equal():
    """{key: reason}. In the file a key is a line, and its reason the indented lines below."""
    equal, key = {}, None
    for line in EQUAL.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not line.startswith(" "):
            key = line.strip()
            equal[key] = ""
        else:
            equal[key] = f"{equal[key]} {line.strip()}".strip()
    return equal


def stale(equal, mutants, rows):
    """Lines about entries that are wrong: no such mutant, noticed by a test, no reason."""
    known = {key_of(mutant) for mutant in mutants}
    files = {mutant.file for mutant in mutants}
    noticed = {key_of(mutant): by for mutant, verdict, by in rows if verdict == "noticed"}
    survived = {key_of(mutant) for mutant, verdict, _ in rows if verdict != "noticed"}
    wrong = []
    for key, reason in equal.items():
        if key.split()[0] not in files:
            continue
        if key not in known:
            wrong.append(f"there is no such mutant: {key}")
        elif key in noticed and key not in survived:
            wrong.append(f"not equal, {noticed[key]} notices: {key}")
        elif not reason:
            wrong.append(f"no reason given: {key}")
    return wrong


# ---- report --------------------------------------------------------------------------------------


def write_report(rows, equal, path):
    """Gives the line with the figures."""
    groups = collections.defaultdict(list)
    for mutant, verdict, by in rows:
        groups["equal" if verdict != "noticed" and key_of(mutant) in equal else verdict].append((mutant, by))
    survived = sum(len(group) for verdict, group in groups.items() if verdict != "noticed")
    summary = (f"{len(rows)} mutants, {len(groups['noticed'])} noticed, {survived} survived, "
               f"of which {len(groups['equal'])} known to be equal")
    lines = ["# Mutants", "", summary, ""]
    for verdict, title in (("survived", "Makes a difference, and no test notices"),
                           ("no difference", "Makes no difference in any test"),
                           ("equal", "Known to be equal"), ("noticed", "Noticed")):
        lines += [f"## {title}", ""]
        for mutant, by in groups[verdict]:
            lines.append(f"- {mutant.file}:{mutant.line} `{mutant.function}`: {mutant.kind}"
                         + (f" - {by}" if by else ""))
            if verdict not in ("noticed", "equal"):
                lines.append(f"  - in `{mutant.before}`")
        lines.append("")
    path.write_text("\n".join(lines))
    return summary


# ---- the run -------------------------------------------------------------------------------------


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", action="append", help="only this source file (repeatable)")
    parser.add_argument("--survivors", action="store_true", help="only those that survived the last time")
    parser.add_argument("--limit", type=int, help="this many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of that draw (1)")
    parser.add_argument("--suite", action="append", help="folders of tests/ to use (protocol, hostile, store)")
    parser.add_argument("--no-suites", action="store_true", help="unit tests only")
    parser.add_argument("--tests", type=int, default=400,
                        help="most pytest tests for one mutant, those that reach few mutants first (400)")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), help="mutants at once")
    return parser.parse_args()


def source_files(options):
    if options.file:
        return [(ROOT / name).resolve() for name in options.file]
    found = [p for folder in ("codec", "conn") for p in (ROOT / "src" / folder).glob("*.[ch]")]
    return sorted(p for p in found if not re.search(r"_(test|bench|fixture)$", p.stem))


def choose(options, mutants, last):
    chosen = list(mutants)
    if options.survivors:
        chosen = [mutant for mutant in chosen if last.get(key_of(mutant), [""])[0] != "noticed"]
    if options.limit:
        chosen = random.Random(options.seed).sample(chosen, min(options.limit, len(chosen)))
        chosen.sort()
    return chosen


def try_all(options, chosen, units, tests, suites, last):
    """[(mutant, verdict, what noticed it)] in the order of `chosen`."""
    slots = [Slot(number, suites) for number in range(min(options.jobs, len(chosen)))]
    free = collections.deque(slots)
    rows = []

    def work(mutant):
        slot = free.popleft()
        try:
            return mutant, *try_mutant(slot, mutant, units, tests, options.tests,
                                       last.get(key_of(mutant), ["", ""])[1])
        finally:
            free.append(slot)

    with concurrent.futures.ThreadPoolExecutor(len(slots) or 1) as pool:
        for mutant, verdict, by in pool.map(work, chosen):
            rows.append((mutant, verdict, by))
            if verdict != "noticed":
                print(f"{mutant.file}:{mutant.line}: {mutant.function}: {mutant.kind}: {verdict}", flush=True)
            if len(rows) % 50 == 0:
                print(f"... {len(rows)} of {len(chosen)}", flush=True)
    for slot in slots:
        slot.stop_pytest()
    return rows


def main():
    options = arguments()
    suites = [] if options.no_suites else options.suite or ["protocol", "hostile", "store"]
    started = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    last = json.loads(LAST.read_text()) if LAST.exists() else {}
    copy_tree()
    mutants = compile_mutants(source_files(options))
    chosen = choose(options, mutants, last)
    print(f"{len(mutants)} mutants built, {len(chosen)} to try; recording which makes a difference where",
          flush=True)
    units = record_units(Slot("record", suites))
    tests = record_suites(suites, options.jobs) if suites else []
    print(f"{len(units)} unit test programs, {len(tests)} tests; {time.monotonic() - started:.0f} s",
          flush=True)

    rows = try_all(options, chosen, units, tests, suites, last)
    LAST.write_text(json.dumps(last | {key_of(m): [verdict, by] for m, verdict, by in rows}, indent=0))
    equal = read_equal()
    wrong = stale(equal, mutants, rows)
    for line in wrong:
        print(f"{EQUAL.relative_to(ROOT)}: {line}")
    print(f"{time.monotonic() - started:.0f} s; every one is in build/mutate/report.md")
    print(write_report(rows, equal, WORK / "report.md"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
