"""Runs of ``b3lb-job`` for tests: as processes, and tick by tick inside of the test."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from b3lb.crypto import KeyRing
from b3lb.db.configuration import apply_clusters, apply_nodes
from b3lb.db.engine import transaction
from b3lb.db.rows import ClusterRow, NodeRow
from b3lb.db.tables import leases, metadata, node_states, nodes
from b3lb.tasks import CHECK_NODES
from b3lb_jobs.core.check_nodes import CheckNodes
from b3lb_jobs.database import Database
from b3lb_jobs.interface import Task, TaskContext
from b3lb_jobs.opening import open_run
from b3lb_jobs.options import RunOptions
from b3lb_jobs.report import TaskReport
from b3lb_jobs.task_table import TaskEntry, route
from b3lb_jobs.tick import TickPlace, allow_until, run_tick
from b3lb_jobs.ticks import Plan
from dev.farm.messages import FarmNode
from dev.farm.process import Farm

KEYS = KeyRing.generate()
CORE = route(["core"])
NAMESPACE = "default"
CLUSTER = ClusterRow("default", "uid-cluster", 1, timeout_seconds=2)
TABLES = tuple(sorted(set(metadata.tables) - {"schema_version"}))
BOOKKEEPING = {"heartbeats", "task_runs", "leases"}
"""What a tick writes in which nothing changed."""


def all_healthy(farm: Farm) -> Farm:
    """Return ``farm`` with all its nodes answering as they should."""
    farm.control.set_behaviours({node.name: "ok" for node in farm.nodes})
    return farm


def node_rows(farm_nodes: Sequence[FarmNode], *, count: int | None = None) -> list[NodeRow]:
    """Return ``count`` nodes that lead to the farm's, round and round."""
    created = datetime(2026, 1, 1, tzinfo=UTC)
    rows = []
    for number in range(len(farm_nodes) if count is None else count):
        node = farm_nodes[number % len(farm_nodes)]
        name = f"node-{number:03}"
        rows.append(NodeRow(name, f"uid-{name}", 1, "default", node.api_url, node.load_url, node.secret, created))
    return rows


def configure(engine: sa.Engine, rows: Sequence[NodeRow], *, cluster: ClusterRow = CLUSTER) -> None:
    """Make the configuration what the operator would make it."""
    with transaction(engine, timeout_seconds=10) as connection:
        apply_clusters(connection, NAMESPACE, [cluster], complete=True, keys=KEYS)
        apply_nodes(connection, NAMESPACE, rows, complete=True, keys=KEYS)


def versions(engine: sa.Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Return where every row of every table stands: a row that was written again stands elsewhere."""
    with engine.connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(sa.text(f"select ctid::text, xmin::text from {name}"))]  # noqa: S608 - names from above
            for name in TABLES
        }


def changed_tables(before: dict[str, list[tuple[Any, ...]]], after: dict[str, list[tuple[Any, ...]]]) -> set[str]:
    return {name for name in TABLES if before[name] != after[name]}


def states(engine: sa.Engine) -> dict[str, tuple[bool, str, int]]:
    """Return (ready, reason, failures) by the node's name."""
    query = sa.select(nodes.c.name, node_states.c.ready, node_states.c.reason, node_states.c.failures).join(node_states)
    with engine.connect() as connection:
        return {row.name: (row.ready, row.reason, row.failures) for row in connection.execute(query)}


def only(engine: sa.Engine, table: sa.Table, *, task: str = CHECK_NODES) -> Any:
    """Return the one row of ``table`` that is a task's."""
    mine = table.c.name.startswith(f"{task}/") if table is leases else table.c.task == task
    with engine.connect() as connection:
        return connection.execute(sa.select(table).where(mine)).one()


def environment(url: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("B3LB_")}
    return {**kept, "B3LB_DATABASE_URL": url, "B3LB_ENCRYPTION_KEYS": KEYS.export(), "B3LB_POD_NAME": "pod-1", **more}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "b3lb_jobs", *arguments]


def job(url: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run ``b3lb-job`` to its end."""
    return subprocess.run(
        command(*arguments), env=environment(url, **more), capture_output=True, text=True, timeout=90, check=False
    )


@contextlib.contextmanager
def started(url: str, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Start ``b3lb-job``; whatever is left of it at the end is killed."""
    process = subprocess.Popen(
        command(*arguments), env=environment(url, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def log_lines(output: str) -> list[dict[str, Any]]:
    """Return the log; every line has to be JSON."""
    return [json.loads(line) for line in output.splitlines()]


def wait_for(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def options(
    url: str, holder: str, *, keys: KeyRing = KEYS, once: bool = False, entries: Sequence[TaskEntry] = CORE
) -> RunOptions:
    """Return what a run of the core queue is asked to do."""
    return RunOptions(
        entries=tuple(entries),
        namespace=NAMESPACE,
        queue="core",
        pod="pod-1",
        holder=holder,
        database_url=url,
        keys=keys,
        once=once,
    )


@dataclass
class Runner:
    """A run inside of the test: ticks are done one by one, at times that the test chooses."""

    database: Database
    tasks: Sequence[tuple[TaskReport, Task[Any]]]
    place: TickPlace
    first: datetime
    number: int = 0

    @property
    def report(self) -> TaskReport:
        """The first task's."""
        return self.tasks[0][0]

    async def tick(self, at: datetime | None = None) -> None:
        """Do the next tick of every task, 15 s after the one before, or that at ``at``."""
        if at is None:
            at = self.first + timedelta(seconds=15 * self.number)
            self.number += 1
        for report, task in self.tasks:
            await run_tick(task, report, at, self.place)


@contextlib.asynccontextmanager
async def runner(
    url: str, *, holder: str = "pod-1/a", keys: KeyRing = KEYS, entries: Sequence[TaskEntry] = CORE[:1]
) -> AsyncIterator[Runner]:
    """Open a run of ``entries``, check-nodes alone if not told otherwise."""
    loop = asyncio.get_running_loop()
    database = Database(url, application_name="b3lb-tests", monotonic=loop.time)
    reports = [TaskReport(entry) for entry in entries]
    try:
        context = await open_run(database, options(url, holder, keys=keys, once=True, entries=entries), reports)
        now = database.clock.now()
        end = now + timedelta(seconds=110)
        allow_until(database, end)
        place = TickPlace(database, NAMESPACE, holder, Plan((), end, end))
        async with contextlib.AsyncExitStack() as stack:
            tasks = [(report, await stack.enter_async_context(_made(report.entry, context))) for report in reports]
            yield Runner(database, tasks, place, now.replace(microsecond=0))
    finally:
        database.close()


def _made(entry: TaskEntry, context: TaskContext) -> Task[Any]:
    if entry.name == CHECK_NODES:
        return CheckNodes(context, jitter_source=lambda: 0.99)
    return entry.load()(context)


def poll_is_under_way(bbb_farm: Farm, name: str) -> Callable[[], bool]:
    return lambda: bbb_farm.control.counters().nodes[name].in_flight > 0
