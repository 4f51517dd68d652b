"""The one state that tests vary: a node that is Ready and answered its last polls."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

from b3lb.health import LoadReason, NodeState, Reason

_HEALTHY = NodeState(
    revision=1,
    ready=True,
    proven=True,
    reason=Reason.RESPONDING,
    message="",
    failures=0,
    successes=2,
    next_poll_at=None,
    ready_changed_at=datetime(2026, 11, 1, 12, tzinfo=UTC),
    meetings=0,
    attendees=0,
    cpu=1000,
    load_reason=LoadReason.REPORTED,
    load_message="",
    load_missed=0,
)


def healthy(**changes: Any) -> NodeState:
    """Return the healthy state with some fields changed."""
    return dataclasses.replace(_HEALTHY, **changes)
