"""Tables for a terminal: columns that line up whatever the script, and nothing that a terminal would obey."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from datetime import timedelta

_GAP = "   "
_WIDE = frozenset("WF")
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_TWO_UNITS_BELOW = 10


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> str:
    """Return headings and rows in columns, or nothing without rows.

    Args:
        headings: One for each column.
        rows: Cells that `shown` has made fit for a terminal.
        right: The headings of the columns that end at the right, as numbers do.
    """
    if not rows:
        return ""
    lines = [headings, *rows]
    widths = [max(width(line[column]) for line in lines) for column in range(len(headings))]
    return "".join(_row(line, widths, [heading in right for heading in headings]) for line in lines)


def shown(text: str, columns: int) -> str:
    """Return ``text`` in at most ``columns`` columns; control characters and direction marks become spaces."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    if width(clean) <= columns:
        return clean
    kept = ""
    for character in clean:
        if width(kept + character) >= columns:
            break
        kept += character
    return f"{kept}…"


def width(text: str) -> int:
    """Return how many columns a terminal needs for ``text`` (Unicode Standard Annex 11)."""
    return sum(_columns(character) for character in text)


def ago(age: timedelta) -> str:
    """Return an age as kubectl writes it: ``45s``, ``3m20s``, ``25m``, ``5h10m``, ``12d``."""
    seconds = max(int(age.total_seconds()), 0)
    for number, (size, unit) in enumerate(_UNITS):
        count, rest = divmod(seconds, size)
        if not count:
            continue
        if count < _TWO_UNITS_BELOW and number + 1 < len(_UNITS):
            smaller_size, smaller_unit = _UNITS[number + 1]
            smaller = rest // smaller_size
            return f"{count}{unit}{smaller}{smaller_unit}" if smaller else f"{count}{unit}"
        return f"{count}{unit}"
    return "0s"


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, columns, ends_right in zip(cells, widths, right, strict=True):
        space = " " * (columns - width(cell))
        padded.append(f"{space}{cell}" if ends_right else f"{cell}{space}")
    return f"{_GAP.join(padded).rstrip()}\n"


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1
