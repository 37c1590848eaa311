# SPDX-License-Identifier: Apache-2.0
"""PINGREQ and PINGRESP."""

import pytest

from kit import PINGRESP, V311, pingreq


@pytest.mark.rule("v3.1.1 MQTT-3.12.4-1")
def test_pingreq_is_answered_by_pingresp(connect):
    alice = connect(V311)
    alice.send(pingreq())
    alice.expect(PINGRESP)
