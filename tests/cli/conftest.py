# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: the program, run to its end."""

import os
import pathlib
import subprocess

import pytest

from kit.broker import ROOT


@pytest.fixture(scope="session")
def binary():
    return pathlib.Path(os.environ.get("SKEIN_BINARY") or ROOT / "build/release/skein")


@pytest.fixture(scope="session")
def skein(binary):
    """skein("serve", "--check"): runs it to its end; gives returncode, stdout, stderr."""
    def run(*arguments, **options):
        return subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60, **options)
    return run


@pytest.fixture(scope="session")
def generated(skein, tmp_path_factory):
    """The folder that `skein docs` has written."""
    folder = tmp_path_factory.mktemp("generated")
    done = skein("docs", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def config_file(tmp_path):
    """config_file("workers: 1"): its path. Named skein.yaml in the current folder of the test."""
    def write(text):
        path = tmp_path / "skein.yaml"
        path.write_text(text)
        return path
    return write
