# SPDX-License-Identifier: Apache-2.0
"""Runs tests against mutants: which tests a mutant makes a difference in, and which of them notice.

Two kinds of tests: unit test programs, and pytest suites, which one process a slot has collected
beforehand and runs on request (mutate_plugin.py).
"""

import collections
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import time

from mutants import BUILD, ROOT, SIZE, TREE, WORK

UNIT_SECONDS = 12  # beyond ten times what it takes unbroken
TEST_SECONDS = 40
PATIENCE = "0.6"  # of the tests that fail because something does not come

Test = collections.namedtuple("Test", "name seconds reached")


class Hangs(Exception):
    """What was run did not end in time."""


class Lines:
    """Lines from a descriptor, with a deadline."""

    def __init__(self, fd):
        self.fd = fd
        self.rest = b""

    def next(self, deadline):
        """The next line, None at the end."""
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise Hangs
            more = os.read(self.fd, 65536)
            if not more:
                return None
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode(errors="replace")


class Slot:
    """One shared file and what runs against it."""

    def __init__(self, name, suites):
        self.path = WORK / f"mutant.{name}"
        self.path.write_bytes(bytes(SIZE))
        self.suites = suites
        self.pytest = None

    def arm(self, mutant_id):
        with open(self.path, "r+b") as shared:
            shared.write(mutant_id.to_bytes(4, "little") + bytes(SIZE - 4))

    def reached(self):
        data = self.path.read_bytes()
        return {index - 4 for index in range(4, SIZE) if data[index]}

    def environment(self, **more):
        return {**os.environ, "SKEIN_MUTANT": str(self.path), "SKEIN_BINARY": str(BUILD / "skein"),
                "SKEIN_TEST_BUILD": str(BUILD), "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": str(ROOT / "tools/mutate"), **more}

    def end_processes(self):
        """Ends every process that maps this slot's file."""
        marker = f"SKEIN_MUTANT={self.path}\0".encode()
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if marker in (entry / "environ").read_bytes():
                        os.kill(int(entry.name), signal.SIGKILL)
                except OSError:
                    pass

    # ---- unit test programs ----

    def unit_failure(self, mutant_id, program, seconds):
        """What fails first: the name of a test, or how the program ended. None: it passes."""
        self.arm(mutant_id)
        process = subprocess.Popen([program], cwd=TREE, env=self.environment(), text=False,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        lines = Lines(process.stderr.fileno())
        deadline = time.monotonic() + seconds
        try:
            while (line := lines.next(deadline)) is not None:
                if line.startswith("[  FAILED  ]"):
                    return line.removeprefix("[  FAILED  ]").strip()
            status = process.wait(max(0.1, deadline - time.monotonic()))
            return None if status == 0 else f"exit code {status}"
        except (Hangs, subprocess.TimeoutExpired):
            return "hangs"
        finally:
            process.kill()
            process.wait()
            process.stderr.close()

    # ---- pytest ----

    def start_pytest(self):
        order_out, self.order_in = os.pipe()
        answer_out, answer_in = os.pipe()
        self.pytest = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "mutate_plugin",
             *[f"tests/{suite}" for suite in self.suites]],
            cwd=TREE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(order_out, answer_in), start_new_session=True,
            env=self.environment(SKEIN_MUTATE_SERVE=f"{order_out},{answer_in}",
                                 SKEIN_TEST_PATIENCE=PATIENCE))
        os.close(order_out)
        os.close(answer_in)
        self.answers = Lines(answer_out)
        if self.answers.next(time.monotonic() + 120) != "ready":
            sys.exit("mutate: pytest does not start")

    def stop_pytest(self):
        if self.pytest is not None:
            os.close(self.order_in)
            os.close(self.answers.fd)
            self.end_processes()
            self.pytest.wait()
            self.pytest = None

    def first_failure(self, mutant_id, tests):
        """Name of the first test that fails, and whether it hung. None: all pass."""
        if self.pytest is None:
            self.start_pytest()
        self.arm(mutant_id)
        os.write(self.order_in, (json.dumps([test.name for test in tests]) + "\n").encode())
        seconds = {test.name: 10 * test.seconds + TEST_SECONDS for test in tests}
        running, deadline = tests[0].name, time.monotonic() + TEST_SECONDS
        while True:
            try:
                line = self.answers.next(deadline)
            except Hangs:
                line = None
            if line is None:
                self.stop_pytest()
                return running
            word, _, name = line.partition(" ")
            if word == "run":
                running, deadline = name, time.monotonic() + seconds[name]
            else:
                return name if word == "failed" else None


# ---- recording -----------------------------------------------------------------------------------


def record_units(slot):
    """The unit test programs that pass unbroken, the quickest first."""
    units = []
    for program in sorted(BUILD.glob("*_test")):
        if not os.access(program, os.X_OK) or not program.is_file():
            continue
        started = time.monotonic()
        failure = slot.unit_failure(0, program, 120)
        if failure is None:
            units.append(Test(program, time.monotonic() - started, slot.reached()))
        else:
            print(f"  left out, fails unbroken: {program.name}: {failure}")
    return sorted(units, key=lambda unit: unit.seconds)


def record_suites(suites, jobs):
    """The tests that pass unbroken; those that reach the fewest mutants first."""
    record = WORK / "record"
    shutil.rmtree(record, ignore_errors=True)
    record.mkdir()
    slot = Slot("record", suites)
    subprocess.run([sys.executable, "-m", "pytest", *[f"tests/{suite}" for suite in suites], "-q",
                    "-p", "no:cacheprovider", "-p", "mutate_plugin", "-n", str(jobs), "--dist", "loadgroup"],
                   cwd=TREE, env=slot.environment(SKEIN_MUTATE_RECORD=str(record)),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    slot.end_processes()
    tests, failed = [], []
    for path in record.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry["passed"]:
                tests.append(Test(entry["test"], entry["seconds"], set(entry["reached"])))
            else:
                failed.append(entry["test"])
    for name in sorted(failed):
        print(f"  left out, does not pass unbroken: {name}")
    return sorted(tests, key=lambda test: (len(test.reached), test.name))


# ---- one mutant ----------------------------------------------------------------------------------


def try_mutant(slot, mutant, units, tests, tests_max, hint):
    """(verdict, what noticed it). A failure counts when it comes again, and not without the mutant.
    Of the pytest tests only so many are tried. `hint`: what noticed it the last time, tried first."""
    units = [unit for unit in units if mutant.id in unit.reached]
    tests = [test for test in tests if mutant.id in test.reached]
    tests = [test for test in tests if test.name == hint] + \
        [test for test in tests[:tests_max] if test.name != hint]
    reached = units or tests
    for unit in sorted(units, key=lambda unit: not hint.startswith(unit.name.name)):
        seconds = 10 * unit.seconds + UNIT_SECONDS
        failure = slot.unit_failure(mutant.id, unit.name, seconds)
        if failure and slot.unit_failure(mutant.id, unit.name, seconds) and \
                slot.unit_failure(0, unit.name, seconds) is None:
            return "noticed", f"{unit.name.name}: {failure}"
    while tests:
        failure = slot.first_failure(mutant.id, tests)
        if failure is None:
            break
        at = next(index for index, test in enumerate(tests) if test.name == failure)
        if slot.first_failure(mutant.id, [tests[at]]) and not slot.first_failure(0, [tests[at]]):
            return "noticed", failure
        tests = tests[at + 1 :]
    return ("survived" if reached else "no difference"), ""
