"""The task ``sweep-storage``: uploads that nobody finished, and what only the storage knows, go.

The storage is listed after the rows were read, and what is younger than two days is left alone; so what is uploaded
meanwhile is never swept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from b3lb.db.record_deletion import RECORD_SET, Deletion, DeletionReason, write_audit
from b3lb.db.record_sweep import SweepRows, load_sweep_rows
from b3lb.recordings.sweep import (
    ABANDONED_AFTER,
    Installs,
    Known,
    StoredSet,
    Sweep,
    abandoned,
    is_left_over,
    orphans,
    stored_sets,
)
from b3lb.storage.installation import InstallationMismatchError, read_install_id
from b3lb.storage.interface import Storage, StorageError, StoredObject, Unfinished
from b3lb.storage.layout import RECORD_SETS, record_set_prefix
from b3lb.tasks import SWEEP_STORAGE
from b3lb_jobs.errors import TransientError
from b3lb_jobs.housekeeping.storage_work import Budget, StorageTask, in_thread
from b3lb_jobs.interface import Event, Findings

SECONDS = 3600.0
UPLOAD, VIDEO = "upload", "video"
"""Of an audit line: an upload that nobody finished, and a stored video that nobody published."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the storage holds that nobody needs."""

    abandoned: Sequence[Unfinished]
    left_over: Sequence[StoredObject]
    sweep: Sweep
    stored: int


@dataclass(slots=True)
class _Gone:
    """What went, and why the rest did not."""

    deletions: list[Deletion] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class SweepStorage(StorageTask):
    """Deletes what the storage holds and nobody needs."""

    def load(self, connection: sa.Connection, _at: datetime) -> SweepRows:
        """Read which record sets and videos there are, and whose the database is: three statements."""
        return load_sweep_rows(connection, self._context.namespace)

    def least_seconds(self, _loaded: SweepRows) -> float:
        """Return zero: what is not done now is done by the next run."""
        return 0.0

    def seconds_needed(self, _loaded: SweepRows) -> float:
        """Return the time that listing and sweeping a large storage may take."""
        return 0.0 if self._storage is None else SECONDS

    async def work(self, loaded: SweepRows, *, at: datetime, seconds: float) -> Findings:  # noqa: ARG002 - a task's signature
        """List the storage, decide and sweep.

        Raises:
            TransientError: The storage could not be listed.
        """
        if self._storage is None:
            return Findings(summary={"storage": "none is configured"})
        namespace, now = self._context.namespace, self._context.now()
        try:
            return await in_thread(partial(self._swept, self._storage, loaded, namespace, now), seconds)
        except StorageError as error:
            raise TransientError(f"storage: {error}") from error

    def _swept(self, storage: Storage, loaded: SweepRows, namespace: str, now: datetime, budget: Budget) -> Findings:
        seen = _look(storage, loaded, namespace, now)
        gone = _Gone() if self._context.dry_run else _sweep(storage, seen, namespace, budget)
        refused = seen.sweep.refusal
        events = [Event("orphans are left where they are", {"reason": seen.sweep.message}, warning=True)] * bool(
            refused
        )
        return Findings(
            summary={
                "stored": seen.stored,
                "abandoned": len(seen.abandoned),
                "left_over": len(seen.left_over),
                "orphans": len(seen.sweep.orphans),
                "refused": refused.value if refused else "",
                "swept": len(gone.deletions),
                "failed": len(gone.failures),
                "bytes": sum(item.size for item in gone.deletions),
            },
            write=partial(_write, namespace=namespace, deletions=gone.deletions) if gone.deletions else None,
            events=[
                *events,
                *(Event("swept", {"object": item.subject, "reason": item.reason}) for item in gone.deletions),
                *(Event("not swept", {"reason": failure}, warning=True) for failure in gone.failures),
            ],
            changes=_rows(seen),
        )


def _look(storage: Storage, loaded: SweepRows, namespace: str, now: datetime) -> _Seen:
    unfinished = storage.unfinished(before=now - ABANDONED_AFTER)
    known = Known(record_sets=loaded.record_sets, working=loaded.working, named=loaded.named)
    try:
        installs = Installs(storage=read_install_id(storage), database=loaded.install_id)
    except InstallationMismatchError:
        installs = Installs(storage=None, database=loaded.install_id)
    left_over: list[StoredObject] = []

    def listed() -> Iterator[StoredObject]:
        for item in storage.list(f"{RECORD_SETS}{namespace}/"):
            if is_left_over(item, known, installs, now):
                left_over.append(item)
            yield item

    stored = stored_sets(listed())
    return _Seen(
        abandoned=abandoned(unfinished, namespace=namespace, working=loaded.working, installs=installs, now=now),
        left_over=left_over,
        sweep=orphans(stored, loaded.record_sets, installs, now),
        stored=len(stored),
    )


def _sweep(storage: Storage, seen: _Seen, namespace: str, budget: Budget) -> _Gone:
    gone = _Gone()
    for item in seen.abandoned:
        if not budget.is_over():
            _attempt(gone, partial(_drop, storage, item))
    for video in seen.left_over:
        if not budget.is_over():
            _attempt(gone, partial(_delete, storage, video))
    for orphan in seen.sweep.removable:
        if not budget.is_over():
            _attempt(gone, partial(_remove, storage, orphan, namespace))
    return gone


def _attempt(gone: _Gone, delete: partial[Deletion]) -> None:
    try:
        gone.deletions.append(delete())
    except StorageError as error:
        gone.failures.append(str(error))


def _drop(storage: Storage, item: Unfinished) -> Deletion:
    storage.drop(item)
    begun = {"begun_at": item.begun_at.isoformat()}
    return Deletion(
        subject=item.key or item.id, kind=UPLOAD, reason=DeletionReason.ABANDONED, actor=SWEEP_STORAGE, details=begun
    )


def _delete(storage: Storage, item: StoredObject) -> Deletion:
    deleted = storage.delete(item.key)
    return Deletion(
        subject=item.key,
        kind=VIDEO,
        reason=DeletionReason.ABANDONED,
        actor=SWEEP_STORAGE,
        objects=deleted.objects,
        size=deleted.size,
    )


def _remove(storage: Storage, orphan: StoredSet, namespace: str) -> Deletion:
    deleted = storage.delete_prefix(record_set_prefix(namespace, orphan.id))
    return Deletion(
        subject=str(orphan.id),
        kind=RECORD_SET,
        reason=DeletionReason.ORPHAN,
        actor=SWEEP_STORAGE,
        objects=deleted.objects,
        size=deleted.size,
    )


def _write(connection: sa.Connection, *, namespace: str, deletions: Sequence[Deletion]) -> int:
    write_audit(connection, namespace, deletions)
    return len(deletions)


def _rows(seen: _Seen) -> list[dict[str, Any]]:
    kept = f"kept: {seen.sweep.message}" if seen.sweep.refusal else "orphan"
    return [
        *({"object": f"upload/{item.key or item.id}", "message": f"begun {item.begun_at}"} for item in seen.abandoned),
        *(
            {"object": f"video/{item.key}", "bytes": item.size, "message": f"no one's, written {item.modified_at}"}
            for item in seen.left_over
        ),
        *(
            {"object": f"record-set/{item.id}", "bytes": item.size, "message": f"{kept}, written {item.newest_at}"}
            for item in seen.sweep.orphans
        ),
    ]
