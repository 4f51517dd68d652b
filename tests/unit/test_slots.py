"""How many polls are active, and that those which hang do not count."""

from __future__ import annotations

import asyncio

import pytest

from b3lb.bbb.slots import Slots

pytestmark = pytest.mark.looptime


async def hold(slots: Slots, seconds: float) -> float:
    """Hold a slot and return when it was got."""
    async with slots.hold():
        got = asyncio.get_running_loop().time()
        await asyncio.sleep(seconds)
    return got


async def test_those_who_finish_soon_take_turns() -> None:
    slots = Slots(2, 0.5)
    got = await asyncio.gather(*(hold(slots, 0.2) for _ in range(6)))
    assert got == pytest.approx([0, 0, 0.2, 0.2, 0.4, 0.4], abs=0.01)


async def test_a_slot_held_too_long_is_given_back_once() -> None:
    slots = Slots(2, 0.5)
    got = await asyncio.gather(*(hold(slots, 60) for _ in range(6)))
    assert got == pytest.approx([0, 0, 0.5, 0.5, 1.0, 1.0], abs=0.01)
    assert await asyncio.gather(*(hold(slots, 0.2) for _ in range(3))) == pytest.approx([61, 61, 61.2], abs=0.01)


async def test_a_holder_that_fails_or_is_cancelled_gives_its_slot_back() -> None:
    slots = Slots(1, 0.5)
    with pytest.raises(ZeroDivisionError):
        async with slots.hold():
            raise ZeroDivisionError
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await hold(slots, 60)
    waiting = [asyncio.create_task(hold(slots, 0.1)) for _ in range(3)]
    await asyncio.sleep(0.05)
    waiting[1].cancel()
    assert await waiting[2] == pytest.approx(0.2, abs=0.01)
