"""Months as people write them; nothing heavy is imported, for a command line is read with it."""

from __future__ import annotations

import re
from datetime import date

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


def month_of(text: str) -> date:
    """Return the first day of a month that is written as ``YYYY-MM``.

    Raises:
        ValueError: It is not.
    """
    found = _MONTH.fullmatch(text)
    if found is None or found[1] == "0000":
        raise ValueError(f"{text!r} is not a month: write YYYY-MM, such as 2026-11")
    return date(int(found[1]), int(found[2]), 1)
