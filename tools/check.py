#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Everything about the code that needs no broker to run; ends with `N passed, N failed`."""

import argparse
import concurrent.futures
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = sys.executable
JOBS = os.cpu_count() or 2
TEST_FILE = re.compile(r"_(test|bench)\.c$|/(tests|fuzz)/")  # strcpy and srand(7) are fine there


def run(*command):
    """(ok, output) of a command at the root of the tree."""
    done = subprocess.run([str(word) for word in command], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode == 0, done.stdout


def files(*patterns):
    """Files of the tree that git knows or would add, so that nothing generated is looked at."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (ROOT / name).is_file())


def check_format():
    ok, output = run("clang-format", "--dry-run", "-Werror", *files("*.c", "*.h"))
    places = dict.fromkeys(re.findall(r"^(\S+:\d+):\d+: error", output, re.MULTILINE))
    return ok, "\n".join(f"{place}: ./dev fmt would change it" for place in places)


def check_layers():
    return run(PYTHON, "tools/check_layers.py")


def check_lengths():
    return run(PYTHON, "tools/check_lengths.py")


def check_shell():
    return run("shellcheck", "dev", ".ci/run", *files("tools/install-packages", "*.sh"))


def check_python():
    return run(PYTHON, "-m", "pyflakes", *files("*.py"))


def build_all(preset):
    ok, output = run("cmake", "--preset", preset)
    if ok:
        ok, output = run("cmake", "--build", "--preset", preset, "--target", "all", "benches", "--",
                         "-k", "0")
    told = [line for line in output.splitlines() if not re.match(r"\[\d+/\d+\]|ninja:", line)]
    return ok, "" if ok else "\n".join(told)


def check_gcc():
    return build_all("werror")


def check_clang():
    return build_all("tidy")


def check_headers():
    return run(PYTHON, "tools/check_headers.py", "build/werror")


def check_globals():
    return run(PYTHON, "tools/check_globals.py", "build/werror")


def check_generated():
    return run(PYTHON, "tools/generated.py", "check", "build/werror/skein")


class Tidy:
    """clang-tidy over every file of build/tidy. A file found clean is not looked at again until it,
    a header it includes, its flags or .clang-tidy change."""

    def __init__(self):
        self.clean = ROOT / "build/tidy/clean"
        self.clean.mkdir(parents=True, exist_ok=True)
        self.rules = (ROOT / ".clang-tidy").read_bytes()

    def key(self, entry):
        words = shlex.split(entry["command"])
        flags = [w for w in words[: words.index("-o")] if w != "-c"]
        listed = subprocess.run([*flags, "-MM", entry["file"]], cwd=entry["directory"], check=True,
                                capture_output=True, text=True).stdout
        digest = hashlib.sha256(self.rules + entry["command"].encode())
        for name in listed.replace("\\\n", " ").split()[1:]:
            digest.update((pathlib.Path(entry["directory"]) / name).read_bytes())
        return digest.hexdigest()

    @staticmethod
    def findings(output):
        """Each finding with its source line; how the analyzer came to it is left to clang-tidy."""
        lines = output.splitlines()
        for at, line in enumerate(lines):
            if re.search(r": (error|warning): ", line):
                yield from lines[at : at + 2]

    def file(self, entry):
        try:
            stamp = self.clean / self.key(entry)
        except subprocess.CalledProcessError as error:
            return error.stderr
        if stamp.exists():
            return ""
        less = ["--checks=-clang-analyzer-*,-cert-*"] if TEST_FILE.search(entry["file"]) else []
        ok, output = run("clang-tidy", "--quiet", "-p", "build/tidy", *less, entry["file"])
        if ok:
            stamp.touch()
        return "" if ok else "\n".join(self.findings(output.replace(f"{ROOT}/", ""))) or output


def check_tidy():
    entries = json.loads((ROOT / "build/tidy/compile_commands.json").read_text())
    tidy = Tidy()
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        found = [text for text in pool.map(tidy.file, entries) if text]
    return not found, "\n".join(found) if found else f"{len(entries)} files"


STEPS = {
    "format": check_format,
    "layers": check_layers,
    "lengths": check_lengths,
    "shell": check_shell,
    "python": check_python,
    "gcc": check_gcc,
    "headers": check_headers,
    "globals": check_globals,
    "generated": check_generated,
    "clang": check_clang,
    "tidy": check_tidy,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", nargs="*", help=" ".join(STEPS))
    wanted = parser.parse_args().step or list(STEPS)
    for step in wanted:
        if step not in STEPS:
            parser.error(f"no step {step}; there are: {' '.join(STEPS)}")
    (ROOT / "build").mkdir(exist_ok=True)
    alone = open(ROOT / "build/check.lock", "w")  # two at once would break each other's builds
    fcntl.flock(alone, fcntl.LOCK_EX)
    passed = failed = 0
    for step in wanted:
        started = time.monotonic()
        try:
            ok, output = STEPS[step]()
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            ok, output = False, str(error)
        passed, failed = passed + ok, failed + (not ok)
        print(f"== {step}: {'ok' if ok else 'FAILED'} ({time.monotonic() - started:.0f} s)")
        print("".join(f"   {line}\n" for line in output.splitlines() if line), end="", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
