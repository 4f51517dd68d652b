"""What the metrics say of nodes: conditions as the BBBNodes carry them, exact numbers as the database has them."""

from __future__ import annotations

import dataclasses

from b3lb.db.farm_metrics import NodeNumbers
from b3lb.metrics.nodes import NodeSample
from b3lb.resources.conditions import ConditionStatus, NodeCondition, NodeReason, find_condition, parse_time
from b3lb.resources.node import DesiredState
from b3lb_operator.kinds import Manifest, is_deleting, key_of

_FULL = frozenset({NodeReason.MAX_MEETINGS_REACHED, NodeReason.MAX_ATTENDEES_REACHED})
_CPU_MAXIMUM = 10_000
_DEFAULT_CLUSTER = "default"


def node_sample(manifest: Manifest, numbers: NodeNumbers | None) -> NodeSample:
    """Return what the metrics say of a BBBNode; ``numbers`` are None while the database says nothing of it."""
    spec, key = manifest["spec"], key_of(manifest)
    conditions = (manifest.get("status") or {}).get("conditions", ())
    ready = find_condition(conditions, NodeCondition.READY) or {}
    schedulable = find_condition(conditions, NodeCondition.SCHEDULABLE) or {}
    changed = ready.get("lastTransitionTime")
    sample = NodeSample(
        namespace=key.namespace,
        node=key.name,
        cluster=(spec.get("clusterRef") or {}).get("name", _DEFAULT_CLUSTER),
        ready=ready.get("status") == ConditionStatus.TRUE,
        schedulable=schedulable.get("status") == ConditionStatus.TRUE,
        reason=ready.get("reason", ""),
        schedulable_reason=schedulable.get("reason", ""),
        changed_at=None if changed is None else parse_time(changed).timestamp(),
        max_meetings=spec.get("maxMeetings"),
        max_attendees=spec.get("maxAttendees"),
        full=schedulable.get("reason") in _FULL,
        leaving=is_deleting(manifest) or spec.get("state", DesiredState.ACTIVE) != DesiredState.ACTIVE,
    )
    if numbers is None or numbers.polled_at is None:
        return sample
    return dataclasses.replace(
        sample,
        polled_at=numbers.polled_at,
        load=numbers.load,
        cpu=None if numbers.cpu is None else numbers.cpu / _CPU_MAXIMUM,
        meetings=numbers.meetings,
        attendees=numbers.attendees,
        meetings_known=numbers.meetings_known,
    )
