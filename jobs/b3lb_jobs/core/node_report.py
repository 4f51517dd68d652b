"""What a round did to nodes and guards: log lines, and rows for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from b3lb.health import GuardState
from b3lb_jobs.core.decision import Decision, GuardChange, NodeChange
from b3lb_jobs.interface import Event
from b3lb_jobs.words import arrow


def events_of(decision: Decision) -> Iterable[Event]:
    """Yield a line for every node whose Ready changed and every guard that rose or fell."""
    for change in decision.node_changes:
        if change.is_transition:
            message = "node is ready" if change.new.ready else "node is not ready"
            reason, detail = str(change.new.reason), change.new.message
            yield Event(message, {"node": change.name, "reason": reason, "detail": detail})
    for guard in decision.guard_changes:
        if (guard.old.holds, guard.old.exhausted) != (guard.new.holds, guard.new.exhausted):
            numbers = {"cluster_id": guard.cluster_id, "failed": guard.new.failed, "polled": guard.new.polled}
            yield Event(_guard_message(guard.new), numbers, warning=guard.new.holds)


def _guard_message(guard: GuardState) -> str:
    if guard.holds:
        return "mass failure: the nodes of the cluster keep their states"
    return "mass failure lasts too long: failures count again" if guard.exhausted else "mass failure is over"


def rows_of(decision: Decision) -> Iterable[dict[str, Any]]:
    """Yield a row for every changed node and guard."""
    yield from map(_node_row, decision.node_changes)
    yield from map(_guard_row, decision.guard_changes)


def _node_row(change: NodeChange) -> dict[str, Any]:
    old, new = change.old, change.new
    return {
        "object": f"node/{change.name}",
        "ready": arrow(None if old is None else old.ready, new.ready),
        "reason": arrow(None if old is None else str(old.reason), str(new.reason)),
        "failures": arrow(None if old is None else old.failures, new.failures),
        "meetings": arrow(None if old is None else old.meetings, new.meetings),
        "attendees": arrow(None if old is None else old.attendees, new.attendees),
        "load": arrow(None if change.old_load is None else round(change.old_load, 1), round(change.new_load, 1)),
        "message": new.message,
    }


def _guard_row(change: GuardChange) -> dict[str, Any]:
    return {
        "object": f"cluster/{change.cluster_id}",
        "ready": "",
        "reason": arrow(_guard_word(change.old), _guard_word(change.new)),
        "message": f"{change.new.failed} of {change.new.polled} nodes failed",
    }


def _guard_word(guard: GuardState) -> str:
    return "MassFailure" if guard.holds else "Exhausted" if guard.exhausted else "AtRest"
