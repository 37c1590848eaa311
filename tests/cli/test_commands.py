# SPDX-License-Identifier: Apache-2.0
"""`skein` itself: commands, --help, --version, and what happens to a word it does not know."""

import re
import subprocess

import pytest

from kit.broker import ROOT

COMMANDS = ["serve", "ctl", "pub", "sub", "bench", "store", "cluster", "version"]


def test_help_lists_every_command_and_no_hidden_one(skein):
    done = skein("--help")
    assert done.returncode == 0
    assert re.findall(r"^  (\w+) ", done.stdout, re.MULTILINE) == COMMANDS


def test_no_command_is_a_usage_error_that_shows_the_commands(skein):
    done = skein()
    assert (done.returncode, done.stdout) == (64, "")
    assert "usage: skein COMMAND" in done.stderr


def test_unknown_command_gets_the_nearest(skein):
    done = skein("serv")
    assert done.returncode == 64
    assert done.stderr.splitlines()[0] == "skein: unknown command 'serv'; did you mean serve?"


def test_version_is_the_one_of_the_build(skein):
    project = (ROOT / "CMakeLists.txt").read_text()
    version = re.search(r"project\(skein VERSION (\S+)", project).group(1)
    for arguments in ["version"], ["--version"]:
        done = skein(*arguments)
        assert (done.returncode, done.stdout) == (0, f"skein {version}\n")


def test_output_that_cannot_be_written_is_an_io_error(binary):
    with open("/dev/full", "w") as full:
        done = subprocess.run([binary, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 74
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_usage_options_and_exit_codes(skein, command):
    done = skein(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: skein {command}")
    for part in "\noptions:\n", "\nexit codes:\n", "--help", "\n  64 ":
        assert part in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal_of_80_columns(skein, command):
    lines = skein(command, "--help").stdout.split("examples:")[0].splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("usage:")] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_option_is_a_usage_error(skein, command):
    done = skein(command, "--no-such-option")
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == (f"skein {command}: unknown option '--no-such-option'\n"
                           f"try 'skein {command} --help'\n")
