"""Texts on slides: wrapped at their box's width, as BBB's HTML and tldraw do it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import cairocffi

from b3lb_jobs.record.drawings import Align, Font, TextBlock
from b3lb_jobs.record.values import clamp

_LINE_HEIGHT = 1.2
_MAXIMUM_LINES = 500
_FONTS = {Font.SANS: "Liberation Sans", Font.SERIF: "Liberation Serif", Font.MONO: "Liberation Mono"}
_LARGEST_SIZE = 10_000.0


def wrap(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Return the lines of a text whose words fit into the width; 0 is no limit.

    A word that is wider than the box is broken, as ``word-wrap: break-word`` does it. At most 500 lines.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        for line in _wrapped(paragraph, width, measure) if width > 0 else [paragraph]:
            if len(lines) == _MAXIMUM_LINES:
                return lines
            lines.append(line)
    return lines


def _wrapped(paragraph: str, width: float, measure: Callable[[str], float]) -> Iterator[str]:
    line = ""
    for word in paragraph.split(" "):
        longer = f"{line} {word}" if line else word
        if measure(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        *pieces, line = _pieces(word, width, measure)
        yield from pieces
    yield line


def _pieces(word: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Break a word into the longest pieces that fit, each of at least a character."""
    pieces = []
    while len(word) > 1 and measure(word) > width:
        low, high = 1, len(word) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if measure(word[:middle]) <= width else (low, middle - 1)
        pieces.append(word[:low])
        word = word[low:]
    return [*pieces, word]


def draw_text(context: cairocffi.Context, block: TextBlock) -> None:
    """Draw a text in the context's colour."""
    context.select_font_face(_FONTS[block.font])
    size = clamp(block.size, 0.1, _LARGEST_SIZE)
    context.set_font_size(size)

    def measure(text: str) -> float:
        return float(context.text_extents(text)[4])

    lines = wrap(block.text.replace("\t", " ").replace("\0", ""), block.width, measure)
    widths = [measure(line) for line in lines]
    box = block.width or max(widths, default=0.0)
    height = len(lines) * size * _LINE_HEIGHT
    ascent, descent = context.font_extents()[:2]
    # The letters stand in the middle of their line.
    baseline = (size * _LINE_HEIGHT - ascent - descent) / 2 + ascent
    context.translate(block.x, block.y)
    if math.isfinite(block.rotation) and block.rotation:
        context.rotate(block.rotation)
    top = _offset(block.vertical, block.height, height) if block.height > height else 0.0
    for index, (line, width) in enumerate(zip(lines, widths, strict=True)):
        context.move_to(_offset(block.align, box, width), top + index * size * _LINE_HEIGHT + baseline)
        context.show_text(line)


def _offset(align: Align, room: float, length: float) -> float:
    match align:
        case Align.MIDDLE:
            return (room - length) / 2
        case Align.END:
            return room - length
        case _:
            return 0.0
