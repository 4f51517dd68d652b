"""When a run ticks: aligned to the minute, at once at the start, skipped and never stacked, over by :55."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb_jobs.clock import DatabaseClock
from b3lb_jobs.opening import patience
from b3lb_jobs.runner import follow
from b3lb_jobs.ticks import TICK_SECONDS, Plan, end_of_tick, next_tick, plan_run, plan_single

MINUTE = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)
moments = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis takes naive bounds
lengths = st.sampled_from(TICK_SECONDS)


def at(second: float) -> datetime:
    return MINUTE + timedelta(seconds=second)


def seconds(plan: Plan) -> list[int]:
    return [tick.second for tick in plan.ticks]


@pytest.mark.parametrize(
    ("started", "length", "ticks"),
    [
        (0, 15, [0, 15, 30, 45]),
        (3.2, 15, [0, 15, 30, 45]),
        (15, 15, [15, 30, 45]),
        (44.9, 15, [30, 45]),
        (45, 15, [45]),
        (1, 5, [0, 5, 10, 15, 20, 25, 30, 35, 40, 45]),
        (1, 10, [0, 10, 20, 30, 40]),
        (43, 10, [40]),
        (1, 20, [0, 20, 40]),
        (1, 30, [0, 30]),
        (1, 60, [0]),
        (44, 60, [0]),
    ],
)
def test_a_run_ticks_from_the_current_tick_to_second_45(started: float, length: int, ticks: list[int]) -> None:
    plan = plan_run(at(started), length)
    assert seconds(plan) == ticks
    assert plan.ends_at == at(55)


@pytest.mark.parametrize("length", TICK_SECONDS)
def test_a_run_that_starts_after_second_45_has_one_tick_of_its_own_and_ten_seconds(length: int) -> None:
    assert plan_run(at(50.5), length) == Plan((at(50),), at(60.5), at(110.5))


def test_a_run_by_hand_has_one_tick_of_its_very_moment_wherever_in_the_minute() -> None:
    assert plan_single(at(31.7)) == Plan((at(31.7),), at(81.7), at(91.7))


@pytest.mark.parametrize("length", [0, 1, 7, 45, 61, -15])
def test_other_lengths_of_a_tick_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="5, 10, 15, 20, 30, 60"):
        plan_run(MINUTE, length)


@given(moments, lengths)
def test_every_plan_is_aligned_bounded_and_begins_at_once(started: datetime, length: int) -> None:
    plan = plan_run(started, length)
    minute = started.replace(second=0, microsecond=0)
    late = started > minute + timedelta(seconds=45)
    assert plan.ticks[0] <= started
    assert all(first < second for first, second in zip(plan.ticks, plan.ticks[1:], strict=False))
    assert late or all(tick.second % length == 0 and tick.second <= 45 for tick in plan.ticks)
    assert len(plan.ticks) == 1 if late else plan.ends_at == minute + timedelta(seconds=55)
    assert started < plan.ends_at <= started + timedelta(seconds=55)


@given(moments, lengths, st.lists(st.floats(min_value=0, max_value=70), min_size=12, max_size=12))
def test_ticks_are_skipped_and_never_stacked_however_long_each_takes(
    started: datetime, length: int, durations: list[float]
) -> None:
    plan = plan_run(started, length)
    now, last, begun = started, None, []
    for duration in durations:
        tick = next_tick(plan.ticks, last, now)
        if tick is None:
            break
        now = max(now, tick)
        begun.append((tick, now))
        now += timedelta(seconds=duration)
        last = tick
    assert [tick for tick, _ in begun] == sorted({tick for tick, _ in begun})
    assert begun[0][1] == started
    # Every tick but the first begins at its time, or right after the one before.
    assert all(tick <= begins < tick + timedelta(seconds=1) for tick, begins in begun[1:])


WRITING_AND_SPARE = 4


def ends_of_ticks(started: float, length: int, timeout: int, *, duration: float) -> list[tuple[int, float | None]]:
    """Return every tick of a run whose ticks take ``duration`` seconds, and the second at which it has to be over."""
    plan = plan_run(at(started), length)
    now, last, found = at(started), None, []
    while (tick := next_tick(plan.ticks, last, now)) is not None:
        now, last = max(now, tick), tick
        least = timeout + WRITING_AND_SPARE
        ends_at = end_of_tick(plan, tick, now=now, least=least, most=least + 2)
        found.append((tick.second, None if ends_at is None else (ends_at - MINUTE).total_seconds()))
        now += timedelta(seconds=0 if ends_at is None else duration)
    return found


@pytest.mark.parametrize(
    ("started", "length", "timeout", "expected"),
    [
        pytest.param(1, 15, 5, [(0, 55), (15, 55), (30, 55), (45, 55)], id="the default fits everywhere"),
        pytest.param(1, 15, 6, [(0, 55), (15, 55), (30, 55), (45, 55)], id="exactly"),
        pytest.param(1, 15, 10, [(0, 55), (15, 55), (30, 55), (45, None)], id="10 s do not fit after :45"),
        pytest.param(1, 15, 30, [(0, 55), (15, 55), (30, None), (45, None)], id="30 s fit until :21"),
        pytest.param(1, 30, 10, [(0, 55), (30, 55)], id="10 s fit after :30"),
        pytest.param(1, 30, 30, [(0, 55), (30, None)], id="30 s do not fit after :30"),
        pytest.param(50, 15, 5, [(50, 60)], id="a late run has 10 s"),
        pytest.param(50, 15, 10, [(50, 66)], id="a late run takes what it needs"),
        pytest.param(50, 15, 30, [(50, 86)], id="also the longest"),
        pytest.param(45, 15, 30, [(45, 81)], id="a run that starts at :45"),
        pytest.param(22, 15, 30, [(15, 58), (30, None), (45, None)], id="a run with room for none of its ticks"),
    ],
)
def test_a_tick_is_begun_only_if_its_longest_time_out_fits_and_a_run_does_at_least_one(
    started: float, length: int, timeout: int, expected: list[tuple[int, float | None]]
) -> None:
    assert ends_of_ticks(started, length, timeout, duration=1) == expected


def test_a_run_by_hand_has_room_for_every_time_out_and_at_most_a_minute() -> None:
    plan = plan_single(at(10))
    assert end_of_tick(plan, plan.ticks[0], now=at(10), least=34, most=40) == at(60)
    assert end_of_tick(plan, plan.ticks[0], now=at(30), least=34, most=60) == at(70)
    assert end_of_tick(plan, plan.ticks[0], now=at(40), least=34, most=60) is None


@given(moments, lengths, st.integers(1, 30), st.floats(0, 60), st.integers(0, 300))
def test_no_tick_is_cut_off_before_its_time_out_nor_lasts_beyond_a_minute_after_the_start(
    started: datetime, length: int, timeout: int, late: float, waiting: int
) -> None:
    plan = plan_run(started, length)
    least = timeout + WRITING_AND_SPARE
    for tick in plan.ticks:
        now = max(tick, started) + timedelta(seconds=late)
        ends_at = end_of_tick(plan, tick, now=now, least=least, most=least + waiting)
        if ends_at is not None:
            assert now + timedelta(seconds=least) <= ends_at <= started + timedelta(seconds=60)
            assert ends_at == plan.ends_at or tick == plan.ticks[0]
    first = end_of_tick(plan, plan.ticks[0], now=started, least=least, most=least)
    assert first is not None


def test_a_tick_whose_time_passed_is_left_out() -> None:
    ticks = plan_run(at(0), 15).ticks
    assert next_tick(ticks, at(0), at(16)) == at(30)
    assert next_tick(ticks, at(0), at(15)) == at(15)
    assert next_tick(ticks, at(0), at(15.999)) == at(15)
    assert next_tick(ticks, at(45), at(45.1)) is None
    assert next_tick((), None, at(0)) is None


def loop_clock(database_time: datetime) -> DatabaseClock:
    loop = asyncio.get_running_loop()
    return DatabaseClock(database_time, loop.time(), loop.time)


@pytest.mark.looptime
async def test_the_loop_begins_ticks_at_their_times_by_the_database_clock() -> None:
    clock = loop_clock(at(3))
    begun: list[tuple[float, float]] = []

    async def tick(due: datetime) -> bool:
        begun.append((due.second, clock.now().timestamp() - MINUTE.timestamp()))
        await asyncio.sleep(0.4)
        return True

    missed = await follow(plan_run(clock.now(), 15), lambda: clock, tick)
    assert missed == 0
    assert [due for due, _ in begun] == [0, 15, 30, 45]
    assert [moment for _, moment in begun] == pytest.approx([3, 15, 30, 45], abs=0.01)
    assert clock.now() < at(46)


@pytest.mark.looptime
async def test_a_tick_that_takes_too_long_costs_the_next_one_and_is_counted() -> None:
    clock = loop_clock(at(0))
    begun: list[int] = []

    async def tick(due: datetime) -> bool:
        begun.append(due.second)
        await asyncio.sleep(16)
        return True

    assert await follow(plan_run(clock.now(), 15), lambda: clock, tick) == 2
    assert begun == [0, 30]


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("length", "hanging", "ticks"),
    [(5, 5, range(0, 46, 5)), (10, 10, range(0, 41, 10)), (5, 6, range(0, 41, 10)), (15, 5, range(0, 46, 15))],
)
async def test_nodes_that_hang_stretch_the_period_to_their_time_out_in_whole_ticks_and_not_further(
    length: int, hanging: int, ticks: range
) -> None:
    clock = loop_clock(at(0))
    begun: list[int] = []

    async def tick(due: datetime) -> bool:
        begun.append(due.second)
        await asyncio.sleep(hanging + 0.05)
        return True

    await follow(plan_run(clock.now(), length), lambda: clock, tick)
    assert begun == list(ticks)


@pytest.mark.looptime
async def test_the_loop_ends_when_no_other_tick_is_wanted() -> None:
    clock = loop_clock(at(16))
    begun: list[int] = []

    async def tick(due: datetime) -> bool:
        begun.append(due.second)
        return len(begun) < 2

    assert await follow(plan_run(clock.now(), 15), lambda: clock, tick) == 0
    assert begun == [15, 30]


@pytest.mark.looptime
async def test_a_run_that_was_frozen_beyond_its_end_does_not_tick_any_more() -> None:
    begun: list[int] = []
    clocks = [loop_clock(at(0)), loop_clock(at(0)), loop_clock(at(200))]

    async def tick(due: datetime) -> bool:
        begun.append(due.second)
        return True

    missed = await follow(plan_run(at(0), 60), lambda: clocks.pop(0) if len(clocks) > 1 else clocks[0], tick)
    assert begun == []
    assert missed == 1


@pytest.mark.looptime
async def test_a_new_reading_of_the_database_clock_moves_the_following_ticks() -> None:
    readings = [loop_clock(at(0))]
    loop = asyncio.get_running_loop()
    begun: list[float] = []
    start = loop.time()

    async def tick(_due: datetime) -> bool:
        begun.append(loop.time() - start)
        # After a reconnect the database turns out to be five seconds ahead.
        readings[0] = DatabaseClock(at(loop.time() - start + 5), loop.time(), loop.time)
        return True

    await follow(plan_run(at(0), 30), lambda: readings[0], tick)
    assert begun == pytest.approx([0, 25], abs=0.01)


@pytest.mark.parametrize(("second", "once", "expected"), [(10, False, 45), (50, False, 10), (10, True, 10)])
def test_a_run_waits_for_its_database_until_its_slot_ends(second: int, once: bool, expected: float) -> None:
    assert patience(at(second), once=once) == expected


@pytest.mark.looptime
async def test_the_clock_goes_on_between_readings() -> None:
    clock = loop_clock(at(1))
    await asyncio.sleep(2.5)
    assert clock.now() == at(3.5)
    assert clock.until(at(11)) == pytest.approx(7.5)
