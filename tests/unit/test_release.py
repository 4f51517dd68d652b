"""Which runs are released: never too many, the important ones first, nobody last for ever."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.release import (
    LEVEL,
    Rate,
    Release,
    ReleasePolicy,
    RetryPolicy,
    WaitingRun,
    parse_rate,
    release,
    retry_after,
    scaled,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)

priorities = st.integers(0, 9)
tenants = st.sampled_from([None, "a", "b", "c"])
ages = st.integers(0, 20 * 3600)


def run(number: int, *, age: int = 0, priority: int = 5, tenant: str | None = None, pause: int = 0) -> WaitingRun:
    return WaitingRun(
        id=UUID(int=number),
        enqueued_at=NOW - timedelta(seconds=age),
        priority=priority,
        tenant=tenant,
        not_before=NOW + timedelta(seconds=pause) if pause else None,
    )


@st.composite
def queues(draw: st.DrawFn) -> list[WaitingRun]:
    size = draw(st.integers(0, 12))
    return [
        run(
            number, age=draw(ages), priority=draw(priorities), tenant=draw(tenants), pause=draw(st.sampled_from([0, 7]))
        )
        for number in range(size)
    ]


policies = st.builds(
    ReleasePolicy,
    concurrency=st.integers(1, 6),
    rate=st.one_of(st.none(), st.builds(Rate, st.integers(1, 300), st.sampled_from([1, 60, 3600]))),
)


def decide(waiting: list[WaitingRun], running: list[str | None], policy: ReleasePolicy) -> Release:
    return release(waiting, running, policy, spent_until=None, now=NOW)


@given(queues(), st.lists(tenants, max_size=8), policies)
def test_there_are_never_more_at_work_than_the_concurrency(
    waiting: list[WaitingRun], running: list[str | None], policy: ReleasePolicy
) -> None:
    chosen = decide(waiting, running, policy).runs
    assert len(running) + len(chosen) <= max(policy.concurrency, len(running))
    assert len(set(chosen)) == len(chosen)


@given(queues(), st.lists(tenants, max_size=8), policies, st.randoms())
def test_the_order_in_which_runs_are_told_changes_nothing(
    waiting: list[WaitingRun], running: list[str | None], policy: ReleasePolicy, random: object
) -> None:
    shuffled = list(waiting)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert decide(waiting, running, policy) == decide(shuffled, running, policy)


@given(queues(), st.integers(1, 12))
def test_a_run_waits_only_behind_more_important_or_older_ones(waiting: list[WaitingRun], concurrency: int) -> None:
    """Within a tenant: of two runs that may begin, the one with more priority that was not enqueued later is first."""
    chosen = decide(waiting, [], ReleasePolicy(concurrency=concurrency)).runs
    order = {identifier: number for number, identifier in enumerate(chosen)}
    due = [item for item in waiting if item.not_before is None]
    for one in due:
        for other in due:
            if one.tenant != other.tenant or other.id not in order or one.id == other.id:
                continue
            older = (one.enqueued_at, one.id) < (other.enqueued_at, other.id)
            if one.priority >= other.priority and older:
                assert order.get(one.id, len(order)) < order[other.id]


@given(st.lists(st.tuples(priorities, st.integers(0, 3599)), min_size=2, max_size=9))
def test_within_an_hour_priority_alone_decides_and_then_age(entries: list[tuple[int, int]]) -> None:
    waiting = [run(number, age=age, priority=priority) for number, (priority, age) in enumerate(entries)]
    chosen = decide(waiting, [], ReleasePolicy(concurrency=99)).runs
    expected = sorted(waiting, key=lambda item: (-item.priority, item.enqueued_at, item.id))
    assert chosen == tuple(item.id for item in expected)


@given(st.integers(0, 5000), st.integers(1, 1000), st.integers(0, 999))
def test_a_queue_that_scales_itself_stays_within_its_limits_and_grows_with_its_runs(
    demand: int, least: int, spread: int
) -> None:
    places = scaled(demand, least=least, most=least + spread)
    assert least <= places <= least + spread
    assert places == demand or places in {least, least + spread}
    assert scaled(demand + 1, least=least, most=least + spread) - places in {0, 1}


def test_three_to_ten_places_as_the_autoscaler_of_three_to_ten_processes_has_them() -> None:
    assert [scaled(demand, least=3, most=10) for demand in (0, 3, 4, 10, 50)] == [3, 3, 4, 10, 10]


def test_of_five_that_wait_the_last_one_with_priority_nine_is_next() -> None:
    waiting = [run(number, age=60 - number) for number in range(4)]
    last = run(4, priority=9)
    assert decide([*waiting, last], [], ReleasePolicy(concurrency=1)).runs == (last.id,)


@given(priorities)
def test_nobody_starves_behind_an_endless_stream_of_the_highest_priority(priority: int) -> None:
    """A run is released at the latest when it has waited an hour for each level that it lacks, and one more."""
    patient = run(0, age=0, priority=priority, tenant="a")
    limit = (9 - priority + 1) * LEVEL
    now = NOW + limit
    stream = [WaitingRun(id=UUID(int=n), enqueued_at=now - n * SECOND, priority=9, tenant="b") for n in range(1, 50)]
    policy = ReleasePolicy(concurrency=2)
    assert release([*stream, patient], ["a"], policy, spent_until=None, now=now).runs == (patient.id,)


def test_tenants_of_one_priority_take_turns_and_who_has_less_at_work_is_first() -> None:
    waiting = [run(number, age=100 - number, tenant="a") for number in range(5)]
    waiting += [run(10, tenant="b"), run(11, tenant="c")]
    chosen = decide(waiting, ["a", "b"], ReleasePolicy(concurrency=5)).runs
    assert [identifier.int for identifier in chosen] == [11, 0, 10]


@given(st.integers(1, 40), st.sampled_from([1, 60, 3600]), st.lists(st.integers(0, 5_000_000), max_size=25))
def test_a_rate_is_never_exceeded_in_any_window(count: int, seconds: int, steps: list[int]) -> None:
    rate = Rate(count, seconds)
    policy = ReleasePolicy(concurrency=1000, rate=rate)
    now, spent, moments = NOW, None, list[datetime]()
    for step in steps:
        now += timedelta(microseconds=step)
        waiting = [WaitingRun(id=UUID(int=number), enqueued_at=NOW) for number in range(45)]
        decision = release(waiting, [], policy, spent_until=spent, now=now)
        spent = decision.spent_until
        moments += [now] * len(decision.runs)
    window = timedelta(seconds=seconds)
    for begin in set(moments):
        inside = sum(begin <= moment < begin + window for moment in moments)
        assert inside <= count + rate.burst - 1


def test_ten_a_minute_are_one_every_six_seconds() -> None:
    policy = ReleasePolicy(concurrency=100, rate=parse_rate("10/m"))
    waiting = [run(number, age=100 - number) for number in range(30)]
    first = release(waiting, [], policy, spent_until=None, now=NOW)
    assert (first.runs, first.look_again_at) == ((UUID(int=0),), NOW + 6 * SECOND)
    early = release(waiting, [], policy, spent_until=first.spent_until, now=NOW + 5 * SECOND)
    assert (early.runs, early.look_again_at) == ((), NOW + 6 * SECOND)
    second = release(waiting, [], policy, spent_until=first.spent_until, now=NOW + 6 * SECOND)
    assert len(second.runs) == 1


def test_a_clock_that_was_set_back_delays_a_queue_by_one_interval_at_most() -> None:
    policy = ReleasePolicy(rate=parse_rate("10/m"))
    decision = release([run(1)], [], policy, spent_until=NOW + timedelta(days=1), now=NOW)
    assert decision.look_again_at == NOW + 6 * SECOND


def test_a_delayed_run_is_looked_at_when_its_time_has_come_and_not_while_there_is_no_room() -> None:
    policy = ReleasePolicy(concurrency=1)
    assert decide([run(1, pause=7)], [], policy) == Release((), None, NOW + 7 * SECOND)
    assert decide([run(1, pause=7)], [None], policy) == Release()


@given(queues(), policies)
def test_who_looks_again_in_time_releases_everything_in_the_end(
    waiting: list[WaitingRun], policy: ReleasePolicy
) -> None:
    """With runs that end at once, looking only when told to leaves nobody behind."""
    left, now, spent = list(waiting), NOW, None
    for _ in range(100):
        decision = release(left, [], policy, spent_until=spent, now=now)
        spent = decision.spent_until
        left = [item for item in left if item.id not in decision.runs]
        if not left:
            return
        assert decision.runs or decision.look_again_at is not None
        now = max(now, decision.look_again_at or now)
    raise AssertionError(f"{len(left)} runs were left")


@pytest.mark.parametrize(
    "text", ["", "10", "10/d", "0/m", "-1/m", "10/", "/m", "1.5/m", "10/m ", "\u0661/m", "100000/s"]
)
def test_a_malformed_rate_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="5/s, 10/m, 100/h"):
        parse_rate(text)


def test_pauses_double_up_to_the_maximum_and_end_after_the_last_retry() -> None:
    policy = RetryPolicy(max_retries=5, backoff_seconds=10, maximum_seconds=60)
    assert [retry_after(attempt, policy) for attempt in range(1, 7)] == [10, 20, 40, 60, 60, None]
    assert retry_after(1, RetryPolicy(max_retries=0)) is None


def test_a_countdown_goes_before_the_back_off_but_not_before_the_last_retry() -> None:
    assert retry_after(1, RetryPolicy(), countdown=60, chance=0.1) == 60
    assert retry_after(1, RetryPolicy(), countdown=-5) == 0
    assert retry_after(4, RetryPolicy(), countdown=60) is None


@given(st.integers(1, 10_000), st.floats(0, 1), st.integers(1, 3600), st.integers(1, 86_400))
def test_no_pause_is_longer_than_the_maximum(attempt: int, chance: float, backoff: int, maximum: int) -> None:
    policy = RetryPolicy(max_retries=10_000, backoff_seconds=backoff, maximum_seconds=maximum)
    pause = retry_after(attempt, policy, chance=chance)
    assert pause is not None
    assert 0 <= pause <= maximum


@given(st.randoms(use_true_random=False))
def test_twenty_runs_that_fail_together_come_back_over_at_least_five_seconds(random: object) -> None:
    pauses = [retry_after(1, RetryPolicy(), chance=(number + random.random()) / 20) for number in range(20)]  # type: ignore[attr-defined]  # a random.Random
    known = [pause for pause in pauses if pause is not None]
    assert max(known) - min(known) >= 5


def chunked(number: int, pods: int, *, age: int = 0) -> WaitingRun:
    return replace(run(number, age=age), pods=pods)


def test_a_run_with_chunks_takes_as_many_pods_as_it_can_have_and_is_not_overtaken_while_it_waits_for_them() -> None:
    policy = ReleasePolicy(concurrency=4)
    first, small = chunked(1, 10, age=9), run(2)
    assert decide([first, small], [None], policy) == Release()
    assert decide([first, small], [], policy).runs == (first.id,)
    assert decide([chunked(1, 2, age=9), small, run(3), run(4)], [], policy).runs == tuple(map(id_of, (1, 2, 3)))


def id_of(number: int) -> UUID:
    return UUID(int=number)


def test_runs_are_released_in_batches_as_far_as_there_are_pods() -> None:
    waiting = [run(number, age=100 - number) for number in range(1, 8)]
    policy = ReleasePolicy(concurrency=2, batch_size=3)
    expected = ((1, 2, 3), (4, 5, 6))
    assert decide(waiting, [], policy).batches == tuple(tuple(map(id_of, batch)) for batch in expected)
    assert decide(waiting, [None], policy).batches == (tuple(map(id_of, (1, 2, 3))),)
    assert decide(waiting, [None, None], policy).batches == ()


@given(queues(), st.lists(tenants, max_size=8), policies, st.integers(1, 5))
def test_batches_hold_each_released_run_once_and_need_no_more_pods_than_there_are(
    waiting: list[WaitingRun], running: list[str | None], policy: ReleasePolicy, size: int
) -> None:
    decision = decide(waiting, running, replace(policy, batch_size=size))
    assert [run_id for batch in decision.batches for run_id in batch] == list(decision.runs)
    assert all(1 <= len(batch) <= size for batch in decision.batches)
    assert len(decision.batches) <= max(0, policy.concurrency - len(running))


def busy_seconds(seconds: Sequence[int], *, batch_size: int) -> tuple[list[int], int]:
    """Let two pods at a time work on runs of so many seconds, a second after the other; return how long each of the
    two places was busy, and how many pods there were.
    """
    waiting = {id_of(number): run(number, age=1000 - number) for number in range(len(seconds))}
    free_at, busy, pods = [0, 0], [0, 0], 0
    policy = ReleasePolicy(concurrency=2, batch_size=batch_size)
    for now in range(sum(seconds)):
        places = [place for place in (0, 1) if free_at[place] <= now]
        decision = decide(list(waiting.values()), [None] * (2 - len(places)), policy)
        for place, batch in zip(places, decision.batches, strict=False):
            work = sum(seconds[run_id.int] for run_id in batch)
            free_at[place], busy[place], pods = now + work, busy[place] + work, pods + 1
            for run_id in batch:
                del waiting[run_id]
    assert not waiting
    return busy, pods


def test_of_uneven_runs_batches_of_one_are_spread_more_evenly_and_batches_of_ten_need_fewer_pods() -> None:
    seconds = [9, 8, 9, 7, 8, 9, 6, 7, 8, 9, *[1, 2] * 5]
    single, batched = (busy_seconds(seconds, batch_size=size) for size in (1, 10))
    evenness = [max(busy) * len(busy) / sum(busy) for busy, _ in (single, batched)]
    assert evenness[0] < 1.1
    assert evenness[1] > 1.5
    assert (single[1], batched[1]) == (20, 2)
