"""Numbers, times and names in recordings, read so that nothing odd gets any further."""

from __future__ import annotations

import re
from urllib.parse import unquote

# Far beyond every coordinate on a slide and every second of a meeting; below it no product overflows.
LARGEST = 1e7

_NUMBER = re.compile(r"[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_LONGEST = 64
_PICTURE = re.compile(r"presentation/[A-Za-z0-9_-][\w./-]{0,300}", re.ASCII)


def number(value: object) -> float | None:
    """Return a finite number of at most ``LARGEST`` in magnitude, or None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip() if len(value) <= _LONGEST else ""
        if not _NUMBER.fullmatch(text):
            return None
        value = float(text)
    if not isinstance(value, int | float) or not abs(value) <= LARGEST:
        return None
    # -0.0 occurs in panzooms.xml.
    return float(value) + 0.0


def numbers(text: str, count: int) -> tuple[float, ...] | None:
    """Return exactly ``count`` numbers separated by spaces or commas, or None."""
    if len(text) > _LONGEST * count:
        return None
    found = [number(part) for part in text.replace(",", " ").split()]
    known = tuple(one for one in found if one is not None)
    return known if len(known) == len(found) == count else None


def positive(value: object) -> float | None:
    """Return a finite number above 0, or None."""
    found = number(value)
    return found if found is not None and found > 0 else None


def clamp(value: float, low: float, high: float) -> float:
    """Return the value, or the border that it is beyond."""
    return min(max(value, low), high)


def picture_path(text: str) -> str | None:
    """Return the path of a picture within the recording, or None: nothing else is ever opened."""
    path = unquote(text[:400]).partition("?")[0].removeprefix("./")
    if not _PICTURE.fullmatch(path) or any(part in ("", ".", "..") for part in path.split("/")):
        return None
    return path
