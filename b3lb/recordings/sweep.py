"""What in the storage belongs to no record set any more, and whether it may be removed: pure functions.

A storage that is shared by mistake, or a database that was restored from an old backup, looks exactly like a storage
full of orphans. So the sweep removes nothing unless both carry the same install ID and little would go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

ABANDONED_AFTER = timedelta(days=2)
"""So old is an upload that nobody finishes any more; BBB's nodes push an archive again for a day at most."""

MOST_PERCENT = 5
"""Of the stored record sets at most so many may go by one sweep."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A temporary object or an unfinished multipart upload.

    Attributes:
        key: Of the object.
        begun_at: When it was written last, or the upload was begun.
        upload_id: Of a multipart upload, None for an object.
        record_set: Name of the record set that it belongs to, None if its key names none.
    """

    key: str
    begun_at: datetime
    upload_id: str | None = None
    record_set: str | None = None


@dataclass(frozen=True, slots=True)
class StoredSet:
    """The published objects of one record set: how its prefix names it, the newest of them, and all their bytes."""

    name: str
    newest_at: datetime
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

    storage: str | None
    database: str | None


def abandoned(leftovers: Iterable[Leftover], known: Collection[str], now: datetime) -> list[Leftover]:
    """Return what nobody will finish: older than two days, and of no record set that there is.

    Args:
        leftovers: Temporary objects and multipart uploads.
        known: Names of the record sets in the database, read after the leftovers were listed.
        now: By the clock that dates the leftovers.
    """
    return [
        item
        for item in leftovers
        if now - item.begun_at > ABANDONED_AFTER and (item.record_set is None or item.record_set not in known)
    ]


def orphans(stored: Iterable[StoredSet], known: Collection[str], installs: Installs, now: datetime) -> Sweep:
    """Return the record sets that only the storage knows, and whether they may be removed.

    What is younger than two days is no orphan: its row may be about to be written.

    Args:
        stored: All that the storage holds.
        known: Names of the record sets in the database, read after the storage was listed.
        installs: The IDs of both sides.
        now: By the clock that dates the objects.
    """
    everything = list(stored)
    found = tuple(item for item in everything if item.name not in known and now - item.newest_at > ABANDONED_AFTER)
    if not found:
        return Sweep()
    refusal, message = _refusal(len(found), len(everything), installs)
    return Sweep(found, refusal, message)


def _refusal(found: int, total: int, installs: Installs) -> tuple[SweepRefusal | None, str]:
    if not installs.storage or not installs.database:
        side = "storage" if not installs.storage else "database"
        return SweepRefusal.NO_INSTALL_ID, f"the {side} carries no install ID"
    if installs.storage != installs.database:
        return SweepRefusal.OTHER_INSTALL, "the storage carries the install ID of another database"
    if found * 100 > total * MOST_PERCENT:
        return SweepRefusal.TOO_MANY, f"{found} of {total} record sets would go, more than {MOST_PERCENT} %"
    return None, ""
