"""The task ``delete-recording``: one recording goes at once because somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from b3lb.db.record_deletion import (
    DeletionRefusedError,
    RecordSetNotFoundError,
    delete_record_sets,
    load_deleting,
    mark_requested,
)
from b3lb.storage.interface import Storage, StorageError
from b3lb.storage.layout import record_set_prefix
from b3lb.tasks import DELETE_RECORDING
from b3lb_jobs.errors import PermanentError, TransientError
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.housekeeping.finish_deletions import NO_STORAGE, deletion_of
from b3lb_jobs.housekeeping.storage_work import configured_storage
from b3lb_jobs.on_demand import OnDemandTask, RunContext


class DeleteRecordingArguments(BaseModel):
    """Which recording goes, and who asks for it, for the audit.

    The record set is that which was seen by whoever asks; ``record_id`` is for people, who read the run.
    """

    model_config = ConfigDict(extra="forbid")

    record_set: UUID
    record_id: str = Field(min_length=1, max_length=200)
    actor: str = Field(default=DELETE_RECORDING, min_length=1, max_length=200)


def delete_recording(
    context: RunContext,
    arguments: DeleteRecordingArguments,
    *,
    open_storage: Callable[[], Storage | None] = configured_storage,
) -> Mapping[str, Any]:
    """Let the record set be DELETING, delete its objects, then its rows; return how much that was.

    An attempt goes on where the one before stopped; that the record set is gone by then is what was wanted. What a node
    pushed again since is another record set, and stays.

    Raises:
        PermanentError: There is no such recording, it is under a legal hold or being rendered, or there is no storage.
        TransientError: The storage or the database failed.
    """
    storage = open_storage()
    if storage is None:
        raise PermanentError(NO_STORAGE, exit_code=ExitCode.CONFIGURATION)
    record_set = arguments.record_set
    try:
        with context.database.transaction() as connection:
            mark_requested(connection, context.namespace, record_set)
            doomed = load_deleting(connection, context.namespace, record_set)
    except RecordSetNotFoundError as error:
        if context.attempt > 1:
            return {"record_id": arguments.record_id, "deleted": False}
        raise PermanentError(f"{arguments.record_id}: {error}") from error
    except DeletionRefusedError as error:
        raise PermanentError(str(error)) from error
    try:
        gone = storage.delete_prefix(record_set_prefix(context.namespace, record_set))
    except StorageError as error:
        raise TransientError(f"storage: {error}") from error
    deletions = [deletion_of(item, gone, arguments.actor) for item in doomed]
    with context.database.transaction() as connection:
        deleted = delete_record_sets(connection, [record_set], deletions, context.namespace)
    return {
        "record_id": arguments.record_id,
        "deleted": deleted == 1,
        "objects": gone.objects,
        "bytes": gone.size,
    }


TASK = OnDemandTask(delete_recording, DeleteRecordingArguments)
