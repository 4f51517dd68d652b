"""When a schedule is due: the five fields of cron as Kubernetes reads them, in a time zone; pure.

The grammar is that of https://pkg.go.dev/github.com/robfig/cron/v3#hdr-CRON_Expression_Format: a day is due when both
day fields match, or either if neither of them begins with ``*`` or ``?``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

LONGEST_LOOK_DAYS = 366 * 8
"""A schedule of 29 February may be due only every eight years."""

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_GAPS = 3


@dataclass(frozen=True, slots=True)
class Schedule:
    """The minutes, hours, days, months and weekdays (0 is Sunday) of a schedule, in its time zone."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    zone: tzinfo

    def before(self, moment: datetime) -> Iterator[datetime]:
        """Yield the slots that are due at or before ``moment``, from the latest on, UTC."""
        today = moment.astimezone(self.zone).date()
        for back in range(LONGEST_LOOK_DAYS):
            day = today - timedelta(days=back)
            if self._is_due(day):
                yield from (slot for slot in self._slots(day) if slot <= moment)

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the slots that are due after ``moment``, from the next on, UTC."""
        today = moment.astimezone(self.zone).date()
        for ahead in range(LONGEST_LOOK_DAYS):
            day = today + timedelta(days=ahead)
            if self._is_due(day):
                yield from (slot for slot in reversed(list(self._slots(day))) if slot > moment)

    def period(self, moment: datetime) -> timedelta | None:
        """Return the longest time between slots around ``moment``, None for a schedule that is never due."""
        slots = list(islice(self.before(moment), _GAPS + 1))
        return max((later - earlier for later, earlier in pairwise(slots)), default=None)

    def _is_due(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        matches = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return any(matches) if self.either_day else all(matches)

    def _slots(self, day: date) -> Iterator[datetime]:
        """Yield the slots of a local day, latest first; local times that the clock skips are none."""
        for hour in reversed(self.hours):
            for minute in reversed(self.minutes):
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
                slot = local.astimezone(UTC)
                if slot.astimezone(self.zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                    yield slot


@lru_cache(maxsize=256)
def parse_schedule(text: str, time_zone: str | None = None) -> Schedule:
    """Return the schedule that ``text`` says, in ``time_zone`` (IANA, default UTC).

    Raises:
        ValueError: It is no schedule, or there is no such time zone.
    """
    fields = _MACROS.get(text, text).split()
    if len(fields) != len(_RANGES):
        raise ValueError(f"a schedule has five fields, not {len(fields)}")
    minutes, hours, days, months, weekdays = (
        _field(field, *limits) for field, limits in zip(fields, _RANGES, strict=True)
    )
    try:
        zone = ZoneInfo(time_zone) if time_zone else UTC
    except (KeyError, OSError) as error:
        raise ValueError(f"there is no time zone {time_zone!r}") from error
    return Schedule(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(weekdays),
        either_day=not any(field.startswith(("*", "?")) for field in (fields[2], fields[4])),
        zone=zone,
    )


_RANGES: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    (0, 6, _WEEKDAYS),
)


def _field(text: str, least: int, most: int, names: tuple[str, ...]) -> set[int]:
    """Return the numbers that a field means: a list of ``*``, numbers and ranges, each of which may have a step."""
    found: set[int] = set()
    for entry in text.split(","):
        span, _, step = entry.partition("/")
        if span in {"*", "?"}:
            first, last = least, most
        else:
            begin, _, end = span.partition("-")
            first = _number(begin, least, names)
            last = _number(end, least, names) if end else (most if step else first)
        if not least <= first <= last <= most or (step and int(step) < 1):
            raise ValueError(f"{entry!r} is not within {least}-{most}")
        found.update(range(first, last + 1, int(step) if step else 1))
    return found


def _number(text: str, least: int, names: tuple[str, ...]) -> int:
    lowered = text.lower()
    return names.index(lowered) + least if lowered in names else int(text)
