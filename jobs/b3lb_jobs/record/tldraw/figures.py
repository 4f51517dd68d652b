"""Outlines of tldraw's geometric shapes and of arrows' heads, within a box whose upper left corner is 0, 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from b3lb_jobs.record.drawings import Colour, Command, Outline
from b3lb_jobs.record.paths import arc_through, ellipse, polygon
from b3lb_jobs.record.tldraw.fields import Point
from b3lb_jobs.record.values import clamp

_SLANT = 0.38
_SHAFT = 0.16
_CLOUD_BUMPS = 10
_HEAD_ANGLE = math.pi / 6

Path = tuple[Command, ...]


def _regular(sides: int) -> Callable[[float, float], Path]:
    def path(width: float, height: float) -> Path:
        turn = math.tau / sides
        return _fitted([(math.sin(turn * n), -math.cos(turn * n)) for n in range(sides)], width, height)

    return path


def _fitted(points: Sequence[Point], width: float, height: float) -> Path:
    """Return the polygon stretched so that it fills the box."""
    left, top = min(x for x, _ in points), min(y for _, y in points)
    wide, high = max(x for x, _ in points) - left, max(y for _, y in points) - top
    return polygon([((x - left) / wide * width, (y - top) / high * height) for x, y in points])


def rectangle(width: float, height: float) -> Path:
    """The box itself."""
    return polygon([(0, 0), (width, 0), (width, height), (0, height)])


def _ellipse(width: float, height: float) -> Path:
    return ellipse(width / 2, height / 2, width / 2, height / 2)


def _oval(width: float, height: float) -> Path:
    """A stadium: the shorter sides are half circles."""
    radius = min(width, height) / 2
    if width >= height:
        ends = [((radius, height), (radius, 0.0)), ((width - radius, 0.0), (width - radius, height))]
    else:
        ends = [((0.0, radius), (width, radius)), ((width, height - radius), (0.0, height - radius))]
    return _bulging([point for end in ends for point in end], [-radius, 0.0, -radius, 0.0])


def _bulging(points: Sequence[Point], bends: Sequence[float]) -> Path:
    """Return a closed path of arcs from point to point; a bend of 0 is a straight line."""
    path = [Command("M", points[0])]
    for start, end, bend in zip(points, [*points[1:], points[0]], bends, strict=True):
        path += arc_through(start, end, bend)[0][1:]
    return (*path, Command("Z"))


def triangle(width: float, height: float) -> Path:
    """A triangle that stands on its base."""
    return polygon([(width / 2, 0), (width, height), (0, height)])


def _diamond(width: float, height: float) -> Path:
    return polygon([(width / 2, 0), (width, height / 2), (width / 2, height), (0, height / 2)])


def _rhombus(width: float, height: float) -> Path:
    offset = min(width, height) * _SLANT
    return polygon([(offset, 0), (width, 0), (width - offset, height), (0, height)])


def _rhombus_2(width: float, height: float) -> Path:
    offset = min(width, height) * _SLANT
    return polygon([(0, 0), (width - offset, 0), (width, height), (offset, height)])


def _trapezoid(width: float, height: float) -> Path:
    offset = min(width, height) * _SLANT
    return polygon([(offset, 0), (width - offset, 0), (width, height), (0, height)])


def _star(width: float, height: float) -> Path:
    points = []
    for index in range(10):
        angle, radius = math.pi / 5 * index, 0.5 if index % 2 else 1.0
        points.append((radius * math.sin(angle), -radius * math.cos(angle)))
    return _fitted(points, width, height)


def _cloud(width: float, height: float) -> Path:
    turn = math.tau / _CLOUD_BUMPS
    points = [
        (width * (0.5 + 0.42 * math.cos(turn * n)), height * (0.5 + 0.42 * math.sin(turn * n)))
        for n in range(_CLOUD_BUMPS)
    ]
    return _bulging(points, [-0.3 * math.dist(a, b) for a, b in zip(points, [*points[1:], points[0]], strict=True)])


def _arrow_right(width: float, height: float) -> Path:
    head, shaft = min(width, height) * _SLANT, height * _SHAFT
    neck = width - head
    upper = [(0.0, shaft), (neck, shaft), (neck, 0.0), (width, height / 2)]
    return polygon([*upper, (neck, height), (neck, height - shaft), (0.0, height - shaft)])


def _arrow_down(width: float, height: float) -> Path:
    return tuple(Command(step.name, step.points[::-1]) for step in _arrow_right(height, width))


def _arrow_left(width: float, height: float) -> Path:
    steps = _arrow_right(width, height)
    return tuple(Command(step.name, (width - step.points[0], step.points[1]) if step.points else ()) for step in steps)


def _arrow_up(width: float, height: float) -> Path:
    steps = _arrow_down(width, height)
    return tuple(Command(step.name, (step.points[0], height - step.points[1]) if step.points else ()) for step in steps)


def _x_box(width: float, height: float) -> Path:
    diagonals = polygon([(0, 0), (width, height)], closed=False) + polygon([(width, 0), (0, height)], closed=False)
    return rectangle(width, height) + diagonals


def _check_box(width: float, height: float) -> Path:
    size = min(width, height) * 0.82
    left, top = (width - size) / 2, (height - size) / 2
    mark = [(0.25, 0.52), (0.45, 0.82), (0.82, 0.22)]
    return rectangle(width, height) + polygon([(left + size * x, top + size * y) for x, y in mark], closed=False)


FIGURES: dict[str, Callable[[float, float], Path]] = {
    "rectangle": rectangle,
    "ellipse": _ellipse,
    "oval": _oval,
    "triangle": triangle,
    "diamond": _diamond,
    "pentagon": _regular(5),
    "hexagon": _regular(6),
    "octagon": _regular(8),
    "rhombus": _rhombus,
    "rhombus-2": _rhombus_2,
    "trapezoid": _trapezoid,
    "star": _star,
    "cloud": _cloud,
    "arrow-right": _arrow_right,
    "arrow-left": _arrow_left,
    "arrow-up": _arrow_up,
    "arrow-down": _arrow_down,
    "x-box": _x_box,
    "check-box": _check_box,
}


def arrowhead(kind: str, tip: Point, angle: float, *, length: float, colour: Colour, width: float) -> Outline | None:
    """Return the head of a line that arrives at ``tip`` in the direction ``angle``; None for no head."""
    if kind in ("", "none"):
        return None

    def behind(turn: float, reach: float = length) -> Point:
        return tip[0] - reach * math.cos(angle + turn), tip[1] - reach * math.sin(angle + turn)

    match kind:
        case "arrow":
            path = polygon([behind(_HEAD_ANGLE), tip, behind(-_HEAD_ANGLE)], closed=False)
            return Outline(path, colour, width)
        case "dot":
            return Outline(ellipse(*behind(0.0, length / 2), length / 2, length / 2), colour, width, colour)
        case "bar" | "pipe":
            ends = [behind(math.pi / 2, length / 2), behind(-math.pi / 2, length / 2)]
            return Outline(polygon(ends, closed=False), colour, width)
        case "diamond" | "square":
            corners = [tip, behind(_HEAD_ANGLE, length * 0.6), behind(0.0), behind(-_HEAD_ANGLE, length * 0.6)]
            return Outline(polygon(corners), colour, width, colour)
        case _:
            return Outline(polygon([behind(_HEAD_ANGLE), tip, behind(-_HEAD_ANGLE)]), colour, width, colour)


def head_length(line: float, width: float) -> float:
    """Return how long an arrow's head is, by the lengths of the line and its width."""
    return clamp(line / 5, width, width * 3)
