#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds and runs test suites, and ends with the line `N passed, N failed`.

Suites: unit (ctest, each cmocka test counted), corpus (fuzz inputs replayed), trace (every clause
has a test), docs (commands in the documentation), and each folder of tests/ that has test_*.py.
pytest suites find the program in SKEIN_BINARY and the programs of tests/c in SKEIN_TEST_BUILD.

The suite that mostly waits runs beside the others where there are cores for it. A suite without
tests is a failure. A skip needs a reason, which is printed. Under a sanitizer preset every report a
process leaves behind is a failure, whatever its test said.
"""

import argparse
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
SANITIZERS = {"asan", "tsan"}
BUILTIN = ["unit", "corpus", "trace", "docs"]
BESIDE = "homes"  # waits more than it works: it runs beside the others
BESIDE_JOBS = 4  # ... on a machine that has room for two suites
LAST = ["cluster", "fairness"]  # they count milliseconds: by themselves


class Result:
    """What one suite came to."""

    def __init__(self, suite):
        self.suite = suite
        self.passed = 0
        self.failures = []  # one line each
        self.skips = []  # (test, reason)

    def fail(self, what):
        self.failures.append(what)

    def count_line(self, text, status):
        """Takes over the counts of a tool that itself ends with `N passed, N failed`."""
        found = re.findall(r"^(\d+) passed, (\d+) failed$", text, re.MULTILINE)
        if found:
            failed = int(found[-1][1])
            named = re.findall(r"^ *FAILED (.+)$", text, re.MULTILINE)
            self.passed += int(found[-1][0])
            self.failures += (named + [f"{self.suite}: see above"] * failed)[:failed]
        elif status == 0:
            self.passed += 1
        if status != 0 and not self.failures:
            self.fail(f"{self.suite}: exit code {status}")


def folder_suites():
    found = {path.relative_to(ROOT / "tests").parts[0] for path in ROOT.glob("tests/*/**/test_*.py")}
    return sorted(found)


def jobs():
    return int(os.environ.get("SKEIN_TEST_JOBS") or os.cpu_count() or 2)


def workers(suite, preset):
    """Processes of pytest: most tests wait most of the time, those of nodes that die longest, but
    not under a sanitizer."""
    if suite == BESIDE:
        return jobs() if preset in SANITIZERS else 5 * jobs() // 2
    return 2 * jobs()


def build(preset, targets=()):
    """False when it does not build; ninja has said why."""
    commands = [["cmake", "--preset", preset], ["cmake", "--build", "--preset", preset]]
    if targets:
        commands[1] += ["--target", *targets]
    for command in commands:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            told = [line for line in done.stdout.splitlines() if not re.match(r"\[\d+/\d+\]", line)]
            print("\n".join(told))
            return False
    return True


def test_preset(preset):
    """Where unit tests, replays and test programs come from. Not from the release build: linking
    each of them with LTO takes minutes."""
    return "debug" if preset == "release" else preset


def environment(preset, reports):
    env = dict(os.environ)
    env["SKEIN_TEST_BUILD"] = str(ROOT / "build" / test_preset(preset))
    env["SKEIN_BINARY"] = str(ROOT / "build" / preset / "skein")
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    if preset in SANITIZERS:
        log = f"log_path={reports}/report:print_stacktrace=1"
        env["ASAN_OPTIONS"] = f"{log}:detect_leaks=1:abort_on_error=0:strict_string_checks=1"
        env["UBSAN_OPTIONS"] = log
        env["TSAN_OPTIONS"] = f"{log}:suppressions={ROOT}/tools/tsan.supp:second_deadlock_stack=1"
        env.setdefault("SKEIN_TEST_PATIENCE", "4")
    return env


def ctest_case(result, case):
    """Counts the cmocka tests of one program from what it printed."""
    name = case.get("name")
    output = case.findtext("system-out") or ""
    passed = re.findall(r"^\[       OK \] (.+)$", output, re.MULTILINE)
    failed = [
        test
        for test in re.findall(r"^\[  FAILED  \] (\w+)$", output, re.MULTILINE)
        if not test.isdigit()
    ]
    result.passed += len(passed)
    for test in dict.fromkeys(failed):
        result.fail(f"{name}: {test}")
    for test in re.findall(r"^\[  SKIPPED \] (\w+)$", output, re.MULTILINE):
        result.fail(f"{name}: {test}: skipped without a reason")
    if case.get("status") == "run" and not passed and not failed:
        result.passed += 1
    if case.get("status") != "run":
        if not failed:
            result.fail(f"{name}: {case.find('failure').get('message') if case.find('failure') is not None else case.get('status')}")
        print(output)


def run_unit(result, preset, env, out):
    junit = out / "unit.xml"
    junit.unlink(missing_ok=True)
    done = subprocess.run(
        ["ctest", "--test-dir", f"build/{test_preset(preset)}", "-j", str(jobs()), "--output-junit", junit,
         "--test-output-size-passed", "1000000", "--test-output-size-failed", "1000000"],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not junit.exists():
        print(done.stdout)
        result.fail("unit: ctest wrote no results")
        return
    for case in ElementTree.parse(junit).iter("testcase"):
        ctest_case(result, case)


def run_corpus(result, preset, env, _out):
    programs = {path.name.removeprefix("fuzz_replay_"): path
                for path in (ROOT / "build" / test_preset(preset)).glob("fuzz_replay_*") if path.is_file()}
    names = {path.stem for path in ROOT.glob("fuzz/*.c")} - {"replay"}
    folders = {path.name for path in ROOT.glob("fuzz/corpus/*") if path.is_dir()}
    for name in sorted(names | folders):
        inputs = sorted(str(path) for path in ROOT.glob(f"fuzz/corpus/{name}/*"))
        if name not in programs:
            result.fail(f"corpus {name}: fuzz/{name}.c is not built")
        elif not inputs:
            result.fail(f"corpus {name}: fuzz/corpus/{name}/ has no inputs")
        else:
            done = subprocess.run([programs[name], *inputs], env=env, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode == 0:
                result.passed += 1
            else:
                print(done.stdout[-4000:])
                result.fail(f"corpus {name}: exit code {done.returncode}")


def run_tool(result, command, env):
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    print(done.stdout, end="")
    result.count_line(done.stdout, done.returncode)


def run_trace(result, _preset, env, _out):
    run_tool(result, [sys.executable, "tools/trace.py", "check"], env)


def run_docs(result, _preset, env, _out):
    run_tool(result, [sys.executable, "tools/docs_test.py"], env)


def run_folder(result, preset, env, out):
    suite = result.suite
    junit = out / f"{suite}.xml"
    junit.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"tests/{suite}", "-q", "--tb=short", "--no-header",
         "-p", "no:cacheprovider", "-n", str(workers(suite, preset)), "--dist", "loadgroup",
         f"--junitxml={junit}"],
        cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if not junit.exists():
        print(done.stdout)
        result.fail(f"{suite}: pytest ended with {done.returncode} and wrote no results")
        return
    for case in ElementTree.parse(junit).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            if name not in result.failures:  # both its call and what came after it may fail
                result.fail(name)
        elif skipped is None:
            result.passed += 1
        elif skipped.get("message") in (None, "", "unconditional skip"):
            result.fail(f"{name}: skipped without a reason")
        else:
            result.skips.append((name, skipped.get("message")))
    if result.failures:
        print(done.stdout)
    elif done.returncode not in (0, 5):
        print(done.stdout)
        result.fail(f"{suite}: pytest ended with {done.returncode}")


class Beside:
    """BESIDE in a process of its own, with reports of its own."""

    def __init__(self, preset):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--preset", preset, "--beside", BESIDE], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def result(self):
        result = Result(BESIDE)
        text = self.process.communicate()[0]
        print(text[:text.rindex("\n\nfailed:\n") + 1] if "\n\nfailed:\n" in text
              else "".join(text.splitlines(keepends=True)[:-1]), end="", flush=True)
        result.count_line(text, self.process.returncode)
        return result


def sanitizer_reports(result, reports):
    for report in sorted(reports.glob("report*")):
        text = report.read_text(errors="replace")
        if not re.search(r"ERROR: |runtime error|WARNING: ThreadSanitizer|SUMMARY", text):
            continue  # a test that asks for more memory than there is gets a line, not a report
        print(f"--- {report.name} ---\n{text[:6000]}")
        summary = re.search(r"^(SUMMARY.*|.*runtime error.*)$", text, re.MULTILINE)
        result.fail(f"sanitizer: {summary.group(1) if summary else report.name}")
        report.unlink()


def run_suite(suite, preset, env, out, reports):
    result = Result(suite)
    runners = {"unit": run_unit, "corpus": run_corpus, "trace": run_trace, "docs": run_docs}
    print(f"== {suite}", flush=True)
    started = time.monotonic()
    runners.get(suite, run_folder)(result, preset, env, out)
    sanitizer_reports(result, reports)
    if result.passed == 0 and not result.failures:
        result.fail(f"{suite}: no tests")
    for name, reason in result.skips:
        print(f"   skipped {name}: {reason}")
    for failure in result.failures:
        print(f"   FAILED {failure}")
    print(f"   {result.passed} passed, {len(result.failures)} failed in "
          f"{time.monotonic() - started:.0f} s", flush=True)
    return result


def main():
    folders = folder_suites()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="release", choices=["release", "debug", "asan", "tsan"])
    parser.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("suite", nargs="*", help=" ".join(BUILTIN + folders))
    options = parser.parse_args()
    wanted = options.suite or ["unit", "corpus", "trace", *folders, "docs"]
    unknown = [suite for suite in wanted if suite not in BUILTIN + folders]
    if unknown:
        parser.error(f"no suite {unknown[0]}; there are: {' '.join(BUILTIN + folders)}")
    if options.preset in SANITIZERS and not options.suite:
        wanted = [suite for suite in wanted if suite not in ("trace", "docs")]

    presets = {test_preset(options.preset)}
    if set(wanted) - {"unit", "corpus", "trace"}:
        presets.add(options.preset)
    results = []
    out = ROOT / "build" / "test" / options.preset
    out.mkdir(parents=True, exist_ok=True)
    name = "beside" if options.beside else "reports"
    alone = open(out / f"lock.{name}", "w")  # two at once would take each other's reports
    fcntl.flock(alone, fcntl.LOCK_EX)
    reports = out / name
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    for preset in sorted(presets if not options.beside else ()):
        print(f"== build {preset}", flush=True)
        if not build(preset):
            broken = Result("build")
            broken.fail(f"build {preset}")
            results.append(broken)
    if not results:
        quick = options.preset not in SANITIZERS and len(wanted) > 1 and jobs() >= BESIDE_JOBS
        beside = Beside(options.preset) if quick and BESIDE in wanted else None
        env = environment(options.preset, reports)

        def run(suites):
            results.extend(run_suite(suite, options.preset, env, out, reports) for suite in suites)
        run(suite for suite in wanted if suite not in LAST and not (beside and suite == BESIDE))
        if beside:
            results.append(beside.result())
        run(suite for suite in wanted if suite in LAST)

    failures = [failure for result in results for failure in result.failures]
    if failures:
        print("\nfailed:")
        for failure in failures:
            print(f"  {failure}")
    print(f"{sum(result.passed for result in results)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
