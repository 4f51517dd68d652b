"""What one reason means, and texts that several kinds share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Meaning(NamedTuple):
    """One reason of one condition; ``status`` as it is shown."""

    condition: str
    status: str
    reason: str
    text: str


def meanings(condition: str, status: str, texts: Mapping[str, str]) -> tuple[Meaning, ...]:
    """Return the meanings of several reasons of a condition with the same status."""
    return tuple(Meaning(condition, status, str(reason), text) for reason, text in texts.items())


INVALID_SPEC = (
    "The operator cannot use the spec; the message names field and fault. The CRDs of the operator's version refuse "
    "such a spec: install them."
)
DATABASE_REFUSED = (
    "The database refuses what the CRD allows, by the rule in the message; {}. It is a fault of b3lb: report it."
)
DATABASE_UNAVAILABLE = "The operator has not been able to read the database for 150 s."
