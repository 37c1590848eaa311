#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Finds mutable globals in object files: state belongs to a worker, a connection or the broker.

    tools/check_globals.py BUILD_DIR

Static and thread-local variables count too. What may have them is listed below, with the reason.
"""

import pathlib
import re
import subprocess
import sys

ALLOWED = {
    "broker": "knows everybody",
    "cli": "one command, one process",
    "base/log": "the log is one per process",
    "metrics": "shards are found by thread",
    "router/share": "a random number generator for each thread",
    "store/late": "settings of the test store, made before the first worker starts",
    "base/breaks": "what a test has broken; set before other threads start",
    "base/fault": "where the crash tests let the process die",
}
ALLOWED_NAMES = re.compile(r"log_limit_")  # the log's: one for each line that is rate-limited
SKIPPED = re.compile(r"_(test|bench)\.c\.o$|/main\.c\.o$")
MUTABLE = re.compile(r"^[0-9a-f]+ .{7} (\.(?:data|bss|tbss|tdata)(?!\.rel\.ro)\S*)\s+([0-9a-f]+)\s+(.*)$")


def is_allowed(source):
    return any(source == name or source.startswith(name + "/") for name in ALLOWED)


def main():
    build = pathlib.Path(sys.argv[1])
    problems, objects = [], 0
    for path in sorted(build.glob("src/CMakeFiles/skein_*.dir/**/*.c.o")):
        source = re.sub(r"^.*?\.dir/", "", str(path)).removesuffix(".c.o")
        if SKIPPED.search(str(path)) or is_allowed(source):
            continue
        objects += 1
        table = subprocess.run(["objdump", "-t", path], check=True, text=True, capture_output=True)
        for line in table.stdout.splitlines():
            found = MUTABLE.match(line)
            if found and int(found.group(2), 16) > 0:
                name = found.group(3).replace(".hidden ", "")
                if ALLOWED_NAMES.match(name):
                    continue
                problems.append(f"src/{source}.c: {name} is a mutable global ({found.group(1)})")
    print("\n".join(problems) if problems else f"{objects} object files")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
