"""A tenant's months: split at the boundary in its time zone, and together all that its meetings had."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b3lb.db.accounting import begin_months, load_accounts, load_due_months, raise_peaks, write_accounts
from b3lb.db.engine import count_statements, transaction
from b3lb.db.leases import Lease
from b3lb.db.meetings import close_meetings, open_meetings
from b3lb.db.node_states import write_states
from b3lb.db.ticks import heartbeat
from b3lb.meetings.model import MeetingChanges
from tests.integration.database_farm import Farm
from tests.integration.database_meetings import Meetings
from tests.integration.meetings_stage import CLEAN

pytestmark = pytest.mark.integration

LEASE = Lease(name="l", holder="pod", token=1)
MINUTE = timedelta(minutes=1)
MILLISECOND = timedelta(milliseconds=1)
Month = tuple[int, int]
"""Participants' and meetings' milliseconds."""


class Ticks:
    """Ticks of the core queue in which both nodes answer, at any time."""

    def __init__(self, farm: Farm, zone: str = "Etc/UTC") -> None:
        self.farm = farm
        self.meetings = Meetings(farm)
        self.begin(zone)

    def begin(self, zone: str) -> None:
        """Begin with nothing seen yet, and tenants in this time zone."""
        self.farm.run(str(CLEAN))
        self.farm.run("UPDATE tenants SET time_zone = :zone", zone=zone)
        farm = self.farm
        with transaction(farm.engine, timeout_seconds=10) as connection:
            write_states(connection, [(node_id, farm.state(), 1.0, None) for node_id in self.meetings.nodes.values()])

    def tick(
        self,
        at: datetime,
        attendees: Mapping[str, int] | None = None,
        *,
        ended: Sequence[str] = (),
        last: datetime | None = None,
        listed: bool = True,
    ) -> None:
        """Do the tick due at ``at``: meetings with so many attendees are written, others end as of ``last``."""
        writes = tuple(
            self.meetings.meeting(name, *[f"{name} {at} {n}" for n in range(count)], created_at=at, first_seen_at=at)
            for name, count in (attendees or {}).items()
        )
        changes = MeetingChanges(writes=writes, ended={self.meetings.id(name): last or at for name in ended})
        nodes = self.meetings.nodes.values() if listed else ()
        with transaction(self.farm.engine, timeout_seconds=10) as connection:
            due = load_due_months(connection, "default", at)
            close_meetings(connection, changes)
            begin_months(connection, due, listed=nodes, at=at)
            open_meetings(connection, changes, at=at)
            raise_peaks(connection, "default")
            heartbeat(connection, "default", "check-nodes", tick_at=at, started_at=at, lease=LEASE, summary={})

    def account(self) -> None:
        """Do what the statistics queue does."""
        with transaction(self.farm.engine, timeout_seconds=10) as connection:
            write_accounts(connection, load_accounts(connection, "default"))

    def months(self) -> dict[date, Month]:
        rows = self.farm.rows("SELECT month, participant_milliseconds, meeting_milliseconds FROM accounting")
        return {month: (participants, meetings) for month, participants, meetings in rows}

    def peaks(self) -> list[tuple[int, int]]:
        return [
            (attendees, meetings)
            for attendees, meetings in self.farm.rows(
                "SELECT peak_attendees, peak_meetings FROM accounting ORDER BY month"
            )
        ]


@pytest.fixture
def ticks(farm: Farm) -> Ticks:
    return Ticks(farm)


def milliseconds(minutes: int) -> int:
    return minutes * 60_000


def test_a_meeting_over_the_end_of_a_month_counts_in_both_by_the_tenants_time_zone(farm: Farm) -> None:
    ticks = Ticks(farm, "Europe/Berlin")
    # Midnight of 1 November is 23:00 UTC there: summer time is over.
    begin = datetime(2026, 10, 31, 22, 50, tzinfo=UTC)
    ticks.tick(begin, {"m-1": 3})
    ticks.account()
    ticks.tick(begin + 9 * MINUTE)
    ticks.account()
    ticks.tick(begin + 20 * MINUTE, {"m-1": 5})
    ticks.tick(begin + 30 * MINUTE, ended=["m-1"], last=begin + 25 * MINUTE)
    ticks.account()
    assert ticks.months() == {
        date(2026, 10, 1): (milliseconds(3 * 10), milliseconds(10)),
        date(2026, 11, 1): (milliseconds(3 * 10 + 5 * 5), milliseconds(15)),
    }
    assert ticks.peaks() == [(3, 1), (5, 1)]


@pytest.mark.parametrize(
    ("zone", "at", "month", "started_at"),
    [
        ("Etc/UTC", datetime(2026, 10, 31, 23, 30, tzinfo=UTC), date(2026, 10, 1), datetime(2026, 10, 1, tzinfo=UTC)),
        # Summer time began on 28 March.
        (
            "Europe/Berlin",
            datetime(2027, 3, 31, 22, tzinfo=UTC),
            date(2027, 4, 1),
            datetime(2027, 3, 31, 22, tzinfo=UTC),
        ),
        (
            "Europe/Berlin",
            datetime(2027, 3, 31, 21, 59, 59, tzinfo=UTC),
            date(2027, 3, 1),
            datetime(2027, 2, 28, 23, tzinfo=UTC),
        ),
        (
            "Pacific/Kiritimati",
            datetime(2026, 10, 31, 10, tzinfo=UTC),
            date(2026, 11, 1),
            datetime(2026, 10, 31, 10, tzinfo=UTC),
        ),
    ],
)
def test_a_month_begins_at_its_first_midnight_of_the_time_zone(
    farm: Farm, zone: str, at: datetime, month: date, started_at: datetime
) -> None:
    Ticks(farm, zone)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        assert [(start.month, start.started_at) for start in load_due_months(connection, "default", at)] == [
            (month, started_at)
        ]


def test_time_in_which_nothing_was_seen_does_not_count(farm: Farm) -> None:
    ticks = Ticks(farm)
    begin = datetime(2026, 11, 10, 8, tzinfo=UTC)
    ticks.tick(begin, {"m-1": 4})
    ticks.tick(begin + MINUTE)
    ticks.meetings.lose(ticks.meetings.id(), at=begin + MINUTE)
    ticks.account()
    assert ticks.months() == {date(2026, 11, 1): (milliseconds(4), milliseconds(1))}
    ticks.meetings.write(found=[ticks.meetings.id()], at=begin + 60 * MINUTE)
    ticks.tick(begin + 61 * MINUTE)
    ticks.account()
    assert ticks.months() == {date(2026, 11, 1): (milliseconds(4 + 4), milliseconds(61))}


def test_a_meeting_that_ends_comes_back_and_ends_again_counts_once(farm: Farm) -> None:
    ticks = Ticks(farm)
    begin = datetime(2026, 11, 10, 8, tzinfo=UTC)
    ticks.tick(begin, {"m-1": 2})
    for _ in range(2):
        ticks.tick(begin + 10 * MINUTE, ended=["m-1"])
    assert ticks.farm.rows("SELECT participant_milliseconds FROM counters") == [(milliseconds(20),)]
    ticks.tick(begin + 20 * MINUTE, {"m-1": 3})
    ticks.tick(begin + 30 * MINUTE, ended=["m-1"])
    ticks.account()
    assert ticks.months() == {date(2026, 11, 1): (milliseconds(20 + 30), milliseconds(30))}


def test_a_month_that_was_closed_meanwhile_keeps_its_last_numbers(farm: Farm) -> None:
    ticks = Ticks(farm)
    begin = datetime(2026, 11, 30, 23, 50, tzinfo=UTC)
    ticks.tick(begin, {"m-1": 2})
    ticks.tick(begin + 5 * MINUTE)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        late = load_accounts(connection, "default")
    ticks.tick(begin + 15 * MINUTE)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        assert write_accounts(connection, late) == 0
    assert ticks.months()[date(2026, 11, 1)] == (milliseconds(2 * 10), milliseconds(10))


def test_what_ran_before_the_first_month_was_begun_does_not_count(farm: Farm) -> None:
    ticks = Ticks(farm)
    begin = datetime(2026, 11, 10, 8, tzinfo=UTC)
    ticks.meetings.write(ticks.meetings.meeting("m-1", "anna", "ben", created_at=begin), at=begin)
    farm.run("UPDATE meetings SET attendees_since = NULL")
    ticks.tick(begin + 60 * MINUTE)
    ticks.tick(begin + 61 * MINUTE)
    ticks.account()
    assert ticks.months()[date(2026, 11, 1)][0] == milliseconds(2)


def test_months_begin_and_peaks_rise_by_as_many_statements_whatever_the_number_of_tenants(farm: Farm) -> None:
    ticks = Ticks(farm)
    farm.fill_tenants(
        [farm.tenant(f"t{letter}") for letter in "abcdefghij"],
        [farm.api_secret(f"t{letter}", 1) for letter in "abcdefghij"],
    )
    ticks.tick(datetime(2026, 10, 10, tzinfo=UTC), {"m-1": 1})
    with (
        transaction(farm.engine, timeout_seconds=10) as connection,
        count_statements(farm.engine) as counter,
    ):
        at = datetime(2026, 11, 1, tzinfo=UTC)
        due = load_due_months(connection, "default", at)
        assert begin_months(connection, due, listed=ticks.meetings.nodes.values(), at=at) == len(due) == 10
        raise_peaks(connection, "default")
        write_accounts(connection, load_accounts(connection, "default"))
    assert counter.count <= 7


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "Europe/Berlin; DROP"])
def test_the_database_refuses_a_time_zone_that_it_does_not_know(farm: Farm, zone: str) -> None:
    with pytest.raises(sa.exc.DataError, match="time zone"):
        farm.fill_tenants([farm.tenant(time_zone=zone)], [])


def boundaries(zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """Return the beginnings of the months between two points in time."""
    found: list[datetime] = []
    year, month = begin.astimezone(ZoneInfo(zone)).year, begin.astimezone(ZoneInfo(zone)).month
    while True:
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        moment = datetime(year, month, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        if moment > end:
            return found
        found.append(moment)


def month_of(moment: datetime, zone: str) -> date:
    return moment.astimezone(ZoneInfo(zone)).date().replace(day=1)


steps = st.lists(st.tuples(st.integers(1, 20 * 86_400_000), st.integers(0, 9), st.booleans()), min_size=3, max_size=12)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(zone=st.sampled_from(["Etc/UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"]), steps=steps)
def test_each_month_has_what_was_in_it_to_the_millisecond(
    ticks: Ticks, zone: str, steps: list[tuple[int, int, bool]]
) -> None:
    ticks.begin(zone)
    begin = at = datetime(2026, 9, 20, 12, 0, 0, 123_000, tzinfo=UTC)
    attendees = 2
    ticks.tick(at, {"m-1": attendees})
    expected: dict[date, int] = {}
    for pause, count, accounted in steps:
        before, at = at, at + pause * MILLISECOND
        for start, end in zip(
            [before, *boundaries(zone, before, at)], [*boundaries(zone, before, at), at], strict=True
        ):
            month = month_of(start, zone)
            expected[month] = expected.get(month, 0) + attendees * ((end - start) // MILLISECOND)
        ticks.tick(at, {"m-1": count})
        attendees = count
        if accounted:
            ticks.account()
    ticks.account()
    found = {month: numbers[0] for month, numbers in ticks.months().items()}
    assert {month: number for month, number in found.items() if number} == {m: n for m, n in expected.items() if n}
    assert sum(numbers[1] for numbers in ticks.months().values()) == (at - begin) // MILLISECOND
