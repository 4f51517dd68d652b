"""The header Date tells how far a node's clock is ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from b3lb.bbb.clock_offset import clock_offset

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Sun, 01 Mar 2026 12:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:00:01 GMT", 0),
        ("Sun, 01 Mar 2026 11:59:58 GMT", 0),
        ("Sun, 01 Mar 2026 12:00:10 GMT", 10.5),
        ("Sun, 01 Mar 2026 11:59:00 GMT", -59.5),
        ("Sunday, 01-Mar-26 12:01:00 GMT", 60.5),
        ("Sun, 01 Mar 2026 13:00:00 +0100", 0),
        ("Sun, 01 Mar 2026 12:01:00 -0000", 60.5),
        ("Sat, 28 Feb 2026 12:00:00 GMT", -86_399.5),
        ("", 0),
        ("now", 0),
        ("Sat, 01 Mar 1800 12:00:00 GMT", 0),
        ("Sun, 01 Mar 9999 12:00:00 GMT", 0),
        ("Sun, 99 Mar 2026 12:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:00:00 +9999", 0),
        ("Sun, 01 Mar 99999999999999999999 12:00:00 GMT", 0),
        ("9" * 100_000, 0),
        ("\x00, (((", 0),
    ],
)
def test_it_is_zero_within_the_resolution_and_if_there_is_no_date(date: str, seconds: float) -> None:
    assert clock_offset(date, NOW) == timedelta(seconds=seconds)


def test_a_clock_that_starts_at_1970_is_still_a_clock() -> None:
    assert clock_offset("Thu, 01 Jan 1970 00:01:00 GMT", NOW).days < -20_000
