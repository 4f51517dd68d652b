"""A watch that has ended is noticed, so that the process is started again; one that goes on is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from kopf._cogs.aiokits import aiotasks
from kopf._core.reactor import orchestration

from b3lb_operator.watchers import LOGGER, WatcherMonitor

NAME = "watcher for bbbnodes.v1alpha1.b3lb.io@b3lb"


@pytest.fixture
def monitor() -> Iterator[WatcherMonitor]:
    monitor = WatcherMonitor()
    monitor.install()
    yield monitor
    logging.getLogger(LOGGER).removeHandler(monitor)


def watch(seconds: float, error: Exception | None = None) -> asyncio.Task[None]:
    """Start what kopf starts for a kind: a task that ends after some seconds."""

    async def stream() -> None:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error

    return aiotasks.create_guarded_task(coro=stream(), name=NAME, cancellable=True, logger=orchestration.logger)


async def test_a_watch_that_met_404_is_named_until_the_process_is_started_again(monitor: WatcherMonitor) -> None:
    task = watch(0, RuntimeError("404 page not found"))
    await asyncio.wait([task])
    assert isinstance(task.exception(), RuntimeError)
    assert monitor.problem() == "not watched any more: bbbnodes.v1alpha1.b3lb.io@b3lb"
    assert monitor.problem() is not None


async def test_a_watch_that_was_started_again_is_no_problem(monitor: WatcherMonitor) -> None:
    await asyncio.wait([failed := watch(0, RuntimeError("404 page not found"))])
    assert failed.exception() is not None
    again = watch(10)
    await asyncio.sleep(0)
    assert monitor.problem() is None
    again.cancel()


async def test_a_watch_that_is_cancelled_with_its_definition_is_no_problem(monitor: WatcherMonitor) -> None:
    task = watch(10)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert monitor.problem() is None


def test_kopf_logs_where_it_is_listened_to() -> None:
    assert orchestration.logger.name == LOGGER
