"""Fields of a shape's JSON, where anything may be anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from b3lb_jobs.record.drawings import MAXIMUM_TEXT
from b3lb_jobs.record.failures import SkippedShapeError
from b3lb_jobs.record.values import number

Point = tuple[float, float]
Json = Mapping[str, Any]
MAXIMUM_POINTS = 50_000


def child(data: Json, name: str) -> Json:
    """Return an object within another, an empty one if there is none."""
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def text(data: Json, *names: str) -> str:
    """Return the first text of several fields that is not empty."""
    for name in names:
        value = data.get(name)
        if isinstance(value, str) and value.strip():
            # JSON may hold halves of characters, which no text can.
            return value[:MAXIMUM_TEXT].encode("utf-8", "replace").decode()
    return ""


def point(value: Any) -> Point | None:
    """Return a point written as ``[x, y, …]`` or ``{x, y}``."""
    if isinstance(value, dict):
        x, y = number(value.get("x")), number(value.get("y"))
    elif isinstance(value, list) and len(value) >= 2:  # noqa: PLR2004 - x and y
        x, y = number(value[0]), number(value[1])
    else:
        return None
    return None if x is None or y is None else (x, y)


def required_point(data: Json, name: str) -> Point:
    """Return a point.

    Raises:
        SkippedShapeError: there is none.
    """
    found = point(data.get(name))
    if found is None:
        raise SkippedShapeError(f"{name} is no point")
    return found


def extent(data: Json, name: str) -> Point:
    """Return a width and a height, neither negative.

    Raises:
        SkippedShapeError: there is none.
    """
    width, height = required_point(data, name)
    return abs(width), abs(height)


def length(data: Json, name: str) -> float:
    """Return a length that is not negative, 0 if there is none."""
    return max(number(data.get(name)) or 0.0, 0.0)


def points(value: Any) -> list[Point]:
    """Return a list's points.

    Raises:
        SkippedShapeError: one of them is none, or they are too many.
    """
    if not isinstance(value, list):
        raise SkippedShapeError("points are missing")
    if len(value) > MAXIMUM_POINTS:
        raise SkippedShapeError(f"more than {MAXIMUM_POINTS} points")
    found = [point(one) for one in value]
    known = [one for one in found if one is not None]
    if len(known) != len(found):
        raise SkippedShapeError("a point without numbers")
    return known
