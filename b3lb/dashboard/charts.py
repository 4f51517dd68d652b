"""Geometry of the charts: numbers in, coordinates of an SVG out; the templates only draw them.

What succeeded goes up from the axis and what failed goes down, so that no chart is read by its colours alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from b3lb.dashboard.formats import share, span, whole

HOURS = 24
WIDTH = 288
BAR_HEIGHT = 64
LINE_HEIGHT = 32
_STEP = WIDTH // HOURS
_BAR = _STEP - 2
_LEAST = 2.0
_MARGIN = 3.0


@dataclass(frozen=True, slots=True)
class Hour:
    """What ended within an hour; None where it is not known."""

    start: datetime | None
    succeeded: int | None = None
    failed: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """An hour of a bar chart, in the SVG's units; a height of 0 is not drawn."""

    x: int
    top: float
    succeeded: float
    failed: float
    title: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars of succeeded (up) and failed (down) runs, and the same in words."""

    bars: tuple[Bar, ...]
    axis: float
    words: str
    width: int = WIDTH
    height: int = BAR_HEIGHT
    bar_width: int = _BAR


@dataclass(frozen=True, slots=True)
class LineChart:
    """Durations over the hours: lines of consecutive known hours, a dot for each hour, and the same in words."""

    lines: tuple[str, ...]
    dots: tuple[tuple[float, float, str], ...]
    words: str
    width: int = WIDTH
    height: int = LINE_HEIGHT


def bar_chart(hours: Sequence[Hour]) -> BarChart:
    """Return the bars of the last `HOURS` hours; both directions have the same scale."""
    shown = list(hours)[-HOURS:]
    up = max((hour.succeeded or 0 for hour in shown), default=0)
    down = max((hour.failed or 0 for hour in shown), default=0)
    room = BAR_HEIGHT - 1
    scale = room / (up + down) if up + down else 0.0
    axis = _axis(up, down, scale)
    bars = []
    for index, hour in enumerate(shown, start=HOURS - len(shown)):
        succeeded = _height(hour.succeeded, scale, axis)
        failed = _height(hour.failed, scale, room - axis)
        bars.append(Bar(index * _STEP + 1, round(axis - succeeded, 1), succeeded, failed, _title(hour)))
    return BarChart(tuple(bars), axis, _words(shown))


def line_chart(hours: Sequence[Hour]) -> LineChart:
    """Return the line of the durations of the last `HOURS` hours, from 0 at the bottom; an unknown hour is a gap."""
    shown = list(hours)[-HOURS:]
    known = [hour.seconds for hour in shown if hour.seconds is not None and hour.seconds >= 0]
    most = max(known, default=0.0)
    runs: list[list[str]] = [[]]
    dots = []
    for index, hour in enumerate(shown, start=HOURS - len(shown)):
        if hour.seconds is None or hour.seconds < 0:
            runs.append([])
            continue
        x = index * _STEP + _STEP / 2
        part = hour.seconds / most if most else 0.0
        y = round(LINE_HEIGHT - _MARGIN - part * (LINE_HEIGHT - 2 * _MARGIN), 1)
        runs[-1].append(f"{x:g},{y:g}")
        dots.append((x, y, f"{_clock(hour.start)}: {span(hour.seconds)}"))
    lines = tuple(" ".join(points) for points in runs if len(points) > 1)
    words = f"between {span(min(known))} and {span(most)}" if known else "no durations known"
    return LineChart(lines, tuple(dots), words)


def merged(histories: Sequence[Sequence[Hour]]) -> list[Hour]:
    """Return the sums of several tasks' hours, hour by hour from the end; durations are not added up."""
    length = max((len(hours) for hours in histories), default=0)
    added = []
    for back in range(length, 0, -1):
        there = [hours[-back] for hours in histories if len(hours) >= back]
        start = next((hour.start for hour in there if hour.start is not None), None)
        succeeded = [hour.succeeded for hour in there if hour.succeeded is not None]
        failed = [hour.failed for hour in there if hour.failed is not None]
        added.append(Hour(start, sum(succeeded) if succeeded else None, sum(failed) if failed else None))
    return added


def fill(value: float | None, most: float | None) -> float:
    """Return which share of a bar is filled, 0 to 1."""
    if value is None or not most or most <= 0 or not math.isfinite(value / most):
        return 0.0
    return min(max(value / most, 0.0), 1.0)


def _axis(up: int, down: int, scale: float) -> float:
    """Return where the axis is; a direction that has anything has room for the least height."""
    axis = up * scale if up + down else float(BAR_HEIGHT - 1)
    lowest = BAR_HEIGHT - 1 - (_LEAST if down else 0.0)
    return round(min(max(axis, _LEAST if up else 0.0), lowest), 1)


def _height(value: int | None, scale: float, room: float) -> float:
    return round(min(max(value * scale, _LEAST), room), 1) if value else 0.0


def _clock(start: datetime | None) -> str:
    return "some hour" if start is None else f"{start.astimezone(UTC):%H:%M} UTC"


def _title(hour: Hour) -> str:
    return f"{_clock(hour.start)}: {whole(hour.succeeded)} succeeded, {whole(hour.failed)} failed"


def _words(hours: Sequence[Hour]) -> str:
    succeeded = sum(hour.succeeded or 0 for hour in hours)
    failed = sum(hour.failed or 0 for hour in hours)
    if not succeeded + failed:
        return "nothing ran in the last 24 hours"
    text = f"{whole(succeeded)} succeeded, {whole(failed)} failed in the last 24 hours"
    return text + (f" ({share(succeeded, failed)} succeeded)" if failed else "")
