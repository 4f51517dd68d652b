"""Families of recordings: what waits, what was rendered, what it takes, what could not be told, what was deleted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from b3lb.callbacks.outbox import CallbackState
from b3lb.recordings.hold import RecordSetState

_SECOND = 1000.0


@dataclass(frozen=True, slots=True)
class RecordSets:
    """How many record sets are in a state."""

    namespace: str
    state: str
    number: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """Videos that wait to be rendered, paused ones not counted, and since when the first one does (None: none)."""

    namespace: str
    videos: float
    oldest_at: float | None


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """What archives or videos of a tenant take; ``tenant`` is empty for what belongs to no BBBTenant."""

    namespace: str
    tenant: str
    kind: str
    size: float


@dataclass(frozen=True, slots=True)
class RenderTotal:
    """Renderings of a profile that ever ended so; the times are those of the ones that succeeded."""

    namespace: str
    profile: str
    state: str
    reason: str
    renders: float
    render_milliseconds: float
    video_milliseconds: float


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Callbacks in a state, and since when (seconds since 1970) the oldest one is to be delivered."""

    namespace: str
    state: str
    number: float
    oldest_at: float | None


@dataclass(frozen=True, slots=True)
class DeletionTotal:
    """What was ever deleted for a reason."""

    namespace: str
    kind: str
    reason: str
    deletions: float
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingMetrics:
    """What is known of the recordings of some namespaces at ``now`` (seconds since 1970, the database's clock)."""

    now: float = 0.0
    sets: Sequence[RecordSets] = field(default_factory=tuple)
    backlogs: Sequence[Backlog] = field(default_factory=tuple)
    stored: Sequence[StoredBytes] = field(default_factory=tuple)
    renders: Sequence[RenderTotal] = field(default_factory=tuple)
    callbacks: Sequence[Callbacks] = field(default_factory=tuple)
    deletions: Sequence[DeletionTotal] = field(default_factory=tuple)


def recording_families(namespaces: Iterable[str], found: RecordingMetrics) -> Iterator[Metric]:
    """Yield the families; every state of each namespace has a series, also with none in it."""
    known = list(namespaces)
    yield from _sets(known, found)
    yield from _renders(found.renders)
    size = GaugeMetricFamily(
        "b3lb_record_bytes", "What archives and videos take in the storage", labels=("namespace", "tenant", "kind")
    )
    for stored in found.stored:
        size.add_metric((stored.namespace, stored.tenant, stored.kind), stored.size)
    yield size
    yield from _callbacks(known, found)
    yield from _deletions(found.deletions)


def _sets(namespaces: Iterable[str], found: RecordingMetrics) -> Iterator[Metric]:
    sets = GaugeMetricFamily("b3lb_record_sets", "Record sets in the state", labels=("namespace", "state"))
    backlog = GaugeMetricFamily(
        "b3lb_record_backlog", "Videos that wait to be rendered, paused ones not counted", labels=("namespace",)
    )
    oldest = GaugeMetricFamily(
        "b3lb_record_oldest_seconds", "How long the first of them has been waiting", labels=("namespace",)
    )
    numbers = {(item.namespace, item.state): item.number for item in found.sets}
    backlogs = {item.namespace: item for item in found.backlogs}
    for namespace in namespaces:
        for state in RecordSetState:
            sets.add_metric((namespace, state.value), numbers.get((namespace, state.value), 0))
        waiting = backlogs.get(namespace, Backlog(namespace, 0, None))
        backlog.add_metric((namespace,), waiting.videos)
        oldest.add_metric((namespace,), _age(waiting.oldest_at, found.now))
    yield from (sets, backlog, oldest)


def _renders(totals: Iterable[RenderTotal]) -> Iterator[Metric]:
    renders = CounterMetricFamily(
        "b3lb_renders",
        "Renderings that ended so; without a profile where there was none",
        labels=("namespace", "profile", "state", "reason"),
    )
    profile = ("namespace", "profile")
    spent = CounterMetricFamily(
        "b3lb_render_seconds", "Time that renderings took which succeeded, from claim to video", labels=profile
    )
    shown = CounterMetricFamily("b3lb_rendered_video_seconds", "Length of the videos of these", labels=profile)
    times: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for total in totals:
        renders.add_metric((total.namespace, total.profile, total.state, total.reason), total.renders)
        if not total.profile:
            continue
        of_profile = times[total.namespace, total.profile]
        of_profile[0] += total.render_milliseconds
        of_profile[1] += total.video_milliseconds
    for labels, (took, length) in times.items():
        spent.add_metric(labels, took / _SECOND)
        shown.add_metric(labels, length / _SECOND)
    yield from (renders, spent, shown)


def _callbacks(namespaces: Iterable[str], found: RecordingMetrics) -> Iterator[Metric]:
    callbacks = GaugeMetricFamily(
        "b3lb_callbacks", "Callbacks that wait, and that failed for good", labels=("namespace", "state")
    )
    oldest = GaugeMetricFamily(
        "b3lb_callback_oldest_seconds", "How long the oldest one that waits is due or tried", labels=("namespace",)
    )
    known = {(item.namespace, item.state): item for item in found.callbacks}
    for namespace in namespaces:
        for state in (CallbackState.PENDING, CallbackState.FAILED):
            item = known.get((namespace, state.value))
            callbacks.add_metric((namespace, state.value), 0 if item is None else item.number)
        waiting = known.get((namespace, CallbackState.PENDING.value))
        oldest.add_metric((namespace,), _age(None if waiting is None else waiting.oldest_at, found.now))
    yield from (callbacks, oldest)


def _deletions(totals: Iterable[DeletionTotal]) -> Iterator[Metric]:
    labels = ("namespace", "kind", "reason")
    deletions = CounterMetricFamily("b3lb_record_deletions", "What was deleted, by reason", labels=labels)
    size = CounterMetricFamily("b3lb_record_deleted_bytes", "Bytes of it", labels=labels)
    for total in totals:
        deletions.add_metric((total.namespace, total.kind, total.reason), total.deletions)
        size.add_metric((total.namespace, total.kind, total.reason), total.size)
    yield from (deletions, size)


def _age(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - since)
