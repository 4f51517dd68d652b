"""The mass-failure guard of one cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.health import GuardPolicy, GuardState, judge_round

OFF = GuardState()
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
TICK = timedelta(seconds=15)

policies = st.builds(
    GuardPolicy,
    share_percent=st.integers(1, 100),
    minimum_nodes=st.integers(1, 10),
    maximum_seconds=st.integers(0, 300),
)
rounds = st.lists(
    st.integers(0, 20).flatmap(lambda polled: st.tuples(st.just(polled), st.integers(0, polled))), max_size=30
)


def is_mass_failure(polled: int, failed: int, policy: GuardPolicy) -> bool:
    return polled > 0 and failed >= policy.minimum_nodes and failed / polled >= policy.share_percent / 100


def judge(
    results: list[tuple[int, int]], policy: GuardPolicy, *, old: GuardState = OFF, start: datetime = START
) -> list[GuardState]:
    """Return the guard after each round of (polled, failed)."""
    states = []
    for number, (polled, failed) in enumerate(results):
        old = judge_round(old, polled=polled, failed=failed, policy=policy, now=start + number * TICK)
        states.append(old)
    return states


@given(rounds, policies)
def test_it_holds_only_in_a_mass_failure(results: list[tuple[int, int]], policy: GuardPolicy) -> None:
    for (polled, failed), state in zip(results, judge(results, policy), strict=True):
        if not is_mass_failure(polled, failed, policy):
            assert state == OFF


@given(rounds, policies)
def test_it_holds_from_the_first_round_of_a_mass_failure(results: list[tuple[int, int]], policy: GuardPolicy) -> None:
    before = OFF
    for (polled, failed), state in zip(results, judge(results, policy), strict=True):
        if is_mass_failure(polled, failed, policy) and before == OFF:
            assert state.holds is (policy.maximum_seconds > 0)
            assert (state.polled, state.failed) == (polled, failed)
        before = state


@given(rounds, policies)
def test_it_never_holds_longer_than_it_may(results: list[tuple[int, int]], policy: GuardPolicy) -> None:
    for number, state in enumerate(judge(results, policy)):
        if state.since is not None and state.since < START + number * TICK:
            assert START + number * TICK - state.since < timedelta(seconds=policy.maximum_seconds)


@given(policies, st.integers(1, 40), st.integers(0, 20))
def test_once_exhausted_it_stays_off_until_a_good_round(policy: GuardPolicy, more: int, nodes: int) -> None:
    failing = (policy.minimum_nodes + nodes, policy.minimum_nodes + nodes)
    rounds_held = -(-policy.maximum_seconds // 15)
    states = judge([failing] * (rounds_held + more), policy)
    assert [state.holds for state in states] == [True] * rounds_held + [False] * more
    assert states[-1].exhausted
    later = START + len(states) * TICK
    after_a_good_round = judge([(20, 0), failing], policy, old=states[-1], start=later)
    assert after_a_good_round[0] == OFF
    assert after_a_good_round[1].holds is (policy.maximum_seconds > 0)


def test_one_good_round_ends_it() -> None:
    states = judge([(10, 10), (10, 0)], GuardPolicy())
    assert states == [GuardState(since=START, failed=10, polled=10), GuardState()]


def test_the_numbers_are_those_of_the_round_that_raised_it() -> None:
    assert judge([(10, 6), (12, 9)], GuardPolicy())[-1] == GuardState(since=START, failed=6, polled=10)


def test_a_longest_duration_of_0_turns_it_off() -> None:
    assert not any(state.holds for state in judge([(10, 10)] * 3, GuardPolicy(maximum_seconds=0)))


@pytest.mark.parametrize(
    ("polled", "failed", "holds"),
    [
        (6, 3, True),
        (7, 3, False),
        (5, 3, True),
        (2, 2, False),
        (3, 3, True),
        (300, 149, False),
        (300, 150, True),
        (0, 0, False),
    ],
)
def test_the_defaults_are_half_of_the_nodes_and_three(polled: int, failed: int, holds: bool) -> None:
    assert judge([(polled, failed)], GuardPolicy())[0].holds is holds


def test_it_ends_after_ten_minutes_by_default() -> None:
    states = judge([(10, 10)] * 42, GuardPolicy())
    assert [state.holds for state in states] == [True] * 40 + [False] * 2
    assert states[-1].exhausted


def test_a_farm_in_which_nothing_is_ready_any_more_ends_it() -> None:
    assert judge([(10, 10), (0, 0)], GuardPolicy())[-1] == OFF


def test_a_round_without_polls_is_no_mass_failure_whatever_the_policy() -> None:
    assert not judge([(0, 0)], GuardPolicy(share_percent=0, minimum_nodes=0))[0].holds
    assert not judge([(5, 0)], GuardPolicy(share_percent=0, minimum_nodes=0))[0].holds
