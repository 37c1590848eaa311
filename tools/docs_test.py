#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands that the documentation tells people to type; ends with `N passed, N failed`.

    tools/docs_test.py [PAGE...]     (README.md and docs/**/*.md)

The ```sh blocks of a page run in order, in one scratch folder that looks like the checkout, with
`skein` in the PATH and a network of their own, so that port 1883 is free. Each must exit with 0 within
a minute. A comment on the line before a block changes that:

    <!-- test: start -->          goes on in the background; waited for until port 1883 answers
    <!-- test: background -->     goes on in the background, not waited for; may not end with an error
    <!-- test: prints -->         before a ```text block: each of its lines is in what the block before printed
    <!-- test: not run, WHY -->   the reason is printed
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS_MAX = 60
BLOCK = re.compile(r"(?:^<!-- test: ([^\n]*?) -->\n+)?^```(sh|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def own_network():
    """Runs this program again in a network namespace where only the loopback device exists."""
    if os.environ.get("SKEIN_DOCS_NETWORK") or not shutil.which("unshare") or not shutil.which("ip"):
        return
    if subprocess.run(["unshare", "-rn", "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0:
        os.environ["SKEIN_DOCS_NETWORK"] = "own"
        os.execvp("unshare", ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                              sys.executable, __file__, *sys.argv[1:]])


def port_open():
    try:
        socket.create_connection(("127.0.0.1", 1883), 0.2).close()
        return True
    except OSError:
        return False


class Page:
    """One page: its scratch folder, what it started, what its last block printed."""

    def __init__(self, path):
        self.path = path
        self.name = path.relative_to(ROOT)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-docs-"))
        for entry in ROOT.iterdir():
            if entry.name != "data":
                (self.folder / entry.name).symlink_to(entry)
        binary = os.environ.get("SKEIN_BINARY", str(ROOT / "build/release/skein"))
        self.env = {**os.environ, "PATH": f"{os.path.dirname(binary)}:{os.environ['PATH']}"}
        self.started = []
        self.printed = ""
        self.passed = 0
        self.failures = []

    def start(self, text, wait):
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", text], cwd=self.folder, env=self.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.started.append(process)
        deadline = time.monotonic() + SECONDS_MAX
        while wait and not port_open():
            if process.poll() is not None or time.monotonic() > deadline:
                return "nothing answers on port 1883"
            time.sleep(0.05)
        return ""

    def run(self, text):
        try:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=self.folder, env=self.env, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return f"still runs after {SECONDS_MAX} s"
        self.printed = done.stdout
        return "" if done.returncode == 0 else f"exit code {done.returncode}:\n{done.stdout}"

    def check_printed(self, text):
        missing = [line for line in text.splitlines() if line.strip() and line.strip() not in self.printed]
        return f"did not print '{missing[0].strip()}' but:\n{self.printed}" if missing else ""

    def block(self, mark, language, text, line):
        mark = mark or ""
        if language == "text":
            if mark != "prints":
                return
            problem = self.check_printed(text)
        elif mark.startswith("not run"):
            print(f"   {self.name}:{line}: {mark}")
            return
        elif mark in ("start", "background"):
            problem = self.start(text, mark == "start")
        elif mark:
            problem = f"unknown mark '{mark}'"
        else:
            problem = self.run(text)
        if problem:
            self.failures.append(f"{self.name}:{line}: {problem}")
        else:
            self.passed += 1

    def end(self):
        for process in self.started:
            try:
                if process.poll():
                    self.failures.append(f"{self.name}: exit code {process.returncode}: {process.args[-1]}")
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(20)
            except ProcessLookupError:
                pass
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(self.folder)


def run_page(path):
    text = path.read_text()
    page = Page(path)
    try:
        for found in BLOCK.finditer(text):
            page.block(*found.groups(), text.count("\n", 0, found.start(3)))
    finally:
        page.end()
    return page


def main():
    own_network()
    if not os.environ.get("SKEIN_DOCS_NETWORK") and port_open():
        print("port 1883 is in use, and there is no right to make a network namespace\n0 passed, 1 failed")
        return 1
    named = [pathlib.Path(name).resolve() for name in sys.argv[1:]]
    pages = named or [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
    passed, failures = 0, []
    for path in pages:
        if path.exists():
            page = run_page(path)
            passed, failures = passed + page.passed, failures + page.failures
    for failure in failures:
        print(f"   FAILED {failure}")
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
