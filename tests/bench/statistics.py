"""The measured process of the scenario ``statistics``: real runs of the statistics queue, then the floor.

Reads a line from standard input before every run (the core queue has ticked meanwhile) and prints a JSON line after it.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from contextlib import AsyncExitStack
from datetime import timedelta

import psycopg
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from b3lb.crypto import KeyRing
from b3lb.db.engine import count_statements
from b3lb.db.secret_metrics import load_secret_metrics
from b3lb.db.task_runs import start
from b3lb.logs import configure
from b3lb.metrics.tenants import tenant_families
from b3lb_jobs.database import Database
from b3lb_jobs.interface import TaskContext
from b3lb_jobs.report import TaskReport
from b3lb_jobs.task_table import route
from b3lb_jobs.tick import TickPlace, run_tick
from b3lb_jobs.ticks import plan_single
from tests.bench.ticks import NAMESPACE, say

PERIOD = timedelta(minutes=5)
ROUNDS = 5
_TOTALS = """
    SELECT secret_id, origin, origin_server, count(*), sum(attendees), sum(listeners), sum(voices), sum(videos)
    FROM meetings WHERE state = 'open' GROUP BY secret_id, origin, origin_server
"""


class Ready(Collector):
    """Families that are there already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Return them."""
        return self._families


async def measure(url: str, keys: KeyRing) -> None:
    """Run the queue's task as the parent asks for it, then the floor."""
    database = Database(url, application_name="b3lb-bench", monotonic=time.monotonic)
    context = TaskContext(namespace=NAMESPACE, keys=keys, tick_seconds=60, max_in_flight=1)
    (entry,) = route(["update-statistics"])
    report = TaskReport(entry)
    with database.transaction() as connection:
        start(
            connection,
            report.run_id,
            namespace=NAMESPACE,
            queue="statistics",
            task=entry.name,
            pod="bench",
            arguments={},
        )
    at = database.clock.now()
    async with AsyncExitStack() as stack:
        task = await stack.enter_async_context(entry.load()(context))
        while sys.stdin.readline().strip() == "tick":
            at += PERIOD
            place = TickPlace(database, NAMESPACE, "bench", plan=plan_single(database.clock.now()))
            begun, cpu = time.monotonic(), time.process_time()
            with count_statements(database.engine) as counter:
                await run_tick(task, report, at, place)
            figures = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - begun}
            say(**figures, statements=counter.count, changed=report.summary["stats_changed"])
    with database.transaction() as connection:
        rows = load_secret_metrics(connection, NAMESPACE)
    registries = [ready_registry([*tenant_families(rows, slug=slug)]) for slug in sorted({row.slug for row in rows})]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(peak_rss_mib=peak, floor=[floor(url, registries) for _ in range(ROUNDS)], tenants=len(registries))


def ready_registry(families: list[Metric]) -> CollectorRegistry:
    """Return a registry that has nothing to do but to print."""
    registry = CollectorRegistry()
    registry.register(Ready(families))
    return registry


def floor(url: str, registries: list[CollectorRegistry]) -> float:
    """Return the CPU seconds of one plain query by the bare driver and of printing the families of all tenants."""
    with psycopg.connect(url) as connection:
        cpu = time.process_time()
        connection.execute(_TOTALS).fetchall()
        for registry in registries:
            generate_latest(registry)
        return time.process_time() - cpu


if __name__ == "__main__":
    configure("json", "warning")
    asyncio.run(measure(sys.argv[1], KeyRing.parse(sys.argv[2])))
