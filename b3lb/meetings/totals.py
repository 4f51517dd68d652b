"""What the meetings of each secret add up to, and which secrets' rows are to be written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from b3lb.meetings.model import SecretTotals


@dataclass(frozen=True, slots=True)
class ListState:
    """What a secret's list holds: its gauges, a digest of its meetings in their order, and why it must be empty.

    ``reason`` is empty unless the list is, whatever runs: `Disabled`, `TenantDisabled` and the like.
    """

    totals: SecretTotals
    digest: bytes
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ComparedList:
    """A secret's list as it is (``found``) and as it was last noted (``stored``; None: never)."""

    secret_id: int
    name: str
    found: ListState
    stored: ListState | None


def changed_lists(lists: Iterable[ComparedList]) -> list[ComparedList]:
    """Return the lists that are to be written: those that are not what was noted."""
    return [entry for entry in lists if entry.found != entry.stored]
