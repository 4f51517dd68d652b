"""The status of a BBBNode from what the database says of it: a pure function.

While nothing is known (no tick for a while, no database) Ready is Unknown: a node is never called down for a fault on
this side. What the user asked for (Disabled, Cordoned, deletion) needs no database and is shown at once.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from b3lb.health import LoadReason, NodeState, Reason
from b3lb.resources.conditions import (
    ConditionStatus,
    NodeCondition,
    NodeReason,
    find_condition,
    format_time,
    remove_condition,
)
from b3lb.resources.node import DesiredState
from b3lb_operator.manifests.drain import DrainWindow, drained
from b3lb_operator.manifests.facts import Block, NodeFacts, NodeRecord, Verdict
from b3lb_operator.manifests.verdicts import set_conditions

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_WRONG_KEY = (
    "the jobs cannot decrypt the node's API secret: the pods' key (B3LB_ENCRYPTION_KEYS in the Secret that the pods "
    "read) differs from the operator's"
)
_LOAD_TOLERANCE = 0.05
_CPU_STEP = 500


def build_node_status(facts: NodeFacts, *, old: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the whole status; keys that are absent in it are to be removed from the object.

    Args:
        facts: What is known.
        old: The status that the object carries, {} for none.
        now: The database's time.
    """
    outdated = facts.freshness.outdated(now, last_observation=facts.record.observed_at if facts.record else None)
    conditions = [dict(condition) for condition in old.get("conditions", ())]
    before = find_condition(conditions, NodeCondition.READY)
    if before is not None and _nothing_new(facts, outdated):
        return copy.deepcopy(dict(old))
    ready = _ready(facts, outdated, before)
    if facts.unstored:
        ready = _as_stored(facts, ready)
    numbers = _numbers(facts.record, old) if ready.status is _TRUE and facts.record is not None else {}
    window = DrainWindow.of(facts, old, now)
    verdicts: dict[str, Verdict] = {
        NodeCondition.READY: ready,
        NodeCondition.SCHEDULABLE: _schedulable(facts, ready),
        NodeCondition.LOAD_REPORTED: _load_reported(facts.record, ready),
    }
    if window is None:
        conditions = remove_condition(conditions, NodeCondition.DRAINED)
    else:
        verdicts[NodeCondition.DRAINED] = drained(facts, window=window, ready=ready, conditions=conditions, now=now)
    conditions = set_conditions(conditions, verdicts, generation=facts.generation, now=now)
    drain = {} if window is None else {"drain": window.as_status()}
    return {"observedGeneration": facts.generation, **numbers, **drain, "conditions": conditions}


def _nothing_new(facts: NodeFacts, outdated: Block | None) -> bool:
    """Whether the operator just started and cannot read the database yet: what was said before still stands."""
    known = facts.block is not None or facts.spec.state is DesiredState.DISABLED
    return facts.record is None and bool(facts.freshness.error) and outdated is None and not known


def _ready(facts: NodeFacts, outdated: Block | None, before: Mapping[str, Any] | None) -> Verdict:
    if facts.spec.state is DesiredState.DISABLED:
        return Verdict(status=_FALSE, reason=NodeReason.DISABLED, message="not polled: spec.state is Disabled")
    if facts.block is not None:
        return Verdict(status=_FALSE, reason=facts.block.reason, message=facts.block.message)
    unknown = outdated or _unreadable(facts.record)
    if unknown is not None:
        last_seen = _last_seen(facts.record.state) if facts.record is not None else ""
        return Verdict(status=_UNKNOWN, reason=unknown.reason, message=unknown.message + last_seen)
    if facts.record is None or facts.record.state is None:
        return Verdict(status=_UNKNOWN, reason=NodeReason.PENDING, message=_why_pending(facts))
    if facts.record.current_state is None:
        return _before_change(facts.record.state, before)
    return _of_state(facts.record.state, guard_holds=facts.guard_holds)


def _as_stored(facts: NodeFacts, ready: Verdict) -> Verdict:
    """Return what is true of a node whose change is not in the database: what the jobs do follows from what is there.

    That it is to be Disabled is certain. Nothing is known of one that was not polled before the change.
    """
    record = facts.record
    if record is None or facts.spec.state is DesiredState.DISABLED:
        return ready
    if not record.polled and facts.block is None:
        message = f"the change of the spec is not in the database yet: {facts.unstored}"
        return Verdict(status=_UNKNOWN, reason=NodeReason.PENDING, message=message)
    message = f"{ready.message}; the change of the spec is not in the database yet: {facts.unstored}"
    return dataclasses.replace(ready, message=message, observed_generation=record.generation)


def _unreadable(record: NodeRecord | None) -> Block | None:
    unreadable = record is not None and record.unreadable
    return Block(NodeReason.SECRET_UNREADABLE, _WRONG_KEY) if unreadable else None


def _why_pending(facts: NodeFacts) -> str:
    if facts.freshness.error:
        return f"not polled yet; the database cannot be read: {facts.freshness.error}"
    if facts.unstored:
        return f"not polled yet, for it is not in the database: {facts.unstored}"
    if facts.freshness.tick_finished_at is None:
        advice = facts.freshness.unrun or "see the BBBQueue that runs check-nodes, its CronJob and its Jobs"
        return f"not polled yet; no health check has run so far: {advice}"
    return "not polled yet"


def _before_change(state: NodeState, before: Mapping[str, Any] | None) -> Verdict:
    """Return what a state says that was observed before the node's configuration changed.

    A node that is Ready up to now goes on until it is polled again, within seconds: else a new value of a Secret would
    take all its nodes out of service at once. A failure, or an answer from before the node was Disabled,
    says nothing of the new configuration.
    """
    if not state.ready or before is None or before["status"] != _TRUE:
        message = "the configuration changed; not polled with the new one yet"
        return Verdict(status=_UNKNOWN, reason=NodeReason.PENDING, message=message)
    return Verdict(
        status=_TRUE,
        reason=Reason.RESPONDING,
        message="the node answered before its configuration changed; not polled with the new one yet",
        observed_generation=before.get("observedGeneration", 0),
    )


def _of_state(state: NodeState, *, guard_holds: bool) -> Verdict:
    if not state.ready:
        since = f"; not Ready since {format_time(state.ready_changed_at)}"
        return Verdict(status=_FALSE, reason=state.reason, message=_text(state) + since + _last_seen(state))
    message = "the node answers"
    if guard_holds:
        # Whether this very node answered is not known: failures are not noted meanwhile.
        message = "Ready before too many nodes failed at once (MassFailure); state kept"
    elif state.suspect:
        message = f"the last poll failed ({state.reason}: {_text(state)}); Ready until more fail in a row"
    return Verdict(status=_TRUE, reason=Reason.RESPONDING, message=message)


def _text(state: NodeState) -> str:
    return state.message or f"the poll failed: {state.reason}"


def _last_seen(state: NodeState | None) -> str:
    if state is None or not state.proven:
        return ""
    return f"; last seen with {state.meetings} meetings and {state.attendees} attendees"


def _schedulable(facts: NodeFacts, ready: Verdict) -> Verdict:
    """Return what decides about new meetings; what the user asked for is certain even when Ready is Unknown."""
    if facts.deleting:
        return Verdict(status=_FALSE, reason=NodeReason.DELETING, message="no new meetings: the node is being deleted")
    wish = _WISHES.get(facts.spec.state)
    if ready.status is _FALSE or (wish is None and ready.status is _UNKNOWN):
        return ready
    if ready.status is _TRUE and facts.record is not None and facts.record.duplicate_of is not None:
        return _duplicate(facts.record.duplicate_of)
    if wish is not None:
        return Verdict(status=_FALSE, reason=wish, message=f"no new meetings: spec.state is {facts.spec.state}")
    state = facts.record.state if facts.record is not None else None
    return _limit_reached(facts, state) or _by_last_poll(facts, state)


_WISHES = {
    DesiredState.CORDONED: NodeReason.CORDONED,
    DesiredState.DRAINING: NodeReason.DRAINING,
}


def _duplicate(older: str) -> Verdict:
    message = (
        f"no new meetings: the older BBBNode {older} is the same server, and its meetings count there; "
        "delete one of the two, or change its address"
    )
    return Verdict(status=_FALSE, reason=NodeReason.DUPLICATE_SERVER, message=message)


def _by_last_poll(facts: NodeFacts, state: NodeState | None) -> Verdict:
    if state is None or not state.suspect:
        return Verdict(status=_TRUE, reason=NodeReason.SCHEDULABLE, message="gets new meetings")
    failure = f"the last poll failed ({state.reason}: {_text(state)})"
    if facts.guard_holds:
        message = f"gets new meetings: {failure}, but too many others failed at once (MassFailure)"
        return Verdict(status=_TRUE, reason=NodeReason.SCHEDULABLE, message=message)
    return Verdict(status=_FALSE, reason=NodeReason.SUSPECT, message=f"no new meetings: {failure}")


def _limit_reached(facts: NodeFacts, state: NodeState | None) -> Verdict | None:
    if state is None:
        return None
    spec = facts.spec
    if spec.max_meetings is not None and state.meetings >= spec.max_meetings:
        message = f"no new meetings: {state.meetings} run, spec.maxMeetings is {spec.max_meetings}"
        return Verdict(status=_FALSE, reason=NodeReason.MAX_MEETINGS_REACHED, message=message)
    if spec.max_attendees is not None and state.attendees >= spec.max_attendees:
        message = f"no new meetings: {state.attendees} attendees, spec.maxAttendees is {spec.max_attendees}"
        return Verdict(status=_FALSE, reason=NodeReason.MAX_ATTENDEES_REACHED, message=message)
    return None


def _load_reported(record: NodeRecord | None, ready: Verdict) -> Verdict:
    state = record.state if record is not None else None
    if ready.status is not _TRUE or state is None:
        reason = ready.reason if ready.status is _UNKNOWN else NodeReason.NOT_READY
        return Verdict(status=_UNKNOWN, reason=reason, message="the load is asked for only while the node is Ready")
    text = f"{state.load_reason}: {state.load_message}" if state.load_message else str(state.load_reason)
    if state.cpu is None:
        message = f"{state.load_message or state.load_reason}; the load counts meetings and attendees only"
        return Verdict(status=_FALSE, reason=state.load_reason, message=message)
    message = "the node reports its load" if not state.load_missed else f"the last value is kept for now ({text})"
    return Verdict(status=_TRUE, reason=LoadReason.REPORTED, message=message)


def _numbers(record: NodeRecord, old: Mapping[str, Any]) -> dict[str, int]:
    state = record.state
    if state is None:
        return {}
    numbers = {"meetings": state.meetings, "attendees": state.attendees}
    if state.cpu is not None:
        numbers["cpuPercent"] = (state.cpu + _CPU_STEP // 2) // _CPU_STEP * 5
    if record.load is None:
        return numbers
    load = round(record.load)
    before = old.get("load")
    unmoved = all(old.get(key) == numbers.get(key) for key in ("meetings", "attendees", "cpuPercent"))
    if unmoved and before is not None and abs(before - load) <= _LOAD_TOLERANCE * load:
        load = before
    return {"load": load, **numbers}
