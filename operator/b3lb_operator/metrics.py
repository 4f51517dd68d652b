"""``/metrics``: the farms as last read from the database and the cluster, and the operator itself.

However many ask, the database is read at most once in `FRESH_SECONDS`, and only when somebody asks. When it cannot be
read, what was last seen is served with its age. Every answer is built from what there is now, so a deleted object
leaves no series behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from b3lb.db.farm_metrics import FarmMetrics, read_farm_metrics
from b3lb.db.record_metrics import read_record_metrics
from b3lb.db.secret_metrics import load_secret_metrics
from b3lb.metrics.nodes import cluster_families, node_families
from b3lb.metrics.queues import queue_families, task_families
from b3lb.metrics.recordings import RecordingMetrics, recording_families
from b3lb.metrics.tenants import SecretMetrics, tenant_families
from b3lb_operator.database import Database
from b3lb_operator.instruments import Instruments
from b3lb_operator.samples import node_samples, queue_samples
from b3lb_operator.sight import Sight
from b3lb_operator.store import Store

FRESH_SECONDS = 15.0
"""How old what is served may be before the next look."""

WAIT_SECONDS = 4.0
"""How long a scrape waits for a look; then it gets what was last seen, within Prometheus' usual ten seconds."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the database found: the farms, the API secrets by namespace, and the recordings."""

    farms: FarmMetrics
    secrets: dict[str, list[SecretMetrics]] = field(default_factory=dict)
    recordings: RecordingMetrics = field(default_factory=RecordingMetrics)

    @classmethod
    def at(cls, connection: sa.Connection, namespaces: Sequence[str]) -> Look:
        """Look at the database: seven statements, and one for each namespace."""
        return cls(
            read_farm_metrics(connection, namespaces),
            {namespace: load_secret_metrics(connection, namespace) for namespace in namespaces},
            read_record_metrics(connection, namespaces),
        )


class MetricsPage:
    """The text of ``/metrics``; all methods belong to the event loop's thread."""

    def __init__(
        self,
        *,
        store: Store,
        database: Database,
        namespaces: Sequence[str],
        instruments: Instruments,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take the parts; nothing is read before somebody asks.

        Args:
            store: The live objects.
            database: What is read.
            namespaces: The farms.
            instruments: What the operator measures of itself.
            leads: Whether this operator works; one that stands by knows nothing of the farms and says nothing of them.
        """
        self._leads = leads
        self._store = store
        self._namespaces = namespaces
        self._instruments = instruments
        self.sight = Sight(database, lambda connection: Look.at(connection, namespaces))
        """What the page is made of; others may look, too."""
        self._text = b""
        self._due_at = 0.0
        self._refreshing: asyncio.Task[None] | None = None

    async def text(self) -> bytes:
        """Return the page in Prometheus' text format; whatever cannot be had now, there is an answer."""
        loop = asyncio.get_running_loop()
        if not self._leads():
            return self._instruments.text()
        if self._refreshing is None and loop.time() >= self._due_at:
            self._refreshing = asyncio.create_task(self._refresh(), name="metrics")
        if self._refreshing is not None:
            await asyncio.wait({self._refreshing}, timeout=WAIT_SECONDS)
        return self._text + families_text(self._of_snapshot(loop.time())) + self._instruments.text()

    async def close(self) -> None:
        """End what is under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await self.sight.close()

    async def _refresh(self) -> None:
        """Look at database and cluster once; a fault costs freshness only."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self.sight.refresh(older_than=FRESH_SECONDS)
            families = list(self._families())
            # A thread, so that watches and probes have their turns in between.
            self._text = await asyncio.to_thread(families_text, families)
        except Exception as error:  # noqa: BLE001 - a bug must not cost the metrics that do work
            _log.error("metrics failed", exc_info=error)
            # Old figures must not pass for fresh ones.
            self._text = b""
        finally:
            self._due_at = began + FRESH_SECONDS
            self._refreshing = None

    def _families(self) -> Iterator[Metric]:
        look = self.sight.last
        farms = None if look is None else look.farms
        nodes = [sample for _, sample in node_samples(self._store, self._namespaces, farms)]
        queues = queue_samples(self._store, self._namespaces, farms, now=datetime.now(UTC))
        yield from queue_families(queue.sample for queue in queues)
        if look is None or farms is None:
            yield from node_families(nodes)
            return
        yield from task_families(farms.totals, farms.ticks)
        yield from node_families(nodes, farms.polls)
        yield from cluster_families(farms.clusters, nodes)
        yield from self._tenants(look)
        yield from recording_families(self._namespaces, look.recordings)

    def _tenants(self, look: Look) -> Iterator[Metric]:
        """Yield the tenants' families; farms in several namespaces are told apart by one more label."""
        if len(self._namespaces) == 1:
            yield from tenant_families(look.secrets[self._namespaces[0]])
            return
        merged: dict[tuple[str, str], Metric] = {}
        for namespace, secrets in look.secrets.items():
            for family in tenant_families(secrets):
                whole = merged.setdefault((family.name, family.type), family)
                added = [sample._replace(labels={"namespace": namespace, **sample.labels}) for sample in family.samples]
                whole.samples = added if whole is family else [*whole.samples, *added]
        yield from merged.values()

    def _of_snapshot(self, now: float) -> Iterator[Metric]:
        # A look that still goes on made this scrape wait in vain.
        up = self.sight.up and self._refreshing is None
        yield GaugeMetricFamily("b3lb_database_up", "Whether the database could be read in time", value=float(up))
        age = GaugeMetricFamily("b3lb_snapshot_age_seconds", "How long ago the database was last read")
        if self.sight.last is not None:
            age.add_metric((), now - self.sight.seen_at)
        yield age


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def families_text(families: Iterable[Metric]) -> bytes:
    """Return families in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    return generate_latest(registry)
