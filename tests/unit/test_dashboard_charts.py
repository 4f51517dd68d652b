"""Geometry of the charts, and numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3lb.dashboard.charts import BAR_HEIGHT, LINE_HEIGHT, WIDTH, Hour, bar_chart, fill, line_chart, merged
from b3lb.dashboard.formats import ago, share, span, whole

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
_COUNTS = st.none() | st.integers(min_value=0, max_value=10**9)
_HOURS = st.lists(
    st.builds(Hour, st.just(NOON), _COUNTS, _COUNTS, st.none() | st.floats(min_value=0, max_value=1e6)), max_size=30
)


def test_what_succeeded_goes_up_and_what_failed_goes_down_by_the_same_scale() -> None:
    chart = bar_chart([Hour(NOON, 30, 0), Hour(NOON + timedelta(hours=1), 15, 15)])
    first, second = chart.bars
    assert (first.succeeded, first.failed) == (42.0, 0.0)
    assert (second.succeeded, second.failed) == (21.0, 21.0)
    assert (first.top, second.top) == (0.0, 21.0)
    assert second.x + chart.bar_width == WIDTH - 1
    assert second.title == "13:00 UTC: 15 succeeded, 15 failed"
    assert chart.words == "45 succeeded, 15 failed in the last 24 hours (75 % succeeded)"


def test_one_failure_among_thousands_is_seen() -> None:
    (bar,) = bar_chart([Hour(NOON, 100_000, 1)]).bars
    assert bar.failed == 2.0


def test_nothing_is_a_line_and_words() -> None:
    chart = bar_chart([])
    assert (chart.bars, chart.words) == ((), "nothing ran in the last 24 hours")


@settings(max_examples=30)
@given(_HOURS)
def test_no_bar_leaves_the_chart(hours: list[Hour]) -> None:
    chart = bar_chart(hours)
    assert 0 <= chart.axis < BAR_HEIGHT
    for bar in chart.bars:
        assert 0 <= bar.x < WIDTH
        assert bar.top >= 0
        assert bar.top + bar.succeeded <= chart.axis + 0.2
        assert chart.axis + 1 + bar.failed <= BAR_HEIGHT + 0.2


@settings(max_examples=30)
@given(_HOURS)
def test_no_point_leaves_the_chart(hours: list[Hour]) -> None:
    for x, y, _ in line_chart(hours).dots:
        assert 0 <= x <= WIDTH
        assert 0 <= y <= LINE_HEIGHT


def test_an_hour_without_runs_is_a_gap_in_the_line() -> None:
    seconds = [1.0, 2.0, None, 4.0, 2.0, None, 3.0]
    chart = line_chart([Hour(NOON, seconds=value) for value in seconds])
    assert [len(points.split()) for points in chart.lines] == [2, 2]
    assert len(chart.dots) == 5
    assert chart.words == "between 1.0 s and 4.0 s"


def test_hours_of_several_tasks_add_up_from_the_end() -> None:
    older = Hour(NOON - timedelta(hours=1), 1, 0)
    assert merged([[older, Hour(NOON, 2, 1)], [Hour(NOON, 3, None)]]) == [older, Hour(NOON, 5, 1)]


@pytest.mark.parametrize(("value", "most", "expected"), [(5, 10, 0.5), (11, 10, 1.0), (None, 10, 0.0), (1, 0, 0.0)])
def test_a_share_of_a_bar_is_between_nothing_and_all(value: float | None, most: float, expected: float) -> None:
    assert fill(value, most) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\u2013"),
        (0, "0 s"),
        (0.1534, "153 ms"),
        (4.24, "4.2 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (1500, "25 min"),
        (7260, "2 h 1 min"),
        (90000, "1 d 1 h"),
        (-3, "0 s"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("succeeded", "failed", "text"),
    [
        (0, 0, "\u2013"),
        (None, 1, "\u2013"),
        (5, 0, "100 %"),
        (99_999, 1, "99.9 %"),
        (1, 99_999, "0.1 %"),
        (0, 3, "0 %"),
    ],
)
def test_a_share_is_rounded_to_neither_all_nor_nothing(succeeded: int | None, failed: int, text: str) -> None:
    assert share(succeeded, failed) == text


def test_times_and_numbers_are_for_people() -> None:
    assert ago(NOON - timedelta(seconds=5), NOON) == "5 s ago"
    assert ago(NOON + timedelta(minutes=3), NOON) == "in 3 min"
    assert ago(NOON, NOON) == "now"
    assert ago(None, NOON) == "\u2013"
    assert whole(12345) == "12\u202f345"
