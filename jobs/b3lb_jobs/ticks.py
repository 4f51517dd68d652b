"""When a run ticks: pure scheduling on the database's clock, without I/O.

A CronJob starts at most one pod a minute, so the pod ticks inside its minute. Tick times are aligned to the minute;
the last one is at :45 at the latest and the run is over by :55, so that the next pod finds the field free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

TICK_SECONDS = (5, 10, 15, 20, 30, 60)
DEFAULT_TICK_SECONDS = 15
LAST_TICK = timedelta(seconds=45)
END_OF_RUN = timedelta(seconds=55)
LATE_RUN = timedelta(seconds=10)
LONGEST_RUN = timedelta(seconds=60)
SINGLE_RUN = timedelta(seconds=50)
DATABASE_SPARE_SECONDS = 1.0
"""So long after the end of a run the database may still answer, e.g. to note that end; then nobody waits for it."""
LATE_TICK = timedelta(seconds=1)
"""A tick that lasted as long as the period (nodes that hang for a time-out of that length) costs no other one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The ticks of one run, ascending; the first is to begin at once.

    ``ends_at`` is the deadline of everything, but for a first tick that does not fit before it: that one may take until
    ``latest_end``.
    """

    ticks: tuple[datetime, ...]
    ends_at: datetime
    latest_end: datetime


def plan_run(started_at: datetime, tick_seconds: int) -> Plan:
    """Return the ticks of a run that fills the rest of its minute.

    The first tick is the current one, whose time has passed already; whether it is done is the heartbeat's to say. A
    run that starts after :45 has exactly one tick, of its own second, and ends 10 s later at the latest.

    Args:
        started_at: The database's time.
        tick_seconds: One of ``TICK_SECONDS``.

    Raises:
        ValueError: ``tick_seconds`` does not divide the minute into allowed ticks.
    """
    if tick_seconds not in TICK_SECONDS:
        raise ValueError(f"the seconds of a tick are one of {', '.join(map(str, TICK_SECONDS))}, not {tick_seconds}")
    minute = started_at.replace(second=0, microsecond=0)
    if started_at > minute + LAST_TICK:
        return Plan((started_at.replace(microsecond=0),), started_at + LATE_RUN, started_at + LONGEST_RUN)
    current = started_at.second - started_at.second % tick_seconds
    last = int(LAST_TICK.total_seconds())
    ticks = tuple(minute + timedelta(seconds=second) for second in range(current, last + 1, tick_seconds))
    return Plan(ticks, minute + END_OF_RUN, started_at + LONGEST_RUN)


def plan_single(started_at: datetime, longest: timedelta = SINGLE_RUN) -> Plan:
    """Return the one tick of a run that is not bound to a minute, by hand or of a task that does not tick.

    It is of this very moment: one of its second may be done already, by a run that ticks at whole seconds.

    Args:
        started_at: The database's time.
        longest: How long the run may take.
    """
    return Plan((started_at,), started_at + longest, started_at + max(longest, LONGEST_RUN))


def end_of_tick(plan: Plan, at: datetime, *, now: datetime, least: float, most: float) -> datetime | None:
    """Return when the tick due at ``at`` has to be over, None if it is to be left out.

    A tick that does not fit before the run's end would cut polls off that then never count. If the first one does not
    fit, no later one will: it is the run's only tick, and the run's end gives way.

    Args:
        plan: The run's plan.
        at: The tick.
        now: The database's time.
        least: Seconds that the tick must have, writing included.
        most: Seconds that it takes at worst.
    """
    if now + timedelta(seconds=least) <= plan.ends_at:
        return plan.ends_at
    if at not in plan.ticks[:1] or now + timedelta(seconds=least) > plan.latest_end:
        return None
    return min(now + timedelta(seconds=most), plan.latest_end)


def next_tick(ticks: Sequence[datetime], last: datetime | None, now: datetime) -> datetime | None:
    """Return the tick to wait for, or None at the end.

    A tick whose time passed while an earlier one was still at work begins at once if that was less than a second ago,
    and is left out otherwise: ticks are skipped, never stacked.

    Args:
        ticks: The plan's ticks.
        last: The tick that was begun last, or None before the first.
        now: The database's time.
    """
    if last is None:
        return ticks[0] if ticks else None
    return next((tick for tick in ticks if tick > last and tick > now - LATE_TICK), None)
