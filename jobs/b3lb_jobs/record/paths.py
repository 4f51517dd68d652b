"""Paths: the ones of SVG files read, and simple figures made.

Source: https://www.w3.org/TR/SVG11/paths.html; its appendix F.6 for arcs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from b3lb_jobs.record.drawings import Command
from b3lb_jobs.record.values import number

_TOKEN = re.compile(r"\s*,?\s*(?:([A-Za-z])|([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?))", re.ASCII)
_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "Q": 4, "C": 6, "A": 7, "Z": 0}
MAXIMUM_STEPS = 50_000
_LONGEST = 4 * 2**20
# The length of a cubic curve's handles for a quarter of a circle of radius 1.
KAPPA = 4 / 3 * (math.sqrt(2) - 1)


class PathError(ValueError):
    """A path that is not one."""


def parse_path(text: str) -> tuple[Command, ...]:
    """Return a path of absolute commands, quadratic curves and arcs made cubic ones.

    Raises:
        PathError: relative or unknown commands, missing or too large numbers, more than 50 000 steps.
    """
    if len(text) > _LONGEST:
        raise PathError("too long")
    path: list[Command] = []
    point = (0.0, 0.0)
    for name, values in _commands(text):
        if not path and name != "M":
            raise PathError("it does not begin with M")
        for command in _absolute(name, values, point):
            path.append(command)
            point = command.points[-2:] if command.points else point  # type: ignore[assignment] # always a pair
        if len(path) > MAXIMUM_STEPS:
            raise PathError("too many steps")
    return tuple(path)


def _commands(text: str) -> Iterator[tuple[str, tuple[float, ...]]]:
    name, position = "", 0
    values: list[float] = []
    text = text.rstrip()
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise PathError("unknown characters")
        position = token.end()
        letter, digits = token.groups()
        if letter:
            if values or letter not in _ARGUMENTS:
                raise PathError(f"unknown command or missing numbers at {letter}")
            name = letter
            if letter == "Z":
                yield "Z", ()
            continue
        value = number(digits)
        if value is None or not _ARGUMENTS.get(name):
            raise PathError("a number out of place")
        values.append(value)
        if len(values) == _ARGUMENTS[name]:
            yield name, tuple(values)
            values = []
            # More pairs after a move are lines.
            name = "L" if name == "M" else name
    if values:
        raise PathError("missing numbers")


def _absolute(name: str, values: tuple[float, ...], point: tuple[float, float]) -> list[Command]:
    x, y = point
    match name:
        case "H":
            return [Command("L", (values[0], y))]
        case "V":
            return [Command("L", (x, values[0]))]
        case "Q":
            a, b, c, d = values
            handles = (x + (a - x) * 2 / 3, y + (b - y) * 2 / 3, c + (a - c) * 2 / 3, d + (b - d) * 2 / 3)
            return [Command("C", (*handles, c, d))]
        case "A":
            return _arc(point, values)
        case _:
            return [Command(name, values)]


def _arc(start: tuple[float, float], values: tuple[float, ...]) -> list[Command]:
    """Return an elliptical arc as cubic curves of at most a quarter each."""
    rx, ry, turn, large, sweep, end_x, end_y = values
    rx, ry = abs(rx), abs(ry)
    if start == (end_x, end_y):
        return []
    if not rx or not ry:
        return [Command("L", (end_x, end_y))]
    phi = math.radians(turn % 360)
    sine, cosine = math.sin(phi), math.cos(phi)
    half_x, half_y = (start[0] - end_x) / 2, (start[1] - end_y) / 2
    x1, y1 = cosine * half_x + sine * half_y, cosine * half_y - sine * half_x
    too_small = (x1 / rx) ** 2 + (y1 / ry) ** 2
    if not math.isfinite(too_small):
        return [Command("L", (end_x, end_y))]
    grown = max(1.0, math.sqrt(too_small))
    rx, ry = rx * grown, ry * grown
    unit = (x1 / rx) ** 2 + (y1 / ry) ** 2
    factor = math.sqrt(max(0.0, 1 / unit - 1)) if unit else 0.0
    factor *= -1 if bool(large) == bool(sweep) else 1
    cx, cy = factor * rx * y1 / ry, -factor * ry * x1 / rx
    begin = math.atan2((y1 - cy) / ry, (x1 - cx) / rx)
    angle = math.atan2((-y1 - cy) / ry, (-x1 - cx) / rx) - begin
    if sweep and angle < 0:
        angle += math.tau
    elif not sweep and angle > 0:
        angle -= math.tau
    middle_x = cosine * cx - sine * cy + (start[0] + end_x) / 2
    middle_y = sine * cx + cosine * cy + (start[1] + end_y) / 2

    def on_page(x: float, y: float) -> tuple[float, float]:
        return middle_x + cosine * rx * x - sine * ry * y, middle_y + sine * rx * x + cosine * ry * y

    return [
        Command("C", tuple(value for x, y in pieces for value in on_page(x, y))) for pieces in _unit_arc(begin, angle)
    ]


def _unit_arc(begin: float, angle: float) -> Iterator[tuple[tuple[float, float], ...]]:
    count = max(1, math.ceil(abs(angle) / (math.pi / 2) - 1e-9))
    step = angle / count
    handle = 4 / 3 * math.tan(step / 4)
    for index in range(count):
        a, b = begin + index * step, begin + (index + 1) * step
        yield (
            (math.cos(a) - handle * math.sin(a), math.sin(a) + handle * math.cos(a)),
            (math.cos(b) + handle * math.sin(b), math.sin(b) - handle * math.cos(b)),
            (math.cos(b), math.sin(b)),
        )


def polygon(points: Sequence[tuple[float, float]], *, closed: bool = True) -> tuple[Command, ...]:
    """Return straight lines from point to point; a single point is a dot."""
    if not points:
        return ()
    steps = [Command("M", points[0]), *(Command("L", point) for point in points[1:] or points[:1])]
    return (*steps, Command("Z")) if closed else tuple(steps)


def ellipse(x: float, y: float, rx: float, ry: float) -> tuple[Command, ...]:
    """Return the ellipse around a middle."""
    kx, ky = rx * KAPPA, ry * KAPPA
    return (
        Command("M", (x + rx, y)),
        Command("C", (x + rx, y + ky, x + kx, y + ry, x, y + ry)),
        Command("C", (x - kx, y + ry, x - rx, y + ky, x - rx, y)),
        Command("C", (x - rx, y - ky, x - kx, y - ry, x, y - ry)),
        Command("C", (x + kx, y - ry, x + rx, y - ky, x + rx, y)),
        Command("Z"),
    )


def smooth(points: Sequence[tuple[float, float]]) -> tuple[Command, ...]:
    """Return a curve along points: quadratic pieces from middle to middle, as pencils draw it."""
    if len(points) < 3:  # noqa: PLR2004 - two points are a line
        return polygon(points, closed=False)
    path = [Command("M", points[0])]
    last = points[0]
    for control, following in pairwise(points[1:]):
        middle = ((control[0] + following[0]) / 2, (control[1] + following[1]) / 2)
        path += _absolute("Q", (*control, *middle), last)
        last = middle
    path.append(Command("L", points[-1]))
    return tuple(path)


def arc_through(
    start: tuple[float, float], end: tuple[float, float], bend: float
) -> tuple[tuple[Command, ...], float, float]:
    """Return the arc whose middle lies ``bend`` off the straight line, and its directions at start and end."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    straight = math.atan2(dy, dx)
    if not length or abs(bend) < length / 1000:
        return polygon([start, end], closed=False), straight, straight
    # A positive bend lies below a line from left to right, as tldraw has it.
    radius = (length**2 / 4 + bend**2) / (2 * abs(bend))
    half = 2 * math.atan2(2 * abs(bend), length)
    sweep = bend < 0
    large = abs(bend) > length / 2
    path = (Command("M", start), *_arc(start, (radius, radius, 0.0, float(large), float(sweep), *end)))
    off = half if not sweep else -half
    return path, straight + off, straight - off
