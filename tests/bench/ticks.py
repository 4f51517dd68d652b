"""The measured process: real ticks of the core queue, then the floor; started anew for each scenario.

Reads a line from standard input before every tick (the parent has changed the farm meanwhile) and prints a JSON line
after it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from datetime import timedelta

from b3lb.crypto import KeyRing
from b3lb.db.engine import count_statements
from b3lb.db.node_states import load_polls
from b3lb.db.task_runs import start
from b3lb.logs import configure
from b3lb_jobs.database import Database
from b3lb_jobs.interface import TaskContext
from b3lb_jobs.report import TaskReport
from b3lb_jobs.task_table import route
from b3lb_jobs.tick import TickPlace, run_tick
from b3lb_jobs.ticks import plan_single
from dev.memory import peak_mebibytes
from tests.bench.floor import floor

NAMESPACE = "bench"
TICK_SECONDS = 15


async def measure(url: str, keys: KeyRing) -> None:
    """Run ticks of all tasks of the core queue as the parent asks for them, then the floor."""
    database = Database(url, application_name="b3lb-bench", monotonic=time.monotonic)
    context = TaskContext(namespace=NAMESPACE, keys=keys, tick_seconds=TICK_SECONDS, max_in_flight=100)
    reports = [TaskReport(entry) for entry in route(["core"])]
    with database.transaction() as connection:
        for report in reports:
            name = report.entry.name
            start(connection, report.run_id, namespace=NAMESPACE, queue="core", task=name, pod="bench", arguments={})
    at = database.clock.now()
    async with AsyncExitStack() as stack:
        tasks = [(report, await stack.enter_async_context(report.entry.load()(context))) for report in reports]
        while sys.stdin.readline().strip() == "tick":
            at += timedelta(seconds=TICK_SECONDS)
            place = TickPlace(database, NAMESPACE, "bench", plan=plan_single(database.clock.now()))
            begun, cpu = time.monotonic(), time.process_time()
            with count_statements(database.engine) as counter:
                for report, task in tasks:
                    await run_tick(task, report, at, place)
            figures = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - begun}
            seen = {"changed": changed_share(reports[0]), "unseen": nodes_not_seen(reports[0])}
            say(**figures, **seen, statements=counter.count)
    peak = peak_mebibytes()
    with database.transaction() as connection:
        polls = load_polls(connection, NAMESPACE, tick_seconds=TICK_SECONDS)
    say(peak_rss_mib=peak, floor=await floor(polls, keys, namespace=NAMESPACE))


def nodes_not_seen(report: TaskReport) -> int:
    """Return how many nodes a tick of check-nodes had no good poll of: all others are as fresh as the tick."""
    summary = report.summary
    return int(summary["nodes"] - (summary["polled"] - summary["failed"]))


def changed_share(report: TaskReport) -> float:
    """Return which share of the meetings that a tick of check-nodes saw had changed or ended since the one before."""
    summary = report.summary
    changed = summary["meetings_changed"] + summary["meetings_new"] + summary["meetings_ended"]
    return float(changed / max(1, summary["meetings_open"]))


def say(**figures: object) -> None:
    """Print figures for the parent."""
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    configure("json", "warning")
    asyncio.run(measure(sys.argv[1], KeyRing.parse(sys.argv[2])))
