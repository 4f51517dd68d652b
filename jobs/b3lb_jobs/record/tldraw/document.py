"""Reads tldraw.json and returns the shapes of each slide, in the slide's pixels."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from b3lb_jobs.record.drawings import Drawing, Matrix, ShapeVersion, transformed
from b3lb_jobs.record.failures import SkippedShapeError, WarningCode, WarningLog
from b3lb_jobs.record.tldraw import version1, version2
from b3lb_jobs.record.tldraw.fields import Json, child, text
from b3lb_jobs.record.values import number

MAXIMUM_BYTES = 32 * 2**20
MAXIMUM_SHAPES = 100_000
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?", re.ASCII)
_OLD_PAGE, _PAGE = (2048.0, 1536.0), (1440.0, 1080.0)
_FIRST_VERSION_2 = (3, 0, 0)

Size = tuple[float, float]
SlideShapes = dict[int, tuple[ShapeVersion, ...]]


def page_scale(version: tuple[int, int, int] | None, slide: Size) -> float:
    """Return how many units of tldraw's page one pixel of a slide is.

    BBB scales slides into a page of 1440 by 1080, in 2.6.0 into one of 2048 by 1536.
    """
    page = _OLD_PAGE if version == (2, 6, 0) else _PAGE
    return min(page[0] / slide[0], page[1] / slide[1])


def parse_version(value: Any) -> tuple[int, int, int] | None:
    """Return the three numbers of BBB's version, None if there are none."""
    found = _VERSION.match(value) if isinstance(value, str) else None
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def read_tldraw(
    path: Path, slides: Mapping[int, Size], log: WarningLog
) -> tuple[SlideShapes, tuple[int, int, int] | None]:
    """Return the shapes by the slides' numbers, and BBB's version; a broken file is a warning and draws nothing.

    Args:
        path: The file.
        slides: Number of a slide → its size in pixels.
        log: Takes what cannot be shown.
    """
    try:
        data = _load(path)
    except (ValueError, RecursionError) as error:
        log.add(WarningCode.TLDRAW_PARTIAL, f"tldraw.json cannot be read: {type(error).__name__}")
        return {}, None
    if not isinstance(data, dict):
        log.add(WarningCode.TLDRAW_PARTIAL, "tldraw.json holds no pages")
        return {}, None
    version = parse_version(data.get("bbb_version"))
    shapes: SlideShapes = {}
    budget = MAXIMUM_SHAPES
    for key, page in data.items():
        if key == "bbb_version":
            continue
        slide = int(key) if key.isascii() and key.isdigit() and len(key) < 10 else -1  # noqa: PLR2004 - as in imageN
        entries = page.get("shapes") if isinstance(page, dict) else None
        if not isinstance(entries, list):
            log.add(WarningCode.TLDRAW_PARTIAL, "a page without shapes")
        elif slide not in slides:
            if entries:
                log.add(WarningCode.TLDRAW_PARTIAL, "drawings on a slide that is not shown")
        else:
            if len(entries) > budget:
                log.add(WarningCode.SHAPE_SKIPPED, f"more than {MAXIMUM_SHAPES} shapes", count=len(entries) - budget)
            scale = page_scale(version, slides[slide])
            shapes[slide] = _page(entries[:budget], version, Matrix.scaled(1 / scale), log)
            budget -= min(budget, len(entries))
    return shapes, version


def _load(path: Path) -> Any:
    with path.open("rb") as stream:
        data = stream.read(MAXIMUM_BYTES + 1)
    if len(data) > MAXIMUM_BYTES:
        raise ValueError("too large")
    # NaN and Infinity are no numbers anybody can draw; json reads them, the fields refuse them.
    return json.loads(data)


def _page(
    entries: list[Any], version: tuple[int, int, int] | None, matrix: Matrix, log: WarningLog
) -> tuple[ShapeVersion, ...]:
    known = [entry for entry in entries if isinstance(entry, dict)]
    # What an arrow or a child points at may be listed after it.
    shapes: dict[str, Json] = {}
    for entry in known:
        shapes.setdefault(_name(entry), child(entry, "shape_data"))
    versions: list[ShapeVersion] = []
    followers = _Followers()
    if len(known) < len(entries):
        log.add(WarningCode.SHAPE_SKIPPED, "a shape that is no object", count=len(entries) - len(known))
    for entry in known:
        try:
            shapes[_name(entry)] = child(entry, "shape_data")
            versions.append(_version(entry, version, shapes, matrix))
            arrows = followers.after(entry) if len(versions) < MAXIMUM_SHAPES else ()
            versions.extend(_version(arrow, version, shapes, matrix) for arrow in arrows)
        except SkippedShapeError as error:
            log.add(WarningCode.SHAPE_SKIPPED, str(error))
    return tuple(versions)


class _Followers:
    """The arrows that are bound to shapes: one moves when its shape does, though only the shape is sent again."""

    def __init__(self) -> None:
        self._arrows: dict[str, Json] = {}
        self._bound: dict[str, dict[str, None]] = {}

    def after(self, entry: Json) -> list[Json]:
        """Take the next version of a shape, in the order of time; return new versions of the arrows bound to it."""
        name, data = _name(entry), child(entry, "shape_data")
        if data.get("type") == "arrow":
            self._arrows[name] = entry
            for end in ("start", "end"):
                target = text(child(child(data, "props"), end), "boundShapeId")
                if target:
                    self._bound.setdefault(target, {})[name] = None
        arrows = [self._arrows[arrow] for arrow in self._bound.get(name, ()) if arrow != name]
        return [{**arrow, "timestamp": entry.get("timestamp")} for arrow in arrows if _is_seen(arrow, entry)]


def _is_seen(arrow: Json, entry: Json) -> bool:
    """Whether the arrow is there when the shape changes."""
    begin, time = number(arrow.get("timestamp")), number(entry.get("timestamp"))
    undo = number(arrow.get("undo", -1))
    return begin is not None and time is not None and undo is not None and begin < time and not 0 <= undo <= time


def _version(
    entry: Json, version: tuple[int, int, int] | None, shapes: Mapping[str, Json], matrix: Matrix
) -> ShapeVersion:
    begin, undo = number(entry.get("timestamp")), number(entry.get("undo", -1))
    name = _name(entry)
    if begin is None or undo is None or not name:
        raise SkippedShapeError("a shape without its times or its name")
    data = child(entry, "shape_data")
    drawing: Drawing = version1.drawing(data) if is_version_1(data, version) else version2.drawing(data, shapes)
    return ShapeVersion(name, begin, None if undo < 0 else undo, transformed(drawing, matrix))


def is_version_1(data: Json, version: tuple[int, int, int] | None) -> bool:
    """Whether a shape is one of tldraw 1; without a version of BBB the shape's own fields tell."""
    if "point" in data and "props" not in data:
        return True
    return version is not None and version < _FIRST_VERSION_2 and "props" not in data


def _name(entry: Json) -> str:
    for name in (child(entry, "shape_data").get("id"), entry.get("id")):
        if isinstance(name, str) and name:
            return name[:200]
    return ""
