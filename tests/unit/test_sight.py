"""A look at the database is shared, and says that it is away when it is, not when somebody else has just begun one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from b3lb_operator.control.farms import WAIT_SECONDS
from b3lb_operator.control.overview import overview
from b3lb_operator.control.questions import Question
from b3lb_operator.sight import HANGS_SECONDS, Sight
from tests.unit.control_desk import Answers, Desk

pytestmark = [pytest.mark.looptime]


class Slow(Answers):
    """A database that takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(lambda: 7)
        self.seconds = seconds

    async def call(self, function: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return await super().call(function)


def sight_of(database: Slow) -> Sight[int]:
    return Sight(database, lambda _: 7)  # type: ignore[arg-type]  # only what is here is used


async def test_a_look_that_somebody_else_has_just_begun_does_not_say_that_the_database_is_away() -> None:
    database = Slow(0.1)
    sight = sight_of(database)
    await sight.refresh(older_than=2)
    assert sight.up
    await asyncio.sleep(5)
    database.seconds = HANGS_SECONDS + 2
    other = asyncio.create_task(sight.refresh(older_than=2))
    await asyncio.sleep(1)
    assert sight.up
    await asyncio.sleep(HANGS_SECONDS)
    hanging = sight.up
    await other
    assert (hanging, sight.up) == (False, True)


async def test_a_look_that_failed_says_so_until_one_succeeds() -> None:
    database = Slow(0.1)
    database.error = "connection refused"
    sight = sight_of(database)
    await sight.refresh(older_than=2)
    assert (sight.up, sight.error) == (False, "connection refused")
    database.error = ""
    await sight.refresh(older_than=0)
    assert sight.up


async def test_a_look_that_hangs_is_waited_for_once_by_whoever_asks_again_and_again() -> None:
    loop = asyncio.get_running_loop()
    sight = sight_of(Slow(60))
    began = loop.time()
    for _ in range(5):
        await sight.refresh(older_than=2, wait=4)
    assert loop.time() - began == pytest.approx(4)
    await sight.close()


@pytest.mark.parametrize("seconds", [2.5, 60])
async def test_an_overview_waits_once_for_a_database_that_is_slow_or_hangs(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    desk, loop = Desk(), asyncio.get_running_loop()
    slow = Slow(seconds)
    for answers in (desk.looks, desk.works):
        monkeypatch.setattr(answers, "call", slow.call)
    slow.error = "connection timed out"
    began = loop.time()
    document = await overview(desk.farms, Question())
    assert document["databaseUp"] is False
    assert loop.time() - began <= WAIT_SECONDS + 0.5
    await desk.sight.close()
    await desk.farms.works.close()
