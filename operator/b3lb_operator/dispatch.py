"""Whom a change of an object wakes: pure routing, no work is done here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from b3lb_operator.kinds import (
    API_SECRET,
    CLUSTER,
    CONFIGURED_KINDS,
    CRON_JOB,
    JOB,
    LEASE,
    NODE,
    QUEUE,
    RECORD_PROFILE,
    RECORDING,
    SECRET,
    TENANT,
    Key,
    Kind,
    Manifest,
    is_deleting,
)
from b3lb_operator.manifests.cronjob import NAME_PREFIX
from b3lb_operator.manifests.requests import has_requests
from b3lb_operator.references import Ref, ReferenceIndex, targets_of
from b3lb_operator.resolve import gives_way
from b3lb_operator.store import Change


class Sinks(Protocol):
    """Those who are woken."""

    def sync(self, kind: Kind, key: Key, uid: str) -> None:
        """The row of an object has to follow."""

    def reconcile_node(self, key: Key) -> None:
        """A node's finalizer may have to change."""

    def reconcile_queue(self, key: Key) -> None:
        """A queue's CronJob or status may have to change."""

    def recount_queue(self, key: Key) -> None:
        """The numbers of a queue's status may have to change; more of that may follow."""

    def reconcile_queues(self, namespace: str) -> None:
        """The same for all queues of a namespace."""

    def release(self, namespace: str) -> None:
        """Enqueued runs of a namespace may begin, or one may have ended."""

    def take_requests(self, key: Key) -> None:
        """A queue carries requests."""

    def reconcile_api_secret(self, key: Key) -> None:
        """A generated API secret may be missing."""

    def reconcile_recordings(self, namespace: str) -> None:
        """Somebody steers a recording, or deleted its object."""

    def mirror(self, namespace: str) -> None:
        """Statuses may have to change."""

    def redeclare(self) -> None:
        """An object that the installation declares may be gone."""

    def seen(self, renew_time: str) -> None:
        """The watch showed a renewal of the operator's Lease."""


@dataclass(frozen=True, slots=True)
class _Substance:
    """What of an object matters to its rows; all else is our own status, or nobody's business."""

    uid: str
    generation: int
    deleting: bool
    gives_way: bool


class Dispatcher:
    """Knows who refers to whom."""

    def __init__(self, sinks: Sinks) -> None:
        self._sinks = sinks
        self._references = ReferenceIndex()

    def dispatch(self, change: Change) -> None:
        """Wake everybody to whom a change matters."""
        if change.kind in CONFIGURED_KINDS:
            self._custom_resource(change)
        elif change.kind == RECORDING:
            if _substance(change.old) != _substance(change.new):
                self._sinks.reconcile_recordings(change.key.namespace)
        elif change.kind == SECRET:
            self._secret(change)
        elif change.kind == CRON_JOB:
            self._sinks.reconcile_queue(Key(change.key.namespace, change.key.name.removeprefix(NAME_PREFIX)))
        elif change.kind == JOB:
            self._job(change)
        elif change.kind == LEASE and change.new is not None:
            self._sinks.seen(change.new.get("spec", {}).get("renewTime") or "")

    def _custom_resource(self, change: Change) -> None:
        kind, key = change.kind, change.key
        old, new = _substance(change.old), _substance(change.new)
        if kind == NODE and change.new is not None and (new != old or _tended(change.old) != _tended(change.new)):
            self._sinks.reconcile_node(key)
        if kind == QUEUE and change.new is not None and has_requests(change.new):
            self._sinks.take_requests(key)
        if old == new:
            return
        known = new or old
        if known is None:
            return
        self._references.update(Ref(kind, key), frozenset() if change.new is None else targets_of(kind, change.new))
        self._sinks.sync(kind, key, known.uid)
        self._sinks.mirror(key.namespace)
        if kind == QUEUE:
            self._sinks.reconcile_queues(key.namespace)
            self._sinks.release(key.namespace)
        if kind in {CLUSTER, QUEUE, RECORD_PROFILE} and change.new is None:
            self._sinks.redeclare()
        if kind == API_SECRET and change.new is not None:
            self._sinks.reconcile_api_secret(key)
        if kind in {CLUSTER, TENANT} and (old is None) != (new is None):
            self._wake_referrers(Ref(kind, key))

    def _secret(self, change: Change) -> None:
        target = Ref(SECRET, change.key)
        self._wake_referrers(target)
        if change.new is None:
            for referrer in self._references.referrers(target):
                if referrer.kind == API_SECRET:
                    self._sinks.reconcile_api_secret(referrer.key)

    def _wake_referrers(self, target: Ref) -> None:
        for referrer in self._references.referrers(target):
            self._sinks.sync(referrer.kind, referrer.key, "")

    def _job(self, change: Change) -> None:
        for manifest in (change.old, change.new):
            for owner in (manifest or {}).get("metadata", {}).get("ownerReferences", ()):
                if owner.get("kind") in {QUEUE.name, CRON_JOB.name}:
                    self._sinks.release(change.key.namespace)
                if owner.get("kind") == QUEUE.name:
                    self._sinks.recount_queue(Key(change.key.namespace, owner["name"]))
                if owner.get("kind") == CRON_JOB.name:
                    self._sinks.reconcile_queue(Key(change.key.namespace, owner["name"].removeprefix(NAME_PREFIX)))


def _substance(manifest: Manifest | None) -> _Substance | None:
    if manifest is None:
        return None
    metadata = manifest["metadata"]
    # A deleted node that is not Ready any more leaves its server to another one.
    return _Substance(metadata["uid"], metadata.get("generation", 0), is_deleting(manifest), gives_way(manifest))


def _tended(manifest: Manifest | None) -> object:
    """Return what decides, beside the database, about a node's finalizer."""
    metadata = (manifest or {}).get("metadata", {})
    return metadata.get("finalizers"), metadata.get("annotations")
