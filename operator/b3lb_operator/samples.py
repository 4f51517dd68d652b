"""What metrics and documents say of queues and nodes: the live objects, joined with a look at the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from b3lb.db.farm_metrics import FarmMetrics
from b3lb.metrics.nodes import NodeSample
from b3lb.metrics.queues import QueueSample
from b3lb.resources import BBBQueueSpec
from b3lb_operator.kinds import CRON_JOB, JOB, NODE, QUEUE, Key, Manifest
from b3lb_operator.manifests.cronjob import cron_job_name
from b3lb_operator.manifests.facts import Block
from b3lb_operator.manifests.queue_metrics import queue_sample
from b3lb_operator.manifests.queue_status import QueueFacts
from b3lb_operator.node_samples import node_sample
from b3lb_operator.reconcilers.queue import owned_jobs
from b3lb_operator.resolve import parse_spec
from b3lb_operator.store import Store


@dataclass(frozen=True, slots=True)
class SampledQueue:
    """A BBBQueue, its spec as this program reads it, its CronJob (None: there is none), and what is said of it."""

    key: Key
    manifest: Manifest
    spec: BBBQueueSpec
    cron_job: Manifest | None
    sample: QueueSample


def node_samples(
    store: Store, namespaces: Sequence[str], farms: FarmMetrics | None
) -> Iterator[tuple[Manifest, NodeSample]]:
    """Yield all BBBNodes by namespace and name; ``farms`` is None while the database was not read."""
    for namespace in namespaces:
        for key, manifest in store.in_namespace(NODE, namespace):
            yield manifest, node_sample(manifest, None if farms is None else farms.nodes.get(key))


def queue_samples(
    store: Store, namespaces: Sequence[str], farms: FarmMetrics | None, *, now: datetime
) -> Iterator[SampledQueue]:
    """Yield all BBBQueues that this program can read, by namespace and name.

    Args:
        store: The live objects.
        namespaces: Where to look.
        farms: What the database says, None while it was not read.
        now: The present time.
    """
    for namespace in namespaces:
        jobs = [job for _, job in store.in_namespace(JOB, namespace)]
        for key, manifest in store.in_namespace(QUEUE, namespace):
            spec = parse_spec(BBBQueueSpec, manifest)
            if isinstance(spec, Block):
                continue
            cron_job = store.get(CRON_JOB, Key(namespace, cron_job_name(key.name)))
            facts = QueueFacts(
                spec=spec,
                generation=manifest["metadata"]["generation"],
                cron_job=cron_job,
                jobs=owned_jobs(jobs, cron_job),
            )
            sample = queue_sample(
                facts,
                namespace=namespace,
                queue=key.name,
                old=manifest.get("status") or {},
                now=now,
                enqueued=None if farms is None else farms.enqueued.get(key),
            )
            yield SampledQueue(key, manifest, spec, cron_job, sample)
