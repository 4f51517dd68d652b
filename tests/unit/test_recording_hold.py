"""How long recordings are held."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.recordings.hold import (
    SETTLED,
    DeletionRefusal,
    HeldRecordSet,
    RecordSetState,
    deletion_refusal,
    expires_at,
    hold_days,
    is_past_hold,
    past_hold,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAYS = st.integers(0, 60)
RECORD_SETS = st.builds(
    HeldRecordSet,
    id=st.uuids(),
    state=st.sampled_from(RecordSetState),
    ended_at=st.none() | st.integers(0, 100 * 86_400).map(lambda age: NOW - timedelta(seconds=age)),
    tenant_days=DAYS,
    secret_days=DAYS,
    legal_hold=st.booleans(),
)


def rendered(*, tenant: int = 0, secret: int = 0, age_days: float = 0, number: int = 1) -> HeldRecordSet:
    return HeldRecordSet(
        id=UUID(int=number),
        state=RecordSetState.RENDERED,
        ended_at=NOW - timedelta(days=age_days),
        tenant_days=tenant,
        secret_days=secret,
    )


@pytest.mark.parametrize(
    ("tenant", "secret", "expected"), [(0, 0, 0), (14, 0, 14), (0, 7, 7), (14, 7, 7), (7, 14, 7), (5, 5, 5)]
)
def test_the_smaller_hold_time_counts_and_none_is_none(tenant: int, secret: int, expected: int) -> None:
    assert hold_days(tenant, secret) == expected


def test_a_negative_hold_time_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        hold_days(-1, 5)


def test_no_hold_time_at_all_keeps_for_ever() -> None:
    assert expires_at(rendered(age_days=100_000)) is None
    assert not is_past_hold(rendered(age_days=100_000), NOW)


def test_the_time_counts_from_the_end_of_the_meeting_to_the_second() -> None:
    exactly = rendered(tenant=14, age_days=14)
    assert expires_at(exactly) == NOW
    assert not is_past_hold(exactly, NOW)
    assert is_past_hold(exactly, NOW + timedelta(seconds=1))


def test_a_hold_beyond_the_calendar_is_for_ever() -> None:
    assert [expires_at(rendered(tenant=days)) for days in (3_000_000, 10**9)] == [None, None]
    assert not is_past_hold(rendered(tenant=10**9), NOW)


def test_an_end_that_is_not_known_never_expires() -> None:
    unknown = HeldRecordSet(id=UUID(int=1), state=RecordSetState.RENDERED, ended_at=None, tenant_days=1)
    assert not is_past_hold(unknown, NOW)


@given(RECORD_SETS)
def test_only_what_is_settled_and_under_no_legal_hold_goes_and_only_after_its_days(record_set: HeldRecordSet) -> None:
    days = min({record_set.tenant_days, record_set.secret_days} - {0}, default=0)
    expected = (
        record_set.state in SETTLED
        and not record_set.legal_hold
        and days > 0
        and record_set.ended_at is not None
        and NOW - record_set.ended_at > timedelta(days=days)
    )
    assert is_past_hold(record_set, NOW) is expected


@given(st.lists(RECORD_SETS, unique_by=lambda item: item.id))
def test_the_longest_expired_go_first_and_nothing_else_goes(record_sets: list[HeldRecordSet]) -> None:
    by_id = {item.id: item for item in record_sets}
    chosen = past_hold(record_sets, NOW)
    assert set(chosen) == {item.id for item in record_sets if is_past_hold(item, NOW)}
    moments = [expires_at(by_id[item]) or NOW for item in chosen]
    assert moments == sorted(moments)


@given(RECORD_SETS, st.timedeltas(timedelta(0), timedelta(days=1000)))
def test_what_is_past_its_hold_stays_so(record_set: HeldRecordSet, later: timedelta) -> None:
    assert not is_past_hold(record_set, NOW) or is_past_hold(record_set, NOW + later)


def test_who_asks_may_delete_all_but_what_is_held_by_law_or_being_rendered() -> None:
    refusals = {state: deletion_refusal(state, legal_hold=False) for state in RecordSetState}
    assert {state for state, refusal in refusals.items() if refusal} == {RecordSetState.RENDERING}
    assert all(deletion_refusal(state, legal_hold=True) is DeletionRefusal.LEGAL_HOLD for state in RecordSetState)
