# SPDX-License-Identifier: Apache-2.0
"""The whole harness against a broker that nobody kills: whatever it reported would be its own fault."""

from .main import one_history


def test_where_nothing_dies_the_harness_finds_nothing_wrong():
    result = one_history("calm", "calm", 6)
    assert result.violations == []
    assert result.messages > 100 and result.deliveries > 5 * result.messages
    assert result.wills > 5 and result.inspections > 5
