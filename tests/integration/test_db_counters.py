"""Counters: every meeting counts once and whole, whatever comes twice; limits and their hits."""

import dataclasses
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from b3lb.db.counters import (
    Closed,
    Limit,
    Refusal,
    SecretCounters,
    UnknownSecretError,
    admit_meeting,
    read_counters,
)
from b3lb.db.engine import count_statements, transaction
from b3lb.db.leases import LeaseLostError, acquire, fence
from b3lb.meetings.model import MeetingChanges
from tests.integration.database_farm import Farm
from tests.integration.database_meetings import BEGAN, LATER, Meetings

pytestmark = pytest.mark.integration

DAY = 24 * 3600 * 1000
TEN_MINUTES = 600_000


@pytest.fixture
def meetings(farm: Farm) -> Meetings:
    return Meetings(farm)


def counted(meetings: Meetings) -> dict[str, SecretCounters]:
    names = {number: name for name, number in meetings.secrets.items()}
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        return {names[number]: found for number, found in read_counters(connection, "default").items()}


def admit(meetings: Meetings, owner: str = "uni-001") -> Refusal | Closed | None:
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        return admit_meeting(connection, meetings.secrets[owner])


def hits(meetings: Meetings, owner: str = "uni-001") -> tuple[int, int]:
    found = counted(meetings)[owner]
    return found.meeting_limit_hits, found.attendee_limit_hits


def test_a_meeting_counts_when_it_ends_for_its_own_secret(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna", "ben"), meetings.meeting("m-2", "cleo", owner="uni-002"))
    assert (meetings.counters(), meetings.counters("uni-002")) == (None, None)
    meetings.end(meetings.id("m-1"))
    assert (meetings.counters(), meetings.counters("uni-002")) == ((2, 1, 1, TEN_MINUTES), None)


def test_a_meeting_that_ends_comes_back_and_ends_again_is_one_of_its_whole_duration(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna", "ben"))
    meetings.end(meetings.id())
    meetings.write(meetings.meeting("m-1", "ben", "cleo"))
    assert meetings.counters() == (2, 1, 1, TEN_MINUTES)
    meetings.end(meetings.id(), at=LATER + timedelta(hours=1))
    assert meetings.counters() == (3, 1, 1, TEN_MINUTES + 3_600_000)
    meetings.write(meetings.meeting("m-1", "ben", "cleo"))
    meetings.end(meetings.id(), at=LATER + timedelta(hours=1))
    assert meetings.counters() == (3, 1, 1, TEN_MINUTES + 3_600_000)


def test_ending_twice_counts_once(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    assert [meetings.end(meetings.id()) for _ in range(3)] == [1, 0, 0]
    assert meetings.counters() == (1, 1, 1, TEN_MINUTES)


def test_a_writer_that_lost_its_lease_counts_nothing_that_its_successor_counts_again(meetings: Meetings) -> None:
    """Both saw the same meeting end; the first was too slow."""
    engine = meetings.farm.engine
    meetings.write(meetings.meeting("m-1", "anna"))
    changes = MeetingChanges(ended={meetings.id(): LATER})
    with transaction(engine, timeout_seconds=10) as connection:
        slow = acquire(connection, "default/check-nodes", holder="pod-a", ttl_seconds=0)
    with transaction(engine, timeout_seconds=10) as connection:
        quick = acquire(connection, "default/check-nodes", holder="pod-b", ttl_seconds=30)
    assert slow is not None
    assert quick is not None
    for lease in (slow, quick, slow):
        try:
            with transaction(engine, timeout_seconds=10) as connection:
                written = meetings.write(connection=connection, ended=changes.ended)
                fence(connection, lease)
        except LeaseLostError:
            assert lease is slow
        else:
            assert (lease, written) == (quick, 1)
    assert meetings.counters() == (1, 1, 1, TEN_MINUTES)


def test_two_writers_at_once_count_a_meeting_once(
    meetings: Meetings, open_transaction: Callable[[], sa.Connection]
) -> None:
    """The lease keeps them apart; the statement does not need it."""
    meetings.write(meetings.meeting("m-1", "anna"))
    first = open_transaction()
    ended = {meetings.id(): LATER}
    assert meetings.write(connection=first, ended=ended) == 1
    written: list[int] = []
    second = threading.Thread(target=lambda: written.append(meetings.write(ended=ended)))
    second.start()
    while meetings.farm.rows("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
        time.sleep(0.02)
    first.commit()
    second.join(10)
    assert written == [0]
    assert meetings.counters() == (1, 1, 1, TEN_MINUTES)


def test_a_tick_that_is_rolled_back_leaves_neither_end_nor_count(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    with meetings.farm.engine.connect() as connection:
        assert meetings.write(connection=connection, ended={meetings.id(): LATER}) == 1
    assert (meetings.counters(), meetings.column("state")) == (None, ["open"])


def test_a_meeting_without_a_secret_counts_for_nobody_until_it_has_one(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna", owner=None))
    meetings.end(meetings.id())
    assert meetings.farm.rows("SELECT count(*) FROM counters") == [(0,)]
    meetings.write(meetings.meeting("m-1", "anna", "ben"))
    meetings.end(meetings.id())
    assert meetings.counters() == (2, 1, 1, TEN_MINUTES)


def test_a_lost_meeting_counts_until_it_was_last_seen(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1"))
    meetings.lose(meetings.id())
    assert meetings.counters() is None
    meetings.end(meetings.id())
    assert meetings.counters() == (0, 1, 1, TEN_MINUTES)


@pytest.mark.parametrize(
    ("lasted", "milliseconds"),
    [
        (timedelta(0), 0),
        (timedelta(days=-2), 0),
        (timedelta(microseconds=999), 0),
        (timedelta(milliseconds=1, microseconds=999), 1),
        (timedelta(days=1), DAY),
        (timedelta(days=3, hours=1, milliseconds=7), 3 * DAY + 3_600_007),
        (timedelta(days=400), 400 * DAY),
    ],
)
def test_durations_are_whole_milliseconds_over_any_number_of_days_and_never_negative(
    meetings: Meetings, lasted: timedelta, milliseconds: int
) -> None:
    meetings.write(meetings.meeting("m-1"))
    meetings.end(meetings.id(), at=BEGAN + lasted)
    assert meetings.counters() == (0, 1, 1, milliseconds)


def test_a_meeting_that_seems_shorter_when_it_ends_again_takes_nothing_back(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1"))
    meetings.end(meetings.id())
    meetings.write(meetings.meeting("m-1"))
    meetings.end(meetings.id(), at=BEGAN)
    assert meetings.counters() == (0, 1, 1, TEN_MINUTES)


def test_counters_go_beyond_32_bits(meetings: Meetings) -> None:
    big = 2**40
    meetings.farm.run(
        "INSERT INTO counters (secret_id, attendees_joined, meetings, duration_count, duration_milliseconds,"
        " attendee_limit_hits, meeting_limit_hits) VALUES (:id, :n, :n, :n, :n, :n, :n)",
        id=meetings.secrets["uni-001"],
        n=big,
    )
    meetings.write(*[meetings.meeting(f"m-{number}", "anna") for number in range(3)])
    meetings.farm.run("UPDATE meetings SET attendees_joined = :n", n=big)
    meetings.end(*[meetings.id(f"m-{number}") for number in range(3)])
    total = SecretCounters(4 * big, big + 3, big + 3, big + 3 * TEN_MINUTES, big, big)
    assert counted(meetings) == {"uni-000": total, "uni-001": total, "uni-002": SecretCounters()}


def test_sub_id_0_reads_the_sum_of_its_tenant_and_its_own_row_stays_its_own(meetings: Meetings) -> None:
    owners = ("uni-000", "uni-001", "uni-002", "uni-002")
    meetings.write(*[meetings.meeting(f"m-{n}", "anna", owner=owner) for n, owner in enumerate(owners)])
    meetings.end(*[known.id for known in meetings.known()])
    one, two = (SecretCounters(n, n, n, n * TEN_MINUTES) for n in (1, 2))
    assert counted(meetings) == {
        "uni-000": SecretCounters(4, 4, 4, 4 * TEN_MINUTES),
        "uni-001": one,
        "uni-002": two,
    }
    assert meetings.counters("uni-000") == (1, 1, 1, TEN_MINUTES)


def test_a_deleted_secret_keeps_its_counters_for_the_tenants_sum_and_for_its_return(farm: Farm) -> None:
    meetings = Meetings(farm)
    meetings.write(meetings.meeting("m-1", "anna"))
    meetings.end(meetings.id())
    before = counted(meetings)
    farm.fill_tenants([farm.tenant()], [farm.api_secret(sub_id=0)])
    assert counted(meetings) == {"uni-000": before["uni-001"]}
    farm.fill_tenants([], [])
    assert counted(meetings) == {}
    assert meetings.counters() == (1, 1, 1, TEN_MINUTES)
    again = farm.fill_tenants(
        [farm.tenant()], [farm.api_secret(sub_id=sub_id, uid="another object") for sub_id in range(3)]
    )
    assert again == meetings.secrets
    assert counted(meetings) == before


def test_counters_of_other_tenants_and_namespaces_are_not_mixed(farm: Farm) -> None:
    meetings = Meetings(farm)
    other = farm.fill_tenants(
        [farm.tenant(), farm.tenant("col")], [farm.api_secret(sub_id=n) for n in range(3)] + [farm.api_secret("col", 0)]
    )
    meetings.secrets.update(other)
    meetings.write(meetings.meeting("m-1", "anna"))
    meetings.end(meetings.id())
    assert counted(meetings)["col-000"] == SecretCounters()
    with transaction(farm.engine, timeout_seconds=10) as connection:
        assert read_counters(connection, "other") == {}


def limit(meetings: Meetings, table: str, **limits: Any) -> None:
    """Set limits of all tenants or of the secret uni-001."""
    farm = meetings.farm
    tenant, owner = farm.tenant(), farm.api_secret(sub_id=1)
    if table == "tenants":
        tenant = dataclasses.replace(tenant, **limits)
    else:
        owner = dataclasses.replace(owner, **limits)
    farm.fill_tenants([tenant], [farm.api_secret(sub_id=0), owner, farm.api_secret(sub_id=2)])


def test_without_limits_and_below_them_a_meeting_is_admitted_and_nothing_is_written(meetings: Meetings) -> None:
    assert admit(meetings) is None
    limit(meetings, "secrets", meeting_limit=2, attendee_limit=3)
    meetings.write(meetings.meeting("m-1", "anna", "ben"))
    assert admit(meetings) is None
    assert meetings.farm.rows("SELECT count(*) FROM counters") == [(0,)]


@pytest.mark.parametrize("table", ["secrets", "tenants"])
@pytest.mark.parametrize(("name", "used"), [("meeting_limit", 1), ("attendee_limit", 2)])
def test_a_limit_that_is_reached_refuses_and_counts_one_hit(
    meetings: Meetings, table: str, name: str, used: int
) -> None:
    meetings.write(meetings.meeting("m-1", "anna", "ben"))
    limit(meetings, table, **{name: used})
    reason = Limit.MEETINGS if name == "meeting_limit" else Limit.ATTENDEES
    refusal = Refusal(limit=reason, tenant_wide=table == "tenants", used=used, maximum=used)
    assert [admit(meetings), admit(meetings)] == [refusal, refusal]
    assert hits(meetings) == ((2, 0) if name == "meeting_limit" else (0, 2))
    limit(meetings, table, **{name: used + 1})
    assert admit(meetings) is None
    assert sum(hits(meetings)) == 2


def test_a_secrets_limit_bounds_its_own_meetings_and_a_tenants_those_of_all_its_secrets(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna", owner="uni-002"))
    limit(meetings, "secrets", meeting_limit=1)
    assert admit(meetings) is None
    limit(meetings, "tenants", meeting_limit=1)
    refusal = Refusal(limit=Limit.MEETINGS, tenant_wide=True, used=1, maximum=1)
    assert [admit(meetings, owner) for owner in ("uni-001", "uni-002", "uni-000")] == [refusal] * 3
    assert [hits(meetings, owner) for owner in ("uni-001", "uni-002", "uni-000")] == [(1, 0), (1, 0), (3, 0)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE secrets SET enabled = false WHERE name = 'uni-001'", "Disabled"),
        (
            "UPDATE secrets SET tenant_id = NULL, blocked_reason = 'X', blocked_message = 'x' WHERE name = 'uni-001'",
            "TenantNotFound",
        ),
        ("UPDATE tenants SET enabled = false", "TenantDisabled"),
        ("UPDATE tenants SET deleted_at = now()", "TenantNotFound"),
        ("UPDATE tenants SET blocked_reason = 'SlugInUse', blocked_message = 'the oldest wins'", "TenantNotAccepted"),
        ("UPDATE tenants SET blocked_reason = 'DatabaseRefused', blocked_message = 'too long'", ""),
    ],
)
def test_a_closed_secret_creates_nothing_and_hits_no_limit(meetings: Meetings, change: str, reason: str) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    limit(meetings, "secrets", meeting_limit=1)
    meetings.farm.run(change)
    refusal = Refusal(limit=Limit.MEETINGS, tenant_wide=False, used=1, maximum=1)
    assert admit(meetings) == (Closed(reason) if reason else refusal)
    assert hits(meetings) == ((0, 0) if reason else (1, 0))


def test_lost_and_ended_meetings_are_no_use_of_a_limit(meetings: Meetings) -> None:
    limit(meetings, "secrets", meeting_limit=1, attendee_limit=1)
    meetings.write(meetings.meeting("m-1", "anna"), meetings.meeting("m-2", "ben"))
    meetings.lose(meetings.id("m-1"))
    meetings.end(meetings.id("m-2"))
    assert admit(meetings) is None


def test_the_secrets_limits_and_those_of_meetings_are_told_first_and_one_call_is_one_hit(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    limit(meetings, "secrets", meeting_limit=1, attendee_limit=1)
    assert admit(meetings) == Refusal(limit=Limit.MEETINGS, tenant_wide=False, used=1, maximum=1)
    assert hits(meetings) == (1, 0)


def test_hits_of_many_callers_at_once_are_all_counted(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    limit(meetings, "secrets", meeting_limit=1)
    callers = [threading.Thread(target=lambda: [admit(meetings) for _ in range(10)]) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert hits(meetings) == (40, 0)


def test_admission_is_one_statement_and_an_unknown_secret_an_error(meetings: Meetings) -> None:
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        with count_statements(meetings.farm.engine) as counter:
            admit_meeting(connection, meetings.secrets["uni-001"])
            read_counters(connection, "default")
        assert counter.count == 2
        with pytest.raises(UnknownSecretError, match="12345"):
            admit_meeting(connection, 12345)
    meetings.farm.run("UPDATE secrets SET deleted_at = now() WHERE name = 'uni-001'")
    with pytest.raises(UnknownSecretError):
        admit(meetings)
