#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A million clients in one process: runs skein_million and puts its figures into bench/million.json
and the section of bench/results.md.

    ./dev bench million [CLIENTS] [--rounds N]
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


def run(program, clients):
    done = subprocess.run([program, str(clients)], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"skein_million: exit code {done.returncode}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clients", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    options = parser.parse_args()
    subprocess.run(["cmake", "--build", options.build, "--target", "skein_million"], check=True,
                   stdout=subprocess.DEVNULL)
    rounds = [run(options.build / "skein_million", options.clients) for _ in range(options.rounds)]
    figures = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    figures["machine"], figures["rounds"] = report.machine(), len(rounds)
    print(report.million_section(figures))
    if options.clients == parser.get_default("clients"):
        (HERE / "million.json").write_text(json.dumps(figures, indent=1) + "\n")
        report.replace_million(HERE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
