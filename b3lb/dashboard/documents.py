"""Reading the operator's documents field by field: what is absent or of another kind is unknown, never an error.

A page may be shown by another version than that of the operator that made the document.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Document = Mapping[str, Any]
"""A JSON object, see docs/dashboard.md."""

_KEPT = frozenset("\n\t")
_CUT = "…"
_LABEL_CHARACTERS = 300


def items(document: Document, key: str = "items") -> list[Document]:
    """Return the objects of a list, which may also stand inside a document of its own (``{"items": […]}``)."""
    found = document.get(key)
    if isinstance(found, Mapping):
        found = found.get("items")
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def part(document: Document, key: str) -> Document:
    """Return the object of that name, an empty one if there is none."""
    found = document.get(key)
    return found if isinstance(found, Mapping) else {}


def text(document: Document, key: str) -> str:
    """Return a text as it is, or a number as text; else the empty text."""
    found = document.get(key)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return ""
    return str(found)


def texts(document: Document, key: str) -> tuple[str, ...]:
    """Return the texts of a list, each as one short line."""
    found = document.get(key)
    if not isinstance(found, list):
        return ()
    return tuple(line(item, _LABEL_CHARACTERS) for item in found if isinstance(item, str))


def number(document: Document, key: str) -> float | None:
    """Return a finite number, None if there is none."""
    found = document.get(key)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        value = float(found)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def count(document: Document, key: str) -> int | None:
    """Return a whole number that is not negative, None if there is none."""
    found = number(document, key)
    return None if found is None or found < 0 else int(found)


def total(numbers: Iterable[int | None]) -> int | None:
    """Return the sum of the numbers that are known, None if none is."""
    known = [value for value in numbers if value is not None]
    return sum(known) if known else None


def flag(document: Document, key: str) -> bool | None:
    """Return a truth value, also one that is written as in a condition (``"True"``); None if it is unknown."""
    found = document.get(key)
    if isinstance(found, bool):
        return found
    return {"True": True, "False": False}.get(found) if isinstance(found, str) else None


def moment(document: Document, key: str) -> datetime | None:
    """Return a time of ISO 8601 in UTC, None if there is none."""
    found = document.get(key)
    if not isinstance(found, str):
        return None
    try:
        parsed = datetime.fromisoformat(found)
        return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def line(value: str, longest: int) -> str:
    """Return one line of at most ``longest`` characters; controls and marks of direction become spaces."""
    clean = " ".join(block(value[: longest * 4], longest * 4).split())
    return clean if len(clean) <= longest else clean[: longest - 1] + _CUT


def block(value: str, longest: int) -> str:
    """Return lines of at most ``longest`` characters in all; controls and marks of direction become spaces."""
    cut = value if len(value) <= longest else value[: longest - 1] + _CUT
    return "".join(
        " " if character not in _KEPT and unicodedata.category(character).startswith("C") else character
        for character in cut
    )


def label(document: Document, key: str) -> str:
    """Return a field as one short line, such as a name, a reason or a message."""
    return line(text(document, key), _LABEL_CHARACTERS)
