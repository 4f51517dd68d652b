"""The work queue: once per key, one at a time per key, retries with back-off; by a clock that costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from b3lb_operator.kube import UnavailableError
from b3lb_operator.workqueue import BACKOFF_SECONDS, WorkQueue

pytestmark = [pytest.mark.looptime]


@asynccontextmanager
async def running(handler: Callable[[str], Awaitable[float | None]], workers: int = 4) -> AsyncIterator[WorkQueue[str]]:
    queue = WorkQueue("test", handler, workers=workers)
    task = asyncio.create_task(queue.run())
    yield queue
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_key_that_was_added_twice_is_worked_on_once() -> None:
    calls: list[str] = []

    async def handler(key: str) -> None:
        calls.append(key)

    async with running(handler) as queue:
        for key in ("a", "a", "b"):
            queue.add(key)
        await asyncio.sleep(1)
    assert sorted(calls) == ["a", "b"]


async def test_a_key_added_during_its_work_is_worked_on_again_afterwards_and_never_twice_at_once() -> None:
    active = 0
    highest = 0
    calls = 0

    async def handler(_: str) -> None:
        nonlocal active, highest, calls
        active, calls = active + 1, calls + 1
        highest = max(highest, active)
        await asyncio.sleep(10)
        active -= 1

    async with running(handler) as queue:
        queue.add("a")
        await asyncio.sleep(1)
        queue.add("a")
        queue.add("a")
        await asyncio.sleep(60)
    assert (calls, highest) == (2, 1)


async def test_different_keys_are_worked_on_at_the_same_time_up_to_the_number_of_workers() -> None:
    active = 0
    highest = 0

    async def handler(_: str) -> None:
        nonlocal active, highest
        active += 1
        highest = max(highest, active)
        await asyncio.sleep(1)
        active -= 1

    async with running(handler, workers=3) as queue:
        for key in "abcdef":
            queue.add(key)
        await asyncio.sleep(10)
    assert highest == 3


async def test_failures_are_retried_with_growing_jittered_pauses_and_success_resets_them() -> None:
    times: list[float] = []

    async def handler(_: str) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) in {1, 2, 3, 5}:
            raise UnavailableError("away")

    async with running(handler) as queue:
        queue.add("a")
        await asyncio.sleep(30)
        queue.add("a")
        await asyncio.sleep(30)
    assert len(times) == 6
    for pause, longest in zip(
        [times[1] - times[0], times[2] - times[1], times[3] - times[2]], BACKOFF_SECONDS, strict=False
    ):
        assert longest / 2 <= pause <= longest + 0.01
    assert times[5] - times[4] <= BACKOFF_SECONDS[0] + 0.01


async def test_a_bug_in_one_key_does_not_stop_the_others() -> None:
    done: list[str] = []

    async def handler(key: str) -> None:
        if key == "bad":
            raise ZeroDivisionError
        done.append(key)

    async with running(handler, workers=1) as queue:
        queue.add("bad")
        queue.add("good")
        await asyncio.sleep(1)
    assert done == ["good"]


async def test_the_number_that_a_handler_returns_is_when_it_is_called_again() -> None:
    times: list[float] = []

    async def handler(_: str) -> float | None:
        times.append(asyncio.get_running_loop().time())
        return 30 if len(times) == 1 else None

    async with running(handler) as queue:
        queue.add("a")
        await asyncio.sleep(100)
    assert times == pytest.approx([times[0], times[0] + 30], abs=0.01)


async def test_an_earlier_wish_goes_before_a_later_one() -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def handler(_: str) -> None:
        times.append(loop.time() - start)

    async with running(handler) as queue:
        queue.add_after("a", 30)
        queue.add_after("a", 10)
        queue.add_after("a", 20)
        await asyncio.sleep(100)
    assert times == pytest.approx([10], abs=0.01)
