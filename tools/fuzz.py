#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every libFuzzer target of build/fuzz for an equal share of the time.

    ./dev fuzz [SECONDS] [--target NAME] [--keep]

Inputs start from fuzz/corpus/NAME; what is found grows in build/fuzz/corpus/NAME and is merged into
fuzz/corpus/NAME by --keep, smallest set first. A crashing input is left in build/fuzz/crashes.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/fuzz"
INPUT_BYTES_MAX = 4096
MEMORY_MB_MAX = 1024


def environment():
    env = dict(os.environ)
    env["ASAN_OPTIONS"] = "detect_leaks=1:strict_string_checks=1"
    env["UBSAN_OPTIONS"] = "print_stacktrace=1"
    return env


def fuzz(name, seconds):
    """(name, exit code, output) of one target."""
    grown, crashes = BUILD / "corpus" / name, BUILD / "crashes"
    grown.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    seeds = ROOT / "fuzz/corpus" / name
    words = [BUILD / f"fuzz_{name}", grown, *([seeds] if seeds.is_dir() else []),
             f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", "-timeout=10",
             f"-rss_limit_mb={MEMORY_MB_MAX}", f"-artifact_prefix={crashes}/{name}-",
             "-print_final_stats=1"]
    dictionary = ROOT / "fuzz" / f"{name}.dict"
    if dictionary.exists():
        words.append(f"-dict={dictionary}")
    done = subprocess.run(words, text=True, errors="replace", stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=environment())
    return name, done.returncode, done.stdout


def keep(name):
    """Merges what was found into the checked-in corpus, keeping only inputs that add coverage."""
    seeds = ROOT / "fuzz/corpus" / name
    seeds.mkdir(parents=True, exist_ok=True)
    subprocess.run([BUILD / f"fuzz_{name}", "-merge=1", seeds, BUILD / "corpus" / name],
                   check=True, capture_output=True, env=environment())


def describe(name, output):
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    covered = re.findall(r"cov: (\d+)", output)
    return (f"{name:<16} {int(runs.group(1)) if runs else 0:>12,} runs, "
            f"{covered[-1] if covered else '0':>6} edges covered")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", nargs="?", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", action="append", help="only this one")
    parser.add_argument("--keep", action="store_true", help="grow the checked-in corpus")
    options = parser.parse_args()
    names = sorted(p.stem for p in (ROOT / "fuzz").glob("*.c") if p.stem != "replay")
    names = [name for name in names if not options.target or name in options.target]
    if not names:
        parser.error("no such target")
    jobs = min(os.cpu_count() or 2, len(names))
    share = max(1, options.seconds * jobs // len(names))
    crashed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for name, status, output in pool.map(lambda name: fuzz(name, share), names):
            print(describe(name, output), flush=True)
            if status != 0:
                crashed += 1
                print(output[-6000:])
    if options.keep:
        for name in names:
            keep(name)
    print(f"{len(names) - crashed} passed, {crashed} failed")
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
