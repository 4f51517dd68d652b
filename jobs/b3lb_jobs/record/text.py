"""Texts on slides: wrapped at their box's width, as BBB's HTML and tldraw do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import cairocffi

from b3lb_jobs.record.drawings import Align, Font, TextBlock
from b3lb_jobs.record.fonts import FAMILIES, missing, runs, visible
from b3lb_jobs.record.values import clamp

_LINE_HEIGHT = 1.2
_MAXIMUM_LINES = 500
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
    # Each word is measured once: the width of a line is the sum of its words'.
    space = measure(" ")
    words: list[str] = []
    filled = 0.0
    for word in paragraph.split(" "):
        length = measure(word)
        if words and filled + space + length > width:
            yield " ".join(words)
            words, filled = [], 0.0
        filled += length + (space if words else 0.0)
        if filled <= width:
            words.append(word)
            continue
        last = ""
        for piece in _pieces(word, width, measure):
            if last:
                yield last
            last = piece
        words, filled = [last], measure(last)
    yield " ".join(words)


def _pieces(word: str, width: float, measure: Callable[[str], float]) -> Iterator[str]:
    """Break a word into the longest pieces that fit, each of at least a character."""
    while word:
        # No more than about twice a piece is ever measured.
        high = 1
        while high < len(word) and measure(word[:high]) <= width:
            high = min(high * 2, len(word))
        low = 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if measure(word[:middle]) <= width else (low, middle - 1)
        yield word[:low]
        word = word[low:]


class _Layout(NamedTuple):
    lines: tuple[str, ...]
    widths: tuple[float, ...]
    baseline: float
    missing: frozenset[str]


@lru_cache(maxsize=512)
def _layout(text: str, width: float, size: float, font: Font) -> _Layout:
    """Return where a text's lines end; a text is drawn again with every state that shows it."""
    context = cairocffi.Context(cairocffi.ImageSurface(cairocffi.FORMAT_A8, 1, 1))

    def measure(piece: str) -> float:
        length = 0.0
        for family, letters in runs(piece, font):
            _choose_font(context, family, size)
            length += float(context.text_extents(letters)[4])
        return length

    text = visible(text.replace("\t", " "))
    lines = wrap(text, width, measure)
    _choose_font(context, FAMILIES[font], size)
    ascent, descent = context.font_extents()[:2]
    # The letters stand in the middle of their line.
    baseline = (size * _LINE_HEIGHT - ascent - descent) / 2 + ascent
    widths = tuple(measure(line) for line in lines)
    return _Layout(tuple(lines), widths, baseline, missing(text.replace("\n", ""), font))


def _choose_font(context: cairocffi.Context, family: str, size: float) -> None:
    # Widths that are rounded to pixels would differ with the zoom.
    context.set_font_options(cairocffi.FontOptions(hint_metrics=cairocffi.HINT_METRICS_OFF))
    context.select_font_face(family)
    context.set_font_size(size)


def draw_text(context: cairocffi.Context, block: TextBlock) -> frozenset[str]:
    """Draw a text in the context's colour; return the characters that no installed font has."""
    size = clamp(block.size, 0.1, _LARGEST_SIZE)
    layout = _layout(block.text, block.width, size, block.font)
    box = block.width or max(layout.widths, default=0.0)
    height = len(layout.lines) * size * _LINE_HEIGHT
    context.translate(block.x, block.y)
    context.rotate(block.rotation)
    top = _offset(block.vertical, block.height, height) if block.height > height else 0.0
    for index, (line, width) in enumerate(zip(layout.lines, layout.widths, strict=True)):
        context.move_to(_offset(block.align, box, width), top + index * size * _LINE_HEIGHT + layout.baseline)
        # Each piece begins where the one before has ended.
        for family, letters in runs(line, block.font):
            _choose_font(context, family, size)
            context.show_text(letters)
    return layout.missing


def _offset(align: Align, room: float, length: float) -> float:
    match align:
        case Align.MIDDLE:
            return (room - length) / 2
        case Align.END:
            return room - length
        case _:
            return 0.0
