"""Colours and sizes of tldraw's styles, in units of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from b3lb_jobs.record.drawings import BLACK, Align, Colour, Font, parse_colour
from b3lb_jobs.record.values import clamp, number

_COLOURS_1 = {
    "white": "#f0f1f3",
    "lightGray": "#c6cbd1",
    "gray": "#788492",
    "black": "#1d1d1d",
    "green": "#36b24d",
    "cyan": "#0e98ad",
    "blue": "#1c7ed6",
    "indigo": "#4263eb",
    "violet": "#7746f1",
    "red": "#ff2133",
    "orange": "#ff9433",
    "yellow": "#ffc936",
}
_COLOURS_2 = {
    "black": ("#1d1d1d", "#e8e8e8"),
    "blue": ("#4263eb", "#dce1f8"),
    "green": ("#099268", "#d3e9e3"),
    "grey": ("#adb5bd", "#eceef0"),
    "light-blue": ("#4dabf7", "#ddedfa"),
    "light-green": ("#40c057", "#dbf0e0"),
    "light-red": ("#ff8787", "#f4dadb"),
    "light-violet": ("#e599f7", "#f5eafa"),
    "orange": ("#f76707", "#f8e2d4"),
    "red": ("#e03131", "#f4dadb"),
    "violet": ("#ae3ec9", "#ecdcf2"),
    "white": ("#ffffff", "#ffffff"),
    "yellow": ("#ffc078", "#f9f0e6"),
}
_SOLID_2 = Colour(252, 255, 254)
_FONTS = {
    "serif": Font.SERIF,
    "mono": Font.MONO,
}
_ALIGNS = {
    "middle": Align.MIDDLE,
    "middle-legacy": Align.MIDDLE,
    "justify": Align.START,
    "end": Align.END,
    "end-legacy": Align.END,
}
STROKES_1 = {"small": 2.0, "medium": 3.5, "large": 5.0}
TEXTS_1 = {"small": 28.0, "medium": 48.0, "large": 96.0}
STICKY_TEXTS_1 = {"small": 24.0, "medium": 36.0, "large": 48.0}
STROKES_2 = {"s": 2.0, "m": 3.5, "l": 5.0, "xl": 10.0}
TEXTS_2 = {"s": 18.0, "m": 24.0, "l": 36.0, "xl": 44.0}
LABELS_2 = {"s": 18.0, "m": 22.0, "l": 26.0, "xl": 32.0}
ARROW_LABELS_2 = {"s": 18.0, "m": 20.0, "l": 24.0, "xl": 28.0}


def lookup(table: Mapping[str, float], name: Any, default: str) -> float:
    """Return a style's size, the default's for an unknown style."""
    return table[name] if isinstance(name, str) and name in table else table[default]


def colour_1(name: Any) -> Colour:
    """Return a colour of tldraw 1, black for an unknown one."""
    return parse_colour(_COLOURS_1.get(name, "") if isinstance(name, str) else "") or BLACK


def lighter(colour: Colour, share: float) -> Colour:
    """Return a colour moved towards the white of the page by a share of 0 to 1."""
    red, green, blue = (round(part + (250 - part) * share) for part in colour[:3])
    return Colour(red, green, blue, colour.opacity)


def colour_2(name: Any, opacity: float = 1.0) -> Colour:
    """Return a colour of tldraw 2, black for an unknown one."""
    pair = _COLOURS_2.get(name) if isinstance(name, str) else None
    return (parse_colour((pair or _COLOURS_2["black"])[0]) or BLACK)._replace(opacity=opacity)


def fill_2(name: Any, fill: Any, opacity: float = 1.0) -> Colour | None:
    """Return what a shape of tldraw 2 is filled with; patterns are shown as their mean colour."""
    match fill:
        case "semi":
            return _SOLID_2._replace(opacity=opacity)
        case "solid" | "pattern":
            pair = _COLOURS_2.get(name) if isinstance(name, str) else None
            return (parse_colour((pair or _COLOURS_2["black"])[1]) or BLACK)._replace(opacity=opacity)
        case "fill":
            return colour_2(name, opacity)
        case _:
            return None


def dash(name: Any, width: float) -> tuple[float, ...]:
    """Return the lengths of dashes and gaps; lines have round ends, so that a dot is a dash of hardly any length."""
    match name:
        case "dashed":
            return (width * 2, width * 2)
        case "dotted":
            return (width / 100, width * 2)
        case _:
            return ()


def font(name: Any) -> Font:
    """Return the family of a font; hand-written ones are shown as sans."""
    return _FONTS.get(name, Font.SANS) if isinstance(name, str) else Font.SANS


def align(name: Any, default: Align = Align.START) -> Align:
    """Return an alignment."""
    if name in ("start", "start-legacy"):
        return Align.START
    return _ALIGNS.get(name, default) if isinstance(name, str) else default


def opacity(value: Any) -> float:
    """Return an opacity of 0 to 1."""
    found = number(value)
    return 1.0 if found is None else clamp(found, 0.0, 1.0)
