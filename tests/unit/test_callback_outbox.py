"""When a callback is tried again and when it is over."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.callbacks.outbox import (
    Attempt,
    BackOff,
    CallbackReason,
    CallbackState,
    Delivery,
    after_attempt,
    judged,
    pause,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEW = Delivery(created_at=NOW, next_attempt_at=NOW)
AWAY = Attempt(None, "Refused", "connection refused by 192.0.2.1:443")


def failing(attempts: list[Attempt], chances: list[float]) -> list[Delivery]:
    """Return the states after these attempts, each made when it is due."""
    states = [NEW]
    for attempt, chance in zip(attempts, chances, strict=True):
        if states[-1].state is not CallbackState.PENDING:
            break
        states.append(after_attempt(states[-1], attempt, now=states[-1].next_attempt_at, chance=chance))
    return states


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_an_answer_of_success_ends_it(status: int) -> None:
    after = after_attempt(NEW, judged(status), now=NOW, chance=0)
    assert (after.state, after.attempts, after.finished_at, after.status_code, after.reason) == (
        CallbackState.DELIVERED,
        1,
        NOW,
        status,
        None,
    )


@pytest.mark.parametrize("status", [401, 410])
def test_a_receiver_that_wants_no_more_of_it_ends_it(status: int) -> None:
    after = after_attempt(NEW, judged(status), now=NOW, chance=0)
    assert (after.state, after.reason, after.finished_at) == (
        CallbackState.FAILED,
        CallbackReason.REFUSED_BY_RECEIVER,
        NOW,
    )
    assert str(status) in str(after.message)


@pytest.mark.parametrize("attempt", [judged(404), judged(500), judged(302), judged(100), judged(600), AWAY])
def test_whatever_else_happens_is_tried_again_after_a_pause(attempt: Attempt) -> None:
    after = after_attempt(NEW, attempt, now=NOW, chance=0)
    assert (after.state, after.finished_at, after.reason) == (CallbackState.PENDING, None, attempt.reason)
    assert after.next_attempt_at == NOW + timedelta(seconds=30)


def test_a_url_that_is_none_is_not_tried_again() -> None:
    after = after_attempt(NEW, Attempt(None, CallbackReason.INVALID_URL, "no"), now=NOW, chance=0)
    assert after.state is CallbackState.FAILED


def test_the_pauses_double_up_to_six_hours_and_after_three_days_it_is_given_up() -> None:
    states = failing([AWAY] * 100, [0.0] * 100)
    pauses = [
        (after.next_attempt_at - before.next_attempt_at).total_seconds() for before, after in itertools.pairwise(states)
    ][:-1]
    assert pauses == [30, 60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, *[21600] * (len(pauses) - 10)]
    last = states[-1]
    assert last.state is CallbackState.FAILED
    assert last.message == f"given up after {last.attempts} attempts; the last: {AWAY.message}"
    assert last.reason == "Refused"
    assert last.finished_at is not None
    assert timedelta(days=2.5) < last.finished_at - NOW <= timedelta(days=3)


def test_the_receiver_may_ask_for_a_longer_pause_but_not_for_ever() -> None:
    assert pause(1, 600, 0, BackOff()) == timedelta(minutes=10)
    assert pause(1, 10**6, 0, BackOff()) == timedelta(hours=6)
    assert pause(1, 1, 0, BackOff()) == pause(1, -5, 0, BackOff()) == timedelta(seconds=30)


def test_a_callback_that_is_over_is_not_attempted() -> None:
    over = after_attempt(NEW, judged(200), now=NOW, chance=0)
    with pytest.raises(ValueError, match="DELIVERED"):
        after_attempt(over, judged(200), now=NOW, chance=0)


@given(
    st.lists(
        st.tuples(st.one_of(st.integers(100, 599).map(judged), st.just(AWAY)), st.floats(0, 1, exclude_max=True)),
        max_size=60,
    )
)
def test_it_always_ends_in_bounded_attempts_and_time_and_never_begins_before_it_is_due(
    attempts: list[tuple[Attempt, float]],
) -> None:
    states = failing([attempt for attempt, _ in attempts], [chance for _, chance in attempts])
    for before, after in itertools.pairwise(states):
        assert after.attempts == before.attempts + 1
        assert (after.finished_at is None) == (after.state is CallbackState.PENDING)
        if after.state is CallbackState.PENDING:
            grown = after.next_attempt_at - before.next_attempt_at
            assert timedelta(seconds=24) <= grown <= timedelta(hours=6)
            assert after.next_attempt_at - NOW <= timedelta(days=3)
    assert len(states) <= 40
