"""When the window of a queue is open, through nights in which clocks are set."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.window import Window, parse_window

MINUTE = timedelta(minutes=1)
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["Etc/UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"]

times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
windows = st.builds(Window, times, times, st.sampled_from(ZONES).map(ZoneInfo)).filter(
    lambda window: window.start != window.end
)
moments = st.builds(
    lambda seconds: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds), st.integers(0, 6 * 365 * 86400)
)


def berlin(text: str) -> datetime:
    """Return a moment by Berlin's clock; of an hour that comes twice the first."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("clock", "is_open"), [("19:59", False), ("20:00", True), ("23:59", True), ("00:00", True), ("06:00", False)]
)
def test_a_window_over_midnight_is_open_from_its_start_until_before_its_end(clock: str, is_open: bool) -> None:
    window = parse_window("20:00", "06:00", "Europe/Berlin")
    assert window.is_open(berlin(f"2026-11-23T{clock}")) == is_open


def test_a_closed_window_says_when_it_opens_and_an_open_one_that_it_is() -> None:
    window = parse_window("20:00", "06:00", "Europe/Berlin")
    assert window.opens_at(berlin("2026-11-23T12:34:56")) == datetime(2026, 11, 23, 19, tzinfo=UTC)
    assert window.opens_at(berlin("2026-11-24T03:00")) is None


@pytest.mark.parametrize(
    ("start", "end", "before", "opens"),
    [
        # 2026-03-29: after 01:59 it is 03:00, one hour nearer to UTC's noon.
        ("20:00", "06:00", "2026-03-29T06:00", datetime(2026, 3, 29, 18, tzinfo=UTC)),
        ("04:00", "06:00", "2026-03-29T00:00", datetime(2026, 3, 29, 2, tzinfo=UTC)),
        ("02:30", "06:00", "2026-03-29T00:00", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("02:10", "02:50", "2026-03-29T00:00", datetime(2026, 3, 30, 0, 10, tzinfo=UTC)),
        # 2026-10-25: after 02:59 it is 02:00 once more.
        ("20:00", "06:00", "2026-10-25T06:00", datetime(2026, 10, 25, 19, tzinfo=UTC)),
        ("04:00", "06:00", "2026-10-25T00:00", datetime(2026, 10, 25, 3, tzinfo=UTC)),
        ("02:30", "06:00", "2026-10-25T00:00", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
    ],
)
def test_in_nights_in_which_the_clock_is_set_the_clock_on_the_wall_counts(
    start: str, end: str, before: str, opens: datetime
) -> None:
    assert parse_window(start, end, "Europe/Berlin").opens_at(berlin(before)) == opens


@given(windows, moments)
def test_before_the_next_change_the_window_stays_as_it_is_and_then_is_otherwise(
    window: Window, moment: datetime
) -> None:
    change, now = window.next_change(moment), window.is_open(moment)
    assert moment < change <= moment + timedelta(days=2, hours=1)
    assert (change.second, change.microsecond) == (0, 0)
    assert window.is_open(change) != now
    assert window.is_open(change - timedelta(microseconds=1)) == now


@given(windows, moments)
def test_a_window_is_open_exactly_when_its_opposite_is_closed(window: Window, moment: datetime) -> None:
    assert window.is_open(moment) != Window(window.end, window.start, window.zone).is_open(moment)


@given(windows, st.dates(date(2024, 1, 1), date(2030, 1, 1)))
def test_where_no_clock_is_set_it_is_open_on_each_day_for_as_long_as_it_says(window: Window, day: date) -> None:
    utc = Window(window.start, window.end)
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    minutes = (begin + number * MINUTE for number in range(24 * 60))
    length = (window.end.hour * 60 + window.end.minute - window.start.hour * 60 - window.start.minute) % (24 * 60)
    assert sum(map(utc.is_open, minutes)) == length


@pytest.mark.parametrize(
    ("start", "end", "zone", "words"),
    [
        ("20:00", "20:00", None, "a window that ends when it starts is none"),
        ("24:00", "06:00", None, "does not match"),
        ("20:00", "06:00", "Mars/Olympus", "there is no time zone 'Mars/Olympus'"),
    ],
)
def test_what_is_no_window_is_refused(start: str, end: str, zone: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_window(start, end, zone)
