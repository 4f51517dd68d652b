"""What one round of polls changes, and whom the guard protects."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from b3lb.db.node_states import NodePoll
from b3lb.health import (
    GuardState,
    HealthPolicy,
    LoadReason,
    NodeState,
    Observation,
    Reason,
    next_state,
)
from b3lb.load import LoadFormula
from b3lb_jobs.core.decision import Decision, GuardChange, NodeChange, Round, decide, summarise
from tests.unit.poll_rounds import BEFORE, DOWN, NO_POLLS, NOW, READY, READY_LOAD, SEEN_AT, failed, poll, seen


def decided(
    polls: Sequence[NodePoll],
    observations: Mapping[int, Observation],
    duplicates: Mapping[int, NodePoll] | None = None,
) -> Decision:
    return decide(polls, observations, duplicates=duplicates or {}, now=NOW, jitter_source=lambda: 0.0)


def test_a_round_in_which_nothing_changed_writes_nothing() -> None:
    assert decided([poll(1), poll(2)], {1: seen(seconds=0.02), 2: seen(seconds=0.3)}) == Decision(
        rows=(),
        guards=(),
        node_changes=(),
        guard_changes=(),
        round=Round(polled=2, failed=0, reasons={}, latency=(1, 0, 0, 1, 0, 0, 0, 0, 0, 0), poll_seconds=0.32),
    )


def test_the_first_poll_decides_at_once_in_both_directions() -> None:
    up = dataclasses.replace(READY, ready_changed_at=NOW)
    down = NodeState(
        revision=1,
        ready=False,
        proven=False,
        reason=Reason.DNS,
        message="no",
        failures=1,
        successes=0,
        next_poll_at=NOW + timedelta(seconds=15),
        ready_changed_at=NOW,
        meetings=0,
        attendees=0,
        cpu=None,
        load_reason=LoadReason.UNREACHABLE,
        load_message="no",
        load_missed=4,
    )
    decision = decided([poll(1, None), poll(2, None)], {1: seen(), 2: failed(Reason.DNS)})
    assert decision == Decision(
        rows=((1, up, READY_LOAD, NOW), (2, down, 0.0, None)),
        guards=(),
        node_changes=(
            NodeChange("node-1", None, up, None, READY_LOAD),
            NodeChange("node-2", None, down, None, 0.0),
        ),
        guard_changes=(),
        round=Round(2, 1, {Reason.DNS: 1}, (2, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0.021),
    )
    assert all(change.is_transition for change in decision.node_changes)


def test_one_failure_makes_a_node_suspect_which_is_no_transition() -> None:
    suspect = dataclasses.replace(
        READY,
        reason=Reason.REFUSED,
        message="no",
        failures=1,
        successes=0,
        load_reason=LoadReason.UNREACHABLE,
        load_message="no",
        load_missed=1,
    )
    decision = decided([poll(1), poll(2)], {1: failed(), 2: seen()})
    assert decision.rows == ((1, suspect, READY_LOAD, SEEN_AT),)
    assert not decision.node_changes[0].is_transition


def test_the_third_failure_is_a_transition_with_back_off_from_the_tick() -> None:
    twice = dataclasses.replace(READY, failures=2, successes=0, reason=Reason.REFUSED)
    decision = decided([poll(1, twice)], {1: failed(Reason.TIMEOUT)})
    new = decision.rows[0][1]
    assert (new.ready, new.reason, new.failures, new.ready_changed_at) == (False, Reason.TIMEOUT, 3, NOW)
    assert new.next_poll_at == NOW + timedelta(seconds=15)
    assert decision.node_changes[0].is_transition


def test_a_node_that_was_not_observed_keeps_its_state() -> None:
    decision = decided([poll(1), poll(2, DOWN), poll(3, None)], {})
    assert decision == Decision((), (), (), (), Round(0, 0, {}, NO_POLLS, 0.0))


def test_a_new_weight_or_formula_is_written_although_the_state_is_the_same() -> None:
    heavy = poll(1, weight_percent=200)
    other = poll(2, formula=LoadFormula(meeting_factor=0))
    decision = decided([heavy, other], {1: seen(), 2: seen()})
    assert decision.rows == ((1, READY, READY_LOAD / 2, NOW), (2, READY, READY_LOAD - 60, NOW))


def test_the_guard_keeps_failed_ready_nodes_untouched_and_judges_all_others() -> None:
    polls = [poll(1), poll(2), poll(3), poll(4), poll(5, DOWN)]
    observations = {1: failed(), 2: failed(), 3: failed(), 4: seen(meetings=3), 5: failed()}
    decision = decided(polls, observations)
    raised = GuardState(since=NOW, failed=3, polled=4)
    assert decision.guards == ((1, raised),)
    assert decision.guard_changes == (GuardChange(1, GuardState(), raised),)
    assert [(node_id, state.failures, state.meetings) for node_id, state, *_ in decision.rows] == [(4, 0, 3), (5, 6, 2)]


def test_a_guard_that_holds_is_not_written_again_and_ends_with_one_round_below_the_share() -> None:
    held = GuardState(since=NOW - timedelta(seconds=30), failed=3, polled=4)
    suspect = dataclasses.replace(READY, failures=1, reason=Reason.REFUSED)
    polls = [poll(number, suspect, guard=held) for number in (1, 2, 3, 4)]
    still = decided(polls, {1: failed(), 2: failed(), 3: failed(), 4: seen()})
    assert still.guards == ()
    assert [row[0] for row in still.rows] == [4]
    over = decided(polls, {1: failed(), 2: seen(), 3: seen(), 4: seen()})
    assert over.guards == ((1, GuardState()),)
    assert [(row[0], row[1].failures) for row in over.rows] == [(1, 2), (2, 0), (3, 0), (4, 0)]


def test_an_exhausted_guard_lets_failures_count() -> None:
    held = GuardState(since=NOW - timedelta(seconds=600), failed=3, polled=3)
    twice = dataclasses.replace(READY, failures=2, reason=Reason.REFUSED)
    decision = decided([poll(n, twice, guard=held) for n in (1, 2, 3)], {n: failed() for n in (1, 2, 3)})
    assert decision.guards == ((1, GuardState(exhausted=True, failed=3, polled=3)),)
    assert [row[1].ready for row in decision.rows] == [False, False, False]


def test_clusters_are_judged_apart() -> None:
    polls = [poll(n) for n in (1, 2, 3)] + [poll(n, cluster_id=2) for n in (4, 5)]
    decision = decided(polls, {n: failed() for n in (1, 2, 3, 4, 5)})
    assert [cluster_id for cluster_id, _ in decision.guards] == [1]
    assert [row[0] for row in decision.rows] == [4, 5]


def test_nodes_that_were_ready_with_an_older_configuration_do_not_raise_the_guard() -> None:
    decision = decided([poll(n, revision=2) for n in (1, 2, 3)], {n: failed() for n in (1, 2, 3)})
    assert decision.guards == ()
    assert [(row[1].ready, row[1].revision) for row in decision.rows] == [(False, 2)] * 3
    assert all(change.old is None for change in decision.node_changes)


def test_a_cluster_of_which_nothing_was_seen_keeps_its_guard() -> None:
    held = GuardState(since=BEFORE, failed=3, polled=4)
    assert decided([poll(1, guard=held)], {}).guards == ()


observations = st.dictionaries(
    st.integers(1, 12), st.sampled_from([seen(), seen(meetings=5, cpu=None), failed(), failed(Reason.TLS)]), max_size=12
)
states = st.sampled_from([None, READY, DOWN, dataclasses.replace(READY, failures=2, reason=Reason.TLS)])


@given(st.lists(states, min_size=12, max_size=12), observations, st.booleans())
def test_only_observed_nodes_are_written_and_each_as_its_own_history_says(
    chosen: list[NodeState | None], observed: dict[int, Observation], held: bool
) -> None:
    guard = GuardState(since=BEFORE, failed=4, polled=5) if held else GuardState()
    polls = [poll(number + 1, state, cluster_id=number % 2, guard=guard) for number, state in enumerate(chosen)]
    decision = decided(polls, observed)
    by_id = {item.node_id: item for item in polls}
    for node_id, state, *_ in decision.rows:
        item = by_id[node_id]
        expected = next_state(item.state, observed[node_id], revision=1, policy=HealthPolicy(), now=NOW, jitter=0.0)
        assert state == expected
    assert decision.round.polled == len(observed)
    assert sum(decision.round.latency) == len(observed)
    assert len(decision.rows) == len({row[0] for row in decision.rows})


def test_latencies_fall_into_fixed_buckets_and_reasons_are_counted() -> None:
    durations = [0.0, 0.05, 0.051, 0.1, 4.9, 5.0, 31.0]
    numbers = summarise([seen(seconds=value) for value in durations] + [failed(Reason.TLS), failed(Reason.DNS)] * 2)
    assert numbers.as_json() == {
        "polled": 11,
        "failed": 4,
        "reasons": {"DNS": 2, "TLS": 2},
        "latency": {
            "bounds": [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
            "counts": [6, 2, 0, 0, 0, 0, 2, 0, 0, 1],
            "sum": 41.105,
        },
    }


def test_a_node_that_is_the_server_of_an_older_one_is_marked_once_and_unmarked_once() -> None:
    older = poll(1, revision=4)
    marked = dataclasses.replace(READY, duplicate_of=1, duplicate_of_revision=4)
    (row,) = decided([poll(2)], {2: seen()}, {2: older}).rows
    assert row[1] == marked
    assert decided([poll(2, marked)], {2: seen()}, {2: older}).rows == ()
    (row,) = decided([poll(2, marked)], {2: seen()}).rows
    assert row[1] == READY
    assert decided([poll(2, marked)], {}, {2: older}).rows == ()
