#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Which test holds the broker to which rule of the standards.

    tools/trace.py check          fail when a required row of tests/spec has no test
    tools/trace.py write FILE     the whole table, row by row
    tools/trace.py docs           the same into docs/conformance.md

Tests name rows in a marker: @pytest.mark.rule("v5 MQTT-3.1.2-24"), at most three a test. Required
are the rows of both standards that a server keeps, and every MUST or error row of those without a
number. A row that no behaviour of a broker can break is in tests/spec/untestable.csv with a reason;
there are fewer than ten of them.
"""

import collections
import contextlib
import csv
import io
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SPEC = ROOT / "tests/spec"
RULES_A_TEST = 3
UNTESTABLE_MAX = 9

Row = collections.namedtuple("Row", "section who summary required")
# `rules` of all its parameters together; `most`: how many its richest one names.
Test = collections.namedtuple("Test", "file name rules most")


def read(name):
    with open(SPEC / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows():
    """{"v5 MQTT-3.1.2-24": Row}, in the order of the standards."""
    found = {}
    for version, name in (("v3.1.1", "mqtt-3.1.1.csv"), ("v5", "mqtt-5.0.csv")):
        for row in read(name):
            who = row["applies_to"]
            found[f"{version} {row['id']}"] = Row(row["section"], who, row["summary"],
                                                  who in ("server", "both"))
    for row in read("unnumbered-rules.csv"):
        who = f"{row['applies_to']}, {row['kind']}"
        found[row["local_id"]] = Row(row["section"], who, row["summary"],
                                     row["kind"] in ("MUST", "error"))
    return found


class Collector:
    """A pytest plugin: takes note of the markers and runs nothing."""

    def __init__(self):
        self.tests = {}

    def pytest_collection_modifyitems(self, items):
        for item in items:
            rules = [rule for mark in item.iter_markers("rule") for rule in mark.args]
            file = item.path.relative_to(ROOT).as_posix()
            name = item.originalname or item.name
            if rules:
                known = self.tests.get((file, name), Test(file, name, [], 0))
                together = list(dict.fromkeys(known.rules + rules))
                most = max(known.most, len(rules))
                self.tests[file, name] = known._replace(rules=together, most=most)


def collect():
    collector = Collector()
    output = io.StringIO()
    sys.dont_write_bytecode = True
    with contextlib.redirect_stdout(output):
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", str(ROOT / "tests")],
                             plugins=[collector])
    if status != pytest.ExitCode.OK:
        print(output.getvalue()[-4000:])
        sys.exit(f"the tests could not be collected (pytest ended with {status})")
    return sorted(collector.tests.values())


def tests_of(tests):
    found = collections.defaultdict(list)
    for test in tests:
        for rule in test.rules:
            found[rule].append(test)
    return found


def check():
    spec, tests = rows(), collect()
    untestable = {row["id"]: row["reason"] for row in read("untestable.csv")}
    traced = tests_of(tests)
    required = [rule for rule, row in spec.items() if row.required]
    missing = [rule for rule in required if rule not in traced and rule not in untestable]
    faults = [f"{rule}: no test" for rule in missing]
    for test in tests:
        where = f"{test.file}::{test.name}"
        faults += [f"{where}: there is no rule {rule!r}" for rule in test.rules if rule not in spec]
        if test.most > RULES_A_TEST:
            faults.append(f"{where}: names {test.most} rules, at most {RULES_A_TEST} allowed")
    for rule, reason in untestable.items():
        if rule not in spec or not reason.strip():
            faults.append(f"untestable.csv: {rule}: unknown, or without a reason")
        if rule in traced:
            faults.append(f"untestable.csv: {rule}: {traced[rule][0].name} tests it")
    if len(untestable) > UNTESTABLE_MAX:
        faults.append(f"untestable.csv: {len(untestable)} rows, at most {UNTESTABLE_MAX} allowed")
    for fault in faults:
        print(fault)
    done = sum(rule in traced for rule in required)
    print(f"{len(required)} rows required, {done} traced, {len(untestable)} untestable, "
          f"{len(missing)} missing")
    return 1 if faults else 0


HEAD = """# Conformance

Every rule of MQTT 3.1.1 and 5.0, in our own words, and the tests that would notice it broken. The
rules are in [tests/spec](../tests/spec); this page is written by `tools/trace.py docs`.

Rules for a server, or for both sides, all have a test or a reason. Rules for a client have one
where a server has to react.
"""


def link(test):
    short = test.file.removeprefix("tests/")
    return f"[{short}](../{test.file}) `{test.name.removeprefix('test_')}`"


def table(title, rules, spec, traced, untestable):
    lines = [f"## {title}", "", "| rule | for | what it asks | test |", "| --- | --- | --- | --- |"]
    for rule in rules:
        tests = "<br>".join(link(test) for test in traced.get(rule, []))
        if rule in untestable:
            tests = f"none: {untestable[rule]}"
        summary = spec[rule].summary.replace("|", "\\|")
        number = rule.split()[-1].replace("MQTT-", "")
        lines.append(f"| {number} | {spec[rule].who} | {summary} | {tests} |")
    return "\n".join(lines) + "\n"


def write(path):
    spec, traced = rows(), tests_of(collect())
    untestable = {row["id"]: row["reason"] for row in read("untestable.csv")}
    parts = [HEAD]
    for title, start in (("MQTT 3.1.1", "v3.1.1 "), ("MQTT 3.1.1, rules without a number", "X3.1.1"),
                         ("MQTT 5.0", "v5 "), ("MQTT 5.0, rules without a number", "X5.0")):
        rules = [rule for rule in spec if rule.startswith(start)]
        parts.append(table(title, rules, spec, traced, untestable))
    pathlib.Path(path).write_text("\n".join(parts), encoding="utf-8")
    return 0


def main():
    match sys.argv[1:]:
        case ["check"]:
            return check()
        case ["docs"]:
            return write(ROOT / "docs/conformance.md")
        case ["write", path]:
            return write(path)
    print(__doc__)
    return 64


if __name__ == "__main__":
    sys.exit(main())
