"""How a node's health follows from what its polls saw: pure functions, no clock and no I/O.

The old state, one observation and the cluster's policy give the new state. Hysteresis keeps a single lost poll from
moving a room's server out of service, back-off keeps a dead node from being asked at every tick, and the
mass-failure guard keeps a fault on our own side (DNS, routing) from declaring the whole farm dead.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

BACKOFF_CAP_SECONDS = 60
LOAD_KEPT_TICKS = 3


class Reason(StrEnum):
    """Why a poll of a node failed, or that it did not; part of the API as condition reasons."""

    RESPONDING = "Responding"
    DNS = "DNS"
    REFUSED = "Refused"
    UNREACHABLE = "Unreachable"
    DISCONNECTED = "Disconnected"
    TIMEOUT = "Timeout"
    TLS = "TLS"
    HTTP_STATUS = "HTTPStatus"
    CHECKSUM_ERROR = "ChecksumError"
    API_ERROR = "APIError"
    INVALID_XML = "InvalidXML"
    TOO_LARGE = "TooLarge"


class LoadReason(StrEnum):
    """Why a node's ``/b3lb/load`` gave no usable value."""

    REPORTED = "Reported"
    NOT_FOUND = "NotFound"
    HTTP_STATUS = "HTTPStatus"
    NOT_A_NUMBER = "NotANumber"
    NEGATIVE = "Negative"
    TOO_HIGH = "TooHigh"
    UNREACHABLE = "Unreachable"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One answer of ``/b3lb/load``: ``value`` in 0..10000 (base 10000), or None and the reason."""

    value: int | None
    reason: LoadReason = LoadReason.REPORTED
    message: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one poll of one node saw.

    ``reason`` is ``Responding`` for a usable getMeetings answer; otherwise ``meetings`` and ``attendees`` are 0 and
    mean nothing. ``message`` is for people and holds no secret. ``seconds`` is the poll's duration.
    """

    reason: Reason
    message: str
    meetings: int
    attendees: int
    load: LoadReport
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Whether the node answered getMeetings usably."""
        return self.reason is Reason.RESPONDING


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """A cluster's thresholds; counts of polls, and the tick's length in seconds."""

    unhealthy_after: int = 3
    healthy_after: int = 2
    tick_seconds: int = 15


@dataclass(frozen=True, slots=True)
class NodeState:
    """The health of one node at one revision of its configuration.

    ``proven`` says that the node was Ready at least once at this revision, or came to it Ready: before that the first
    observation decides at once, in both directions. ``failures`` and ``successes`` count consecutive polls
    (``successes`` up to ``healthy_after``). ``reason`` and ``message`` are the last observation's. ``meetings`` and
    ``attendees`` are the last good poll's, of whatever revision, and 0 before the first one. ``cpu`` is the last load
    value in 0..10000 or None when unknown; ``load_missed`` counts ticks without one, up to one more than the kept ones.
    ``duplicate_of`` is the ID of an older node that is the same server, ``duplicate_of_revision`` that node's revision
    then: of another one it says nothing. Both are None for a server of its own.
    """

    revision: int
    ready: bool
    proven: bool
    reason: Reason
    message: str
    failures: int
    successes: int
    next_poll_at: datetime | None
    ready_changed_at: datetime
    meetings: int
    attendees: int
    cpu: int | None
    load_reason: LoadReason
    load_message: str
    load_missed: int
    duplicate_of: int | None = None
    duplicate_of_revision: int | None = None

    @property
    def suspect(self) -> bool:
        """Whether the node is still Ready although its last poll failed."""
        return self.ready and self.failures > 0


def next_state(
    old: NodeState | None,
    observation: Observation,
    *,
    revision: int,
    policy: HealthPolicy,
    now: datetime,
    jitter: float,
) -> NodeState:
    """Return the state after ``observation``.

    Args:
        old: The state before, or None. Of another revision's, only the numbers of its last good poll and the time of
            its last change count.
        observation: What the poll saw.
        revision: The revision of the node's configuration that was polled.
        policy: The cluster's thresholds.
        now: The tick's time; back-off is counted from it.
        jitter: A number in [0, 1) that spreads the back-off.
    """
    current = old if old is not None and old.revision == revision else None
    cpu, load_reason, load_message, missed = _load(current, observation.load)
    if observation.succeeded:
        ready, successes = _after_success(current, policy)
        failures, delay = 0, None
        meetings, attendees = observation.meetings, observation.attendees
        message = observation.message if ready else f"answering again: {successes} of {policy.healthy_after} polls"
        reason = observation.reason if ready or current is None else current.reason
    else:
        ready, failures, delay = _after_failure(current, policy, jitter)
        successes = 0
        meetings, attendees = (old.meetings, old.attendees) if old else (0, 0)
        reason, message = observation.reason, observation.message
    return NodeState(
        revision=revision,
        ready=ready,
        proven=ready or (current is not None and current.proven),
        reason=reason,
        message=message,
        failures=failures,
        successes=successes,
        next_poll_at=None if delay is None else now + delay,
        ready_changed_at=now if old is None or old.ready != ready else old.ready_changed_at,
        meetings=meetings,
        attendees=attendees,
        cpu=cpu,
        load_reason=load_reason,
        load_message=load_message,
        load_missed=missed,
    )


def is_due(state: NodeState | None, revision: int, now: datetime) -> bool:
    """Whether a node is to be polled in the tick at ``now``: back-off holds only for the revision that earned it.

    A back-off longer than the longest was begun before the clock was set back, and is over.
    """
    if state is None or state.revision != revision or state.next_poll_at is None:
        return True
    return not now < state.next_poll_at <= now + timedelta(seconds=BACKOFF_CAP_SECONDS)


def _after_success(current: NodeState | None, policy: HealthPolicy) -> tuple[bool, int]:
    """Return (ready, consecutive successes)."""
    if current is None or current.ready or not current.proven:
        return True, policy.healthy_after
    successes = min(current.successes + 1, policy.healthy_after)
    return successes >= policy.healthy_after, successes


def _after_failure(
    current: NodeState | None, policy: HealthPolicy, jitter: float
) -> tuple[bool, int, timedelta | None]:
    """Return (ready, consecutive failures, delay of the next poll beyond the next tick)."""
    failures = 1 if current is None else current.failures + 1
    ready = current is not None and current.ready and failures < policy.unhealthy_after
    return ready, failures, None if ready else _backoff(current, failures, policy, jitter)


def _backoff(current: NodeState | None, failures: int, policy: HealthPolicy, jitter: float) -> timedelta:
    """Return the delay of the next poll: doubling, in whole ticks, jittered over its upper half, at most 60 s."""
    proven = current is not None and current.proven
    exponent = max(0, failures - (policy.unhealthy_after if proven else 1))
    cap = max(1, BACKOFF_CAP_SECONDS // policy.tick_seconds)
    longest = min(2 ** min(exponent, 10), cap)
    shortest = (longest + 1) // 2
    ticks = shortest + int(jitter * (longest - shortest + 1))
    return timedelta(seconds=ticks * policy.tick_seconds)


def _load(current: NodeState | None, report: LoadReport) -> tuple[int | None, LoadReason, str, int]:
    """Return (cpu, reason, message, missed): a missing report keeps the last value for a few ticks."""
    if report.value is not None:
        return report.value, LoadReason.REPORTED, "", 0
    if current is None or current.cpu is None:
        return None, report.reason, report.message, LOAD_KEPT_TICKS + 1
    missed = current.load_missed + 1
    kept = current.cpu if missed <= LOAD_KEPT_TICKS else None
    return kept, report.reason, report.message, missed


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """When simultaneous failures are held to be our own fault: share in percent, least number, longest duration."""

    share_percent: int = 50
    minimum_nodes: int = 3
    maximum_seconds: int = 600


@dataclass(frozen=True, slots=True)
class GuardState:
    """The mass-failure guard of one cluster.

    ``since`` is set while the guard holds; ``exhausted`` says that it held as long as it may and lets failures count
    until a round stays below the share. ``failed`` of ``polled`` are the numbers of the round that raised it.
    """

    since: datetime | None = None
    exhausted: bool = False
    failed: int = 0
    polled: int = 0

    @property
    def holds(self) -> bool:
        """Whether old states are kept and suspicion excludes nobody."""
        return self.since is not None


def judge_round(old: GuardState, *, polled: int, failed: int, policy: GuardPolicy, now: datetime) -> GuardState:
    """Return the guard after a round in which ``failed`` of ``polled`` Ready nodes did not answer.

    A policy whose longest duration is 0 never lets it hold.
    """
    if failed < max(policy.minimum_nodes, 1) or failed * 100 < policy.share_percent * polled:
        return GuardState()
    if old.exhausted:
        return old
    # A guard that rises in the future rose before the clock was set back.
    current = old if old.since is not None and old.since <= now else GuardState(since=now, failed=failed, polled=polled)
    if current.since is not None and now - current.since >= timedelta(seconds=policy.maximum_seconds):
        return dataclasses.replace(current, since=None, exhausted=True)
    return current
