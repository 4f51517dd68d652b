"""A pod that ticks ends after so many ticks, or when its memory has grown by so much, and says why."""

from __future__ import annotations

import itertools

from b3lb_jobs.lifetime import Lifetime, resident_bytes

MIB = 2**20


def growing(*mib: int) -> Lifetime:
    sizes = itertools.chain((size * MIB for size in mib), itertools.repeat(mib[-1] * MIB))
    return Lifetime(max_growth_mib=100, resident=lambda: next(sizes))


def test_without_limits_it_goes_on() -> None:
    lifetime = Lifetime()
    assert all(lifetime.tick_done() for _ in range(100))
    assert lifetime.over is None


def test_it_ends_after_its_ticks() -> None:
    lifetime = Lifetime(max_ticks=3)
    assert [lifetime.tick_done() for _ in range(3)] == [True, True, False]
    assert lifetime.over == "it did 3 ticks; maxTicks is 3"


def test_it_ends_when_its_memory_has_grown_by_so_much_not_when_it_has_so_much() -> None:
    lifetime = growing(500, 550, 599, 600)
    assert [lifetime.tick_done() for _ in range(3)] == [True, True, False]
    assert lifetime.over == "its memory grew by 100 MiB; maxMemoryGrowthMiB is 100"


def test_memory_that_was_given_back_does_not_count() -> None:
    lifetime = growing(500, 590, 480, 590)
    assert [lifetime.tick_done() for _ in range(3)] == [True, True, True]


def test_memory_that_is_really_used_is_seen() -> None:
    before = resident_bytes()
    held = bytearray(b"x" * (64 * MIB))
    assert resident_bytes() - before > 32 * MIB
    assert len(held) == 64 * MIB
