"""The shapes that BBB up to 2.5 writes into shapes.svg, made drawings."""

from __future__ import annotations

import re
from collections.abc import Callable

from b3lb_jobs.record.bounded_xml import Element
from b3lb_jobs.record.drawings import (
    BLACK,
    MAXIMUM_TEXT,
    Align,
    Colour,
    Command,
    Drawing,
    Outline,
    Picture,
    TextBlock,
    parse_colour,
)
from b3lb_jobs.record.failures import SkippedShapeError
from b3lb_jobs.record.paths import PathError, ellipse, parse_path, polygon
from b3lb_jobs.record.values import clamp, number, picture_path, positive

# A value may run into the next name without a semicolon: "color:#0088ffstroke-width:5px".
_PROPERTY = re.compile(
    r"(?<!-)(stroke-linecap|stroke-linejoin|stroke-dasharray|stroke-opacity|stroke-width|stroke|fill-opacity|fill"
    r"|font-family|font-size|word-wrap|visibility|display|opacity|color)\s*:",
    re.ASCII,
)
_LENGTH = re.compile(r"\s*([\d.]{1,20})", re.ASCII)
_STYLE_CHARACTERS = 2_000
_POINTS_CHARACTERS = 1_000_000
_FONT_PIXELS = 20.0


def parse_style(text: str) -> dict[str, str]:
    """Return the known properties of a style attribute."""
    text = text[:_STYLE_CHARACTERS]
    found = list(_PROPERTY.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)][: len(found)]
    return {match[1]: text[match.end() : end].partition(";")[0].strip() for match, end in zip(found, ends, strict=True)}


def drawing_of(shape: Element) -> Drawing:
    """Return what a ``g.shape`` draws.

    Raises:
        SkippedShapeError: it has no child, an unknown one, or one that cannot be read.
    """
    style = parse_style(shape.get("style"))
    parts: list[Outline | TextBlock | Picture] = []
    for child in shape.children:
        reader = _READERS.get(child.tag)
        if reader is None:
            raise SkippedShapeError(f"unknown element {child.tag}")
        try:
            parts += reader(child, style | parse_style(child.get("style")))
        except PathError as error:
            raise SkippedShapeError(f"{child.tag}: {error}") from None
    if not parts:
        raise SkippedShapeError("a shape without content")
    return tuple(parts)


def _outline(path: tuple[Command, ...], element: Element, style: dict[str, str]) -> Drawing:
    fill = _paint(style.get("fill") or element.get("fill"), style.get("fill-opacity", ""))
    stroke = _paint(style.get("stroke") or element.get("stroke"), style.get("stroke-opacity", ""))
    if stroke is None and fill is None:
        stroke = BLACK
    return (Outline(path, stroke, _length(style.get("stroke-width") or element.get("stroke-width"), 1.0), fill),)


def _path(element: Element, style: dict[str, str]) -> Drawing:
    path = parse_path(element.get("d"))
    if not path:
        raise PathError("it is empty")
    return _outline(path, element, style)


def _line(element: Element, style: dict[str, str]) -> Drawing:
    x1, y1, x2, y2 = _required(element, "x1", "y1", "x2", "y2")
    return _outline(polygon([(x1, y1), (x2, y2)], closed=False), element, style)


def _circle(element: Element, style: dict[str, str]) -> Drawing:
    x, y = _required(element, "cx", "cy")
    radius = positive(element.get("r") or "1")
    if radius is None:
        raise PathError("its radius is no length")
    return _outline(ellipse(x, y, radius, radius), element, style)


def _ellipse(element: Element, style: dict[str, str]) -> Drawing:
    x, y, rx, ry = _required(element, "cx", "cy", "rx", "ry")
    return _outline(ellipse(x, y, abs(rx), abs(ry)), element, style)


def _rect(element: Element, style: dict[str, str]) -> Drawing:
    x, y, width, height = _required(element, "x", "y", "width", "height")
    return _outline(polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)]), element, style)


def _polyline(element: Element, style: dict[str, str]) -> Drawing:
    text = element.get("points")
    if len(text) > _POINTS_CHARACTERS:
        raise PathError("too many points")
    values = [number(value) for value in text.replace(",", " ").split()]
    known = [value for value in values if value is not None]
    if len(known) != len(values) or not known or len(known) % 2:
        raise PathError("its points are no pairs of numbers")
    points = list(zip(known[::2], known[1::2], strict=True))
    return _outline(polygon(points, closed=element.tag == "polygon"), element, style)


def _image(element: Element, _style: dict[str, str]) -> Drawing:
    x, y, width, height = _required(element, "x", "y", "width", "height")
    href = picture_path(element.get("href"))
    if href is None or width <= 0 or height <= 0:
        raise PathError("no picture of the recording")
    return (Picture(href, x, y, width, height),)


def _switch(element: Element, style: dict[str, str]) -> Drawing:
    box = element.find("foreignObject")
    if box is None:
        raise PathError("it holds no text")
    return _foreign_object(box, style)


def _foreign_object(box: Element, style: dict[str, str]) -> Drawing:
    paragraph = box.find("p") or box
    style = style | parse_style(box.get("style")) | parse_style(paragraph.get("style"))
    text = text_with_breaks(paragraph)
    if not text.strip():
        raise PathError("an empty text")
    x, y, width, height = _required(box, "x", "y", "width", "height")
    colour = parse_colour(style.get("color", "")) or parse_colour(style.get("stroke", "")) or BLACK
    size = clamp(_length(style.get("font-size", ""), _FONT_PIXELS), 1.0, 1_000.0)
    return (TextBlock(text, x, y, max(width, 0.0), max(height, 0.0), size, colour, align=Align.START),)


def text_with_breaks(element: Element) -> str:
    """Return an element's text with ``br`` as line breaks, at most 10 000 characters."""
    pieces = [element.text]
    for child in element.children:
        pieces.append("\n" if child.tag == "br" else child.all_text())
        pieces.append(child.tail)
    return "".join(pieces)[:MAXIMUM_TEXT].strip("\n")


def _required(element: Element, *names: str) -> tuple[float, ...]:
    values = [number(element.get(name).removesuffix("px")) for name in names]
    known = tuple(value for value in values if value is not None)
    if len(known) != len(names):
        raise PathError("a number is missing")
    return known


def _paint(text: str, opacity: str) -> Colour | None:
    colour = parse_colour(text)
    share = number(opacity)
    return colour if colour is None or share is None else colour._replace(opacity=clamp(share, 0.0, 1.0))


def _length(text: str, default: float) -> float:
    found = _LENGTH.match(text)
    length = positive(found[1]) if found else None
    return default if length is None else length


_READERS: dict[str, Callable[[Element, dict[str, str]], Drawing]] = {
    "path": _path,
    "line": _line,
    "circle": _circle,
    "ellipse": _ellipse,
    "rect": _rect,
    "polyline": _polyline,
    "polygon": _polyline,
    "image": _image,
    "switch": _switch,
    "foreignObject": _foreign_object,
}
