"""BBBNode: its status, the finalizer that keeps it while meetings may run, and when it may go.

Whether a deleted node may go follows from the object and the database alone, so that a restart changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from b3lb.db.mirror import NodeMirror
from b3lb.db.unpolled import Unpolled
from b3lb.resources import BBBNodeSpec, DesiredState
from b3lb.resources.conditions import ConditionStatus, NodeCondition, find_condition, parse_time
from b3lb.tasks import CHECK_NODES
from b3lb_operator.kinds import NODE, QUEUE, Key, Manifest, is_deleting
from b3lb_operator.kube import Kube, NotFoundError
from b3lb_operator.manifests.drain import FORCE_ANNOTATION, UNHEALTHY_SECONDS, given_up_at
from b3lb_operator.manifests.facts import STALE_AFTER_SECONDS, Block, NodeFacts, NodeRecord
from b3lb_operator.manifests.node_status import build_node_status
from b3lb_operator.manifests.unreadable import build_unreadable_status
from b3lb_operator.resolve import parse_spec
from b3lb_operator.store import Store
from b3lb_operator.view import View

FINALIZER = "b3lb.io/drain"
RECHECK_SECONDS = 5.0
_DEFAULT_DEADLINE_SECONDS = 3600
_TRYING = "the operator goes on trying"

_log = structlog.stdlib.get_logger(__name__)


def node_status(manifest: Manifest, view: View) -> dict[str, Any] | None:
    """Return the status that a BBBNode should have.

    None while its row lags behind: the rows follow within a moment, and then there is more to say. If they do not, what
    the spec says is combined with what is known of the node as it was stored.
    """
    metadata = manifest["metadata"]
    old = manifest.get("status") or {}
    spec = parse_spec(BBBNodeSpec, manifest)
    if isinstance(spec, Block):
        types = (NodeCondition.READY, NodeCondition.SCHEDULABLE)
        return build_unreadable_status(spec, types=types, old=old, generation=metadata["generation"], now=view.now)
    row = view.node(metadata["name"], metadata["uid"])
    stored = row is not None and row.generation == metadata["generation"]
    if row is not None and not stored and view.is_awaited(metadata["uid"]):
        return None
    cluster = view.cluster(row.cluster) if row is not None else None
    facts = NodeFacts(
        spec=spec,
        generation=metadata["generation"],
        freshness=view.freshness,
        deleting=is_deleting(manifest),
        deleted_at=parse_time(metadata["deletionTimestamp"]) if is_deleting(manifest) else None,
        block=_block(row),
        record=_record(row, view.unpolled),
        unstored="" if stored or view.is_awaited(metadata["uid"]) else view.why_unstored or _TRYING,
        guard_holds=cluster is not None and cluster.guard.holds,
    )
    return build_node_status(facts, old=old, now=view.now)


def release_reason(manifest: Manifest, view: View, *, polled: bool = True) -> str | None:
    """Return why a node that is being deleted may go now, None if it may not.

    At the first of: the force annotation; not being polled, and never having been or having had no meetings then; a
    good poll after the deletion that found none; the end of the drain's time; ten minutes not Ready; no health check
    for 150 s and no BBBQueue that could run another one; being the server of an older node, which keeps the meetings.

    Args:
        manifest: The BBBNode.
        view: What is known of its namespace.
        polled: Whether there is a BBBQueue with the health checks, be it suspended.
    """
    metadata = manifest["metadata"]
    deleted_at = parse_time(metadata["deletionTimestamp"])
    if metadata.get("annotations", {}).get(FORCE_ANNOTATION) == "true":
        return f"annotation {FORCE_ANNOTATION}"
    status = node_status(manifest, view) or manifest.get("status") or {}
    if view.now >= _deadline(manifest, status, deleted_at):
        return "the drain's time is over"
    if not polled and view.is_readable and _is_abandoned(view, deleted_at):
        return "no BBBQueue runs health checks any more"
    row = view.node(metadata["name"], metadata["uid"])
    if row is None or row.generation != metadata["generation"] or view.freshness.error:
        # What was read before the deletion says nothing of meetings that began after it.
        return None
    if row.duplicate_of is not None:
        return f"BBBNode {row.duplicate_of} is the same server and keeps its meetings"
    return _nothing_to_learn(row, view) or _drained(status, row, view, deleted_at) or _given_up(status, row, view.now)


def _is_abandoned(view: View, deleted_at: datetime) -> bool:
    """Whether the last health check, and the deletion, are so long ago that none is under way any more."""
    last = max(view.freshness.tick_finished_at or deleted_at, deleted_at)
    return view.now >= last + timedelta(seconds=STALE_AFTER_SECONDS)


def _nothing_to_learn(row: NodeMirror, view: View) -> str | None:
    if row.blocked_reason is None and row.desired_state != DesiredState.DISABLED:
        # Without a state, too: after the loss of the database nothing is known of meetings until the first poll.
        return None
    if row.has_meetings:
        return None
    if row.state is None:
        return "not polled, and never was"
    return "not polled, and the last poll found no meetings" if _was_empty(row, view) else None


def _was_empty(row: NodeMirror, view: View) -> bool:
    """Whether the last poll of a node that is not polled any more, as it is configured now, proves it empty.

    A failed one proves nothing. Nor does one of long ago; when the node itself is not Ready for so long it goes anyway.
    """
    state = row.current
    seen_at = max((at for at in (row.written_at, view.freshness.tick_finished_at) if at is not None), default=None)
    recent = seen_at is not None and view.now - seen_at <= timedelta(seconds=UNHEALTHY_SECONDS)
    return recent and state is not None and state.failures == 0 and state.meetings == 0


def _drained(status: Mapping[str, Any], row: NodeMirror, view: View, deleted_at: datetime) -> str | None:
    tick = view.freshness.tick_started_at
    # Deletion times are cut to whole seconds.
    fresh = tick is not None and tick >= deleted_at + timedelta(seconds=1) and view.unpolled.observed(row.id)
    condition = find_condition(status.get("conditions", ()), NodeCondition.DRAINED)
    drained = condition is not None and condition["status"] == ConditionStatus.TRUE
    return "no meetings" if fresh and drained else None


def _given_up(status: Mapping[str, Any], row: NodeMirror, now: datetime) -> str | None:
    condition = find_condition(status.get("conditions", ()), NodeCondition.READY)
    if condition is None or condition["status"] != ConditionStatus.FALSE:
        return None
    return f"not Ready for {UNHEALTHY_SECONDS} s" if now >= given_up_at(condition, row.state) else None


class NodeReconciler:
    """Adds the finalizer to every node, and takes it from deleted nodes that may go."""

    def __init__(self, kube: Kube, store: Store, view_of: Callable[[str], View]) -> None:
        """Take the parts; ``view_of`` returns the last view of a namespace."""
        self._kube = kube
        self._store = store
        self._view_of = view_of

    async def reconcile(self, key: Key) -> float | None:
        """Bring one node's finalizer to where it should be; return after how many seconds to look again."""
        manifest = self._store.get(NODE, key)
        if manifest is None:
            return None
        held = FINALIZER in manifest["metadata"].get("finalizers", ())
        if not is_deleting(manifest):
            if not held:
                await self._change(key, manifest, _with_finalizer)
            return None
        if not held:
            return None
        reason = release_reason(manifest, self._view_of(key.namespace), polled=self._is_polled(key.namespace))
        if reason is None and await self._is_terminating(key.namespace):
            reason = "the namespace is terminating"
        if reason is None:
            return RECHECK_SECONDS
        await self._change(key, manifest, _without_finalizer)
        _log.info("node released", namespace=key.namespace, node=key.name, reason=reason)
        return None

    def _is_polled(self, namespace: str) -> bool:
        """Whether a BBBQueue that is to stay has the health checks among its tasks."""
        queues = (manifest for _, manifest in self._store.in_namespace(QUEUE, namespace) if not is_deleting(manifest))
        return any(CHECK_NODES in (manifest.get("spec") or {}).get("tasks", ()) for manifest in queues)

    async def _change(self, key: Key, manifest: Manifest, change: Callable[[list[str]], list[str]]) -> None:
        try:
            answer = await self._kube.patch_finalizers(NODE, key, uid=manifest["metadata"]["uid"], change=change)
        except NotFoundError:
            return
        self._store.accept(NODE, answer)

    async def _is_terminating(self, namespace: str) -> bool:
        return is_deleting(await self._kube.get_namespace(namespace))


def _with_finalizer(finalizers: list[str]) -> list[str]:
    return finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]


def _without_finalizer(finalizers: list[str]) -> list[str]:
    return [name for name in finalizers if name != FINALIZER]


def _block(row: NodeMirror | None) -> Block | None:
    if row is None or row.blocked_reason is None:
        return None
    return Block(row.blocked_reason, row.blocked_message or "")


def _record(row: NodeMirror | None, unpolled: Unpolled) -> NodeRecord | None:
    if row is None:
        return None
    return NodeRecord(
        revision=row.revision,
        generation=row.generation,
        polled=row.desired_state != DesiredState.DISABLED,
        state=row.state,
        load=row.load,
        observed_at=row.written_at,
        observed_in_last_tick=unpolled.observed(row.id),
        unreadable=unpolled.undecryptable.may_hold(row.id),
        duplicate_of=row.duplicate_of,
    )


def _deadline(manifest: Manifest, status: Mapping[str, Any], deleted_at: datetime) -> datetime:
    """Return when meetings are waited for no longer: from the deletion on, or from a drain that began before it."""
    spec = parse_spec(BBBNodeSpec, manifest)
    seconds = _DEFAULT_DEADLINE_SECONDS if isinstance(spec, Block) else spec.drain.deadline_seconds
    deadline = deleted_at + timedelta(seconds=seconds)
    drain = status.get("drain", {}).get("deadlineAt")
    return deadline if drain is None else min(deadline, parse_time(drain))
