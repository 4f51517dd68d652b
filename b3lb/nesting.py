"""How deep JSON is."""

from __future__ import annotations

import re
from itertools import accumulate

_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(r"[\[\]{}]")


def nesting(text: str) -> int:
    """Return how many levels of lists and objects JSON has, its outermost included."""
    levels = accumulate(1 if bracket in "[{" else -1 for bracket in _BRACKETS.findall(_STRINGS.sub("", text)))
    return max(levels, default=0)
