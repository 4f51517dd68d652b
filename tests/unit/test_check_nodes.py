"""One round of polls: what it changes, whom the guard protects, which secrets can be read."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from b3lb.bbb.client import NodeTarget
from b3lb.crypto import KeyRing
from b3lb.db.node_states import NodePoll
from b3lb.health import (
    GuardPolicy,
    GuardState,
    HealthPolicy,
    LoadReason,
    LoadReport,
    NodeState,
    Observation,
    Reason,
    next_state,
)
from b3lb.load import LoadFormula
from b3lb_jobs.core import check_nodes
from b3lb_jobs.core.api_secrets import SecretCache
from b3lb_jobs.core.check_nodes import CheckNodes, LoadedPolls
from b3lb_jobs.core.decision import Decision, GuardChange, NodeChange, Round, decide, summarise
from b3lb_jobs.interface import TaskContext

NOW = datetime(2026, 11, 23, 10, 30, 15, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=1)
KEYS = KeyRing.generate()
NO_POLLS = (0,) * 10


def seen(*, meetings: int = 2, attendees: int = 10, cpu: int | None = 2500, seconds: float = 0.02) -> Observation:
    report = LoadReport(cpu) if cpu is not None else LoadReport(None, LoadReason.NOT_FOUND, "404")
    return Observation(Reason.RESPONDING, "", meetings, attendees, report, seconds)


def failed(reason: Reason = Reason.REFUSED, *, seconds: float = 0.001) -> Observation:
    return Observation(reason, "no", 0, 0, LoadReport(None, LoadReason.UNREACHABLE, "no"), seconds)


READY = NodeState(
    revision=1,
    ready=True,
    proven=True,
    reason=Reason.RESPONDING,
    message="",
    failures=0,
    successes=2,
    next_poll_at=None,
    ready_changed_at=BEFORE,
    meetings=2,
    attendees=10,
    cpu=2500,
    load_reason=LoadReason.REPORTED,
    load_message="",
    load_missed=0,
)
READY_LOAD = 10 + 2 * 30 + sum(0.25**power for power in range(1, 7)) * 5000 / 6
DOWN = dataclasses.replace(
    READY, ready=False, reason=Reason.REFUSED, message="no", failures=5, successes=0, next_poll_at=NOW
)


def poll(node_id: int, state: NodeState | None = READY, *, cluster_id: int = 1, **changes: Any) -> NodePoll:
    name = f"node-{node_id}"
    sealed = KEYS.encrypt(f"secret {node_id}", context=f"nodes/default/{name}")
    made = NodePoll(
        node_id=node_id,
        cluster_id=cluster_id,
        name=name,
        revision=1,
        api_url=f"http://{name}.example/bigbluebutton/api",
        load_url=f"http://{name}.example/b3lb/load",
        secret_ciphertext=sealed.ciphertext,
        secret_key_id=sealed.key_id,
        algorithm="sha256",
        ca_certificates=None,
        timeout_seconds=5,
        weight_percent=100,
        formula=LoadFormula(),
        health=HealthPolicy(),
        guard_policy=GuardPolicy(),
        guard=GuardState(),
        state=state,
        load=None if state is None else READY_LOAD,
    )
    return dataclasses.replace(made, **changes)


def decided(polls: Sequence[NodePoll], observations: Mapping[int, Observation]) -> Decision:
    return decide(polls, observations, now=NOW, jitter_source=lambda: 0.0)


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
        rows=((1, up, READY_LOAD), (2, down, 0.0)),
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
    assert decision.rows == ((1, suspect, READY_LOAD),)
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
    assert decision.rows == ((1, READY, READY_LOAD / 2), (2, READY, READY_LOAD - 60))


def test_the_guard_keeps_failed_ready_nodes_untouched_and_judges_all_others() -> None:
    polls = [poll(1), poll(2), poll(3), poll(4), poll(5, DOWN)]
    observations = {1: failed(), 2: failed(), 3: failed(), 4: seen(meetings=3), 5: failed()}
    decision = decided(polls, observations)
    raised = GuardState(since=NOW, failed=3, polled=4)
    assert decision.guards == ((1, raised),)
    assert decision.guard_changes == (GuardChange(1, GuardState(), raised),)
    assert [(node_id, state.failures, state.meetings) for node_id, state, _ in decision.rows] == [(4, 0, 3), (5, 6, 2)]


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
    for node_id, state, _ in decision.rows:
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


def test_secrets_are_decrypted_once_per_revision() -> None:
    cache = SecretCache(KEYS, "default")
    first = poll(1)
    assert cache.read([first]) == ({1: "secret 1"}, Counter())
    # The cached value is used: this ciphertext could not be read.
    altered = dataclasses.replace(first, secret_ciphertext=b"x" * 40)
    assert cache.read([altered]) == ({1: "secret 1"}, Counter())
    assert cache.read([dataclasses.replace(altered, revision=2)]) == ({}, Counter({"k1": 1}))


def test_secrets_of_gone_nodes_are_forgotten_and_never_shown() -> None:
    cache = SecretCache(KEYS, "default")
    cache.read([poll(1), poll(2)])
    cache.keep_only([poll(2)])
    assert repr(cache) == "SecretCache(1 nodes)"


def test_a_secret_of_another_row_or_under_an_unknown_key_is_unreadable() -> None:
    copied = dataclasses.replace(poll(1), node_id=2, name="node-2")
    unknown = dataclasses.replace(poll(3), secret_key_id="gone")
    readable, unreadable = SecretCache(KEYS, "default").read([copied, unknown, poll(4)])
    assert readable == {4: "secret 4"}
    assert unreadable == {"k1": 1, "gone": 1}


def task(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Observation | float]) -> CheckNodes:
    """Return the task with a client that answers from ``answers``; a number is a poll that takes so many seconds."""
    made = CheckNodes(TaskContext("default", KEYS, tick_seconds=15, max_in_flight=2), jitter_source=lambda: 0.0)

    async def observe(target: NodeTarget) -> Observation:
        answer = answers[target.name]
        if isinstance(answer, Observation):
            return answer
        await asyncio.sleep(answer)
        return seen(seconds=answer)

    monkeypatch.setattr(made._client, "observe", observe)
    return made


@pytest.mark.looptime
async def test_a_poll_that_has_not_ended_in_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    polls = [poll(1), poll(2)]
    slow = task(monkeypatch, {"node-1": seen(meetings=7), "node-2": 60.0})
    findings = await slow.work(LoadedPolls(polls, polls), at=NOW, seconds=6)
    assert [row[0] for row in findings.states] == [1]
    assert {key: findings.summary[key] for key in ("nodes", "polled", "unfinished", "changed")} == {
        "nodes": 2,
        "polled": 1,
        "unfinished": 1,
        "changed": 1,
    }


async def test_unreadable_secrets_are_said_once_per_run_and_key_and_stand_in_the_summary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = task(monkeypatch, {"node-3": seen()})
    polls = [*(dataclasses.replace(poll(number), secret_key_id="gone") for number in (1, 2)), poll(3)]
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            findings = await made.work(LoadedPolls(polls, polls), at=NOW, seconds=5)
            assert findings.summary["undecryptable"] == {"gone": 2}
            assert findings.states == ()
            assert findings.summary["polled"] == 1
    assert lines == [
        {
            "event": "API secrets cannot be decrypted; their nodes keep their state and are not polled",
            "key_id": "gone",
            "nodes": 2,
            "configured": "k1",
            "log_level": "warning",
        }
    ]


async def test_transitions_become_events_and_every_change_a_row_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    polls = [poll(1), poll(2, None), poll(3, DOWN), poll(4), poll(5)]
    answers = {f"node-{n}": failed() for n in (1, 4, 5)} | {"node-2": seen(), "node-3": failed()}
    findings = await task(monkeypatch, answers).work(LoadedPolls(polls, polls), at=NOW, seconds=5)
    assert [(event.message, event.fields, event.warning) for event in findings.events] == [
        ("node is ready", {"node": "node-2", "reason": "Responding", "detail": ""}, False),
        (
            "mass failure: the nodes of the cluster keep their states",
            {"cluster_id": 1, "failed": 3, "polled": 3},
            True,
        ),
    ]
    assert [(row["object"], row["ready"], row["reason"]) for row in findings.changes] == [
        ("node/node-2", "- → True", "- → Responding"),
        ("node/node-3", "False", "Refused"),
        ("cluster/1", "", "AtRest → MassFailure"),
    ]


async def test_nothing_is_polled_without_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = await task(monkeypatch, {}).work(LoadedPolls([], []), at=NOW, seconds=0.0)
    assert (findings.states, findings.guards, findings.summary["polled"]) == ((), (), 0)


def test_the_time_needed_grows_with_time_outs_and_with_waiting_for_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    made = task(monkeypatch, {})
    slow = poll(9, timeout_seconds=30)
    assert made.seconds_needed(LoadedPolls([], [])) == 0.0
    assert made.seconds_needed(LoadedPolls([slow], [poll(1)])) == 6.0
    assert made.seconds_needed(LoadedPolls([], [poll(1), poll(2)])) == 6.0
    assert made.seconds_needed(LoadedPolls([], [poll(1), poll(2), slow])) == 31.5


def test_nodes_in_back_off_are_left_out_and_failing_ones_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    later = dataclasses.replace(DOWN, next_poll_at=NOW + timedelta(seconds=1))
    polls = [poll(1, DOWN), poll(2, later), poll(3), poll(4, None), poll(5, later, revision=2)]
    asked: list[tuple[str, int]] = []

    def load_polls(_connection: object, namespace: str, *, tick_seconds: int) -> list[NodePoll]:
        asked.append((namespace, tick_seconds))
        return polls

    monkeypatch.setattr(check_nodes, "load_polls", load_polls)
    connection: Any = None
    loaded = task(monkeypatch, {}).load(connection, NOW)
    assert asked == [("default", 15)]
    assert [item.node_id for item in loaded.due] == [3, 4, 1, 5]
    assert loaded.polls == polls
