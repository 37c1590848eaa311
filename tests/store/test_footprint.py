# SPDX-License-Identifier: Apache-2.0
"""What a broker without clients keeps in memory, with its store open."""

import pathlib
import re
import time

from kit import patience

GIVEN_BACK_KB = 4096  # the engine alone touches more of its code to start


def memory_kb(broker, name):
    status = pathlib.Path(f"/proc/{broker.process.pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status).group(1))


def test_code_that_only_starting_needed_is_given_back(own_broker):
    broker = own_broker()
    deadline = time.monotonic() + patience()
    while memory_kb(broker, "VmHWM") - memory_kb(broker, "VmRSS") < GIVEN_BACK_KB:
        assert time.monotonic() < deadline
        time.sleep(0.01)
