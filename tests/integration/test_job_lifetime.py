"""A task that leaks ends its pod after a tick, with exit code 0, a log line and a termination message that say why."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
import sqlalchemy as sa

from b3lb.tasks import CHECK_NODES
from b3lb_jobs import program, runner
from b3lb_jobs.interface import Findings, TaskContext
from b3lb_jobs.options import RunOptions
from b3lb_jobs.task_table import TaskEntry
from b3lb_jobs.ticks import Plan
from tests.integration.job_runs import KEYS, NAMESPACE

pytestmark = pytest.mark.integration

MIB = 2**20


class Leak:
    """A task whose every tick keeps 40 MiB, more than an allocator gives from what was freed before."""

    def __init__(self, _context: TaskContext) -> None:
        self.held: list[bytes] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.held.clear()

    def load(self, _connection: sa.Connection, _at: datetime) -> None:
        return None

    def least_seconds(self, _loaded: None) -> float:
        return 0.0

    def seconds_needed(self, _loaded: None) -> float:
        return 1.0

    async def work(self, _loaded: None, *, at: datetime, seconds: float) -> Findings:
        self.held.append(b"x" * (40 * MIB))
        return Findings(summary={"held": len(self.held), "seconds": seconds, "at": at.isoformat()})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten ticks within two seconds."""

    def plan(now: datetime, _tick_seconds: int) -> Plan:
        ticks = tuple(now + timedelta(seconds=0.2 * number) for number in range(10))
        return Plan(ticks, now + timedelta(seconds=50), now + timedelta(seconds=55))

    monkeypatch.setattr(runner, "plan_run", plan)
    monkeypatch.setattr(TaskEntry, "_import", lambda _self: Leak)


@pytest.mark.parametrize(
    "case",
    [
        ({}, 10, None),
        ({"max_ticks": 3}, 3, "it did 3 ticks; maxTicks is 3"),
        ({"max_memory_growth_mib": 100}, 3, "MiB; maxMemoryGrowthMiB is 100"),
    ],
    ids=["none", "ticks", "memory"],
)
async def test_the_pod_ends_after_the_tick_in_which_a_limit_is_reached(
    engine: sa.Engine,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[dict[str, Any], int, str | None],
) -> None:
    limits, ticks, why = case
    options = RunOptions(
        entries=(TaskEntry(CHECK_NODES, "tests:Leak", ticking=True),),
        namespace=NAMESPACE,
        queue="core",
        pod="pod-1",
        holder="pod-1/a",
        database_url=database_url,
        keys=KEYS,
    )
    ending = await runner.run(replace(options, **limits))
    assert (int(ending.outcome.exit_code), ending.outcome.state) == (0, "SUCCESS")
    (report,) = ending.reports
    assert (report.done, report.missed) == (ticks, 0)
    assert (why is None and ending.ended_early is None) or str(why) in str(ending.ended_early)
    monkeypatch.setenv("B3LB_TERMINATION_LOG", str(tmp_path / "message"))
    program._conclude(ending, options)
    assert json.loads((tmp_path / "message").read_text()).get("ended_early") == ending.ended_early
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT state, ticks FROM task_runs")).one() == ("SUCCESS", ticks)
