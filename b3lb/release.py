"""Which enqueued runs of a queue are to begin now, and after which pause a failed one is tried again: pure functions.

The order is that of priority, then of fair shares between tenants, then of age. Waiting counts: each hour is worth a
level of priority, so that nobody waits for ever behind a stream of more important runs. A rate is spent by the generic
cell rate algorithm (https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm), a token bucket whose whole state is one
point in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

LEAST_PRIORITY, GREATEST_PRIORITY, DEFAULT_PRIORITY = 0, 9, 5
LEVEL = timedelta(hours=1)
"""So long a run waits to be as important as one of the next higher priority."""

HELD_UNTIL = datetime(9000, 1, 1, tzinfo=UTC)
"""A run that is held begins then, which is never."""

_UNITS = {"s": 1, "m": 60, "h": 3600}


def is_held(not_before: datetime | None) -> bool:
    """Whether a run that is not to begin before a moment is not to begin at all until somebody frees it."""
    return not_before is not None and not_before >= HELD_UNTIL


@dataclass(frozen=True, slots=True)
class Rate:
    """So many releases in so many seconds, evenly spread; only of several a second those of a second come at once."""

    count: int
    seconds: int

    @property
    def interval(self) -> timedelta:
        """The time between two releases, rounded up: the rate is never exceeded."""
        whole, rest = divmod(self.seconds * 1_000_000, self.count)
        return timedelta(microseconds=whole + bool(rest))

    @property
    def burst(self) -> int:
        """How many may be released at once after a pause."""
        return max(1, self.count // self.seconds)


def scaled(demand: int, *, least: int, most: int) -> int:
    """Return how many pods a queue that scales itself may have at once: one for each run, within its limits.

    Args:
        demand: Runs that wait or are at work; with those that wait alone, the last places would stay empty.
        least: So many it may have in any case.
        most: Never more.
    """
    return max(least, min(demand, most))


def parse_rate(text: str) -> Rate:
    """Return the rate that is written as ``10/m``: a count per second (s), minute (m) or hour (h).

    Raises:
        ValueError: It is not written like that.
    """
    count, _, unit = text.partition("/")
    if unit not in _UNITS or not count.isdecimal() or not count.isascii() or not 1 <= int(count[:6]) < 10**5:
        raise ValueError("a rate is written as a count per second, minute or hour: 5/s, 10/m, 100/h")
    return Rate(int(count), _UNITS[unit])


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The enqueued runs of a queue that are not over: those that wait for a Job, and those that have one.

    ``further`` is the number of pods beyond one for each that runs with chunks could have.
    """

    waiting: int = 0
    in_flight: int = 0
    further: int = 0

    @property
    def demand(self) -> int:
        """How many pods would leave none waiting."""
        return self.waiting + self.in_flight + self.further


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRun:
    """A run that waits; before ``not_before`` it is not looked at. A run without a tenant shares with its like.

    ``pods`` is the number of pods that can work on it side by side.
    """

    id: UUID
    enqueued_at: datetime
    priority: int = DEFAULT_PRIORITY
    tenant: str | None = None
    not_before: datetime | None = None
    pods: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePolicy:
    """What a queue allows: pods at the same time, releases in a time (None: any number), and runs of one pod."""

    concurrency: int = 1
    rate: Rate | None = None
    batch_size: int = 1


@dataclass(frozen=True, slots=True)
class Release:
    """The runs to release now, in order, and which of them share a pod: ``batches`` are the same runs.

    ``spent_until`` is the rate's state afterwards, None without a rate. ``look_again_at`` is when another run may be
    released if nothing else happens, None if only an event can make that possible.
    """

    runs: tuple[UUID, ...] = ()
    spent_until: datetime | None = None
    look_again_at: datetime | None = None
    batches: tuple[tuple[UUID, ...], ...] = ()


def pods_of(pods: int, policy: ReleasePolicy) -> int:
    """Return how many pods work side by side on a run that could have ``pods``."""
    return max(1, min(pods, policy.concurrency))


def release(
    waiting: Iterable[WaitingRun],
    running: Iterable[str | None],
    policy: ReleasePolicy,
    *,
    spent_until: datetime | None,
    now: datetime,
) -> Release:
    """Return which runs of one queue to release.

    Args:
        waiting: All that wait, in any order.
        running: For each pod at work the tenant whose run it works on.
        policy: What the queue allows.
        spent_until: The rate's state after the last release, None before the first.
        now: The present time.
    """
    everyone = list(waiting)
    due = [run for run in everyone if run.not_before is None or run.not_before <= now]
    later = [run.not_before for run in everyone if run.not_before is not None and run.not_before > now]
    shares = Counter(running)
    room = max(0, policy.concurrency - shares.total())
    tokens = _Tokens(policy.rate, spent_until, now)
    batches: list[list[UUID]] = []
    batch: list[UUID] = []
    waits_for_pods = False
    while due:
        best = min(due, key=lambda run: _rank(run, shares[run.tenant], now))
        pods = pods_of(best.pods, policy)
        joins = best.pods == 1 and 0 < len(batch) < policy.batch_size
        # What comes next is not overtaken by what needs fewer pods: else it would wait for ever.
        waits_for_pods = not joins and pods > room
        if waits_for_pods or not tokens.take():
            break
        due.remove(best)
        if joins:
            batch.append(best.id)
            continue
        shares[best.tenant] += pods
        room -= pods
        batches.append([best.id])
        batch = batches[-1] if best.pods == 1 else batch
    look_again = None
    if room and not waits_for_pods:
        moments = [*later, *([tokens.next_at] if due else [])]
        look_again = min((moment for moment in moments if moment is not None), default=None)
    chosen = tuple(run for runs in batches for run in runs)
    return Release(chosen, tokens.spent_until, look_again, tuple(map(tuple, batches)))


def _rank(run: WaitingRun, share: int, now: datetime) -> tuple[int, int, datetime, UUID]:
    """Return what sorts runs from the first to be released on."""
    level = run.priority + max(timedelta(), now - run.enqueued_at) // LEVEL
    return -level, share, run.enqueued_at, run.id


@dataclass(slots=True)
class _Tokens:
    """The token bucket of a rate; without one there are always tokens."""

    rate: Rate | None
    spent_until: datetime | None
    now: datetime
    next_at: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.rate is None:
            self.spent_until = None
        elif self.spent_until is not None:
            # A clock that was set back must not stop the queue: a full bucket's time is the longest pause.
            self.spent_until = min(self.spent_until, self.now + self.rate.interval * self.rate.burst)

    def take(self) -> bool:
        """Take a token, or note when there will be one."""
        if self.rate is None:
            return True
        spent = self.now if self.spent_until is None else max(self.spent_until, self.now)
        ready_at = spent - self.rate.interval * (self.rate.burst - 1)
        if ready_at > self.now:
            self.next_at = ready_at
            return False
        self.spent_until = spent + self.rate.interval
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a run is tried again, and after which pauses, in seconds."""

    max_retries: int = 3
    backoff_seconds: int = 10
    maximum_seconds: int = 600


def retry_after(
    attempt: int, policy: RetryPolicy, *, countdown: float | None = None, chance: float = 1.0
) -> float | None:
    """Return the seconds until a run that failed for a passing reason is tried again, None if it is not.

    The pause doubles with each attempt and is spread over its whole length, so that what failed together does not come
    back together ("full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Args:
        attempt: The attempt that failed, from 1 on.
        policy: The queue's.
        countdown: A pause that the task asked for; it is kept as it is, up to a day.
        chance: A random number from 0 to 1.
    """
    if attempt > policy.max_retries:
        return None
    if countdown is not None:
        return min(max(0.0, countdown), 86_400.0)
    # The exponent is bounded, for so is every pause.
    return min(float(policy.maximum_seconds), policy.backoff_seconds * 2.0 ** min(attempt - 1, 30)) * chance
