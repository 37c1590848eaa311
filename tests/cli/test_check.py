# SPDX-License-Identifier: Apache-2.0
"""`skein serve --check`: one line for a person, exit code 78, nothing started. The messages
themselves are held to their words in src/config/config_test.c."""

import pytest


def check(skein, *arguments, **options):
    return skein("serve", "--check", *arguments, **options)


def test_good_file_is_ok(skein, config_file):
    done = check(skein, "-c", config_file("limits:\n  connections: 10\n"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "configuration ok\n", "")


def test_check_makes_no_data_directory(skein, config_file, tmp_path):
    done = check(skein, "-c", config_file(""), "-d", tmp_path / "data")
    assert done.returncode == 0
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("text", "message"), [
    ("limits:\n  conections: 5\n",
     "2: limits.conections: unknown key; did you mean limits.connections?"),
    ("workers: many\n", "1: workers: expected a whole number from 0 to 256, got 'many'"),
    ("workers: 1000\n", "1: workers: expected a whole number from 0 to 256, got '1000'"),
    ("workers: [1]\n", "1: workers: expected a whole number from 0 to 256, got a list"),
    ("workers: 1\nworkers: 1\n", "2: workers: given twice, first in line 1"),
    ("listeners:\n- address: 127.0.0.1:1\n- address: 127.0.0.1:1\n",
     "3: listeners: 127.0.0.1:1 is listed twice: entries 0 and 1"),
    ("listeners:\n- address: 0.0.0.0:1\n",
     "2: listeners: 0.0.0.0:1 can be reached from other machines and has no authentication; to let "
     "anybody in, set allow_anonymous: true"),
], ids=["unknown key", "wrong type", "bad range", "list", "duplicate key", "duplicate listener",
        "not on loopback"])
def test_mistake_is_told_with_file_line_and_key(skein, config_file, text, message):
    path = config_file(text)
    done = check(skein, "-c", path)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == f"{path}:{message}\n"


def test_mistake_stops_serve_before_anything_is_made(skein, config_file, tmp_path):
    done = skein("serve", "-c", config_file("nonsense: 1\n"), "-d", tmp_path / "data")
    assert done.returncode == 78
    assert not (tmp_path / "data").exists()


def test_file_named_but_missing_is_an_error(skein, tmp_path):
    done = check(skein, "-c", tmp_path / "none.yaml")
    assert done.returncode == 78
    assert done.stderr == f"{tmp_path}/none.yaml: cannot be read: No such file or directory\n"


def test_file_that_is_a_folder_is_an_error(skein, tmp_path):
    done = check(skein, "-c", tmp_path)
    assert done.returncode == 78
    assert done.stderr == f"{tmp_path}: cannot be read: Is a directory\n"


def test_set_wins_over_the_file(skein, config_file):
    path = config_file("workers: many\n")
    assert check(skein, "-c", path, "--set", "workers=1").returncode == 78  # the file stays wrong
    path = config_file("listeners:\n- address: 0.0.0.0:1\n")
    assert check(skein, "-c", path, "--set", "allow_anonymous=true").returncode == 0


def test_mistake_in_set_is_told(skein, config_file):
    done = check(skein, "-c", config_file(""), "--set", "limits.conections=5")
    assert done.returncode == 78
    assert done.stderr == "--set: limits.conections: unknown key; did you mean limits.connections?\n"


def test_port_replaces_listeners_that_would_not_do(skein, config_file):
    path = config_file("listeners:\n- address: 0.0.0.0:1\n")
    assert check(skein, "-c", path, "-p", "1883").returncode == 0


@pytest.mark.parametrize("port", ["65536", "-1", "mqtt", ""])
def test_port_that_is_none_is_a_usage_error(skein, port):
    done = check(skein, "-p", port)
    assert done.returncode == 64
    assert done.stderr.startswith(f"skein serve: --port: '{port}' is not a number from 0 to 65535\n")


def test_word_without_an_option_is_a_usage_error(skein):
    done = check(skein, "skein.yaml")
    assert done.returncode == 64
    assert done.stderr.startswith("skein serve: unexpected word 'skein.yaml'\n")
