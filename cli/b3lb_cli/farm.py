"""``b3lb queues``, ``nodes`` and ``clusters``: the farm at a glance."""

from __future__ import annotations

from datetime import datetime

from b3lb_cli.arguments import WIDE_OUTPUTS, Commands, add_command
from b3lb_cli.inspection import ended, printing
from b3lb_cli.output import (
    UNKNOWN,
    Column,
    Item,
    Listing,
    age,
    count,
    long_text,
    names,
    percent,
    seconds,
    span,
    text,
    yes,
)
from b3lb_cli.table import shown

_STATE_COLUMNS = 40


def _queue_state(item: Item, _now: datetime | None) -> str:
    if item.get("suspended"):
        return "suspended"
    if item.get("ready") == "False":
        return shown(str(item.get("reason")), _STATE_COLUMNS)
    if item.get("schedule") is None:
        return "on demand"
    up = item.get("up")
    return "unknown" if up is None else "up" if up else "down"


def _node_state(item: Item, _now: datetime | None) -> str:
    ready = item.get("ready")
    if ready in {"True", True}:
        return "ready" if item.get("schedulable") in {"True", True} else _reason(item, "schedulableReason")
    return _reason(item, "readyReason")


def _reason(item: Item, name: str) -> str:
    return shown(str(item.get(name) or "unknown"), _STATE_COLUMNS)


QUEUES = Listing(
    "queues",
    (
        text("NAME", "name"),
        Column("STATE", _queue_state),
        text("SCHEDULE", "schedule"),
        count("DEPTH", "depth"),
        count("ACTIVE", "active"),
        Column("CONCURRENCY", lambda item, _now: _effective(item), right=True),
        Column("OLDEST", lambda item, _now: span(item.get("oldestWaitingSeconds") or None), right=True),
        age("LAST SUCCESS", "lastSuccess"),
        age("NEXT RUN", "nextRun"),
        Column("1H OK/FAILED", lambda item, _now: ended(item, "1h"), right=True),
        Column("24H OK/FAILED", lambda item, _now: ended(item, "24h"), right=True, wide=True),
        names("TASKS", "tasks", wide=True),
        count("PRIORITY", "priority", wide=True),
        text("RATE", "rateLimit", wide=True),
        text("TIME ZONE", "timeZone", wide=True),
        text("NAMESPACE", "namespace", wide=True),
        long_text("MESSAGE", "message", wide=True),
    ),
)

NODES = Listing(
    "nodes",
    (
        text("NAME", "name", columns=63),
        Column("STATE", _node_state),
        count("LOAD", "load"),
        percent("CPU", "cpuPercent"),
        count("MEETINGS", "meetings"),
        count("ATTENDEES", "attendees"),
        seconds("POLLED", "lastGoodPollSeconds"),
        age("SINCE", "transitionTime"),
        text("CLUSTER", "cluster"),
        text("HOST", "host", columns=63, wide=True),
        yes("SAFE TO END", "safeToTerminate", wide=True),
        text("NAMESPACE", "namespace", wide=True),
        long_text("MESSAGE", "readyMessage", wide=True),
    ),
)

CLUSTERS = Listing(
    "clusters",
    (
        text("NAME", "name"),
        count("NODES", "nodes"),
        count("READY", "nodesReady"),
        count("SCHEDULABLE", "nodesSchedulable"),
        count("MEETINGS", "meetings"),
        count("ATTENDEES", "attendees"),
        count("HEADROOM", "headroomAttendees"),
        count("RECOMMENDED", "recommendedNodes"),
        yes("MASS FAILURE", "massFailure"),
        text("NAMESPACE", "namespace", wide=True),
    ),
)


def add_commands(commands: Commands) -> None:
    """Add the commands."""
    add_command(
        commands,
        "queues",
        summary="list queues: depth, who works, last success, next run",
        examples=("b3lb queues", "b3lb queues -o wide", "b3lb queues -o json | jq '.items[] | select(.depth > 100)'"),
        outputs=WIDE_OUTPUTS,
        execute=printing("/queues", QUEUES),
    )
    add_command(
        commands,
        "nodes",
        summary="list nodes: state and why, load, meetings",
        examples=(
            "b3lb nodes",
            "b3lb nodes -o wide",
            "b3lb nodes -o json | jq '.items[] | select(.ready != \"True\")'",
        ),
        outputs=WIDE_OUTPUTS,
        execute=printing("/nodes", NODES),
    )
    add_command(
        commands,
        "clusters",
        summary="list clusters: nodes, headroom, recommended nodes",
        examples=("b3lb clusters",),
        outputs=WIDE_OUTPUTS,
        execute=printing("/clusters", CLUSTERS),
    )


def _effective(item: Item) -> str:
    """Return how many runs may be at work: what is in force, and what the spec says where that is another number."""
    declared, effective = item.get("concurrency"), item.get("replicas")
    if effective is None or effective == declared:
        return UNKNOWN if declared is None else str(declared)
    return str(effective) if declared is None else f"{effective} of {declared}"
