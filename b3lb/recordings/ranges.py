"""Byte ranges of a video as HTTP asks for them (RFC 9110, section 14): pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_HEADER = 200
"""A longer header is ignored, as RFC 9110 (14.2) allows: players ask for one range."""

_RANGE = re.compile(r"bytes=[ \t]*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))[ \t]*", re.ASCII | re.IGNORECASE)


class UnsatisfiableRangeError(ValueError):
    """The range begins after the end, or asks for the last 0 bytes."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a representation from ``first`` to ``last``, both included, from 0."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.last - self.first + 1


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the range that ``Range`` asks for, None if the whole is to be sent.

    The whole is sent without the header, and where it is malformed, of another unit, or asks for several ranges.

    Args:
        header: The header's value.
        size: Bytes of the representation.

    Raises:
        UnsatisfiableRangeError: The range lies outside.
    """
    found = None if header is None or len(header) > LONGEST_HEADER else _RANGE.fullmatch(header)
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        if int(suffix) == 0 or size == 0:
            raise UnsatisfiableRangeError("the range is empty")
        return ByteRange(max(0, size - int(suffix)), size - 1)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise UnsatisfiableRangeError("the range begins after the end")
    return ByteRange(int(first), min(int(last), size - 1) if last else size - 1)
