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
_DEEPEST_TEXT = 16


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


def content(props: Json) -> str:
    """Return a shape's text: plain, or as newer versions of tldraw 2 have it, a document of paragraphs.

    Source: https://tldraw.dev/reference/tlschema/TLRichText; the document is one of ProseMirror.
    """
    plain = text(props, "text")
    if plain:
        return plain
    pieces: list[str] = []
    _collect(child(props, "richText"), pieces, _DEEPEST_TEXT)
    return text({"text": "".join(pieces).strip("\n")}, "text")


def _collect(node: Json, pieces: list[str], depth: int) -> None:
    kind, written, inner = node.get("type"), node.get("text"), node.get("content")
    if kind == "text" and isinstance(written, str):
        pieces.append(written[:MAXIMUM_TEXT])
    elif kind == "hardBreak":
        pieces.append("\n")
    elif kind == "listItem":
        pieces.append("\u2022 ")
    for one in inner if isinstance(inner, list) and depth else ():
        if len(pieces) >= MAXIMUM_TEXT:
            return
        if isinstance(one, dict):
            _collect(one, pieces, depth - 1)
    if kind in ("paragraph", "heading"):
        pieces.append("\n")


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
