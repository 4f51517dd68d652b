"""What is drawn on slides, in one vocabulary for all generations of BBB: outlines, texts, pictures.

All lengths are in pixels of the slide, all angles in radians, clockwise. The values are plain data and fit for JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

_HEX = re.compile(r"#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})")
_RGB = re.compile(r"rgba?\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(?:,\s*[\d.]{1,9}\s*)?\)", re.ASCII)
_NAMED = {"black": "#000000", "white": "#ffffff", "red": "#ff0000", "green": "#008000", "blue": "#0000ff"}
_SHORT = 4
# Characters of one text.
MAXIMUM_TEXT = 10_000


class Colour(NamedTuple):
    """Red, green and blue of 0 to 255; opacity of 0 to 1."""

    red: int
    green: int
    blue: int
    opacity: float = 1.0


BLACK = Colour(0, 0, 0)
WHITE = Colour(255, 255, 255)


class Command(NamedTuple):
    """A step of a path: M, L (one point), C (two control points and the end) or Z (none)."""

    name: str
    points: tuple[float, ...] = ()


class Align(StrEnum):
    """Where a text stands within its box."""

    START = "start"
    MIDDLE = "middle"
    END = "end"


class Font(StrEnum):
    """Families of fonts."""

    SANS = "sans"
    SERIF = "serif"
    MONO = "mono"


@dataclass(frozen=True, slots=True)
class Outline:
    """A path with a line along it, a filling, or both."""

    path: tuple[Command, ...]
    stroke: Colour | None = None
    width: float = 1.0
    fill: Colour | None = None
    dash: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A text that is wrapped at the width of its box (0: not wrapped), turned around the box's upper left corner."""

    text: str
    x: float
    y: float
    width: float
    height: float
    size: float
    colour: Colour = BLACK
    font: Font = Font.SANS
    align: Align = Align.START
    vertical: Align = Align.START
    rotation: float = 0.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the recording, by its path in it."""

    href: str
    x: float
    y: float
    width: float
    height: float


Drawing = tuple[Outline | TextBlock | Picture, ...]


@dataclass(frozen=True, slots=True)
class ShapeVersion:
    """One version of a shape: seen from ``begin`` until ``end`` (None: as long as the slide), or until the next one.

    ``shape`` is the same for all versions of a shape.
    """

    shape: str
    begin: float
    end: float | None
    drawing: Drawing


@dataclass(frozen=True, slots=True)
class Matrix:
    """A mapping of the plane: x' = a·x + c·y + e, y' = b·x + d·y + f, like SVG's ``matrix``."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 1.0
    e: float = 0.0
    f: float = 0.0

    def apply(self, x: float, y: float) -> tuple[float, float]:
        """The point that x and y are mapped to."""
        return self.a * x + self.c * y + self.e, self.b * x + self.d * y + self.f

    def after(self, first: Matrix) -> Matrix:
        """The mapping that does ``first`` and then this one."""
        a, b = self.a * first.a + self.c * first.b, self.b * first.a + self.d * first.b
        c, d = self.a * first.c + self.c * first.d, self.b * first.c + self.d * first.d
        return Matrix(a, b, c, d, *self.apply(first.e, first.f))

    @property
    def scale(self) -> float:
        """By how much lengths grow; the mappings here stretch no side more than the other."""
        return math.hypot(self.a, self.b)

    @property
    def angle(self) -> float:
        """By how much things are turned."""
        return math.atan2(self.b, self.a)

    @staticmethod
    def moved(x: float, y: float) -> Matrix:
        """The mapping that moves by x and y."""
        return Matrix(e=x, f=y)

    @staticmethod
    def turned(angle: float, *, around: tuple[float, float] = (0.0, 0.0)) -> Matrix:
        """The mapping that turns around a point."""
        sine, cosine = math.sin(angle), math.cos(angle)
        x, y = around
        return Matrix(cosine, sine, -sine, cosine, x - cosine * x + sine * y, y - sine * x - cosine * y)

    @staticmethod
    def scaled(factor: float) -> Matrix:
        """The mapping that makes everything larger by a factor."""
        return Matrix(a=factor, d=factor)


def transformed(drawing: Iterable[Outline | TextBlock | Picture], matrix: Matrix) -> Drawing:
    """Return the drawing in other coordinates; pictures are moved and scaled only."""
    return tuple(_transformed(part, matrix) for part in drawing)


def _transformed(part: Outline | TextBlock | Picture, matrix: Matrix) -> Outline | TextBlock | Picture:
    scale = matrix.scale
    if isinstance(part, Outline):
        path = tuple(Command(step.name, _mapped(step.points, matrix)) for step in part.path)
        dash = tuple(length * scale for length in part.dash)
        return Outline(path, part.stroke, part.width * scale, part.fill, dash)
    x, y = matrix.apply(part.x, part.y)
    width, height = part.width * scale, part.height * scale
    if isinstance(part, Picture):
        return Picture(part.href, x, y, width, height)
    turned = part.rotation + matrix.angle
    font, align, vertical = part.font, part.align, part.vertical
    return TextBlock(part.text, x, y, width, height, part.size * scale, part.colour, font, align, vertical, turned)


def _mapped(points: tuple[float, ...], matrix: Matrix) -> tuple[float, ...]:
    pairs = zip(points[::2], points[1::2], strict=True)
    return tuple(value for x, y in pairs for value in matrix.apply(x, y))


def parse_colour(text: str) -> Colour | None:
    """Return a colour as CSS writes it: ``#rrggbb``, ``#rgb``, ``rgb(…)`` or a common name; None for anything else."""
    text = text.strip().lower()[:64]
    text = _NAMED.get(text, text)
    if _HEX.fullmatch(text):
        digits = "".join(digit * 2 for digit in text[1:]) if len(text) == _SHORT else text[1:]
        return Colour(int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))
    found = _RGB.fullmatch(text)
    return Colour(*(min(int(value), 255) for value in found.groups())) if found else None
