# SPDX-License-Identifier: Apache-2.0
"""`skein ctl`: what it prints, and its exit codes."""

import json
import os
import shutil
import subprocess

import pytest

from kit import V5, V311, unique


@pytest.fixture
def ctl(binary, broker):
    """ctl("clients", "limit=2"): runs it on the shared broker; gives returncode, stdout, stderr."""
    def run(*words, data_dir=broker.folder / "data", **options):
        return subprocess.run([binary, "ctl", "-d", data_dir, *words], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60, **options)
    return run


def test_answer_is_names_and_values(ctl, broker):
    done = ctl("broker")
    assert done.returncode == 0, done.stderr
    assert f"\npid              {broker.process.pid}\n" in done.stdout
    assert f"127.0.0.1:{broker.port}  tcp" in done.stdout


def test_answer_is_json_for_scripts(ctl):
    done = ctl("--json", "ready")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"status": "ready"})


def test_any_resource_can_be_read(ctl):
    assert json.loads(ctl("get", "/v1/openapi.json").stdout)["openapi"] == "3.1.0"
    assert ctl("get", "/v1/nothing").returncode == 66


def test_client_with_an_unusual_name_is_found(ctl, connect):
    name = unique("a/b ?&=%#\u00e9")
    connect(V311, name)
    done = ctl("client", name)
    assert done.returncode == 0, done.stderr
    assert name in done.stdout


def test_control_characters_do_not_reach_the_terminal(ctl, connect):
    name = unique("\x1b[2J")
    connect(V5, name)
    done = ctl("client", name)
    assert done.returncode == 0 and "\x1b" not in done.stdout
    assert "\\x1B[2J" in done.stdout


def test_list_says_where_it_goes_on(ctl, connect):
    clients = [connect(V311) for _ in range(3)]
    done = ctl("clients", "limit=1")
    assert len(done.stdout.splitlines()) == 2
    after = done.stderr.rsplit(" ", 1)[1].strip()
    assert after.startswith("after=")
    assert ctl("clients", "limit=1", after).returncode == 0
    assert len(clients) == 3


def test_disconnect_and_delete(ctl, connect):
    name = unique()
    client = connect(V5, name, properties={"session_expiry_interval": 99})
    assert ctl("disconnect", name).returncode == 0
    client.expect_closed(0x98)
    assert ctl("delete-session", name).returncode == 0
    assert ctl("client", name).returncode == 66


def test_relative_path_is_of_the_folder_where_it_was_typed(ctl, tmp_path):
    done = ctl("backup", ".", cwd=tmp_path)
    assert done.returncode == 70  # there is nothing to copy, or the folder exists: not 64
    assert done.stderr.startswith("skein ctl: ")


@pytest.mark.parametrize("words, says", [
    ([], "commands:"),
    (["clints"], "did you mean clients?"),
    (["client"], "id is missing"),
    (["health", "x"], "unexpected word 'x'"),
    (["clients", "limit=0"], "from 1 to"),
    (["get", "x"], "one path"),
    (["metrics", "a", "b"], "unexpected word 'b'"),
])
def test_wrong_line_is_explained(ctl, words, says):
    done = ctl(*words)
    assert done.returncode == 64
    assert says in done.stderr


def test_no_broker_on_the_directory_is_said(ctl, own_broker, tmp_path):
    done = ctl("health", data_dir=tmp_path)
    assert done.returncode == 69
    assert f"no broker runs on the data directory {tmp_path}" in done.stderr
    broker = own_broker()
    broker.kill()
    assert ctl("health", data_dir=broker.folder / "data").returncode == 69
    broker.start()
    assert ctl("health", data_dir=broker.folder / "data").returncode == 0


def test_socket_of_another_user_is_refused(binary, own_broker):
    """As nobody, when the tests run as root; else by the mode of the folder."""
    broker = own_broker()
    data = broker.folder / "data"
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    os.chmod(broker.folder, 0o755)
    os.chmod(data, 0o755)
    program = shutil.copy(binary, broker.folder)  # the checkout may be closed to others
    done = subprocess.run([program, "ctl", "-d", data, "health"], capture_output=True, text=True,
                          user=65534, group=65534, extra_groups=[], timeout=60)
    os.chmod(data, 0o700)
    assert done.returncode == 77, done.stderr
    assert "only the user" in done.stderr
