"""What in the storage belongs to no record set any more, and whether it may be removed: pure functions.

A storage that is shared by mistake, or a database that was restored from an old backup, looks exactly like a storage
full of orphans. So the sweep removes nothing unless both carry the same install ID and little would go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from b3lb.storage.interface import StoredObject, Unfinished
from b3lb.storage.layout import record_set_of

ABANDONED_AFTER = timedelta(days=2)
"""So old is an upload that nobody finishes any more; BBB's nodes push an archive again for a day at most."""

MOST_PERCENT = 5
"""Of the stored record sets at most so many may go by one sweep."""


@dataclass(frozen=True, slots=True)
class StoredSet:
    """The published objects of one record set: how many they are, the newest of them, and all their bytes."""

    id: UUID
    newest_at: datetime
    objects: int = 1
    size: int = 0


class SweepRefusal(StrEnum):
    """Why orphans are left where they are."""

    NO_INSTALL_ID = "NoInstallID"
    OTHER_INSTALL = "OtherInstall"
    TOO_MANY = "TooMany"


@dataclass(frozen=True, slots=True)
class Sweep:
    """The orphans that were found, and why they must not be removed; ``refusal`` is None if they may be."""

    orphans: tuple[StoredSet, ...] = ()
    refusal: SweepRefusal | None = None
    message: str = ""

    @property
    def removable(self) -> tuple[StoredSet, ...]:
        """The orphans that may go."""
        return () if self.refusal is not None else self.orphans


@dataclass(frozen=True, slots=True, kw_only=True)
class Installs:
    """The install IDs that the storage and the database carry, None where there is none."""

    storage: UUID | None
    database: UUID | None


def stored_sets(objects: Iterable[StoredObject]) -> list[StoredSet]:
    """Return the record sets that objects belong to; an object of none is left out."""
    found: dict[UUID, StoredSet] = {}
    for item in objects:
        place = record_set_of(item.key)
        if place is None:
            continue
        _, record_set = place
        known = found.get(record_set, StoredSet(record_set, item.modified_at, objects=0))
        found[record_set] = StoredSet(
            record_set,
            max(known.newest_at, item.modified_at),
            objects=known.objects + 1,
            size=known.size + item.size,
        )
    return list(found.values())


def abandoned(unfinished: Iterable[Unfinished], known: Collection[UUID], now: datetime) -> list[Unfinished]:
    """Return what nobody will finish: older than two days, and of no record set that there is.

    Args:
        unfinished: Temporary objects and multipart uploads.
        known: The record sets in the database.
        now: By the clock that dates what is unfinished.
    """
    chosen = [item for item in unfinished if now - item.begun_at > ABANDONED_AFTER]
    places = [None if item.key is None else record_set_of(item.key) for item in chosen]
    return [item for item, place in zip(chosen, places, strict=True) if place is None or place[1] not in known]


def orphans(stored: Sequence[StoredSet], known: Collection[UUID], installs: Installs, now: datetime) -> Sweep:
    """Return the record sets that only the storage knows, and whether they may be removed.

    What is younger than two days is no orphan: its row may have been written after the rows were read.

    Args:
        stored: All that the storage holds.
        known: The record sets in the database.
        installs: The IDs of both sides.
        now: By the clock that dates the objects.
    """
    found = tuple(item for item in stored if item.id not in known and now - item.newest_at > ABANDONED_AFTER)
    if not found:
        return Sweep()
    refusal, message = _refusal(len(found), len(stored), installs)
    return Sweep(found, refusal, message)


def _refusal(found: int, total: int, installs: Installs) -> tuple[SweepRefusal | None, str]:
    if installs.storage is None or installs.database is None:
        side = "storage" if installs.storage is None else "database"
        return SweepRefusal.NO_INSTALL_ID, f"the {side} carries no install ID"
    if installs.storage != installs.database:
        return SweepRefusal.OTHER_INSTALL, "the storage carries the install ID of another database"
    if found * 100 > total * MOST_PERCENT:
        return SweepRefusal.TOO_MANY, f"{found} of {total} record sets would go, more than {MOST_PERCENT} %"
    return None, ""
