#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every header by itself, included twice: it must stand alone and guard itself.

    tools/check_headers.py BUILD_DIR     (a configured build, for the include paths)
"""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def include_flags(build):
    """Every include path that any file of the build is compiled with."""
    flags = {f"-I{ROOT}/src"}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        flags.update(re.findall(r"-I\s*\S+|-isystem\s+\S+", entry["command"]))
    return [word for flag in sorted(flags) for word in flag.split()]


def compile_header(header, flags):
    name = header.relative_to(ROOT / "src") if header.is_relative_to(ROOT / "src") else header
    source = f'#include "{name}"\n#include "{name}"\n'
    command = ["cc", "-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wstrict-prototypes",
               "-Werror", "-fsyntax-only", *flags, "-x", "c", "-"]
    done = subprocess.run(command, input=source, text=True, capture_output=True)
    return "" if done.returncode == 0 else f"{name} does not stand alone:\n{done.stderr}"


def main():
    flags = include_flags(pathlib.Path(sys.argv[1]))
    headers = sorted([*ROOT.glob("src/**/*.h"), *ROOT.glob("include/**/*.h")])
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [text for text in pool.map(lambda h: compile_header(h, flags), headers) if text]
    print("\n".join(problems) if problems else f"{len(headers)} headers")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
