"""A pod's work on several runs: each in a process of its own, with its own end, limit and crash."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import psutil
import pytest
import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.task_queue import mark_released, revoke, share_job
from tests.integration.enqueued_runs import PACKAGE, get, put
from tests.integration.job_runs import NAMESPACE, started, wait_for

pytestmark = pytest.mark.integration

JOB = "b3lb-run-shared-1"
Start = Callable[..., subprocess.Popen[str]]


def batch(engine: sa.Engine, *arguments: dict[str, Any]) -> list[UUID]:
    """Enqueue and release runs that share a Job."""
    runs = [put(engine, NAMESPACE, **given) for given in arguments]
    with transaction(engine, timeout_seconds=10) as connection:
        mark_released(connection, NAMESPACE, "work", runs=runs, spent_until=None)
        share_job(connection, runs, job_name=JOB)
    return runs


@pytest.fixture
def start(database_url: str) -> Iterator[Start]:
    """Return a function that starts the pod of the Job; what is left of it at the end is killed."""
    begun: list[subprocess.Popen[str]] = []
    stack = ExitStack()

    def run(first: UUID, **more: str) -> subprocess.Popen[str]:
        settings = {"B3LB_JOB_NAME": JOB, "PYTHONPATH": PACKAGE, "B3LB_MAX_RETRIES": "0", **more}
        begun.append(stack.enter_context(started(database_url, "--run", str(first), **settings)))
        return begun[-1]

    yield run
    for process in begun:
        for child in psutil.Process(process.pid).children() if process.poll() is None else ():
            child.kill()
    stack.close()


def child_of(process: subprocess.Popen[str], run_id: UUID) -> psutil.Process:
    """Return the process that works on a run."""
    found: list[psutil.Process] = []

    def look() -> bool:
        children = psutil.Process(process.pid).children()
        found[:] = [child for child in children if str(run_id) in child.cmdline()]
        return bool(found)

    wait_for(look, seconds=20)
    return found[0]


def is_in(engine: sa.Engine, run_id: UUID, state: str) -> Callable[[], bool]:
    return lambda: get(engine, NAMESPACE, run_id).state == state


def test_each_run_has_its_own_end_and_crash_and_a_revoked_one_is_stopped_alone(engine: sa.Engine, start: Start) -> None:
    long = {"seconds": 300}
    fine, damaged, killed, revoked, last = batch(engine, {"number": 1}, {"end": "permanent"}, long, long, {"number": 2})
    process = start(fine, B3LB_CONCURRENCY="3")
    wait_for(is_in(engine, killed, "STARTED"), seconds=30)
    child_of(process, killed).kill()
    wait_for(is_in(engine, revoked, "STARTED"), seconds=30)
    with transaction(engine, timeout_seconds=10) as connection:
        revoke(connection, NAMESPACE, revoked, why="by hand")
    assert process.wait(30) == 0
    assert [get(engine, NAMESPACE, run_id).result for run_id in (fine, last)] == [{"number": 1}, {"number": 2}]
    assert get(engine, NAMESPACE, damaged).error == "the archive is damaged"
    assert get(engine, NAMESPACE, revoked).state == "REVOKED"
    run = get(engine, NAMESPACE, killed)
    assert (run.state, run.error) == ("FAILURE", "its process was killed by signal 9 (attempt 1, the last one)")


def test_the_hard_limit_ends_one_run_and_the_next_one_begins(engine: sa.Engine, start: Start) -> None:
    stubborn, after = batch(engine, {"seconds": 300}, {"number": 1})
    process = start(stubborn, B3LB_TIME_LIMIT_SECONDS="4")
    assert process.wait(40) == 0
    run = get(engine, NAMESPACE, stubborn)
    assert (run.state, run.error) == ("FAILURE", "the hard time limit of 4 s is over")
    assert get(engine, NAMESPACE, after).state == "SUCCESS"


def test_a_pod_that_is_stopped_stops_its_runs_and_leaves_their_ends_to_the_operator(
    engine: sa.Engine, start: Start
) -> None:
    working, waiting = batch(engine, {"seconds": 300}, {"number": 1})
    process = start(working)
    wait_for(is_in(engine, working, "STARTED"), seconds=30)
    child = child_of(process, working)
    os.kill(process.pid, signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(20) == 143
    assert time.monotonic() - began < 15
    assert not child.is_running()
    assert [get(engine, NAMESPACE, run_id).state for run_id in (working, waiting)] == ["STARTED", "PENDING"]
