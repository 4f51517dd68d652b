"""What runs and ran under each API secret, in the names and labels that B3LB's users know.

The label ``secret`` is the slug alone for sub-id 0, whose series are the whole tenant's, else ``<SLUG>-<NNN>``. So a
sum over all secrets of a tenant counts twice where there is a sub-id 0.

Both a gauge ``b3lb_attendees`` and a counter ``b3lb_attendees_total`` are among them. That is right in the text format
(https://prometheus.io/docs/instrumenting/exposition_formats/), but in OpenMetrics they are one family: do not offer it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric, UnknownMetricFamily
from prometheus_client.registry import Collector

from b3lb.db.counters import SecretCounters
from b3lb.meetings.model import SecretTotals

MILLISECONDS = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMetrics:
    """An API secret with its gauges as they were last noted, its counters, and the limits of itself and its tenant.

    Gauges and counters of sub-id 0 are those of the whole tenant. Without a limit everything is allowed. ``changed_at``
    is when what runs last changed, None before it was first noted.
    """

    slug: str
    sub_id: int
    totals: SecretTotals = field(default_factory=SecretTotals)
    counters: SecretCounters = field(default_factory=SecretCounters)
    meeting_limit: int | None = None
    attendee_limit: int | None = None
    tenant_meeting_limit: int | None = None
    tenant_attendee_limit: int | None = None
    changed_at: datetime | None = None

    @property
    def label(self) -> str:
        """The value of the label ``secret``."""
        return self.slug if self.sub_id == 0 else f"{self.slug}-{self.sub_id:03}"


_Value = Callable[[SecretMetrics], float]
_GAUGES: tuple[tuple[str, str, _Value], ...] = (
    ("b3lb_attendees", "Users in running meetings.", lambda row: row.totals.attendees),
    ("b3lb_listeners", "Users who only listen.", lambda row: row.totals.listeners),
    ("b3lb_voices", "Users with a microphone.", lambda row: row.totals.voices),
    ("b3lb_videos", "Webcams that are shared.", lambda row: row.totals.videos),
    ("b3lb_meetings", "Running meetings.", lambda row: row.totals.meetings),
)
_COUNTERS: tuple[tuple[str, str, _Value], ...] = (
    (
        "b3lb_attendees_total",
        "Users who joined meetings that have ended; one who came back is one.",
        lambda row: row.counters.attendees_joined,
    ),
    ("b3lb_meetings_total", "Meetings that have ended.", lambda row: row.counters.meetings),
)
_HITS: tuple[tuple[str, str, _Value], ...] = (
    (
        "b3lb_attendee_limit_hits",
        "Meetings refused because of a limit of attendees.",
        lambda row: row.counters.attendee_limit_hits,
    ),
    (
        "b3lb_meeting_limit_hits",
        "Meetings refused because of a limit of meetings.",
        lambda row: row.counters.meeting_limit_hits,
    ),
)
_LIMITS: tuple[tuple[str, str, Callable[[SecretMetrics], int | None]], ...] = (
    ("b3lb_secret_attendee_limit", "Most attendees of a secret.", lambda row: row.attendee_limit),
    ("b3lb_secret_meeting_limit", "Most meetings of a secret.", lambda row: row.meeting_limit),
)
_TENANT_LIMITS: tuple[tuple[str, str, Callable[[SecretMetrics], int | None]], ...] = (
    ("b3lb_tenant_attendee_limit", "Most attendees of a tenant.", lambda row: row.tenant_attendee_limit),
    ("b3lb_tenant_meeting_limit", "Most meetings of a tenant.", lambda row: row.tenant_meeting_limit),
)


def tenant_families(rows: Iterable[SecretMetrics], *, slug: str | None = None) -> Iterator[Metric]:
    """Yield the families of ``rows``, or of those of the one tenant with ``slug``.

    A family without a sample is yielded as well, and the order of the rows does not matter. An absent limit has no
    series.
    """
    chosen = sorted((row for row in rows if slug is None or row.slug == slug), key=lambda row: (row.slug, row.sub_id))
    for name, text, value in _GAUGES:
        yield _filled(GaugeMetricFamily(name, text, labels=["secret"]), chosen, value)
    for name, text, value in _COUNTERS:
        yield _filled(CounterMetricFamily(name, text, labels=["secret"]), chosen, value)
    durations = SummaryMetricFamily(
        "b3lb_meeting_duration_seconds", "How long meetings lasted that have ended.", labels=["secret"]
    )
    for row in chosen:
        seconds = row.counters.duration_milliseconds / MILLISECONDS
        durations.add_metric([row.label], count_value=row.counters.duration_count, sum_value=seconds)
    yield durations
    for name, text, value in _HITS:
        yield _filled(UnknownMetricFamily(name, f"{text} Old name of {name}_total.", labels=["secret"]), chosen, value)
        yield _filled(CounterMetricFamily(name, text, labels=["secret"]), chosen, value)
    yield from _limits(chosen)


def tenant_text(rows: Iterable[SecretMetrics], slug: str, stored: Mapping[str, int] | None = None) -> str:
    """Return the tenant's families in Prometheus' text format.

    Args:
        rows: API secrets, those of others too.
        slug: The tenant's.
        stored: Bytes that its recordings take, by kind (archive, video); None: it has none.
    """
    families = list(tenant_families(rows, slug=slug))
    if stored:
        size = GaugeMetricFamily(
            "b3lb_record_bytes", "What archives and videos take in the storage", labels=("tenant", "kind")
        )
        for kind, number in stored.items():
            size.add_metric((slug, kind), number)
        families.append(size)
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return generate_latest(registry).decode()


class _Families(Collector):
    """Families that are there already, as something that a registry collects."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._families


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily | UnknownMetricFamily, rows: Iterable[SecretMetrics], value: _Value
) -> Metric:
    for row in rows:
        family.add_metric([row.label], value(row))
    return family


def _limits(rows: Sequence[SecretMetrics]) -> Iterator[Metric]:
    for name, text, limit in _LIMITS:
        family = GaugeMetricFamily(name, text, labels=["secret"])
        for row in rows:
            if (most := limit(row)) is not None:
                family.add_metric([row.label], most)
        yield family
    of_tenants = {row.slug: row for row in rows}
    for name, text, limit in _TENANT_LIMITS:
        family = GaugeMetricFamily(name, text, labels=["tenant"])
        for slug, row in of_tenants.items():
            if (most := limit(row)) is not None:
                family.add_metric([slug], most)
        yield family
