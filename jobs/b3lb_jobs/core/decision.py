"""What one round of polls changes: a pure function of the old states and the observations."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from b3lb.db.node_states import GuardRow, NodePoll, StateRow
from b3lb.health import GuardState, NodeState, Observation, Reason, judge_round, next_state
from b3lb.load import node_load

LATENCY_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of a poll's seconds; one more bucket holds what is longer."""


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node whose row is to be written. ``old`` is None before the first poll of this revision."""

    name: str
    old: NodeState | None
    new: NodeState
    old_load: float | None
    new_load: float

    @property
    def is_transition(self) -> bool:
        """Whether Ready changed, or was decided for the first time."""
        return self.old is None or self.old.ready != self.new.ready


@dataclass(frozen=True, slots=True)
class GuardChange:
    """A cluster whose mass-failure guard is to be written."""

    cluster_id: int
    old: GuardState
    new: GuardState


@dataclass(frozen=True, slots=True)
class Round:
    """The numbers of one round of polls, of all clusters together: nothing about a single node.

    ``latency`` counts the polls per bucket of ``LATENCY_BOUNDS``, not cumulated; ``poll_seconds`` is their sum.
    """

    polled: int
    failed: int
    reasons: dict[Reason, int]
    latency: tuple[int, ...]
    poll_seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the round for the heartbeat."""
        return {
            "polled": self.polled,
            "failed": self.failed,
            "reasons": {str(reason): count for reason, count in sorted(self.reasons.items())},
            "latency": {
                "bounds": list(LATENCY_BOUNDS),
                "counts": list(self.latency),
                "sum": round(self.poll_seconds, 3),
            },
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be written, and why."""

    rows: tuple[StateRow, ...]
    guards: tuple[GuardRow, ...]
    node_changes: tuple[NodeChange, ...]
    guard_changes: tuple[GuardChange, ...]
    round: Round


def decide(
    polls: Sequence[NodePoll],
    observations: Mapping[int, Observation],
    *,
    duplicates: Mapping[int, NodePoll],
    now: datetime,
    jitter_source: Callable[[], float],
) -> Decision:
    """Return what a round changes.

    A node without an observation (in back-off, unreadable secret, or the time was up) keeps its state. While the guard
    of a cluster holds, failed nodes that were Ready keep theirs too, untouched.

    Args:
        polls: The nodes as they were before the round.
        observations: What the polls saw, by the node's ID.
        duplicates: The nodes that are the server of an older one, by their IDs, with that one.
        now: The tick's time.
        jitter_source: Returns numbers in [0, 1), one for each observed node.
    """
    guards = _judge(polls, observations, now)
    changes: list[tuple[StateRow, NodeChange]] = []
    for poll in polls:
        observation = observations.get(poll.node_id)
        if observation is None:
            continue
        jitter = jitter_source()
        if guards[poll.cluster_id].holds and not observation.succeeded and _was_ready(poll):
            continue
        new = next_state(poll.state, observation, revision=poll.revision, policy=poll.health, now=now, jitter=jitter)
        new = _marked(new, duplicates.get(poll.node_id))
        load = _load(poll, new)
        if new != poll.state or load != poll.load:
            old = poll.state if poll.state is not None and poll.state.revision == poll.revision else None
            seen_at = now if observation.succeeded else poll.seen_at
            row = poll.node_id, new, load, seen_at
            changes.append((row, NodeChange(poll.name, old, new, poll.load, load)))
    old_guards = {poll.cluster_id: poll.guard for poll in polls}
    guard_changes = tuple(
        GuardChange(cluster_id, old_guards[cluster_id], guard)
        for cluster_id, guard in sorted(guards.items())
        if guard != old_guards[cluster_id]
    )
    return Decision(
        rows=tuple(row for row, _ in changes),
        guards=tuple((change.cluster_id, change.new) for change in guard_changes),
        node_changes=tuple(change for _, change in changes),
        guard_changes=guard_changes,
        round=summarise(observations.values()),
    )


def summarise(observations: Iterable[Observation]) -> Round:
    """Return the numbers of a round."""
    reasons: dict[Reason, int] = {}
    latency = [0] * (len(LATENCY_BOUNDS) + 1)
    polled, seconds = 0, 0.0
    for observation in observations:
        polled += 1
        seconds += observation.seconds
        latency[bisect_left(LATENCY_BOUNDS, observation.seconds)] += 1
        if not observation.succeeded:
            reasons[observation.reason] = reasons.get(observation.reason, 0) + 1
    return Round(polled, sum(reasons.values()), reasons, tuple(latency), seconds)


def _judge(polls: Iterable[NodePoll], observations: Mapping[int, Observation], now: datetime) -> dict[int, GuardState]:
    """Return the guard of every cluster after the round; a cluster of which nothing was seen keeps its guard."""
    guards: dict[int, GuardState] = {}
    observed: dict[int, list[NodePoll]] = {}
    for poll in polls:
        guards[poll.cluster_id] = poll.guard
        if poll.node_id in observations:
            observed.setdefault(poll.cluster_id, []).append(poll)
    for cluster_id, seen in observed.items():
        ready = [poll for poll in seen if _was_ready(poll)]
        guards[cluster_id] = judge_round(
            seen[0].guard,
            polled=len(ready),
            failed=sum(not observations[poll.node_id].succeeded for poll in ready),
            policy=seen[0].guard_policy,
            now=now,
        )
    return guards


def _marked(state: NodeState, older: NodePoll | None) -> NodeState:
    if older is None:
        return state
    return dataclasses.replace(state, duplicate_of=older.node_id, duplicate_of_revision=older.revision)


def _was_ready(poll: NodePoll) -> bool:
    """Whether the node was Ready with the configuration that was polled."""
    return poll.state is not None and poll.state.ready and poll.state.revision == poll.revision


def _load(poll: NodePoll, state: NodeState) -> float:
    return node_load(
        poll.formula,
        attendees=state.attendees,
        meetings=state.meetings,
        cpu=state.cpu,
        weight_percent=poll.weight_percent,
    )
