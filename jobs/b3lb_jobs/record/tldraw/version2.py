"""Shapes of tldraw 2 (BBB 3.0), in units of the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from b3lb_jobs.record.drawings import (
    BLACK,
    Align,
    Colour,
    Drawing,
    Font,
    Matrix,
    Outline,
    TextBlock,
    transformed,
)
from b3lb_jobs.record.failures import SkippedShapeError
from b3lb_jobs.record.paths import arc_through, polygon, smooth
from b3lb_jobs.record.tldraw import styles
from b3lb_jobs.record.tldraw.fields import MAXIMUM_POINTS, Json, Point, child, content, length, point, points, text
from b3lb_jobs.record.tldraw.figures import FIGURES, Path, arrowhead, head_length, rectangle
from b3lb_jobs.record.tldraw.poll import poll
from b3lb_jobs.record.values import number, positive

_LABEL_PADDING = 16.0
_NOTE_SIZE = 200.0
_HIGHLIGHT_OPACITY = 0.55
_HIGHLIGHT_WIDTH = 1.12
_DEEPEST = 16

Shapes = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class _Style:
    colour: Colour
    fill: Colour | None
    width: float
    dash: tuple[float, ...]
    font: Font
    align: Align
    vertical: Align
    name: Any

    def outline(self, path: Path, *, closed: bool = True) -> Outline:
        return Outline(path, self.colour, self.width, self.fill if closed else None, self.dash)

    def block(self, written: str, box: tuple[float, float, float, float], size: float) -> TextBlock:
        return TextBlock(written, *box, size, self.colour, self.font, self.align, self.vertical)


def _style(data: Json, props: Json) -> _Style:
    opacity = styles.opacity(data.get("opacity"))
    width = styles.lookup(styles.STROKES_2, props.get("size"), "m")
    return _Style(
        colour=styles.colour_2(props.get("color"), opacity),
        fill=styles.fill_2(props.get("color"), props.get("fill"), opacity),
        width=width,
        dash=styles.dash(props.get("dash"), width),
        font=styles.font(props.get("font")),
        align=styles.align(props.get("textAlign") or props.get("align"), Align.MIDDLE),
        vertical=styles.align(props.get("verticalAlign"), Align.MIDDLE),
        name=props.get("size"),
    )


def drawing(data: Json, shapes: Shapes) -> Drawing:
    """Return what a shape draws on its page.

    Args:
        data: The shape.
        shapes: All shapes of the page as they are at that time, by ID: parents, and what arrows point at.

    Raises:
        SkippedShapeError: its type is unknown or its fields make no sense.
    """
    kind = data.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise SkippedShapeError(f"unknown type {kind!r:.40}")
    props = child(data, "props")
    matrix = page_matrix(data, shapes)
    if kind == "arrow":
        # Its ends may be bound to shapes that stand anywhere on the page.
        props = dict(props) | _ends(props, shapes, matrix)
    return transformed(reader(props, _style(data, props)), matrix)


def page_matrix(data: Json, shapes: Shapes) -> Matrix:
    """Return the mapping from a shape's coordinates to its page's, through groups and frames."""
    matrix = _own_matrix(data)
    for _ in range(_DEEPEST):
        parent = data.get("parentId")
        if not isinstance(parent, str) or parent not in shapes:
            return matrix
        data = shapes[parent]
        matrix = _own_matrix(data).after(matrix)
    raise SkippedShapeError("shapes are nested too deep")


def _own_matrix(data: Json) -> Matrix:
    x, y = point(data) or (0.0, 0.0)
    return Matrix.moved(x, y).after(Matrix.turned(number(data.get("rotation")) or 0.0))


def _ends(props: Json, shapes: Shapes, matrix: Matrix) -> dict[str, dict[str, float]]:
    """Return both ends of an arrow in its own coordinates."""
    ends = {}
    for name in ("start", "end"):
        end = child(props, name)
        place = point(end) or _bound_point(end, shapes, matrix)
        if place is None:
            raise SkippedShapeError("an arrow without ends")
        ends[name] = {"x": place[0], "y": place[1]}
    return ends


def _bound_point(end: Json, shapes: Shapes, matrix: Matrix) -> Point | None:
    target, anchor = shapes.get(text(end, "boundShapeId")), point(end.get("normalizedAnchor"))
    if target is None or anchor is None:
        return None
    width, height = _size(child(target, "props"))
    x, y = page_matrix(target, shapes).apply(anchor[0] * width, anchor[1] * height)
    back = Matrix.turned(-matrix.angle)
    return back.apply(x - matrix.e, y - matrix.f)


def _size(props: Json) -> Point:
    width, height = length(props, "w"), length(props, "h") + length(props, "growY")
    return width or _NOTE_SIZE, height or _NOTE_SIZE


def _geo(props: Json, style: _Style) -> Drawing:
    width, height = length(props, "w"), length(props, "h") + length(props, "growY")
    figure = FIGURES.get(text(props, "geo"), None)
    if figure is None:
        raise SkippedShapeError(f"unknown geo {props.get('geo')!r:.40}")
    if width <= 0 or height <= 0:
        raise SkippedShapeError("geo without size")
    outline = style.outline(figure(width, height))
    label = content(props)
    if not label:
        return (outline,)
    edge = min(_LABEL_PADDING, width / 4, height / 4)
    box = (edge, edge, width - 2 * edge, height - 2 * edge)
    return outline, style.block(label, box, styles.lookup(styles.LABELS_2, style.name, "m"))


def _segments(props: Json) -> list[tuple[bool, list[Point]]]:
    segments = props.get("segments")
    if not isinstance(segments, list) or len(segments) > MAXIMUM_POINTS:
        raise SkippedShapeError("segments are missing or too many")
    found = [
        (segment.get("type") == "free", points(segment.get("points")))
        for segment in segments
        if isinstance(segment, dict)
    ]
    if not any(drawn for _, drawn in found):
        raise SkippedShapeError("a drawing without points")
    return found


def _segment_path(props: Json) -> Path:
    path: Path = ()
    for is_free, drawn in _segments(props):
        piece = smooth(drawn) if is_free else polygon(drawn, closed=False)
        # Segments follow each other without a gap.
        path += piece[1:] if path else piece
    return path


def _draw(props: Json, style: _Style) -> Drawing:
    return (style.outline(_segment_path(props), closed=props.get("isClosed") is True),)


def _highlight(props: Json, style: _Style) -> Drawing:
    colour = style.colour._replace(opacity=style.colour.opacity * _HIGHLIGHT_OPACITY)
    width = styles.lookup(styles.TEXTS_2, style.name, "m") * _HIGHLIGHT_WIDTH
    return (Outline(_segment_path(props), colour, width),)


def _line(props: Json, style: _Style) -> Drawing:
    listed = child(props, "handles") or child(props, "points")
    if len(listed) > MAXIMUM_POINTS:
        raise SkippedShapeError("too many points")
    handles = [one for one in listed.values() if isinstance(one, dict)]
    corners = points(sorted(handles, key=lambda handle: str(handle.get("index"))))
    if not corners:
        raise SkippedShapeError("line without points")
    path = smooth(corners) if props.get("spline") == "cubic" else polygon(corners, closed=False)
    return (style.outline(path, closed=False),)


def _arrow(props: Json, style: _Style) -> Drawing:
    start, end = point(props.get("start")), point(props.get("end"))
    if start is None or end is None:
        raise SkippedShapeError("an arrow without ends")
    bend = number(props.get("bend")) or 0.0
    path, leaving, arriving = arc_through(start, end, bend)
    parts: list[Outline | TextBlock] = [style.outline(path, closed=False)]
    reach = head_length(math.dist(start, end), style.width * 2)
    for name, tip, angle in (("Start", start, leaving + math.pi), ("End", end, arriving)):
        kind = text(props, f"arrowhead{name}")
        head = arrowhead(kind, tip, angle, length=reach, colour=style.colour, width=style.width)
        parts += [head] if head else []
    label = content(props)
    if label:
        size = styles.lookup(styles.ARROW_LABELS_2, style.name, "m")
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + bend
        box = (x - 150, y - size, 300.0, size * 2)
        parts.append(TextBlock(label, *box, size, style.colour, style.font, Align.MIDDLE, Align.MIDDLE))
    return tuple(parts)


def _text(props: Json, style: _Style) -> Drawing:
    written = content(props)
    if not written:
        raise SkippedShapeError("an empty text")
    scale = positive(props.get("scale")) or 1.0
    size = styles.lookup(styles.TEXTS_2, style.name, "m") * scale
    width = 0.0 if props.get("autoSize") is not False else length(props, "w") * scale
    return (TextBlock(written, 0, 0, width, 0, size, style.colour, style.font, style.align),)


def _note(props: Json, style: _Style) -> Drawing:
    height = _NOTE_SIZE + length(props, "growY")
    name = "yellow" if props.get("color") == "black" else props.get("color")
    paper = Outline(rectangle(_NOTE_SIZE, height), fill=styles.colour_2(name, style.colour.opacity))
    written = content(props)
    if not written:
        return (paper,)
    edge = _LABEL_PADDING
    box = (edge, edge, _NOTE_SIZE - 2 * edge, height - 2 * edge)
    size = styles.lookup(styles.LABELS_2, style.name, "m")
    return paper, TextBlock(written, *box, size, BLACK, style.font, style.align, style.vertical)


def _frame(props: Json, style: _Style) -> Drawing:
    width, height = length(props, "w"), length(props, "h")
    if width <= 0 or height <= 0:
        raise SkippedShapeError("frame without size")
    return (Outline(rectangle(width, height), style.colour, 1.0),)


def _poll(props: Json, _style: _Style) -> Drawing:
    return poll(props, length(props, "w"), length(props, "h"))


def _group(_props: Json, _style: _Style) -> Drawing:
    """A group draws nothing itself."""
    return ()


_READERS: dict[str, Callable[[Json, _Style], Drawing]] = {
    "geo": _geo,
    "draw": _draw,
    "highlight": _highlight,
    "line": _line,
    "arrow": _arrow,
    "text": _text,
    "note": _note,
    "frame": _frame,
    "poll": _poll,
    "group": _group,
}
