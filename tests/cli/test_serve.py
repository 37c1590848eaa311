# SPDX-License-Identifier: Apache-2.0
"""`skein serve`: ports, the data directory, and its end."""

import os
import signal
import socket
import stat
import subprocess

import pytest

from kit import V311
from kit.broker import free_port


@pytest.fixture
def taken():
    """A port on 127.0.0.1 that somebody listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def assert_cannot_listen(done, host, port):
    """Exit code 69, and the one address it was that could not be had."""
    assert done.returncode == 69
    failures = [line for line in done.stderr.splitlines() if "broker.cannot_listen" in line]
    assert len(failures) == 1
    assert f"host={host}" in failures[0] and f"port={port}" in failures[0]


def test_port_that_is_taken_is_named(skein, tmp_path, taken):
    done = skein("serve", "-p", taken, "-d", tmp_path / "data")
    assert_cannot_listen(done, "127.0.0.1", taken)
    assert "taken by another process" in done.stderr


def test_one_of_several_ports_that_is_taken_is_named(skein, tmp_path, taken):
    done = skein("serve", "-d", tmp_path / "data", "--set",
                 f"listeners=[{{address: 127.0.0.1:{free_port()}}}, {{address: 127.0.0.1:{taken}}}]")
    assert_cannot_listen(done, "127.0.0.1", taken)


def test_port_of_another_broker_is_taken(skein, own_broker, tmp_path):
    running = own_broker()
    done = skein("serve", "-p", running.port, "-d", tmp_path / "data")
    assert_cannot_listen(done, "127.0.0.1", running.port)


def test_address_that_is_not_of_this_machine_is_named(skein, tmp_path):
    done = skein("serve", "-d", tmp_path / "data", "--set", "allow_anonymous=true",
                 "--set", "listeners=[{address: 192.0.2.1:1883}]")
    assert_cannot_listen(done, "192.0.2.1", 1883)


def test_data_directory_is_made_for_its_user_alone(own_broker):
    running = own_broker()
    assert stat.S_IMODE((running.folder / "data").stat().st_mode) == 0o700


def test_data_directory_without_a_parent_is_an_io_error(skein, tmp_path):
    folder = tmp_path / "none/data"
    done = skein("serve", "-p", "0", "-d", folder)
    assert done.returncode == 74
    assert done.stderr == (f"skein serve: data directory {folder} cannot be made: "
                           "No such file or directory; -d names another one\n")


def test_data_directory_that_is_a_file_is_an_io_error(skein, tmp_path):
    (tmp_path / "data").write_text("")
    done = skein("serve", "-p", "0", "-d", tmp_path / "data")
    assert done.returncode == 74
    assert "cannot be written to: Not a directory" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_data_directory_that_is_read_only_is_an_io_error(skein, tmp_path):
    (tmp_path / "data").mkdir(mode=0o500)
    done = skein("serve", "-p", "0", "-d", tmp_path / "data")
    assert done.returncode == 74
    assert "cannot be written to: Permission denied" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_0(own_broker, number):
    running = own_broker()
    running.process.send_signal(number)
    assert running.process.wait(20) == 0
    running.stopped = True


def test_sighup_is_logged_and_changes_nothing(own_broker):
    running = own_broker()
    running.process.send_signal(signal.SIGHUP)
    running.wait_for_log("broker.reload_ignored")
    client = running.client(V311)
    client.connect()
    client.close()


def test_port_option_serves_on_that_port_alone(binary, tmp_path):
    port, other = free_port(), free_port()
    process = subprocess.Popen(
        [binary, "serve", "-p", str(port), "-d", tmp_path / "data",
         "--set", f"listeners=[{{address: 127.0.0.1:{other}}}]"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:  # until it is ready
            if "broker.started" in line:
                break
        socket.create_connection(("127.0.0.1", port), 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", other), 5)
    finally:
        process.terminate()
        process.stderr.close()
        assert process.wait(20) == 0
