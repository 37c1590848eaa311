# SPDX-License-Identifier: Apache-2.0
"""MQTT.js over WebSocket: scripts as in a browser, in mqtt_js/."""

import os
import pathlib
import shutil
import subprocess

import pytest

from kit import patience

HERE = pathlib.Path(__file__).resolve().parent
MODULES = "/usr/share/nodejs"

pytestmark = [
    pytest.mark.skipif(not shutil.which("node"), reason="nodejs is not installed"),
    pytest.mark.skipif(not pathlib.Path(MODULES, "mqtt").exists(),
                       reason="node-mqtt is not installed"),
]


@pytest.mark.parametrize("version", ["4", "5"])
@pytest.mark.parametrize("script", ["conversation", "will"])
def test_script(broker, topic, script, version):
    done = subprocess.run(
        ["node", HERE / "mqtt_js" / f"{script}.js", f"ws://127.0.0.1:{broker.ws_port}/mqtt",
         version, topic], capture_output=True, text=True, timeout=6 * patience(),
        env={**os.environ, "NODE_PATH": MODULES})
    assert done.returncode == 0, done.stderr
