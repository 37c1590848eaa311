# SPDX-License-Identifier: Apache-2.0
"""Paho C: programs as its users write them, in paho_c/, compiled here."""

import pathlib
import shutil
import subprocess

import pytest

from kit import patience

HERE = pathlib.Path(__file__).resolve().parent

pytestmark = [
    pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler"),
    pytest.mark.skipif(not pathlib.Path("/usr/include/MQTTClient.h").exists(),
                       reason="libpaho-mqtt-dev is not installed"),
    pytest.mark.xdist_group("paho_c"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """program("blocking"): the path of that program, compiled once."""
    folder = tmp_path_factory.mktemp("paho_c")

    def compiled(name, library):
        path = folder / name
        if not path.exists():
            source = HERE / "paho_c" / f"{name}.c"
            command = ["cc", "-Wall", "-Werror", "-o", path, source, f"-l{library}"]
            subprocess.run(command, check=True)
        return path
    return compiled


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=6 * patience())
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=["tcp", "ws"])
def uri(request, broker):
    port = broker.port if request.param == "tcp" else broker.ws_port
    return f"{request.param}://127.0.0.1:{port}"


@pytest.mark.parametrize("version", ["3", "4", "5"])
def test_blocking_client_gets_back_what_it_sends(program, uri, topic, client_id, version):
    run(program("blocking", "paho-mqtt3c"), uri, version, topic, client_id)


def test_asynchronous_client_has_a_hundred_messages_in_flight(program, uri, topic):
    run(program("async", "paho-mqtt3a"), uri, topic)
