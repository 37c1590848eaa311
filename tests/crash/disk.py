# SPDX-License-Identifier: Apache-2.0
"""A disk whose power can be cut: the file system tests/c/power_loss_fs, mounted for one user of it."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from kit import patience

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class NoFuse(Exception):
    """This machine cannot mount it. The text says why."""


def program():
    builds = [os.environ.get("SKEIN_TEST_BUILD"), ROOT / "build/debug", ROOT / "build/release"]
    for build in builds:
        if build and (pathlib.Path(build) / "power_loss_fs").exists():
            return str(pathlib.Path(build) / "power_loss_fs")
    raise NoFuse("power_loss_fs is not built: it is in the test build (./dev build debug)")


class Disk:
    """`mount` is where it is used, `left` a directory with what a power cut would leave.

    `delay_us`: each sync takes up to that much longer, as disks do: it widens the time in which an
    acknowledgement may be sent too early."""

    def __init__(self, delay_us=0):
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            raise NoFuse("/dev/fuse is missing or not ours, so no power can be cut")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-disk-"))
        self.mount, self.left = self.folder / "mount", self.folder / "backing/disk"
        self.mount.mkdir()
        (self.folder / "backing").mkdir()
        self.process = subprocess.Popen([program(), self.folder / "backing", self.mount], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, start_new_session=True)
        if self.process.stdout.readline() != "ready\n":
            why = self.process.stderr.read().strip()
            self.close()
            raise NoFuse(f"power_loss_fs does not start: {why}")
        if delay_us:
            self.tell(f"delay {delay_us}")

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer.startswith("ok"), f"{command}: {answer or 'power_loss_fs died'}"
        return answer

    @contextlib.contextmanager
    def stalled(self):
        """Meanwhile no sync ends."""
        self.tell("stall")
        try:
            yield
        finally:
            self.tell("resume")

    def wait_for_sync(self):
        """While stalled(): until one waits."""
        deadline = time.monotonic() + patience()
        while self.tell("waiting") == "ok 0":
            assert time.monotonic() < deadline, "nothing is synced"
            time.sleep(0.005)

    def cut(self, draw=None):
        """Power goes and comes back. Without `draw` everything not synced is gone; with it a third
        of the times, else some survives. Gives the command that does the same again."""
        torn = draw is not None and draw.random() > 0.33
        command = f"cut torn {draw.getrandbits(63)}" if torn else "cut drop"
        self.tell(command)
        return command

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        subprocess.run(["umount", "-l", self.mount], stderr=subprocess.DEVNULL, check=False)
        self.process.stdout.close()
        self.process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
