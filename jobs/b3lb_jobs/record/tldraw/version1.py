"""Shapes of tldraw 1 (BBB 2.6 and 2.7), in units of the page."""

from __future__ import annotations

import math
from collections.abc import Callable
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
from b3lb_jobs.record.paths import arc_through, ellipse, smooth
from b3lb_jobs.record.tldraw import styles
from b3lb_jobs.record.tldraw.fields import Json, Point, child, extent, point, points, required_point, text
from b3lb_jobs.record.tldraw.figures import Path, arrowhead, head_length, rectangle, triangle
from b3lb_jobs.record.tldraw.poll import poll
from b3lb_jobs.record.values import number, positive

_FILL_LIGHTER = 0.82
_STICKY_LIGHTER = 0.45
_STICKY_PADDING = 16.0


@dataclass(frozen=True, slots=True)
class _Style:
    colour: Colour
    width: float
    size: float
    dash: tuple[float, ...]
    font: Font
    align: Align
    is_filled: bool
    name: Any

    def outline(self, path: Path, *, closed: bool = True) -> Outline:
        fill = styles.lighter(self.colour, _FILL_LIGHTER) if self.is_filled and closed else None
        return Outline(path, self.colour, self.width, fill, self.dash)


def _style(data: Json) -> _Style:
    style = child(data, "style")
    width = styles.lookup(styles.STROKES_1, style.get("size"), "small")
    scale = positive(style.get("scale")) or 1.0
    return _Style(
        colour=styles.colour_1(style.get("color")),
        width=width,
        size=styles.lookup(styles.TEXTS_1, style.get("size"), "small") * scale,
        dash=styles.dash(style.get("dash"), width),
        font=styles.font(style.get("font")),
        align=styles.align(style.get("textAlign"), Align.MIDDLE),
        is_filled=style.get("isFilled") is True,
        name=style.get("size"),
    )


def drawing(data: Json) -> Drawing:
    """Return what a shape draws on its page.

    Raises:
        SkippedShapeError: its type is unknown or its fields make no sense.
    """
    kind = data.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise SkippedShapeError(f"unknown type {kind!r:.40}")
    drawn, middle = reader(data, _style(data))
    x, y = required_point(data, "point")
    matrix = Matrix.moved(x, y).after(Matrix.turned(number(data.get("rotation")) or 0.0, around=middle))
    return transformed(drawn, matrix)


def _with_label(data: Json, style: _Style, path: Path, size: Point) -> tuple[Drawing, Point]:
    width, height = size
    middle = (width / 2, height / 2)
    outline = style.outline(path)
    label = text(data, "label")
    if not label:
        return (outline,), middle
    block = TextBlock(label, 0, 0, width, height, style.size, style.colour, style.font, Align.MIDDLE, Align.MIDDLE)
    return (outline, block), middle


def _rectangle(data: Json, style: _Style) -> tuple[Drawing, Point]:
    size = extent(data, "size")
    return _with_label(data, style, rectangle(*size), size)


def _triangle(data: Json, style: _Style) -> tuple[Drawing, Point]:
    size = extent(data, "size")
    return _with_label(data, style, triangle(*size), size)


def _ellipse(data: Json, style: _Style) -> tuple[Drawing, Point]:
    rx, ry = extent(data, "radius")
    return _with_label(data, style, ellipse(rx, ry, rx, ry), (rx * 2, ry * 2))


def _draw(data: Json, style: _Style) -> tuple[Drawing, Point]:
    drawn = points(data.get("points"))
    if not drawn:
        raise SkippedShapeError("draw without points")
    xs, ys = [x for x, _ in drawn], [y for _, y in drawn]
    middle = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    return (style.outline(smooth(drawn)),), middle


def _arrow(data: Json, style: _Style) -> tuple[Drawing, Point]:
    handles = child(data, "handles")
    start, end = required_point(child(handles, "start"), "point"), required_point(child(handles, "end"), "point")
    bend = point(child(handles, "bend").get("point"))
    path, leaving, arriving = arc_through(start, end, _bend(start, end, bend))
    parts: list[Outline | TextBlock] = [style.outline(path, closed=False)]
    length = head_length(math.dist(start, end), style.width * 2)
    decorations = child(data, "decorations")
    for name, tip, angle in (("start", start, leaving + math.pi), ("end", end, arriving)):
        head = arrowhead(text(decorations, name), tip, angle, length=length, colour=style.colour, width=style.width)
        parts += [head] if head else []
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    label = text(data, "label")
    if label:
        x, y = bend or middle
        box = (x - 150, y - style.size, 300.0, style.size * 2)
        parts.append(TextBlock(label, *box, style.size, style.colour, style.font, Align.MIDDLE, Align.MIDDLE))
    return tuple(parts), middle


def _bend(start: Point, end: Point, handle: Point | None) -> float:
    """Return how far the handle lies off the straight line, below a line from left to right counted positive."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    if handle is None or not length:
        return 0.0
    return (dx * (handle[1] - start[1]) - dy * (handle[0] - start[0])) / length


def _text(data: Json, style: _Style) -> tuple[Drawing, Point]:
    content = text(data, "text")
    if not content:
        raise SkippedShapeError("an empty text")
    size = point(data.get("size")) or (0.0, 0.0)
    block = TextBlock(content, 0, 0, 0, 0, style.size, style.colour, style.font, style.align)
    return (block,), (size[0] / 2, size[1] / 2)


def _sticky(data: Json, style: _Style) -> tuple[Drawing, Point]:
    width, height = extent(data, "size")
    paper = Outline(rectangle(width, height), fill=styles.lighter(style.colour, _STICKY_LIGHTER))
    middle = (width / 2, height / 2)
    content = text(data, "text")
    if not content:
        return (paper,), middle
    size = styles.lookup(styles.STICKY_TEXTS_1, style.name, "small")
    edge = _STICKY_PADDING
    box = (edge, edge, max(width - 2 * edge, 1.0), max(height - 2 * edge, 1.0))
    return (paper, TextBlock(content, *box, size, BLACK, style.font, style.align)), middle


def _poll(data: Json, _style: _Style) -> tuple[Drawing, Point]:
    width, height = extent(data, "size")
    return poll(data, width, height), (width / 2, height / 2)


def _group(_data: Json, _style: _Style) -> tuple[Drawing, Point]:
    """A group draws nothing: its members stand on the page by themselves."""
    return (), (0.0, 0.0)


_READERS: dict[str, Callable[[Json, _Style], tuple[Drawing, Point]]] = {
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "triangle": _triangle,
    "draw": _draw,
    "line": _arrow,
    "arrow": _arrow,
    "text": _text,
    "sticky": _sticky,
    "group": _group,
    "poll": _poll,
}
