"""The task ``finish-deletions``: the objects of record sets that are DELETING go, then their rows, with an audit line.

Every step can be repeated: objects that are gone already are no fault, and a record set stays DELETING until all its
objects are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.record_deletion import RECORD_SET, Deletion, DoomedRecordSet, delete_record_sets, load_deleting
from b3lb.storage.interface import Deleted, Storage, StorageError
from b3lb.storage.layout import record_set_prefix
from b3lb.tasks import FINISH_DELETIONS
from b3lb_jobs.errors import PermanentError, TransientError
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.housekeeping.storage_work import Budget, StorageTask, in_thread
from b3lb_jobs.interface import Event, Findings

SECONDS_EACH = 30.0
MOST_SECONDS = 3600.0
NO_STORAGE = "recordings are to be deleted, but no storage is configured: set B3LB_STORAGE_DIRECTORY or B3LB_S3_BUCKET"


@dataclass(slots=True)
class _Outcome:
    """Whose objects are gone, and what the storage said of the others."""

    gone: dict[UUID, Deleted] = field(default_factory=dict)
    failed: dict[UUID, str] = field(default_factory=dict)


class FinishDeletions(StorageTask):
    """Deletes what is DELETING."""

    def load(self, connection: sa.Connection, _at: datetime) -> Sequence[DoomedRecordSet]:
        """Read what is DELETING: one statement."""
        return load_deleting(connection, self._context.namespace)

    def least_seconds(self, _loaded: Sequence[DoomedRecordSet]) -> float:
        """Return zero: what is not done now is done by the next run."""
        return 0.0

    def seconds_needed(self, loaded: Sequence[DoomedRecordSet]) -> float:
        """Return the time that a slow storage takes."""
        return min(MOST_SECONDS, SECONDS_EACH * len(loaded))

    async def work(self, loaded: Sequence[DoomedRecordSet], *, at: datetime, seconds: float) -> Findings:  # noqa: ARG002 - a task's signature
        """Delete the objects.

        Raises:
            TransientError: The storage failed for all of them.
            PermanentError: There is something to delete and no storage.
        """
        if not loaded:
            return Findings(summary={"deleted": 0})
        if self._context.dry_run:
            return Findings(summary={"to_delete": len(loaded)}, changes=[_row(item) for item in loaded])
        if self._storage is None:
            raise PermanentError(NO_STORAGE, exit_code=ExitCode.CONFIGURATION)
        outcome = await in_thread(partial(_delete, self._storage, self._context.namespace, loaded), seconds)
        if outcome.failed and not outcome.gone:
            raise TransientError(f"storage: {next(iter(outcome.failed.values()))}")
        gone = [
            deletion_of(item, outcome.gone[item.id], FINISH_DELETIONS) for item in loaded if item.id in outcome.gone
        ]
        ids = list(outcome.gone)
        return Findings(
            summary={
                "deleted": len(gone),
                "failed": len(outcome.failed),
                "left": len(loaded) - len(gone) - len(outcome.failed),
                "objects": sum(item.objects for item in gone),
                "bytes": sum(item.size for item in gone),
            },
            write=partial(delete_record_sets, ids=ids, deletions=gone, namespace=self._context.namespace)
            if ids
            else None,
            events=[
                *(Event("recording deleted", _fields(item)) for item in gone),
                *(
                    Event(
                        "recording not deleted", {"record_id": item.record_id, "reason": outcome.failed[item.id]}, True
                    )
                    for item in loaded
                    if item.id in outcome.failed
                ),
            ],
        )


def deletion_of(item: DoomedRecordSet, gone: Deleted, actor: str) -> Deletion:
    """Return the audit's line of a record set whose objects are gone."""
    return Deletion(
        subject=item.record_id,
        kind=RECORD_SET,
        reason=item.reason,
        actor=actor,
        tenant_slug=item.tenant_slug,
        objects=gone.objects,
        size=gone.size,
    )


def _delete(storage: Storage, namespace: str, doomed: Sequence[DoomedRecordSet], budget: Budget) -> _Outcome:
    outcome = _Outcome()
    for item in doomed:
        if budget.is_over():
            break
        try:
            outcome.gone[item.id] = storage.delete_prefix(record_set_prefix(namespace, item.id))
        except StorageError as error:
            outcome.failed[item.id] = str(error)
    return outcome


def _fields(item: Deletion) -> Mapping[str, Any]:
    return {
        "record_id": item.subject,
        "tenant": item.tenant_slug,
        "reason": item.reason,
        "objects": item.objects,
        "bytes": item.size,
    }


def _row(item: DoomedRecordSet) -> Mapping[str, Any]:
    return {
        "object": f"recording/{item.record_id}",
        "tenant": item.tenant_slug or "-",
        "message": f"{item.reason}, DELETING since {item.deleting_at:%Y-%m-%d %H:%M}",
    }
