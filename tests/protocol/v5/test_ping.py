# SPDX-License-Identifier: Apache-2.0
"""PINGREQ and PINGRESP (3.12, 3.13)."""

import pytest

from kit import PINGRESP, V5, pingreq

MALFORMED = 0x81


@pytest.mark.rule("v5 MQTT-3.12.4-1")
def test_pingreq_is_answered_by_pingresp(connect):
    alice = connect(V5)
    alice.send(pingreq())
    alice.expect(PINGRESP)


@pytest.mark.rule("v5 MQTT-3.12.4-1")
def test_every_pingreq_of_many_in_one_write_is_answered(connect):
    alice = connect(V5)
    alice.send(*[pingreq()] * 500)
    for _ in range(500):
        alice.expect(PINGRESP)
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.12.4-1")
def test_pingreq_with_a_body_is_malformed(connect):
    alice = connect(V5)
    alice.send(pingreq(tail=b"\0"))
    alice.expect_closed(MALFORMED)
