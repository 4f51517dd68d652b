"""Schedules are due when Kubernetes' CronJob controller starts a Job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from b3lb.schedule import parse_schedule

NOON = datetime(2026, 3, 4, 12, 0, 30, tzinfo=UTC)  # a Wednesday


def latest(text: str, number: int = 1, *, zone: str | None = None, now: datetime = NOON) -> list[str]:
    slots = islice(parse_schedule(text, zone).before(now), number)
    return [f"{slot:%Y-%m-%d %H:%M}" for slot in slots]


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("* * * * *", ["2026-03-04 12:00", "2026-03-04 11:59"]),
        ("*/5 * * * *", ["2026-03-04 12:00", "2026-03-04 11:55"]),
        ("15 3 * * *", ["2026-03-04 03:15", "2026-03-03 03:15"]),
        ("@daily", ["2026-03-04 00:00", "2026-03-03 00:00"]),
        ("0 9-17/4 * * MON-FRI", ["2026-03-04 09:00", "2026-03-03 17:00"]),
        ("0 0 1 jan ?", ["2026-01-01 00:00", "2025-01-01 00:00"]),
        ("0 0 29 2 *", ["2024-02-29 00:00", "2020-02-29 00:00"]),
        ("0 0 1 * 0", ["2026-03-01 00:00", "2026-02-22 00:00"]),
        ("30/10 11 * * *", ["2026-03-04 11:50", "2026-03-04 11:40"]),
    ],
)
def test_the_latest_slots_are_those_of_cron(text: str, slots: list[str]) -> None:
    assert latest(text, 2) == slots


def test_a_time_zone_moves_the_slots_and_a_skipped_hour_has_none() -> None:
    assert latest("15 3 * * *", zone="Europe/Berlin") == ["2026-03-04 02:15"]
    after = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
    assert latest("30 2 * * *", 2, zone="Europe/Berlin", now=after) == ["2026-03-28 01:30", "2026-03-27 01:30"]


@pytest.mark.parametrize(
    ("text", "zone", "slots"),
    [
        ("* * * * *", None, ["2026-03-04 12:01", "2026-03-04 12:02"]),
        ("0 9-17/4 * * MON-FRI", None, ["2026-03-04 13:00", "2026-03-04 17:00"]),
        ("0 0 29 2 *", None, ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("15 3 * * *", "Europe/Berlin", ["2026-03-05 02:15", "2026-03-06 02:15"]),
        ("30 2 29-30 3 *", "Europe/Berlin", ["2026-03-30 00:30", "2027-03-29 00:30"]),
    ],
)
def test_the_next_slots_come_after_the_moment_in_order(text: str, zone: str | None, slots: list[str]) -> None:
    found = islice(parse_schedule(text, zone).after(NOON), 2)
    assert [f"{slot:%Y-%m-%d %H:%M}" for slot in found] == slots


def test_a_slot_is_not_after_itself_and_a_schedule_that_is_never_due_has_none() -> None:
    at_noon = NOON.replace(second=0)
    assert next(parse_schedule("0 12 * * *").after(at_noon)) == at_noon + timedelta(days=1)
    assert next(parse_schedule("0 12 * * *").before(at_noon)) == at_noon
    assert list(parse_schedule("0 0 31 2 *").after(NOON)) == []


def test_a_period_is_the_longest_time_between_the_last_slots() -> None:
    assert parse_schedule("* * * * *").period(NOON) == timedelta(minutes=1)
    assert parse_schedule("0 9 * * 1-5").period(NOON) == timedelta(days=3)
    assert parse_schedule("0 0 31 2 *").period(NOON) is None


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *", "x * * * *"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"schedule|within|invalid literal"):
        parse_schedule(text)


def test_an_unknown_time_zone_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match="Mars/Base"):
        parse_schedule("* * * * *", "Mars/Base")


def test_the_next_slots_come_in_order_also_over_a_change_of_summer_time() -> None:
    schedule = parse_schedule("30 2 * * *", "Europe/Berlin")
    moment = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)
    # On the 29th there is no half past two.
    assert list(islice(schedule.after(moment), 2)) == [
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
        datetime(2026, 3, 31, 0, 30, tzinfo=UTC),
    ]
    assert next(parse_schedule("0 0 29 2 *").after(moment)) == datetime(2028, 2, 29, tzinfo=UTC)
    assert next(parse_schedule("0 0 31 2 *").after(moment), None) is None
