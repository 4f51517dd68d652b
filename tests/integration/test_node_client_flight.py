"""Many nodes at once, some of which hang."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from b3lb.bbb.client import SLOT_SECONDS, NodeClient
from b3lb.health import Reason
from tests.integration.bbb_servers import ONE, Behaviour, FakeNode, hangs, http, running, sends

pytestmark = pytest.mark.integration


def slow(seconds: float) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        writer.write(http(ONE))

    return behave


async def test_a_hundred_that_hang_do_not_keep_two_hundred_from_answering_well_within_the_budget() -> None:
    hanging, good = FakeNode(hangs(), hangs()), FakeNode(sends(http(ONE)))
    async with running(hanging, good), NodeClient(max_in_flight=200) as client:
        targets = [hanging.target(timeout=4)] * 100 + [good.target(timeout=4)] * 200
        finished: list[float] = []
        begun = time.monotonic()

        async def observe(number: int) -> Reason:
            observation = (await client.observe(targets[number])).observation
            if observation.succeeded:
                finished.append(time.monotonic() - begun)
            return observation.reason

        reasons = await asyncio.gather(*map(observe, range(300)))
        total = time.monotonic() - begun
    assert reasons == [Reason.TIMEOUT] * 100 + [Reason.RESPONDING] * 200
    assert max(finished) < SLOT_SECONDS + 1.5
    assert total < 4 + SLOT_SECONDS + 1


async def test_all_hanging_are_in_flight_at_the_same_time() -> None:
    node = FakeNode(hangs(), hangs())
    async with running(node), NodeClient(max_in_flight=40) as client:
        target = node.target(timeout=3)
        begun = time.monotonic()
        observations = [poll.observation for poll in await asyncio.gather(*(client.observe(target) for _ in range(80)))]
        assert time.monotonic() - begun < 3 + 4 * SLOT_SECONDS + 1
    assert {observation.reason for observation in observations} == {Reason.TIMEOUT}
    assert node.open_most == 160


@pytest.mark.parametrize(("max_in_flight", "polls"), [(10, 30), (3, 8), (1, 5)])
async def test_no_more_requests_than_max_in_flight_are_active_and_one_means_one_after_the_other(
    max_in_flight: int, polls: int
) -> None:
    node = FakeNode(slow(0.1), slow(0.1))
    async with running(node), NodeClient(max_in_flight=max_in_flight) as client:
        target = node.target(timeout=2)
        answers = await asyncio.gather(*(client.observe(target) for _ in range(polls)))
    assert all(answer.observation.succeeded for answer in answers)
    assert node.open_most == max(1, max_in_flight // 2 * 2)


async def test_the_budget_begins_with_the_slot() -> None:
    node = FakeNode(slow(0.3), slow(0.3))
    async with running(node), NodeClient(max_in_flight=2) as client:
        target = node.target(timeout=0.45)
        observations = [poll.observation for poll in await asyncio.gather(*(client.observe(target) for _ in range(6)))]
    assert all(observation.succeeded for observation in observations)
    assert all(observation.seconds < 0.45 for observation in observations)


async def test_polls_cancelled_at_any_moment_leave_the_client_usable() -> None:
    hanging, late, good = FakeNode(hangs(), hangs()), FakeNode(slow(0.05), slow(0.1)), FakeNode(sends(http(ONE)))
    chance = random.Random(3)
    async with running(hanging, late, good), NodeClient(max_in_flight=6) as client:
        for _ in range(20):
            tasks = [
                asyncio.create_task(client.observe(node.target()))
                for node in chance.sample([hanging, hanging, late, late, good, good], 6)
            ]
            await asyncio.sleep(chance.random() * 0.15)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        begun = time.monotonic()
        observations = [
            poll.observation for poll in await asyncio.gather(*(client.observe(good.target()) for _ in range(20)))
        ]
        assert all(observation.succeeded for observation in observations)
        assert time.monotonic() - begun < 1
        assert client._slots._semaphore._value == 3


async def test_a_client_that_ends_with_polls_under_way_ends_quietly() -> None:
    node = FakeNode(hangs(), hangs())
    async with running(node):
        async with NodeClient() as client:
            tasks = [asyncio.create_task(client.observe(node.target(timeout=30))) for _ in range(5)]
            await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
