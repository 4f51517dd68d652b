"""Which of two operators leads: one at a time, within seconds, and never by the clock of another machine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from b3lb_operator.kinds import LEASE, Key, Manifest
from b3lb_operator.kube import Kube, UnavailableError
from b3lb_operator.leadership import LEADER_LEASE_NAME, LEASE_SECONDS, RETRY_SECONDS, Elector
from tests.unit.operator_fakes import NAMESPACE, FakeKube

pytestmark = [pytest.mark.looptime]

KEY = Key(NAMESPACE, LEADER_LEASE_NAME)


def elector(kube: Kube, name: str = "pod") -> Elector:
    return Elector(kube, namespace=NAMESPACE, identity=name, clock=asyncio.get_running_loop().time)


def spec(kube: FakeKube) -> Manifest:
    found: Manifest = kube.object(LEASE, LEADER_LEASE_NAME)["spec"]
    return found


def now() -> float:
    return asyncio.get_running_loop().time()


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_first_leads_at_once_and_as_long_as_it_renews() -> None:
    kube = FakeKube()
    first = elector(kube)
    assert "does not lead" in (first.problem() or "")
    await first.acquire()
    assert (first.problem(), first.waiting, spec(kube)["leaseTransitions"]) == (None, False, 0)
    keeping = asyncio.create_task(first.keep())
    await asyncio.sleep(100)
    assert first.problem() is None
    assert not keeping.done()
    await cancel(keeping)


async def test_two_that_start_together_do_not_lead_together() -> None:
    kube = FakeKube()
    both = [elector(kube), elector(kube)]
    tasks = [asyncio.create_task(one.acquire()) for one in both]
    await asyncio.sleep(1)
    assert sorted(one.problem() is None for one in both) == [False, True]
    await cancel(*tasks)


async def test_a_leader_that_vanishes_is_followed_within_14_seconds_and_after_its_own_time_is_over() -> None:
    kube = FakeKube()
    first, second = elector(kube), elector(kube)
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(30)
    await cancel(keeping)
    gone = now()
    while second.waiting:
        assert second.problem() is not None
        await asyncio.sleep(0.1)
    assert first.problem() is not None
    assert LEASE_SECONDS - RETRY_SECONDS < now() - gone <= LEASE_SECONDS + 2 * RETRY_SECONDS
    assert spec(kube)["leaseTransitions"] == 1
    await cancel(waiting)


async def test_a_leader_that_stood_still_writes_nothing_afterwards_and_ends() -> None:
    kube = FakeKube()
    first, second = elector(kube), elector(kube)
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(30)
    # As after SIGCONT: everything goes on as if nothing had happened, but the clock went on.
    assert first.problem() is not None
    await asyncio.wait_for(first.keep(), 5)
    assert first.problem() is not None
    assert second.problem() is None or waiting.done()
    await cancel(waiting)


async def test_without_an_api_server_a_leader_stops_writing_and_goes_on_afterwards() -> None:
    kube = FakeKube()
    first = elector(kube)
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    kube.failure = lambda _method, _path: UnavailableError("away")
    await asyncio.sleep(LEASE_SECONDS + 1)
    assert first.problem() is not None
    await asyncio.sleep(60)
    assert not keeping.done()
    kube.failure = lambda _method, _path: None
    await asyncio.sleep(5)
    assert first.problem() is None
    await cancel(keeping)


async def test_a_leader_that_ends_hands_over_at_once() -> None:
    kube = FakeKube()
    first, second = elector(kube), elector(kube)
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(5)
    await first.release()
    assert first.problem() is not None
    await asyncio.sleep(RETRY_SECONDS + 0.1)
    assert second.problem() is None
    await second.release()
    await first.release()
    assert "holderIdentity" not in spec(kube)
    await cancel(waiting)


async def test_one_that_only_waited_leaves_the_lease_alone() -> None:
    kube = FakeKube()
    first, second = elector(kube), elector(kube)
    await first.acquire()
    holder = spec(kube)["holderIdentity"]
    await second.release()
    assert spec(kube)["holderIdentity"] == holder
