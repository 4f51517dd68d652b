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
from b3lb.storage.layout import is_video, record_set_of

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


def abandoned(
    unfinished: Iterable[Unfinished], *, namespace: str, working: Collection[UUID], installs: Installs, now: datetime
) -> list[Unfinished]:
    """Return what nobody will finish: older than two days, and of no record set that is in work.

    What has a key in another namespace, or in none, belongs to somebody else. In a storage of another installation
    everything does, but for what tells no key: nobody writes to that for two days and goes on.

    Args:
        unfinished: Temporary objects, dated by when they were last written to, and multipart uploads, by their begin.
        namespace: Whose record sets are looked at.
        working: The record sets of which a video may just be rendered and stored, however long that takes.
        installs: The IDs of both sides.
        now: By the clock that dates what is unfinished.
    """
    is_own = belong_together(installs)

    def is_abandoned(item: Unfinished) -> bool:
        if now - item.begun_at <= ABANDONED_AFTER:
            return False
        if item.key is None:
            return True
        place = record_set_of(item.key)
        return is_own and place is not None and place[0] == namespace and place[1] not in working

    return [item for item in unfinished if is_abandoned(item)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the database knows of a namespace: its record sets, those in work, and the keys that its videos have."""

    record_sets: Collection[UUID]
    working: Collection[UUID]
    named: Collection[str]


def is_left_over(item: StoredObject, known: Known, installs: Installs, now: datetime) -> bool:
    """Whether an object is a video that an attempt stored and nobody published or will publish.

    So it is where no row names it, it is older than two days, and no render of its record set is waiting or under way.
    What a record set that nobody knows has left is an orphan's.
    """
    place = record_set_of(item.key)
    return (
        place is not None
        and is_video(item.key)
        and item.key not in known.named
        and place[1] in known.record_sets
        and place[1] not in known.working
        and now - item.modified_at > ABANDONED_AFTER
        and belong_together(installs)
    )


def belong_together(installs: Installs) -> bool:
    """Whether storage and database are those of one installation."""
    return installs.database is not None and installs.storage == installs.database


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
