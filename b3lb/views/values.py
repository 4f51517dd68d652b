"""The values that all views share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Document = dict[str, Any]
"""A JSON object."""


def timestamp(moment: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC, None for none."""
    return None if moment is None else moment.astimezone(UTC).isoformat()


def from_epoch(seconds: float | None) -> datetime | None:
    """Return a time that is given in seconds since 1970, UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def listing(
    kind: str, items: Sequence[Mapping[str, Any]], *, as_of: datetime | None, most: int | None = None, **more: Any
) -> Document:
    """Return a list of objects with what is to be known about it.

    Args:
        kind: What it is a list of, such as ``QueueList``.
        items: The objects.
        as_of: When what the database says was read; None: never.
        most: So many objects are shown at most, the first ones; None: all.
        more: Further fields of the list.
    """
    cut = {"truncated": True} if most is not None and len(items) > most else {}
    return {"kind": kind, "asOf": timestamp(as_of), **more, **cut, "items": list(items)[:most]}
