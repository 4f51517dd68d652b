"""What a scrape of the operator's metrics costs when everything has to be read anew, on a large farm."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from b3lb.db.engine import count_statements, create_engine, database_clock, transaction
from b3lb.db.node_states import load_polls, write_states
from b3lb_operator.instruments import Instruments
from b3lb_operator.kinds import NODE
from b3lb_operator.metrics import Look, MetricsPage, families_text
from b3lb_operator.store import Store
from tests.bench.ticks import NAMESPACE
from tests.states import healthy

NODES, TENANTS, SECRETS, MEETINGS = 1000, 100, 500, 6000
RUNS = 5

_MEETINGS = f"""
    INSERT INTO meetings (node_id, internal_id, meeting_id, secret_id, state, created_at, first_seen_at, digest)
    SELECT node.id, cast(number AS text), cast(number AS text), secret.id, 'open', now(), now(), ''
    FROM generate_series(0, {MEETINGS - 1}) AS number
    JOIN (SELECT id, row_number() OVER () - 1 AS place FROM nodes) AS node ON node.place = number % {NODES}
    JOIN (SELECT id, row_number() OVER () - 1 AS place FROM secrets) AS secret ON secret.place = number % {SECRETS}
"""  # noqa: S608 - numbers of our own


class Farm:
    """The database of the page: real statements, without the operator's threads."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url, application_name="b3lb-bench")

    async def call(self, function: Callable[[sa.Connection], Look]) -> Look:
        """Run the statements within a transaction."""
        with transaction(self.engine, timeout_seconds=20) as connection:
            return function(connection)

    def fill(self) -> None:
        """Let every node have been polled well, and meetings run."""
        with transaction(self.engine, timeout_seconds=20) as connection:
            now = database_clock(connection)
            state = healthy(ready_changed_at=now)
            write_states(connection, [(poll.node_id, state, 1.0, now) for poll in load_polls(connection, NAMESPACE)])
            connection.execute(sa.text(_MEETINGS))


def manifest(name: str) -> dict[str, Any]:
    """Return a BBBNode as the watch shows it."""
    time_ = "2026-03-01T12:00:00Z"
    conditions = [
        {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": time_}
        for kind, reason in (("Ready", "Responding"), ("Schedulable", "Schedulable"))
    ]
    metadata = {"namespace": NAMESPACE, "name": name, "uid": name, "resourceVersion": "1", "generation": 1}
    return {"metadata": metadata, "spec": {"maxAttendees": 500}, "status": {"conditions": conditions}}


async def measure(url: str) -> dict[str, Any]:
    """Return CPU seconds of scrapes that read everything anew and of the library alone, and the statements of one."""
    farm = Farm(url)
    farm.fill()
    store = Store(lambda _change: None)
    with transaction(farm.engine, timeout_seconds=20) as connection:
        for (name,) in connection.exec_driver_sql("SELECT name FROM nodes"):
            store.observe(NODE, None, manifest(name))
    cpu, floor, wall, text, statements = [], [], [], b"", 0
    for _ in range(RUNS + 1):
        page = MetricsPage(
            store=store,
            database=farm,  # type: ignore[arg-type]  # only its method call is used
            namespaces=[NAMESPACE],
            instruments=Instruments(),
        )
        with count_statements(farm.engine) as counter:
            began, started = time.process_time(), time.monotonic()
            text = await page.text()
            cpu.append(time.process_time() - began)
            wall.append(time.monotonic() - started)
        statements = counter.count
        families = list(page._families())
        began = time.process_time()
        families_text(families)
        floor.append(time.process_time() - began)
    farm.engine.dispose()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = sum(not line.startswith(b"#") for line in text.splitlines())
    return {
        "cpu": cpu[1:],
        "floor": floor[1:],
        "wall": wall[1:],
        "statements": statements,
        "peak_rss_mib": peak,
        "series": lines,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1]))))
