"""The hysteresis, the back-off and the kept load of one node."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.health import (
    LOAD_KEPT_TICKS,
    HealthPolicy,
    LoadReason,
    LoadReport,
    NodeState,
    Observation,
    Reason,
    is_due,
    next_state,
)

DEFAULT = HealthPolicy()
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LOAD = LoadReport(2500)
NO_LOAD = LoadReport(None, LoadReason.NOT_FOUND, "HTTP 404 Not Found")
FAILURES = tuple(reason for reason in Reason if reason is not Reason.RESPONDING)

policies = st.builds(
    HealthPolicy,
    unhealthy_after=st.integers(1, 6),
    healthy_after=st.integers(1, 5),
    tick_seconds=st.sampled_from([5, 10, 15, 20, 30, 60]),
)
jitters = st.floats(0, 1, exclude_max=True)


def good(*, meetings: int = 4, attendees: int = 9, load: LoadReport = LOAD) -> Observation:
    return Observation(Reason.RESPONDING, "", meetings, attendees, load, 0.01)


def bad(reason: Reason = Reason.TIMEOUT, load: LoadReport = LOAD) -> Observation:
    return Observation(reason, f"{reason} happened", 0, 0, load, 5.0)


def after(
    outcomes: list[bool], policy: HealthPolicy = DEFAULT, *, jitter: float = 0.0, revision: int = 1
) -> list[NodeState]:
    """Poll at every tick, whatever the back-off says, and return the states."""
    states: list[NodeState] = []
    for number, outcome in enumerate(outcomes):
        states.append(
            next_state(
                states[-1] if states else None,
                good() if outcome else bad(),
                revision=revision,
                policy=policy,
                now=START + timedelta(seconds=number * policy.tick_seconds),
                jitter=jitter,
            )
        )
    return states


def expected_ready(outcomes: list[bool], policy: HealthPolicy) -> bool:
    """The rule in other words: the first success decides, then windows of equal outcomes."""
    ready = False
    for index, outcome in enumerate(outcomes):
        so_far = outcomes[: index + 1]
        first_success = outcome and so_far.count(True) == 1
        if first_success or (len(so_far) >= policy.healthy_after and all(so_far[-policy.healthy_after :])):
            ready = True
        elif len(so_far) >= policy.unhealthy_after and not any(so_far[-policy.unhealthy_after :]):
            ready = False
    return ready


@given(st.lists(st.booleans(), min_size=1, max_size=40), policies, jitters)
def test_ready_follows_the_windows_of_outcomes(outcomes: list[bool], policy: HealthPolicy, jitter: float) -> None:
    states = after(outcomes, policy, jitter=jitter)
    assert [state.ready for state in states] == [
        expected_ready(outcomes[: index + 1], policy) for index in range(len(outcomes))
    ]


@given(st.lists(st.booleans(), min_size=1, max_size=40), policies, jitters)
def test_a_proven_node_falls_only_with_enough_failures_in_a_row(
    outcomes: list[bool], policy: HealthPolicy, jitter: float
) -> None:
    states = after(outcomes, policy, jitter=jitter)
    for index in range(1, len(states)):
        if states[index - 1].ready and not states[index].ready:
            assert states[index].failures == policy.unhealthy_after
            assert not any(outcomes[index + 1 - policy.unhealthy_after : index + 1])
        if not states[index - 1].ready and states[index - 1].proven and states[index].ready:
            assert all(outcomes[index + 1 - policy.healthy_after : index + 1])


@given(st.lists(st.booleans(), min_size=1, max_size=60), policies, jitters)
def test_back_off_is_whole_ticks_within_a_minute_and_only_while_not_ready(
    outcomes: list[bool], policy: HealthPolicy, jitter: float
) -> None:
    for index, state in enumerate(after(outcomes, policy, jitter=jitter)):
        now = START + timedelta(seconds=index * policy.tick_seconds)
        if state.ready or outcomes[index]:
            assert state.next_poll_at is None
            continue
        assert state.next_poll_at is not None
        delay = (state.next_poll_at - now).total_seconds()
        assert delay % policy.tick_seconds == 0
        assert policy.tick_seconds <= delay <= max(60, policy.tick_seconds)


@given(policies, st.integers(1, 30), jitters)
def test_a_node_that_stays_away_is_asked_once_a_minute(policy: HealthPolicy, failures: int, jitter: float) -> None:
    def delays(jitter: float) -> list[float]:
        states = after([True] + [False] * (policy.unhealthy_after + failures), policy, jitter=jitter)[1:]
        ticks = enumerate(states, start=1)
        return [
            (state.next_poll_at - START).total_seconds() - number * policy.tick_seconds
            for number, state in ticks
            if state.next_poll_at is not None
        ]

    spread, longest = delays(jitter), delays(0.999)
    assert longest == sorted(longest)
    assert longest[0] == policy.tick_seconds
    assert all(one <= most for one, most in zip(spread, longest, strict=True))
    if failures >= 6:
        assert longest[-1] == max(60 // policy.tick_seconds, 1) * policy.tick_seconds


@given(st.lists(st.booleans(), min_size=1, max_size=40), policies, jitters)
def test_what_is_counted_fits_what_was_seen(outcomes: list[bool], policy: HealthPolicy, jitter: float) -> None:
    for index, state in enumerate(after(outcomes, policy, jitter=jitter)):
        recent = list(reversed(outcomes[: index + 1]))
        assert state.failures == (recent.index(True) if True in recent else len(recent))
        assert state.successes <= policy.healthy_after
        assert (state.failures == 0) == outcomes[index]
        assert state.suspect == (state.ready and not outcomes[index])
        assert not state.ready or state.proven


@given(st.lists(st.booleans(), min_size=2, max_size=40), policies, jitters)
def test_the_time_of_the_change_moves_with_ready_only(
    outcomes: list[bool], policy: HealthPolicy, jitter: float
) -> None:
    states = after(outcomes, policy, jitter=jitter)
    assert states[0].ready_changed_at == START
    for number, (old, new) in enumerate(itertools.pairwise(states), start=1):
        now = START + timedelta(seconds=number * policy.tick_seconds)
        assert new.ready_changed_at == (now if new.ready != old.ready else old.ready_changed_at)


@dataclass
class Farm:
    """Ticks with back-off, as the job does them."""

    policy: HealthPolicy
    state: NodeState | None = None
    tick: int = 0

    def run(self, outcomes: list[bool], jitter: float) -> list[bool]:
        """Return for each tick whether the node was polled."""
        polled = []
        for outcome in outcomes:
            now = START + timedelta(seconds=self.tick * self.policy.tick_seconds)
            self.tick += 1
            polled.append(is_due(self.state, 1, now))
            if polled[-1]:
                seen = good() if outcome else bad()
                self.state = next_state(self.state, seen, revision=1, policy=self.policy, now=now, jitter=jitter)
        return polled


@given(policies, jitters, st.integers(1, 50))
def test_after_the_first_success_every_tick_polls_again(policy: HealthPolicy, jitter: float, failures: int) -> None:
    farm = Farm(policy)
    farm.run([True] + [False] * failures, jitter)
    waited = farm.run([True] * 13, jitter).index(True)
    assert waited * policy.tick_seconds < max(60, policy.tick_seconds)
    assert farm.run([True] * policy.healthy_after, jitter) == [True] * policy.healthy_after
    assert farm.state is not None
    assert farm.state.ready


@given(policies, jitters)
def test_a_ready_node_is_polled_at_every_tick_until_it_falls(policy: HealthPolicy, jitter: float) -> None:
    farm = Farm(policy)
    assert all(farm.run([True] + [False] * policy.unhealthy_after, jitter))


@pytest.mark.parametrize("outcome", [True, False])
def test_before_the_first_success_one_poll_decides(outcome: bool) -> None:
    (state,) = after([outcome])
    assert state.ready is outcome
    assert after([False, False, True])[-1].ready


@pytest.mark.parametrize("outcome", [True, False])
@pytest.mark.parametrize("history", [[True], [True, False], [True, False, False, False], [False] * 9])
def test_after_a_change_of_the_configuration_one_poll_decides(history: list[bool], outcome: bool) -> None:
    old = after(history)[-1]
    seen = good() if outcome else bad()
    state = next_state(old, seen, revision=2, policy=HealthPolicy(), now=START, jitter=0.0)
    assert (state.ready, state.revision, state.failures) == (outcome, 2, 0 if outcome else 1)
    assert is_due(old, 2, START)


@pytest.mark.parametrize(
    ("seconds", "due"), [(-1, True), (0, True), (1, False), (60, False), (61, True), (18000, True)]
)
def test_a_back_off_longer_than_the_longest_is_of_a_clock_that_was_set_back_and_holds_nobody(
    seconds: int, due: bool
) -> None:
    state = dataclasses.replace(after([True])[-1], next_poll_at=START + timedelta(seconds=seconds))
    assert is_due(state, state.revision, START) == due


def test_a_changed_configuration_forgets_the_load_that_the_other_server_reported() -> None:
    state = next_state(after([True])[-1], bad(load=NO_LOAD), revision=2, policy=HealthPolicy(), now=START, jitter=0.0)
    assert state.cpu is None


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 99)), max_size=30), policies)
def test_only_a_good_poll_changes_the_numbers_whatever_revisions_come_between(
    polls: list[tuple[bool, bool, int]], policy: HealthPolicy
) -> None:
    """A failing poll knows nothing of meetings: zeros of its own would read as a node that may go."""
    state: NodeState | None = None
    revision, last_good = 1, (0, 0)
    for outcome, changed, number in polls:
        revision += changed
        seen = good(meetings=number, attendees=2 * number) if outcome else bad()
        state = next_state(state, seen, revision=revision, policy=policy, now=START, jitter=0.0)
        last_good = (number, 2 * number) if outcome else last_good
        assert (state.meetings, state.attendees) == last_good


@pytest.mark.parametrize("reason", FAILURES)
def test_the_last_reason_is_kept_and_its_message(reason: Reason) -> None:
    state = next_state(after([True])[-1], bad(reason), revision=1, policy=HealthPolicy(), now=START, jitter=0.0)
    assert (state.reason, state.message, state.ready) == (reason, f"{reason} happened", True)


def test_on_the_way_back_the_reason_stays_and_the_message_counts() -> None:
    state = after([True, False, False, False, True])[-1]
    assert (state.ready, state.reason, state.message) == (False, Reason.TIMEOUT, "answering again: 1 of 2 polls")
    assert after([True, False, False, False, True, True])[-1].reason is Reason.RESPONDING


@given(st.lists(st.booleans(), max_size=12))
def test_a_missing_load_keeps_the_last_value_for_three_ticks_and_never_changes_ready(reported: list[bool]) -> None:
    state = after([True])[-1]
    missed = 0
    for report in reported:
        seen = good(load=LOAD if report else NO_LOAD)
        state = next_state(state, seen, revision=1, policy=HealthPolicy(), now=START, jitter=0.0)
        missed = 0 if report else missed + 1
        assert state.ready
        assert state.cpu == (2500 if missed <= LOAD_KEPT_TICKS else None)
        assert state.load_reason is (LoadReason.REPORTED if report else LoadReason.NOT_FOUND)
        assert state.load_missed <= LOAD_KEPT_TICKS + 1


def test_a_node_that_never_reported_a_load_has_none() -> None:
    state = next_state(None, good(load=NO_LOAD), revision=1, policy=HealthPolicy(), now=START, jitter=0.0)
    assert (state.cpu, state.load_reason, state.ready) == (None, LoadReason.NOT_FOUND, True)


def test_a_load_of_zero_is_a_value() -> None:
    state = next_state(None, good(load=LoadReport(0)), revision=1, policy=HealthPolicy(), now=START, jitter=0.0)
    kept = next_state(state, good(load=NO_LOAD), revision=1, policy=HealthPolicy(), now=START, jitter=0.0)
    assert (state.cpu, kept.cpu) == (0, 0)
