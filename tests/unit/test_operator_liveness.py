"""When the process asks to be restarted, and when it does not although nothing moves."""

from __future__ import annotations

import asyncio

import pytest

from b3lb_operator.kinds import LEASE
from b3lb_operator.kube import ForbiddenError, UnavailableError
from b3lb_operator.liveness import LeaseRenewer, LoopMonitor, WatchMonitor
from tests.unit.operator_fakes import FakeKube

pytestmark = [pytest.mark.looptime]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def monitor(clock: Clock) -> WatchMonitor:
    return WatchMonitor(clock)


def test_a_renewal_that_comes_back_is_fine(monitor: WatchMonitor, clock: Clock) -> None:
    for second in range(0, 600, 15):
        monitor.accepted(f"t{second:04}")
        clock.now += 1
        monitor.seen(f"t{second:04}")
        clock.now += 14
        assert monitor.problem() is None


def test_renewals_that_do_not_come_back_within_a_minute_are_a_problem(monitor: WatchMonitor, clock: Clock) -> None:
    for second in range(0, 75, 15):
        monitor.accepted(f"t{second:04}")
        assert monitor.problem() is None
        clock.now += 15
    assert "has not shown" in (monitor.problem() or "")


def test_a_watch_that_shows_the_renewal_before_the_answer_comes_is_fine(monitor: WatchMonitor, clock: Clock) -> None:
    monitor.seen("t1")
    monitor.accepted("t1")
    clock.now += 600
    assert monitor.problem() is None


def test_while_the_api_server_is_away_nothing_is_a_problem(monitor: WatchMonitor, clock: Clock) -> None:
    """A restart would not help."""
    monitor.accepted("t1")
    for _ in range(40):
        clock.now += 15
        monitor.failed()
        assert monitor.problem() is None


def test_after_an_outage_the_watch_has_a_minute_again(monitor: WatchMonitor, clock: Clock) -> None:
    monitor.accepted("t1")
    clock.now += 300
    monitor.failed()
    clock.now += 15
    monitor.accepted("t2")
    assert monitor.problem() is None
    clock.now += 61
    assert monitor.problem() is not None


def test_an_old_renewal_shown_late_proves_life_for_a_minute_more(monitor: WatchMonitor, clock: Clock) -> None:
    monitor.accepted("t1")
    clock.now += 15
    monitor.accepted("t2")
    clock.now += 40
    monitor.seen("t1")
    clock.now += 50
    assert monitor.problem() is None
    clock.now += 15
    assert monitor.problem() is not None


async def test_a_loop_that_turns_is_fine_and_one_that_was_blocked_is_not() -> None:
    clock = Clock()
    monitor = LoopMonitor(clock)
    task = asyncio.create_task(monitor.run())
    await asyncio.sleep(0)
    assert monitor.problem() is None
    clock.now += 5.6
    assert "5.1 s late" in (monitor.problem() or "")
    await asyncio.sleep(1)
    assert monitor.problem() is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_lease_is_made_once_and_then_renewed(monitor: WatchMonitor) -> None:
    kube = FakeKube()
    renewer = LeaseRenewer(kube, monitor, namespace="farm", identity="pod-1")
    await renewer.renew()
    first = kube.object(LEASE, "b3lb-operator")["spec"]
    await renewer.renew()
    second = kube.object(LEASE, "b3lb-operator")["spec"]
    assert first["holderIdentity"] == "pod-1"
    assert second["renewTime"] > first["renewTime"]
    assert [method for method, _, _ in kube.writes] == ["PATCH", "POST", "PATCH"]


@pytest.mark.parametrize("error", [UnavailableError("away"), ForbiddenError("no")])
async def test_a_renewal_that_fails_is_noted_and_never_raised(
    monitor: WatchMonitor, clock: Clock, error: Exception
) -> None:
    kube = FakeKube()
    renewer = LeaseRenewer(kube, monitor, namespace="farm", identity="pod-1")
    await renewer.renew()
    kube.failure = lambda _method, _path: error
    clock.now += 59
    await renewer.renew()
    clock.now += 59
    assert monitor.problem() is None


async def test_the_longest_lag_of_the_last_minute_is_remembered_and_then_forgotten() -> None:
    clock = Clock()
    monitor = LoopMonitor(clock)
    assert monitor.longest_lag() == 0
    running = asyncio.create_task(monitor.run())
    await asyncio.sleep(0)
    clock.now += 3.5
    assert monitor.longest_lag() == 3.0
    await asyncio.sleep(0.6)
    assert monitor.longest_lag() == 3.0
    for _ in range(150):
        clock.now += 0.5
        await asyncio.sleep(0.5)
    assert monitor.longest_lag() <= 0.5
    running.cancel()
