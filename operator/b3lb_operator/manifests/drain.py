"""Draining a node: when it began, when it ends, and whether meetings still run; pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from b3lb.health import NodeState
from b3lb.resources.conditions import (
    ConditionStatus,
    NodeCondition,
    NodeReason,
    find_condition,
    format_time,
    parse_time,
)
from b3lb.resources.node import DesiredState
from b3lb_operator.manifests.facts import NodeFacts, Verdict

FORCE_ANNOTATION = "b3lb.io/force-delete"
"""With the value true, a node that is being deleted goes at once."""

UNHEALTHY_SECONDS = 600
"""A node that is being deleted and not Ready is waited for no longer than this."""


@dataclass(frozen=True, slots=True)
class DrainWindow:
    """The time that running meetings are given."""

    started_at: datetime
    deadline_at: datetime

    @classmethod
    def of(cls, facts: NodeFacts, old: Mapping[str, Any], now: datetime) -> Self | None:
        """Return the window of a node that is draining or being deleted, None for others.

        The drain begins when the operator first sees that it is wanted, and ``status.drain.startedAt`` remembers it;
        deleting a node that is draining goes on with the same drain.
        """
        if not facts.deleting and facts.spec.state is not DesiredState.DRAINING:
            return None
        remembered = old.get("drain", {}).get("startedAt")
        started_at = parse_time(remembered) if remembered else _next_second(now)
        return cls(started_at, started_at + timedelta(seconds=facts.spec.drain.deadline_seconds))

    def as_status(self) -> dict[str, str]:
        """Return ``status.drain``."""
        return {"startedAt": format_time(self.started_at), "deadlineAt": format_time(self.deadline_at)}


def drained(
    facts: NodeFacts,
    *,
    window: DrainWindow,
    ready: Verdict,
    conditions: Iterable[Mapping[str, Any]],
    now: datetime,
) -> Verdict:
    """Return what the condition Drained says.

    It becomes True only by a good poll that began after the drain did. From then on it stays True until a poll finds
    meetings: a drained server may be switched off. While it is not True, the message says until when meetings are
    waited for, and of a node that is being deleted how it may go at once.

    Args:
        facts: What is known of the node.
        window: The drain.
        ready: What the condition Ready says.
        conditions: The conditions that the object carries.
        now: The database's time.
    """
    # As long as the database does not know of the drain, new meetings may begin.
    known = ready.status is ConditionStatus.TRUE and not facts.unstored
    state = facts.record.current_state if known and facts.record is not None else None
    running = f"{state.meetings} meetings with {state.attendees} attendees" if state is not None else ""
    if state is not None and state.meetings == 0 and _polled_since(facts, window):
        return Verdict(status=ConditionStatus.TRUE, reason=NodeReason.NO_MEETINGS, message="no meetings run")
    conditions = list(conditions)
    ready_before = find_condition(conditions, NodeCondition.READY)
    before = find_condition(conditions, NodeCondition.DRAINED)
    if before is not None and before["status"] == ConditionStatus.TRUE and (state is None or state.meetings == 0):
        return Verdict(status=ConditionStatus.TRUE, reason=NodeReason.NO_MEETINGS, message=before["message"])
    if now >= window.deadline_at:
        what = f"{running} still run" if state is not None and state.meetings else "meetings may still run"
        message = f"{what}; the deadline was {format_time(window.deadline_at)}"
        return Verdict(status=ConditionStatus.FALSE, reason=NodeReason.DEADLINE_EXCEEDED, message=message)
    if state is not None and state.meetings:
        message = f"{running} still run; {_until(facts, window=window, ready=ready, before=ready_before, now=now)}"
        return Verdict(status=ConditionStatus.FALSE, reason=NodeReason.MEETINGS_RUNNING, message=message)
    reason = NodeReason.PENDING if ready.status is ConditionStatus.TRUE else ready.reason
    until = _until(facts, window=window, ready=ready, before=ready_before, now=now)
    message = f"no good poll since the drain began; {until}"
    return Verdict(status=ConditionStatus.UNKNOWN, reason=reason, message=message)


def given_up_at(ready: Mapping[str, Any], state: NodeState | None) -> datetime:
    """Return when a node that is being deleted and not Ready is waited for no longer.

    Args:
        ready: The condition Ready, which is False.
        state: What the last poll of any configuration left, if there was one.
    """
    since = parse_time(ready["lastTransitionTime"])
    if state is not None and not state.ready:
        since = min(since, state.ready_changed_at)
    return since + timedelta(seconds=UNHEALTHY_SECONDS)


def _until(
    facts: NodeFacts, *, window: DrainWindow, ready: Verdict, before: Mapping[str, Any] | None, now: datetime
) -> str:
    """Return until when meetings are waited for; ``before`` is the condition Ready that the object carries."""
    if not facts.deleting:
        return f"meetings are waited for until {format_time(window.deadline_at)}"
    ends = [window.deadline_at]
    if facts.deleted_at is not None:
        ends.append(facts.deleted_at + timedelta(seconds=facts.spec.drain.deadline_seconds))
    if ready.status is ConditionStatus.FALSE:
        lasting = before is not None and before["status"] == ConditionStatus.FALSE
        condition = before if before is not None and lasting else {"lastTransitionTime": format_time(now)}
        ends.append(given_up_at(condition, facts.record.state if facts.record is not None else None))
    return (
        f"the node goes at {format_time(min(ends))} at the latest, or now with the annotation {FORCE_ANNOTATION}=true"
    )


def _polled_since(facts: NodeFacts, window: DrainWindow) -> bool:
    """Whether a poll that began after the drain succeeded: a healthy node is polled in every tick.

    While the mass-failure guard holds, states are kept whatever the polls saw, and so are those of nodes that the tick
    could not poll to the end.
    """
    if facts.record is None or not facts.record.observed_in_last_tick:
        return False
    state = facts.record.current_state
    started_at = facts.freshness.tick_started_at
    fresh = started_at is not None and started_at >= window.started_at
    return fresh and not facts.guard_holds and state is not None and state.ready and state.failures == 0


def _next_second(now: datetime) -> datetime:
    """Return ``now`` rounded up, so that no tick from before it seems to come after it."""
    return now.replace(microsecond=0) + timedelta(seconds=1 if now.microsecond else 0)
